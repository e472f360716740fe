//! Revisions, the feed of changes, and history.
//!
//! Changes get their revisions after they are committed, by a pass that any process may run
//! (`numbering`). Every process hears of the new head (`listening`), and whoever follows goes on
//! from there (`tail`), with what one has read for all (`recent`). What is too old goes
//! (`retention`).

mod image;
mod listening;
mod numbering;
mod recent;
mod retention;
mod tail;

use crate::metrics::{Purpose, Sending};
use crate::postgres::Shared;
use numbering::Numbering;
use recent::Recent;
use std::sync::Arc;
use tko_core::change::FeedPosition;
use tko_core::{ChangeRecord, Key, Result, Revision, Timestamp};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub(crate) use numbering::numbered;
pub(crate) use retention::trim;
pub(crate) use tail::tail;

/// What this process knows of the feed.
#[derive(Debug)]
pub(crate) struct Feed {
    /// The last revision that this process heard of.
    head: watch::Sender<u64>,
    numbering: Numbering,
    /// Without bodies, and with them.
    recent: [Recent; 2],
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            head: watch::Sender::new(0),
            numbering: Numbering::default(),
            recent: [false, true].map(Recent::new),
        }
    }
}

impl Feed {
    /// A change set was committed here: it wants its revisions.
    pub(crate) fn poke(&self) {
        self.numbering.poke();
    }

    /// The feed has got so far.
    fn reached(&self, revision: u64) {
        self.head.send_if_modified(|head| {
            let newer = *head < revision;
            *head = revision.max(*head);
            newer
        });
    }
}

/// What runs in the background; ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Tasks {
    _tasks: JoinSet<()>,
}

/// Starts it.
pub(crate) fn start(shared: &Arc<Shared>) -> Tasks {
    let mut tasks = JoinSet::new();
    tasks.spawn(numbering::run(shared.clone()));
    tasks.spawn(listening::listen(shared.clone()));
    tasks.spawn(listening::look(shared.clone()));
    tasks.spawn(retention::run(shared.clone()));
    Tasks { _tasks: tasks }
}

/// Where the feed is.
pub(crate) async fn head(shared: &Shared) -> Result<FeedPosition> {
    let (revision, oldest, now): (i64, i64, i64) =
        sqlx::query_as("SELECT revision, oldest, now_us() FROM head")
            .fetch_one(&shared.pool)
            .sent(&shared.measures, Purpose::Head)
            .await?;
    Ok(FeedPosition {
        revision: Revision(revision.unsigned_abs()),
        oldest: Revision(oldest.unsigned_abs()),
        now: Timestamp(now),
    })
}

/// Changes of one entity, newest first.
pub(crate) async fn history(
    shared: &Shared,
    key: &Key,
    before: Option<Revision>,
    limit: usize,
) -> Result<Vec<ChangeRecord>> {
    image::of_key(shared, key, before, limit).await
}
