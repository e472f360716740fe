//! Hearing of what other processes did.

use super::head;
use crate::dialect;
use crate::postgres::Shared;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks at the head: what heals whatever was not heard.
const LOOK: Duration = Duration::from_millis(500);

/// Before a lost connection is made anew.
const PAUSE: Duration = Duration::from_millis(500);

/// Listens to those who number changes.
pub(super) async fn listen(shared: Arc<Shared>) {
    loop {
        if let Err(error) = heard(&shared).await {
            tracing::debug!(%error, "not listening; looking now and then instead");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn heard(shared: &Shared) -> Result<(), sqlx::Error> {
    let mut listener = dialect::listener(&shared.options).await?;
    loop {
        // `None`: the connection was lost, and made anew. Something may have been missed.
        let told = listener.try_recv().await?;
        // No number: something else may be due, as when tests put the clock forward.
        let revision = told.and_then(|told| told.payload().parse().ok());
        if let Some(revision) = revision {
            shared.feed.reached(revision);
        }
        shared.waiting.wake();
    }
}

/// Looks where the head is, now and then.
pub(super) async fn look(shared: Arc<Shared>) {
    loop {
        let revision = if shared.watch.is_due() {
            shared.watch.look(&shared).await
        } else {
            head(&shared).await.map(|head| head.revision.0)
        };
        if let Ok(revision) = revision {
            shared.feed.reached(revision);
        }
        tokio::time::sleep(LOOK).await;
    }
}
