//! The feed: streams that follow the changes, and the history of an entity.

pub(crate) mod retention;

use crate::arena::{signed, unsigned};
use crate::connect::SqliteParts;
use crate::pack::unpack;
use crate::read::{body_of, read_bodies, stored_key};
use crate::signal::WriteSignal;
use futures_core::stream::BoxStream;
use futures_util::stream::{self, StreamExt};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use std::collections::VecDeque;
use std::sync::Arc;
use tko_core::change::FeedPosition;
use tko_core::feed::MAX_READ_WITH_PACKAGES;
use tko_core::{
    Cause, ChangeRecord, ContentHash, Error, Key, Package, Record, Result, Revision, Timestamp,
    Want,
};
use tokio::sync::watch;

/// Maximum number of changes that a feed reads at once, without packages and with them.
const BATCHES: [usize; 2] = [256, MAX_READ_WITH_PACKAGES];

/// The columns of a change `c`, with the row after it: `before` of the entity's next change, or the
/// current row.
macro_rules! columns {
    () => {
        "SELECT c.revision, c.set_revision, c.at, c.kind, c.id, c.cause, c.before, \
         CASE WHEN c.gone THEN NULL ELSE coalesce( \
             (SELECT n.before FROM change n WHERE n.kind = c.kind AND n.id = c.id \
                 AND n.revision > c.revision ORDER BY n.revision LIMIT 1), \
             (SELECT e.data FROM entity e WHERE e.kind = c.kind AND e.id = c.id)) END \
         FROM change c "
    };
}

/// The position of the feed, and the store's time.
pub(crate) async fn position(shared: &SqliteParts) -> Result<FeedPosition> {
    let fault = shared.file.fault("read the position of the feed");
    let row = sqlx::query("SELECT revision, oldest FROM head")
        .fetch_one(&shared.file.pool)
        .await
        .map_err(&fault)?;
    let number = |at: usize| row.try_get(at).map(unsigned).map(Revision);
    Ok(FeedPosition::new(
        number(0).map_err(&fault)?,
        number(1).map_err(&fault)?,
        shared.clock.now(),
    ))
}

/// One feed.
struct ChangeReader {
    shared: Arc<SqliteParts>,
    /// The last revision: it wakes this feed when it changes, and ends it when the backend is gone.
    head: watch::Receiver<Revision>,
    after: Revision,
    package: bool,
    /// Whether it ended with an error.
    ended: bool,
}

impl ChangeReader {
    /// The next changes; waits until there are any.
    async fn next(&mut self) -> Option<Result<Vec<ChangeRecord>>> {
        while !self.ended {
            self.head.mark_unchanged();
            match changes_after(&self.shared, self.after, self.package).await {
                Ok(changes) => {
                    if let Some(last) = changes.last() {
                        self.after = last.revision;
                        return Some(Ok(changes));
                    }
                }
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
            self.head.changed().await.ok()?;
        }
        None
    }
}

/// Streams every change after this one, without end.
pub(crate) fn tail(
    shared: Arc<SqliteParts>,
    signal: &WriteSignal,
    after: Revision,
    want: Want,
) -> BoxStream<'static, Result<ChangeRecord>> {
    let reader = ChangeReader {
        head: signal.head(),
        shared,
        after,
        package: want.package,
        ended: false,
    };
    let batches = stream::unfold(reader, async |mut reader| {
        let batch = reader.next().await?;
        Some((batch, reader))
    });
    let changes = batches.flat_map(|batch| {
        let items: VecDeque<Result<ChangeRecord>> = match batch {
            Ok(changes) => changes.into_iter().map(Ok).collect(),
            Err(error) => VecDeque::from([Err(error)]),
        };
        stream::iter(items)
    });
    Box::pin(changes)
}

/// The next changes after a revision; empty if it is the last.
async fn changes_after(
    shared: &SqliteParts,
    after: Revision,
    package: bool,
) -> Result<Vec<ChangeRecord>> {
    let mut recent = shared.recent[usize::from(package)].lock().await;
    if let Some(changes) = recent.after(after) {
        // Readers that wake together must not wait for the queries of each other.
        drop(recent);
        // They may be older than what the file keeps.
        let position = position(shared).await?;
        return if after < position.oldest || after > position.revision {
            Err(Error::Expired {
                oldest: position.oldest,
            })
        } else {
            Ok(changes)
        };
    }
    if !recent.ends_at(after) {
        // This reader lags behind, and must not block the others.
        drop(recent);
        return read_after(shared, after, package).await;
    }
    let changes = read_after(shared, after, package).await?;
    recent.add(&changes);
    Ok(changes)
}

