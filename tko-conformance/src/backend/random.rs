//! Random operations, compared step by step with the [`Reference`](crate::Reference).
//!
//! | file | holds |
//! |---|---|
//! | `operation` | the generated operations |
//! | `naming` | the keys, versions and tokens that generated numbers stand for |
//! | `compare` | the comparison of answers |
//! | `pair` | the backend and the model, step by step |
//! | `claims`, `reads` | the longer steps |

mod claims;
mod compare;
mod naming;
mod operation;
mod pair;
mod reads;

use super::fixture::BackendFixture;
use crate::explore::explore;
use operation::OperationWeights;
use pair::BackendPair;

async fn agree(fixture: &BackendFixture, cases: u64, weights: OperationWeights) {
    explore(cases, operation::sequences(weights), async |operations| {
        let mut pair = BackendPair::new(fixture.fresh(pair::HISTORY).await).await;
        for (at, operation) in operations.iter().enumerate() {
            let step = pair.step(operation).await;
            step.map_err(|reason| format!("operation {at}, {operation:?}: {reason}"))?;
        }
        pair.compare_all().await
    })
    .await;
}

/// All answers to random commits and reads agree with the reference: results, kinds of errors,
/// rows, pages, counts, feed and history.
pub async fn commits_and_reads_agree_with_the_reference(fixture: BackendFixture) {
    agree(
        &fixture,
        150,
        OperationWeights {
            commits: 12,
            reads: 6,
            edits: 3,
            work: 1,
            time: 1,
        },
    )
    .await;
}

/// All answers to random enqueues, claims, renewals, settlements and modifications are ones that
/// the reference allows, as time advances.
pub async fn claims_and_modifications_agree_with_the_reference(fixture: BackendFixture) {
    agree(
        &fixture,
        150,
        OperationWeights {
            commits: 6,
            reads: 1,
            edits: 4,
            work: 12,
            time: 5,
        },
    )
    .await;
}
