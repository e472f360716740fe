//! Replicas: streaming standbys of the database, an unknown time behind it.
//!
//! Only what may show an older state ([`Want::any_revision`]) is read from them. None is ever
//! needed: what one of them does not give, the primary does. Whether one can be used is found out
//! in the background (`look`), so that nobody waits for one that is not there; and by whoever reads
//! from it and fails.

mod probe;

use crate::connect::{options, place};
use crate::postgres::Shared;
use crate::settings::Settings;
use probe::{Identity, look};
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

/// Between two looks at a replica.
const LOOK: Duration = Duration::from_secs(2);

/// What does not answer for so long is not there: whoever reads has somewhere else to go.
const PATIENCE: Duration = Duration::from_secs(3);

/// A connection that was not used for so long is asked whether it lives before it is.
const IDLE: Duration = Duration::from_secs(1);

/// Of one that fails now and then is told once, until it did not for so long.
const CALM: Duration = Duration::from_mins(1);

/// Most failures of one replica that are told before it is well again.
const MOST_TOLD: usize = 20;

/// What the URL of a replica is called in errors.
const REPLICA: &str = "backend replica";

/// All that this process was told of.
pub(crate) struct Replicas {
    all: Vec<Arc<Replica>>,
    /// Which is next.
    turn: AtomicUsize,
    /// Of the primary; `None`: there are no replicas.
    primary: Option<Identity>,
}

/// One of them.
pub(crate) struct Replica {
    pub(crate) pool: PgPool,
    place: String,
    standing: Sender<Standing>,
    told: Mutex<Told>,
}

/// Whether it is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Used,
    /// Not, as a read failed. Others that are under way may succeed.
    Resting,
    /// Not, and nothing is to be expected of what is under way either.
    Unfit,
}

/// What was told of it.
#[derive(Debug)]
struct Told {
    /// Why it could not be used.
    failures: BTreeSet<String>,
    /// Since when it did not fail, or always failed.
    since: Instant,
}

impl Replicas {
    /// Those of the settings, as far as they can be used now.
    ///
    /// # Errors
    /// `BadArgument`: one is no URL, or of another database.
    pub(crate) async fn find(settings: &Settings, primary: &PgPool) -> Result<Self> {
        let mut all = Vec::with_capacity(settings.replicas.len());
        for url in &settings.replicas {
            all.push(Arc::new(Replica::new(url, settings)?));
        }
        let identity = if all.is_empty() {
            None
        } else {
            Some(Identity::of(primary).await?)
        };
        let replicas = Self {
            all,
            turn: AtomicUsize::new(0),
            primary: identity,
        };
        let mut looks = JoinSet::new();
        if let Some(identity) = identity {
            for replica in &replicas.all {
                let (replica, primary) = (replica.clone(), primary.clone());
                looks.spawn(async move { replica.look(identity, &primary, true).await });
            }
        }
        for looked in looks.join_all().await {
            looked?;
        }
        Ok(replicas)
    }

    /// The next that can be used for what is wanted so; `None`: the primary.
    pub(crate) fn next(&self, want: Want) -> Option<Arc<Replica>> {
        self.in_turn(want).next().cloned()
    }

    /// Reads from the next that can; `None`: none could.
    pub(crate) async fn read<'a, T, F>(
        &'a self,
        want: Want,
        read: impl Fn(&'a PgPool) -> F,
    ) -> Option<T>
    where
        F: Future<Output = Result<T>>,
    {
        for replica in self.in_turn(want) {
            // Apart, so that reads that no replica answers carry nothing of it with them.
            match replica.reading(Box::pin(read(&replica.pool))).await {
                Ok(read) => return Some(read),
                Err(error) => replica.failed(&error),
            }
        }
        None
    }

    /// Those that can be used, the next first.
    fn in_turn(&self, want: Want) -> impl Iterator<Item = &Arc<Replica>> {
        let count = if want.allow_stale { self.all.len() } else { 0 };
        let first = match count {
            0 => 0,
            count => self.turn.fetch_add(1, Ordering::Relaxed) % count,
        };
        let turned = self.all.iter().cycle().skip(first).take(count);
        turned.filter(|replica| *replica.standing.borrow() == Standing::Used)
    }
}