/// Reads the next changes after a revision from the file.
async fn read_after(
    shared: &SqliteParts,
    after: Revision,
    package: bool,
) -> Result<Vec<ChangeRecord>> {
    let file = &shared.file;
    let fault = file.fault("read the feed");
    let mut snapshot = file.pool.begin().await.map_err(&fault)?;
    let (last, oldest): (i64, i64) = sqlx::query_as("SELECT revision, oldest FROM head")
        .fetch_one(&mut *snapshot)
        .await
        .map_err(&fault)?;
    let from = signed(after.0);
    if from < oldest || from > last {
        return Err(Error::Expired {
            oldest: Revision(unsigned(oldest)),
        });
    }
    if from == last {
        return Ok(Vec::new());
    }
    let rows = sqlx::query(concat!(
        columns!(),
        "WHERE c.revision > $1 ORDER BY c.revision LIMIT $2"
    ))
    .bind(from)
    .bind(signed(BATCHES[usize::from(package)] as u64))
    .fetch_all(&mut *snapshot)
    .await
    .map_err(&fault)?;
    let changes = decode(&mut snapshot, shared, &rows, package).await?;
    snapshot.commit().await.map_err(&fault)?;
    if changes
        .first()
        .is_none_or(|first| first.revision.0 != after.0 + 1)
    {
        return Err(Error::internal(
            "read the feed",
            format!("change {} is missing: run `tko backend check`", after.0 + 1),
        ));
    }
    Ok(changes)
}

/// The changes of one entity before a revision, the newest first.
pub(crate) async fn history(
    shared: &SqliteParts,
    key: &Key,
    before: Option<Revision>,
    limit: usize,
) -> Result<Vec<ChangeRecord>> {
    let fault = shared.file.fault("read the history");
    let mut snapshot = shared.file.pool.begin().await.map_err(&fault)?;
    let rows = sqlx::query(concat!(
        columns!(),
        "WHERE c.kind = $1 AND c.id = $2 AND c.revision < $3 ORDER BY c.revision DESC LIMIT $4"
    ))
    .bind(key.kind() as i64)
    .bind(key.id().to_owned())
    .bind(before.map_or(i64::MAX, |before| signed(before.0)))
    .bind(signed(limit as u64))
    .fetch_all(&mut *snapshot)
    .await
    .map_err(&fault)?;
    let changes = decode(&mut snapshot, shared, &rows, true).await?;
    snapshot.commit().await.map_err(&fault)?;
    Ok(changes)
}

/// Decodes changes, and adds their packages if wanted.
async fn decode(
    connection: &mut SqliteConnection,
    shared: &SqliteParts,
    rows: &[SqliteRow],
    package: bool,
) -> Result<Vec<ChangeRecord>> {
    let fault = shared.file.fault("read the feed");
    let mut changes = Vec::with_capacity(rows.len());
    for row in rows {
        changes.push(change(row).map_err(&fault)??);
    }
    if package {
        let states = |change: &ChangeRecord| -> Vec<ContentHash> {
            let states = [&change.before, &change.after];
            states
                .into_iter()
                .flatten()
                .map(|row| row.entity.body)
                .collect()
        };
        let hashes = changes.iter().flat_map(states).collect();
        let bodies = read_bodies(connection, &shared.file, hashes).await?;
        for change in &mut changes {
            for row in [&mut change.before, &mut change.after]
                .into_iter()
                .flatten()
            {
                let body: Package = body_of(&bodies, row)?;
                row.package = Some(body);
            }
        }
    }
    Ok(changes)
}

fn change(row: &SqliteRow) -> Result<Result<ChangeRecord>, sqlx::Error> {
    let number = |at: usize| row.try_get(at).map(unsigned).map(Revision);
    let (revision, set) = (number(0)?, number(1)?);
    let at = Timestamp(row.try_get(2)?);
    let key = stored_key(row.try_get(3)?, row.try_get(4)?);
    let cause: Option<&[u8]> = row.try_get(5)?;
    let cause = cause.map(|cause| Cause::new(&*String::from_utf8_lossy(cause)));
    let (before, after): (Option<&[u8]>, Option<&[u8]>) = (row.try_get(6)?, row.try_get(7)?);
    let decoded = || -> Result<ChangeRecord> {
        let before: Option<Record> = before.map(unpack).transpose()?;
        let after: Option<Record> = after.map(unpack).transpose()?;
        Ok(ChangeRecord::new(revision, set, at, key?)
            .before(before)
            .after(after)
            .cause(cause))
    };
    Ok(decoded())
}
