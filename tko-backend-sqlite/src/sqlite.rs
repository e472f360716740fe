//! The backend: assembles its parts, and implements [`Backend`] with them.

use crate::check::SqliteCheckReport;
use crate::connect::{SqliteParts, connect, options};
use crate::feed::retention;
use crate::settings::SqliteSettings;
use crate::signal::{WriteSignal, follow};
use crate::writer::{WriteJob, Writer};
use crate::{check, commit, feed, read, shared_value, work};
use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::future::select;
use sqlx::{ConnectOptions, Connection};
use std::collections::BTreeMap;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tko_core::backup::RestoreTarget;
use tko_core::change::FeedPosition;
use tko_core::{
    Ack, Backend, ChangeRecord, ChangeSet, Claim, ClaimRequest, Clock, Committed, ContentHash,
    Count, Entity, Error, Key, List, Modification, Outcome, Page, Record, Result, Revision, Select,
    SharedLimits, Token, Want,
};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

/// Maximum number of times that another connection is opened and closed until the file is complete.
const CLOSE_TRIES: u32 = 20;

/// The pause before each of these attempts.
const CLOSE_PAUSE: Duration = Duration::from_millis(50);

/// A storage backend in one SQLite file. Several processes of one machine may share the file.
///
/// A thread writes. Background tasks look for the writes of other processes, and delete old changes.
/// The tasks end when the backend is dropped, and the thread when the requested writes are done.
pub struct Sqlite {
    shared: Arc<SqliteParts>,
    writer: Writer,
    signal: Arc<WriteSignal>,
    _tasks: [AbortOnDropHandle<()>; 2],
}

impl Sqlite {
    /// Opens the file, creates it if it does not exist, and migrates its schema to this version.
    ///
    /// `clock` decides when leases and modifications expire and when work is due. All processes
    /// that share the file need the same time. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// - `BadArgument`: the file belongs to another program or to a later version of this one, or
    ///   its folder does not exist.
    /// - `Unavailable`: the file cannot be read or written.
    /// - `Internal`: the file is damaged.
    pub async fn open(clock: Arc<dyn Clock>, settings: SqliteSettings) -> Result<Self> {
        let (file, mut connection) = connect(settings).await?;
        commit::add_triggers(&mut connection)
            .await
            .map_err(file.fault("open the file"))?;
        let shared = Arc::new(SqliteParts {
            file,
            clock,
            recent: Default::default(),
        });
        let position = feed::position(&shared).await?;
        let signal = Arc::new(WriteSignal::new(position.revision));
        let writer = Writer::start(connection, shared.clone(), signal.clone())?;
        let watching = tokio::spawn(follow(shared.clone(), Arc::downgrade(&signal)));
        let trimming = tokio::spawn(trim_regularly(shared.clone(), writer.clone()));
        Ok(Self {
            shared,
            writer,
            signal,
            _tasks: [watching, trimming].map(AbortOnDropHandle::new),
        })
    }

    /// Checks that the stored data is consistent, while the file is in use. With `repair`, fixes
    /// every problem that can be fixed without losing data; other writes wait for it.
    ///
    /// The time is proportional to the amount of data.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`: the check was not completed.
    pub async fn check(&self, repair: bool) -> Result<SqliteCheckReport> {
        if repair {
            return self.writer.send(WriteJob::Repair).await;
        }
        let file = &self.shared.file;
        let mut snapshot = file
            .pool
            .begin()
            .await
            .map_err(file.fault("check the file"))?;
        check::check(&mut snapshot, &self.shared, false).await
    }

    /// Deletes all data. Revisions continue, so that watchers have to list again.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`: nothing was deleted.
    pub async fn clear(&self) -> Result<()> {
        self.writer.send(WriteJob::Clear).await
    }

    /// Ends the backend: finishes all requested writes, and moves everything into the file itself,
    /// so that no other file is needed.
    ///
    /// # Errors
    /// `Unavailable`: another process has the file open, so the other files stay.
    #[doc(hidden)]
    pub async fn close(self) -> Result<()> {
        let Self {
            shared,
            writer,
            signal,
            _tasks: tasks,
        } = self;
        drop((signal, tasks));
        shared.file.pool.close().await;
        let closed = writer.closed();
        drop(writer);
        closed.await;
        let mut wal = shared.file.settings.path.clone().into_os_string();
        wal.push("-wal");
        // An abandoned read closes its connection a little later. Only the last connection that is
        // closed moves everything into the file, so another one is opened and closed.
        let options = options(&shared.file.settings)
            .create_if_missing(false)
            .busy_timeout(CLOSE_PAUSE);
        for attempt in 0..=CLOSE_TRIES {
            if !std::path::Path::new(&wal).exists() {
                return Ok(());
            }
            if attempt < CLOSE_TRIES {
                tokio::time::sleep(CLOSE_PAUSE).await;
                if let Ok(last) = options.connect().await {
                    // The next check shows whether it worked.
                    let _ = last.close().await;
                }
            }
        }
        Err(Error::unavailable(
            "close the file",
            "it is in use elsewhere",
        ))
    }

