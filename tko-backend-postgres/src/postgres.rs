//! The backend: assembles its parts, and implements [`Backend`] with them.

use crate::check::{CheckReport, check};
use crate::collector;
use crate::commit::Committer;
use crate::connect::connect;
use crate::content::Content;
use crate::database::Database;
use crate::dialect;
use crate::feed::{Feed, FeedTasks, trim};
use crate::metrics::{Instrument, Purpose};
use crate::monitor::DatabaseMonitor;
use crate::read::{self, EntityReader, SharedReads};
use crate::replica::{self, ReplicaTasks, Replicas};
use crate::settings::PostgresSettings;
use crate::shared_value;
use crate::work::{self, ClaimTurns, WorkSignal};
use async_trait::async_trait;
use futures_core::stream::BoxStream;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tko_core::backup::RestoreTarget;
use tko_core::change::FeedPosition;
use tko_core::{
    Ack, Backend, ChangeRecord, ChangeSet, Claim, ClaimRequest, Committed, ContentHash, Count,
    Entity, Error, Key, List, Modification, Outcome, Page, Record, Result, Revision, Select,
    SharedLimits, Token, Version, Want,
};

/// A storage backend in PostgreSQL. Any number of processes may share one database.
///
/// Background tasks number changes, follow the feed, and delete old changes. They end when the
/// backend is dropped.
pub struct Postgres {
    database: Arc<Database>,
    reader: Arc<EntityReader>,
    reads: SharedReads,
    committer: Committer,
    feed: Arc<Feed>,
    signal: Arc<WorkSignal>,
    turns: ClaimTurns,
    monitor: Arc<DatabaseMonitor>,
    _feed_tasks: FeedTasks,
    _replica_tasks: ReplicaTasks,
}

impl Postgres {
    /// Connects to the database, and migrates its schema to this version. Waits for a database that
    /// is not reachable yet.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// - `BadArgument`: the URL is malformed, the server is too old or rejects the user, another
    ///   program uses the database, or a replica belongs to another database.
    /// - `Unavailable`: the database was not reachable within
    ///   [`PostgresSettings::connection_timeout`].
    pub async fn connect(settings: PostgresSettings) -> Result<Self> {
        let database = Arc::new(connect(settings).await?);
        let replicas = Replicas::connect(&database).await?;
        let content = Arc::new(Content::new(&database));
        let signal = Arc::new(WorkSignal::default());
        let monitor = Arc::new(DatabaseMonitor::default());
        let feed = Arc::new(Feed::new(&database, &content, &signal));
        let feed_tasks = feed.start(&signal, &monitor);
        let replica_tasks = replica::watch(&replicas, &database);
        let reader = Arc::new(EntityReader {
            database: database.clone(),
            content: content.clone(),
            replicas,
        });
        let reads = SharedReads::new(reader.clone());
        Ok(Self {
            committer: Committer::new(&database, &content, &feed, &signal),
            database,
            reader,
            reads,
            feed,
            signal,
            turns: ClaimTurns::default(),
            monitor,
            _feed_tasks: feed_tasks,
            _replica_tasks: replica_tasks,
        })
    }

    /// Adds the metrics of this backend to a registry. Their names start with `tko_postgres_`.
    ///
    /// They show the duration and the failures of each kind of statement, the connections of this
    /// process, and the status of the database. The status covers the feed, changes without a
    /// revision, and transactions that hold back the vacuum. `docs/postgresql.md` explains each. A
    /// status that cannot be read is left out, and all metrics disappear when the backend is
    /// dropped.
    ///
    /// To register several backends, give each a label with
    /// [`sub_registry_with_label`](Registry::sub_registry_with_label).
    ///
    /// ```
    /// # fn scrape(postgres: &tko_backend_postgres::Postgres) -> Result<String, std::fmt::Error> {
    /// let mut registry = prometheus_client::registry::Registry::default();
    /// postgres.register(&mut registry);
    /// let mut text = String::new();
    /// prometheus_client::encoding::text::encode(&mut text, &registry)?;
    /// # Ok(text)
    /// # }
    /// ```
    pub fn register(&self, registry: &mut Registry) {
        collector::register(registry, &self.database, &self.monitor);
    }

    /// Checks that the stored data is consistent, while the database is in use. With `repair`, fixes
    /// every problem that can be fixed without losing data.
    ///
    /// The time is proportional to the amount of data.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`: the check was not completed.
    pub async fn check(&self, repair: bool) -> Result<CheckReport> {
        check(
            &self.database,
            &self.reader.content,
            &self.committer,
            repair,
        )
        .await
    }

    /// The names of the other TKO processes that are connected to this database: the applications of
    /// their connections, each once.
    ///
    /// Processes are distinguished by [`application`](PostgresSettings::application), so it should be
    /// unique, and start with `tko`.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`: the sessions cannot be read.
    pub async fn other_processes(&self) -> Result<Vec<String>> {
        let Database {
            pool,
            metrics,
            settings,
            ..
        } = &*self.database;
        sqlx::query_scalar(dialect::OTHER_PROCESSES)
            .bind(&settings.application)
            .fetch_all(pool)
            .sent(metrics, Purpose::FindProcesses)
            .await
    }

