//! Several tasks at once, each with a script of its own; then what they were told is explained
//! from the feed.
//!
//! | file | holds |
//! |---|---|
//! | `script` | what is generated: what each task does |
//! | `actor` | does it, and notes what it was told, and when |
//! | `explain` | what must be true of the notes and the feed together |

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
            explain::explain(&fixture, &notes).await
        },
    )
    .await;
}

/// Whatever tasks commit at once: every acknowledged set is in the feed once, whole, with its
/// requirements true where it stands, in the order of real time; what was refused is not there;
/// and the feed, replayed, gives what is there.
pub async fn commits_are_explained_by_the_feed(fixture: BackendFixture) {
    explained(&fixture, 40, script::COMMITS).await;
}

/// Whatever tasks edit and claim at once: no two have the same right at a time, and nobody writes
/// what another edits.
pub async fn rights_never_overlap(fixture: BackendFixture) {
    explained(&fixture, 40, script::RIGHTS).await;
}