    /// Deletes old changes now. A background task does so every few seconds.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`: old changes are left.
    #[doc(hidden)]
    pub async fn trim(&self) -> Result<()> {
        while self.writer.send(WriteJob::Trim).await? {}
        Ok(())
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite")
            .field("path", &self.shared.file.settings.path)
            .finish_non_exhaustive()
    }
}

/// Deletes old changes, as long as the backend lives.
async fn trim_regularly(shared: Arc<SqliteParts>, writer: Writer) {
    loop {
        tokio::time::sleep(retention::INTERVAL).await;
        // The check itself does not write, so an idle process leaves the file alone.
        let range = retention::range(&shared.file.pool, &shared, shared.clock.now()).await;
        let is_due = range.is_ok_and(|(oldest, until)| until > oldest);
        let mut more = is_due;
        while more {
            more = match writer.send(WriteJob::Trim).await {
                Ok(more) => more,
                Err(error) => {
                    tracing::debug!(error = error.chain(), "deletion of old changes postponed");
                    false
                }
            };
        }
    }
}

/// Wakes the next waiting claim when it is dropped: more work may be due, or due earlier than that
/// claim knows.
struct PassOn<'a>(&'a Notify);

impl Drop for PassOn<'_> {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[async_trait]
impl Backend for Sqlite {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    async fn get(&self, keys: &[Key], want: Want) -> Result<Vec<Option<Record>>> {
        work::check_count(keys.len(), "keys")?;
        let file = &self.shared.file;
        let fault = file.fault("read entities");
        let mut snapshot = file.pool.begin().await.map_err(&fault)?;
        let records = read::read_records(&mut snapshot, file, keys, want).await?;
        snapshot.commit().await.map_err(&fault)?;
        Ok(records)
    }

    async fn list(&self, list: &List) -> Result<Page> {
        read::list(&self.shared.file, list).await
    }

    async fn count(&self, select: &Select, bound: u64, _: Want) -> Result<Count> {
        read::count(&self.shared.file, select, bound).await
    }

    async fn commit(&self, changes: ChangeSet, _: Ack) -> Result<Committed> {
        tko_core::commit::check(&changes)?;
        let job = |reply| WriteJob::Commit(Box::new(changes), reply);
        self.writer.send(job).await
    }

    async fn start_modification(
        &self,
        key: &Key,
        ttl: Duration,
        want: Want,
    ) -> Result<Modification> {
        let job = |reply| WriteJob::Modify(key.clone(), ttl, want, reply);
        self.writer.send(job).await
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>> {
        let clock = &self.shared.clock;
        let next_claim = PassOn(self.signal.due(request.stage));
        let deadline = clock.now().plus(request.wait);
        loop {
            // Register before reading, so that no signal is lost in between.
            let woken = next_claim.0.notified();
            let mut next = work::next_ready(&self.shared, request.stage).await?;
            let now = clock.now();
            if request.max > 0 && next.is_some_and(|next| next <= now) {
                let job = |reply| WriteJob::Claim(request.clone(), reply);
                let claims = self.writer.send(job).await?;
                if !claims.is_empty() {
                    return Ok(claims);
                }
                // Another claim took the work. Its lease ends later, as the next read shows.
                next = work::next_ready(&self.shared, request.stage).await?;
            }
            if now >= deadline || request.max == 0 {
                return Ok(Vec::new());
            }
            let until = next.map_or(deadline, |next| next.min(deadline));
            select(pin!(woken), clock.sleep(until.since(now))).await;
        }
    }

    async fn renew(&self, tokens: &[Token], ttl: Duration) -> Result<Vec<bool>> {
        let job = |reply| WriteJob::Renew(tokens.to_vec(), ttl, reply);
        self.writer.send(job).await
    }

    async fn settle(&self, outcomes: &[(Token, Outcome)]) -> Result<Vec<bool>> {
        let job = |reply| WriteJob::Settle(outcomes.to_vec(), reply);
        self.writer.send(job).await
    }

    async fn feed_position(&self) -> Result<FeedPosition> {
        feed::position(&self.shared).await
    }

    fn tail(&self, after: Revision, want: Want) -> BoxStream<'static, Result<ChangeRecord>> {
        feed::tail(self.shared.clone(), &self.signal, after, want)
    }

    async fn history(
        &self,
        key: &Key,
        before: Option<Revision>,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>> {
        feed::history(&self.shared, key, before, limit).await
    }

    async fn put_shared(&self, key: ContentHash, value: &[u8], limits: SharedLimits) -> Result<()> {
        if !limits.admit(value.len()) {
            return Ok(());
        }
        let job = |reply| WriteJob::PutShared(key, value.to_vec(), limits, reply);
        self.writer.send(job).await
    }

    async fn get_shared(&self, key: ContentHash, age: Duration) -> Result<Option<Vec<u8>>> {
        shared_value::find(&self.shared, key, age).await
    }
}

#[async_trait]
impl RestoreTarget for Sqlite {
    async fn start_restore(&self, revision: Revision) -> Result<()> {
        let job = |reply| WriteJob::StartRestore(revision, reply);
        self.writer.send(job).await
    }

    async fn restore_set(&self, set: ChangeSet, entities: BTreeMap<Key, Entity>) -> Result<()> {
        tko_core::commit::check(&set)?;
        let job = |reply| WriteJob::Restore(Box::new(set), entities, reply);
        self.writer.send(job).await.map(drop)
    }
}