impl Replica {
    fn new(url: &str, settings: &Settings) -> Result<Self> {
        let options = options(REPLICA, url, settings)?;
        let place = place(&options);
        let pool = PgPoolOptions::new()
            .max_connections(settings.connections.max(2))
            .acquire_timeout(settings.connection_timeout.min(PATIENCE))
            .test_before_acquire(false)
            // One that died unnoticed would cost a read and the standing of the whole replica.
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
            place,
            standing: Sender::new(Standing::Unfit),
            told: Mutex::new(Told {
                failures: BTreeSet::new(),
                since: Instant::now(),
            }),
        })
    }

    /// Reads from it, as long as there is any hope.
    pub(crate) async fn reading<T>(&self, read: impl Future<Output = Result<T>>) -> Result<T> {
        let mut standing = self.standing.subscribe();
        let unfit = async {
            let _ = standing.wait_for(|s| *s == Standing::Unfit).await;
        };
        tokio::select! {
            read = read => read,
            () = unfit => {
                Err(Error::unavailable("read from a replica", "it cannot be used any more"))
            }
        }
    }

    /// A read from it failed: the next ones go elsewhere, until it has been looked at.
    pub(crate) fn failed(&self, error: &Error) {
        if let Error::Unavailable { .. } | Error::Internal { .. } = error {
            let rested = self.standing.send_if_modified(|standing| {
                let used = *standing == Standing::Used;
                if used {
                    *standing = Standing::Resting;
                }
                used
            });
            if rested {
                self.tell(error.chain());
            }
        }
    }

    /// Says why it is not used: once, and again only after it was well for a while.
    fn tell(&self, why: String) {
        let mut told = self.told();
        told.since = Instant::now();
        let place = &self.place;
        if told.failures.len() < MOST_TOLD && !told.failures.contains(&why) {
            tracing::warn!(
                place,
                why,
                "the replica is not used for now: listings are read from elsewhere until it can be"
            );
            told.failures.insert(why);
        } else {
            tracing::debug!(place, why, "the replica is not used for now");
        }
    }

    /// Finds out whether it can be used.
    ///
    /// # Errors
    /// `BadArgument`: it is of another database, and this was asked at the start.
    async fn look(&self, identity: Identity, primary: &PgPool, start: bool) -> Result<()> {
        let looked = tokio::time::timeout(PATIENCE, look(identity, &self.pool, primary)).await;
        let why = match looked {
            Ok(Ok(())) => {
                self.can_be_used();
                return Ok(());
            }
            Ok(Err(probe::Unfit::Foreign(why))) if start => {
                return Err(Error::bad(REPLICA, format!("{} {why}", self.place)));
            }
            Ok(Err(probe::Unfit::Foreign(why) | probe::Unfit::ForNow(why))) => why,
            Err(_) => format!("it does not answer within {} s", PATIENCE.as_secs()),
        };
        self.standing.send_replace(Standing::Unfit);
        self.tell(why);
        Ok(())
    }

    fn can_be_used(&self) {
        let was = self.standing.send_replace(Standing::Used);
        let mut told = self.told();
        let place = &self.place;
        if was != Standing::Used {
            told.since = Instant::now();
            tracing::debug!(place, "listings of any revision are read from the replica");
        } else if !told.failures.is_empty() && told.since.elapsed() > CALM {
            told.failures.clear();
            tracing::info!(place, "the replica is used again");
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().expect("no code panics while it tells")
    }
}

/// Looks at them all the time; ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Watching {
    _looks: JoinSet<()>,
}

/// Starts it.
pub(crate) fn watch(shared: &Arc<Shared>) -> Watching {
    let mut looks = JoinSet::new();
    if let Some(identity) = shared.replicas.primary {
        for replica in &shared.replicas.all {
            let (replica, primary) = (replica.clone(), shared.pool.clone());
            looks.spawn(async move {
                loop {
                    tokio::time::sleep(LOOK).await;
                    // Only at the start it is an error.
                    let _ = replica.look(identity, &primary, false).await;
                }
            });
        }
    }
    Watching { _looks: looks }
}
