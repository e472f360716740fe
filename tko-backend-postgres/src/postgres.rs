//! The backend, and each call.

use crate::body::Bodies;
use crate::check::Report;
use crate::commit;
use crate::connect::{CONNECTION, connect, options};
use crate::feed::Feed;
use crate::metrics::{Measures, Purpose, Sending, Watch};
use crate::read;
use crate::replica::{self, Replicas};
use crate::settings::Settings;
use crate::skeleton::Skeletons;
use crate::versions::Versions;
use crate::work::{self, Turns, Waiting};
use async_trait::async_trait;
use futures_core::stream::BoxStream;
use prometheus_client::registry::Registry;
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tko_core::change::FeedPosition;
use tko_core::{
    Ack, Backend, ChangeRecord, ChangeSet, Claim, ClaimRequest, Committed, Count, Key, List,
    Modification, Outcome, Page, Record, Result, Revision, Select, Token, Want,
};

/// TKO's storage in PostgreSQL. Any number of processes may use one database.
///
/// It numbers changes and follows the feed in background tasks, which end when it is dropped.
pub struct Postgres {
    pub(crate) shared: Arc<Shared>,
    /// Ends with this.
    _tasks: crate::feed::Tasks,
    _watching: replica::Watching,
}

/// What calls and background tasks share.
pub(crate) struct Shared {
    pub(crate) pool: PgPool,
    pub(crate) replicas: Replicas,
    pub(crate) options: PgConnectOptions,
    pub(crate) settings: Settings,
    pub(crate) bodies: Bodies,
    pub(crate) skeletons: Skeletons,
    pub(crate) versions: Versions,
    pub(crate) feed: Feed,
    pub(crate) waiting: Waiting,
    pub(crate) turns: Turns,
    pub(crate) measures: Measures,
    pub(crate) watch: Watch,
}

impl Postgres {
    /// Connects, waiting for a database that cannot be reached yet, and brings its schema up to
    /// this version. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// - `BadArgument`: the URL is none, the server is too old, refuses the user, or the database
    ///   is not fit to be used; or a replica is of another database.
    /// - `Unavailable`: it was not reached in [`Settings::connection_timeout`].
    pub async fn connect(settings: Settings) -> Result<Self> {
        let pool = connect(&settings).await?;
        let replicas = Replicas::find(&settings, &pool).await?;
        let shared = Arc::new(Shared {
            pool,
            replicas,
            options: options(CONNECTION, &settings.url, &settings)?,
            settings,
            bodies: Bodies::default(),
            skeletons: Skeletons::default(),
            versions: Versions::default(),
            feed: Feed::default(),
            waiting: Waiting::default(),
            turns: Turns::default(),
            measures: Measures::default(),
            watch: Watch::default(),
        });
        let tasks = crate::feed::start(&shared);
        let watching = replica::watch(&shared);
        Ok(Self {
            shared,
            _tasks: tasks,
            _watching: watching,
        })
    }

    /// Adds to a registry what operators watch: how long each kind of statement takes and how it
    /// fails, the connections of this process, and, seen every few seconds by one cheap statement,
    /// the feed, what waits for its revision, and what holds back the vacuum. The metrics are named
    /// `tko_postgres_…`; `docs/postgresql.md` says what to make of them.
    ///
    /// Of several backends in one registry each takes a label, by
    /// [`sub_registry_with_label`](Registry::sub_registry_with_label). When a backend is dropped,
    /// its metrics are gone; what cannot be seen for now is left out.
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
        crate::metrics::register(&self.shared, registry);
    }

    /// Looks at all that is stored, while it is in use; with `repair`, mends what can be mended
    /// without losing anything. Takes time in proportion to what is stored.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`: it could not be looked at.
    pub async fn check(&self, repair: bool) -> Result<Report> {
        crate::check::check(&self.shared, repair).await
    }

    /// Deletes everything. Revisions go on from where they were, so that whoever watches is told
    /// to list again.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`: nothing was deleted.
    pub async fn clear(&self) -> Result<()> {
        let Shared { pool, measures, .. } = &*self.shared;
        let mut all = pool.begin().sent(measures, Purpose::Begin).await?;
        // Skeletons and dictionaries stay: other processes remember their numbers.
        sqlx::query("TRUNCATE entity, facet, body, work, edit, pending, mark, event, going")
            .execute(&mut *all)
            .sent(measures, Purpose::Clear)
            .await?;
        // One further: who has followed to the end is told, too.
        sqlx::query("UPDATE head SET revision = revision + 1, oldest = revision + 1")
            .execute(&mut *all)
            .sent(measures, Purpose::Clear)
            .await?;
        all.commit().sent(measures, Purpose::End).await
    }

    /// Forgets changes that need not be kept any more, now: otherwise done in the background.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`.
    #[doc(hidden)]
    pub async fn trim(&self) -> Result<()> {
        crate::feed::trim(&self.shared).await
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
        read::get(&self.shared, keys, want).await
    }

    async fn list(&self, list: &List) -> Result<Page> {
        read::list(&self.shared, list).await
    }

    fn pages(self: Arc<Self>, list: List) -> BoxStream<'static, Result<Page>> {
        read::pages(self.shared.clone(), list)
    }

    async fn count(&self, select: &Select, bound: u64, want: Want) -> Result<Count> {
        read::count(&self.shared, select, bound, want).await
    }

    async fn commit(&self, changes: ChangeSet, ack: Ack) -> Result<Committed> {
        commit::commit(&self.shared, changes, ack).await
    }

    async fn start_modification(
        &self,
        key: &Key,
        ttl: Duration,
        want: Want,
    ) -> Result<Modification> {
        work::edit(&self.shared, key, ttl, want).await
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>> {
        work::claim(&self.shared, request).await
    }

    async fn renew(&self, tokens: &[Token], ttl: Duration) -> Result<Vec<bool>> {
        work::renew(&self.shared, tokens, ttl).await
    }

    async fn settle(&self, outcomes: &[(Token, Outcome)]) -> Result<Vec<bool>> {
        work::settle(&self.shared, outcomes).await
    }

    async fn feed_position(&self) -> Result<FeedPosition> {
        crate::feed::head(&self.shared).await
    }

    fn tail(&self, after: Revision, want: Want) -> BoxStream<'static, Result<ChangeRecord>> {
        crate::feed::tail(self.shared.clone(), after, want)
    }

    async fn history(
        &self,
        key: &Key,
        before: Option<Revision>,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>> {
        crate::feed::history(&self.shared, key, before, limit).await
    }
}