    /// Deletes all data. Revisions continue, so that watchers have to list again.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`: nothing was deleted.
    pub async fn clear(&self) -> Result<()> {
        let Database { pool, metrics, .. } = &*self.database;
        let mut transaction = pool.begin().sent(metrics, Purpose::Begin).await?;
        // Skeletons and dictionaries stay: other processes cache their numbers.
        sqlx::query(
            "TRUNCATE entity, facet, body, work, edit, pending, mark, event, going, shared_value",
        )
        .execute(&mut *transaction)
        .sent(metrics, Purpose::Clear)
        .await?;
        // One revision further, so that even a watcher at the head has to list again.
        sqlx::query("UPDATE head SET revision = revision + 1, oldest = revision + 1")
            .execute(&mut *transaction)
            .sent(metrics, Purpose::Clear)
            .await?;
        transaction.commit().sent(metrics, Purpose::End).await
    }

    /// Deletes old changes now. A background task does so every few seconds.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`: old changes are left.
    #[doc(hidden)]
    pub async fn trim(&self) -> Result<()> {
        trim(&self.database).await
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").finish_non_exhaustive()
    }
}

#[async_trait]
impl Backend for Postgres {
    fn name(&self) -> &'static str {
        "postgresql"
    }

    async fn get(&self, keys: &[Key], want: Want) -> Result<Vec<Option<Record>>> {
        self.reads.get(keys, want).await
    }

    async fn list(&self, list: &List) -> Result<Page> {
        self.reads.list(list).await
    }

    fn pages(self: Arc<Self>, list: List) -> BoxStream<'static, Result<Page>> {
        read::pages(self.reader.clone(), list)
    }

    async fn count(&self, select: &Select, bound: u64, want: Want) -> Result<Count> {
        read::count(&self.reader, select, bound, want).await
    }

    async fn commit(&self, changes: ChangeSet, ack: Ack) -> Result<Committed> {
        self.committer.commit(changes, ack).await
    }

    async fn start_modification(
        &self,
        key: &Key,
        ttl: Duration,
        want: Want,
    ) -> Result<Modification> {
        work::start_modification(&self.reader, key, ttl, want).await
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>> {
        work::claim(&self.database, &self.signal, &self.turns, request).await
    }

    async fn renew(&self, tokens: &[Token], ttl: Duration) -> Result<Vec<bool>> {
        work::renew(&self.database, &self.signal, tokens, ttl).await
    }

    async fn settle(&self, outcomes: &[(Token, Outcome)]) -> Result<Vec<bool>> {
        work::settle(&self.database, &self.signal, outcomes).await
    }

    async fn feed_position(&self) -> Result<FeedPosition> {
        self.feed.position().await
    }

    fn tail(&self, after: Revision, want: Want) -> BoxStream<'static, Result<ChangeRecord>> {
        self.feed.tail(after, want)
    }

    async fn history(
        &self,
        key: &Key,
        before: Option<Revision>,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>> {
        self.feed.history(key, before, limit).await
    }

    async fn put_shared(&self, key: ContentHash, value: &[u8], limits: SharedLimits) -> Result<()> {
        shared_value::put(&self.database, key, value, limits).await
    }

    async fn get_shared(&self, key: ContentHash, age: Duration) -> Result<Option<Vec<u8>>> {
        shared_value::find(&self.database, key, age).await
    }
}

#[async_trait]
impl RestoreTarget for Postgres {
    async fn start_restore(&self, revision: Revision) -> Result<()> {
        let Database { pool, metrics, .. } = &*self.database;
        let mut transaction = pool.begin().sent(metrics, Purpose::Begin).await?;
        let entities: i64 = sqlx::query_scalar("SELECT count(*) FROM entity")
            .fetch_one(&mut *transaction)
            .sent(metrics, Purpose::Clear)
            .await?;
        if entities > 0 {
            return Err(Error::bad(
                "backend",
                format!("it has {entities} entities; a backup is restored into an empty one"),
            ));
        }
        let later = i64::try_from(revision.0).unwrap_or(i64::MAX - 1);
        sqlx::query("TRUNCATE event")
            .execute(&mut *transaction)
            .sent(metrics, Purpose::Clear)
            .await?;
        sqlx::query(
            "UPDATE head SET revision = greatest(revision, $1) + 1, \
             oldest = greatest(revision, $1) + 1",
        )
        .bind(later)
        .execute(&mut *transaction)
        .sent(metrics, Purpose::Clear)
        .await?;
        transaction.commit().sent(metrics, Purpose::End).await
    }

    async fn restore_set(&self, set: ChangeSet, entities: BTreeMap<Key, Entity>) -> Result<()> {
        let last = entities.values().map(|entity| entity.version.0).max();
        if let Some(last) = last {
            self.committer.skip_past(Version(last)).await?;
        }
        let committed = self.committer.commit_restored(set, &entities, Ack::Durable);
        committed.await.map(drop)
    }
}
