//! Random verbs of people, compared step by step with a naive model of the rules.
//!
//! | file | holds |
//! |---|---|
//! | `item` | packages as short lists, and how they merge |
//! | `verb` | what is generated |
//! | `world` | the model: rows in maps, every rule spelt out again |
//! | `pair` | subject and model side by side |

mod item;
mod pair;
mod verb;
mod world;

use super::fixture::DataFixture;
use crate::explore::explore;
use crate::runtime::HISTORY;
use pair::ApiPair;

/// Whatever is registered, created, modified, approved, deleted and purged: results, refusals,
/// packages, metadata, relations, selections, and what is due are those of the model.
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
