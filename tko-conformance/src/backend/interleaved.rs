//! Several tasks run random scripts concurrently; then the feed must explain every answer.
//!
//! | file | holds |
//! |---|---|
//! | `script` | the generated steps of each task |
//! | `actor` | the execution of a script, with a log of answers and moments |
//! | `explain` | the rules that the log and the feed must satisfy together |

mod actor;
mod explain;
mod script;

use super::fixture::BackendFixture;
use crate::explore::explore;
use crate::runtime::HISTORY;
use actor::{Actor, Notes};
use script::ScriptStep;
use std::sync::Arc;

async fn explained(fixture: &BackendFixture, cases: u64, acts: script::ScriptWeights) {
    explore(
        cases,
        script::scripts(acts),
        async |scripts: Vec<Vec<ScriptStep>>| {
            let fixture = fixture.fresh(HISTORY).await;
            let start = fixture.feed_position().await.revision;
            let notes = Arc::new(Notes::default());
            let mut tasks = tokio::task::JoinSet::new();
            for (number, script) in scripts.into_iter().enumerate() {
                let mut actor = Actor::new(number, fixture.beside().await, notes.clone());
                tasks.spawn(async move { actor.play(&script).await });
            }
            let mut ended = Ok(());
            while let Some(played) = tasks.join_next().await {
                ended = ended.and(played.expect("an actor does not panic"));
            }
            ended?;
            explain::explain(&fixture, start, &notes).await
        },
    )
    .await;
}

/// Concurrent commits are explained by the feed. Every acknowledged set appears once, completely,
/// in real-time order, with its preconditions true at that place. Refused sets do not appear, and a
/// replay gives the current state.
pub async fn commits_are_explained_by_the_feed(fixture: BackendFixture) {
    explained(&fixture, 40, script::COMMITS).await;
}

/// No two tasks hold the same modification or lease at once, and nobody else writes a key under
/// modification.
pub async fn rights_never_overlap(fixture: BackendFixture) {
    explained(&fixture, 40, script::RIGHTS).await;
}
