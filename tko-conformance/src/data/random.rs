//! Random user operations, compared step by step with a simple model of the rules.
//!
//! | file | holds |
//! |---|---|
//! | `item` | packages as short lists, and how they merge |
//! | `verb` | the generated operations |
//! | `world` | the model: rows in maps, every rule written again |
//! | `pair` | the API and the model, side by side |

mod item;
mod pair;
mod verb;
mod world;

use super::fixture::DataFixture;
use crate::explore::explore;
use crate::runtime::HISTORY;
use pair::ApiPair;

/// All random registrations, creations, modifications, approvals and deletions agree with the
/// model: results, refusals, packages, metadata, relations, selections and due work.
pub async fn operations_agree_with_the_model(fixture: DataFixture) {
    explore(50, verb::sequences(), async |verbs| {
        let mut pair = ApiPair::new(fixture.fresh(HISTORY).await);
        for (at, verb) in verbs.iter().enumerate() {
            let step = pair.step(verb).await;
            step.map_err(|reason| format!("verb {at}, {verb:?}: {reason}"))?;
        }
        Ok(())
    })
    .await;
}
