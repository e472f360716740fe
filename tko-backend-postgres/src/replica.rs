//! Replicas: streaming standbys of the database, which may be behind it.
//!
//! Only reads that [allow a stale state](Want::allow_stale) use them. Nothing depends on a replica:
//! if it cannot deliver a result, the primary is read. A background task probes each of them, so
//! that no read waits for an unreachable replica. A read that fails reports it.

mod probe;

use crate::connect::{address, options};
use crate::database::Database;
use crate::settings::PostgresSettings;
use probe::{DatabaseIdentity, UnfitReason, probe};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tko_core::{Error, Result, Want};
use tokio::sync::watch::Sender;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// The time between two probes of a replica.
const INTERVAL: Duration = Duration::from_secs(2);

/// The time limit of a probe, and of opening a connection: reads have an alternative.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Connections that were idle for longer are tested before use.
const IDLE: Duration = Duration::from_secs(1);

/// A failure is logged again only after the replica has been usable for this long.
const CALM: Duration = Duration::from_mins(1);

/// Maximum number of different failures of one replica that are logged until then.
const MAX_LOGGED: usize = 20;

/// The name of a replica's URL in errors.
const REPLICA: &str = "backend replica";

/// The replicas of a database.
pub(crate) struct Replicas {
    all: Vec<Arc<Replica>>,
    /// Counts reads, to use the replicas in turn.
    turn: AtomicUsize,
    /// The identity of the primary; `None` if there are no replicas.
    primary: Option<DatabaseIdentity>,
}

/// One replica.
pub(crate) struct Replica {
    pub(crate) pool: PgPool,
    address: String,
    state: Sender<ReplicaState>,
    log: Mutex<ReplicaLog>,
}

/// Whether a replica is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReplicaState {
    Used,
    /// Not used after a failed read, until the next probe. Running reads continue.
    Resting,
    /// Not usable. Running reads are abandoned.
    Unfit,
}

/// The failures of a replica that were logged.
#[derive(Debug)]
struct ReplicaLog {
    failures: BTreeSet<String>,
    /// The time of the last failure, or when the replica became usable.
    since: Instant,
}

impl Replicas {
    /// Creates the replicas of the settings, and probes each once.
    ///
    /// # Errors
    /// `BadArgument`: a URL is malformed, or leads to another database.
    pub(crate) async fn connect(database: &Database) -> Result<Self> {
        let Database {
            settings,
            pool: primary,
            ..
        } = database;
        let mut all = Vec::with_capacity(settings.replicas.len());
        for url in &settings.replicas {
            all.push(Arc::new(Replica::new(url, settings)?));
        }
        let identity = if all.is_empty() {
            None
        } else {
            Some(DatabaseIdentity::of(primary).await?)
        };
        let replicas = Self {
            all,
            turn: AtomicUsize::new(0),
            primary: identity,
        };
        let mut probes = JoinSet::new();
        if let Some(identity) = identity {
            for replica in &replicas.all {
                let (replica, primary) = (replica.clone(), primary.clone());
                probes.spawn(async move { replica.probe(identity, &primary, true).await });
            }
        }
        for probed in probes.join_all().await {
            probed?;
        }
        Ok(replicas)
    }

    /// Returns the next usable replica for a read; `None` means the primary.
    pub(crate) fn next(&self, want: Want) -> Option<Arc<Replica>> {
        self.in_turn(want).next().cloned()
    }

    /// Reads from the next usable replica. Returns `None` if no replica answers.
    pub(crate) async fn read<'a, T, F>(
        &'a self,
        want: Want,
        read: impl Fn(&'a PgPool) -> F,
    ) -> Option<T>
    where
        F: Future<Output = Result<T>>,
    {
        for replica in self.in_turn(want) {
            // Boxed, so that the future stays small when no replica is used.
            match replica.reading(Box::pin(read(&replica.pool))).await {
                Ok(read) => return Some(read),
                Err(error) => replica.failed(&error),
            }
        }
        None
    }

    /// Returns the usable replicas, the next one first.
    fn in_turn(&self, want: Want) -> impl Iterator<Item = &Arc<Replica>> {
        let count = if want.allow_stale { self.all.len() } else { 0 };
        let first = match count {
            0 => 0,
            count => self.turn.fetch_add(1, Ordering::Relaxed) % count,
        };
        let turned = self.all.iter().cycle().skip(first).take(count);
        turned.filter(|replica| *replica.state.borrow() == ReplicaState::Used)
    }
}

