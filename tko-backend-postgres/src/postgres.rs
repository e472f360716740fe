//! The backend, and each call.

use crate::body::Bodies;
use crate::check::Report;
use crate::commit;
use crate::connect::{CONNECTION, connect, options};
use crate::feed::Feed;
use crate::read;
use crate::replica::{self, Replicas};
use crate::settings::Settings;
use crate::skeleton::Skeletons;
use crate::versions::Versions;
use crate::work::{self, Turns, Waiting};
use async_trait::async_trait;
use futures_core::stream::BoxStream;
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tko_core::change::Head;
use tko_core::{
    Ack, Backend, ChangeRecord, ChangeSet, Claim, ClaimRequest, Committed, Count, Edit, Key, List,
    Outcome, Page, Record, Result, Revision, Select, Token, Want,
};

/// TKO's storage in PostgreSQL. Any number of processes may use one database.
///
/// It numbers changes and follows the feed in background tasks, which end when it is dropped.
pub struct Postgres {
    shared: Arc<Shared>,
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
        });
        let tasks = crate::feed::start(&shared);
        let watching = replica::watch(&shared);
        Ok(Self {
            shared,
            _tasks: tasks,
            _watching: watching,
        })
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
        let failed = crate::fault::fault("delete everything");
        let mut all = self.shared.pool.begin().await.map_err(&failed)?;
        // Skeletons and dictionaries stay: other processes remember their numbers.
        sqlx::query("TRUNCATE entity, facet, body, work, edit, pending, mark, event, going")
            .execute(&mut *all)
            .await
            .map_err(&failed)?;
        // One further: who has followed to the end is told, too.
        sqlx::query("UPDATE head SET revision = revision + 1, oldest = revision + 1")
            .execute(&mut *all)
            .await
            .map_err(&failed)?;
        all.commit().await.map_err(&failed)
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

    async fn edit(&self, key: &Key, ttl: Duration, want: Want) -> Result<Edit> {
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

    async fn head(&self) -> Result<Head> {
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