impl Replica {
    fn new(url: &str, settings: &PostgresSettings) -> Result<Self> {
        let options = options(REPLICA, url, settings)?;
        let address = address(&options);
        let pool = PgPoolOptions::new()
            .max_connections(settings.pool_size())
            .acquire_timeout(settings.connection_timeout.min(TIMEOUT))
            .test_before_acquire(false)
            // A dead connection would fail a read, and take the whole replica out of use.
            .before_acquire(|connection, about| {
                Box::pin(async move {
                    if about.idle_for > IDLE {
                        sqlx::Connection::ping(connection).await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(options);
        Ok(Self {
            pool,
            address,
            state: Sender::new(ReplicaState::Unfit),
            log: Mutex::new(ReplicaLog {
                failures: BTreeSet::new(),
                since: Instant::now(),
            }),
        })
    }

    /// Runs a read on this replica. Fails as soon as the replica becomes unusable.
    pub(crate) async fn reading<T>(&self, read: impl Future<Output = Result<T>>) -> Result<T> {
        let mut state = self.state.subscribe();
        let unfit = async {
            let _ = state.wait_for(|s| *s == ReplicaState::Unfit).await;
        };
        tokio::select! {
            read = read => read,
            () = unfit => {
                Err(Error::unavailable("read from a replica", "the replica became unusable"))
            }
        }
    }

    /// Reports a failed read: the replica is not used until the next probe.
    pub(crate) fn failed(&self, error: &Error) {
        if let Error::Unavailable { .. } | Error::Internal { .. } = error {
            let rested = self.state.send_if_modified(|state| {
                let used = *state == ReplicaState::Used;
                if used {
                    *state = ReplicaState::Resting;
                }
                used
            });
            if rested {
                self.log_failure(error.chain());
            }
        }
    }

    /// Logs a failure once, and again only after the replica was usable for a while.
    fn log_failure(&self, why: String) {
        let mut log = self.log();
        log.since = Instant::now();
        let address = &self.address;
        if log.failures.len() < MAX_LOGGED && !log.failures.contains(&why) {
            tracing::warn!(
                address,
                why,
                "replica not usable; stale reads use other replicas or the database"
            );
            log.failures.insert(why);
        } else {
            tracing::debug!(address, why, "replica not usable");
        }
    }

    /// Probes the replica, and updates its state.
    ///
    /// # Errors
    /// `BadArgument`: at the start, if it is another database.
    async fn probe(&self, identity: DatabaseIdentity, primary: &PgPool, start: bool) -> Result<()> {
        let probed = tokio::time::timeout(TIMEOUT, probe(identity, &self.pool, primary)).await;
        let why = match probed {
            Ok(Ok(())) => {
                self.mark_usable();
                return Ok(());
            }
            Ok(Err(UnfitReason::Foreign(why))) if start => {
                return Err(Error::bad(REPLICA, format!("{} {why}", self.address)));
            }
            Ok(Err(UnfitReason::Foreign(why) | UnfitReason::Temporary(why))) => why,
            Err(_) => format!("no answer within {} s", TIMEOUT.as_secs()),
        };
        self.state.send_replace(ReplicaState::Unfit);
        self.log_failure(why);
        Ok(())
    }

    fn mark_usable(&self) {
        let was = self.state.send_replace(ReplicaState::Used);
        let mut log = self.log();
        let address = &self.address;
        if was != ReplicaState::Used {
            log.since = Instant::now();
            tracing::debug!(address, "replica in use for stale reads");
        } else if !log.failures.is_empty() && log.since.elapsed() > CALM {
            log.failures.clear();
            tracing::info!(address, "replica in use again");
        }
    }

    fn log(&self) -> MutexGuard<'_, ReplicaLog> {
        self.log.lock().expect("no code panics while it logs")
    }
}

/// The tasks that probe replicas. They end when this is dropped.
#[derive(Debug)]
pub(crate) struct ReplicaTasks {
    _tasks: JoinSet<()>,
}

/// Starts probing all replicas.
pub(crate) fn watch(replicas: &Replicas, database: &Database) -> ReplicaTasks {
    let mut tasks = JoinSet::new();
    if let Some(identity) = replicas.primary {
        for replica in &replicas.all {
            let (replica, primary) = (replica.clone(), database.pool.clone());
            tasks.spawn(async move {
                loop {
                    tokio::time::sleep(INTERVAL).await;
                    // It fails only at the start.
                    let _ = replica.probe(identity, &primary, false).await;
                }
            });
        }
    }
    ReplicaTasks { _tasks: tasks }
}
