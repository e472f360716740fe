//! Recorded claims while connections are killed: two claims of one piece of work are never live at
//! once, late workers are rejected, and everything is done once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tko_backend_postgres::{Postgres, PostgresSettings};
use tko_core::{
    Ack, Backend, Change, ChangeSet, Claim, ClaimRequest, Enqueue, Error, ErrorKind, Facts, Key,
    Kind, Lane, Outcome, Package, Put, Require, Result, Stage,
};
use tko_postgres_server::{PostgresServer, PostgresServerSettings};

const WORK: usize = 120;
const WORKERS: usize = 6;
const LEASE: Duration = Duration::from_millis(400);

async fn open(server: &PostgresServer, database: &str) -> Arc<Postgres> {
    let mut settings = PostgresSettings::new(server.url(database));
    settings.connections = 6;
    Arc::new(Postgres::connect(settings).await.expect("a store"))
}

/// Sites that are each due to be prepared once.
fn due() -> ChangeSet {
    let keys = (0..WORK).map(|n| Key::new(Kind::Site, &format!("s/{n:03}")).expect("an id"));
    let mut set = ChangeSet::default();
    for key in keys {
        set.require.push(Require::Absent(key.clone()));
        set.enqueue.push(Enqueue::now(
            Stage::Schedule,
            key.clone(),
            Lane::of(key.id()),
        ));
        set.changes.push(Change::Put(
            Put::new(key)
                .facts(Facts::Site {
                    template: None,
                    origin: None,
                })
                .body(Package::default()),
        ));
    }
    set
}

/// The end of a claim.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// The worker did nothing, as if it had died.
    Forgotten,
    Settled {
        done: bool,
        /// The worker sent its request after this time.
        sent: Instant,
        /// `None`: the reply was lost.
        live: Option<bool>,
    },
}

/// One claim, as its worker saw it.
#[derive(Debug)]
struct Seen {
    claim: Claim,
    at: Instant,
    end: End,
}

impl Seen {
    /// The time of the claim, by the store's clock.
    fn given(&self) -> i64 {
        self.claim.until.0 - i64::try_from(LEASE.as_micros()).expect("short")
    }
}

/// `None`: the reply was lost.
fn answer<T>(result: Result<T, Error>) -> Option<T> {
    match result {
        Ok(answer) => Some(answer),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
            None
        }
    }
}

/// Claims and settles until nothing is due, and no lease expires, for longer than a lease.
async fn work(store: Arc<Postgres>, worker: usize) -> Vec<Seen> {
    let request = ClaimRequest::new(Stage::Schedule, format!("worker {worker}"))
        .max(4)
        .lease(LEASE)
        .wait(3 * LEASE);
    let (mut seen, mut turn) = (Vec::new(), worker);
    loop {
        let Some(claims) = answer(store.claim(&request).await) else {
            continue;
        };
        if claims.is_empty() {
            return seen;
        }
        let at = Instant::now();
        for claim in claims {
            turn += 1;
            let outcome = match turn % 8 {
                0 | 3 => None,
                5 => Some(Outcome::Yield {
                    after: Duration::from_millis(5),
                }),
                _ => Some(Outcome::Done),
            };
            let end = match outcome {
                None => End::Forgotten,
                Some(outcome) => {
                    let (done, sent) = (outcome == Outcome::Done, Instant::now());
                    if turn % 16 == 1 {
                        // Too late: the lease has expired.
                        tokio::time::sleep(LEASE + LEASE / 4).await;
                    }
                    let settled = store.settle(&[(claim.token.clone(), outcome)]).await;
                    let live = answer(settled).map(|live| live[0]);
                    End::Settled { done, sent, live }
                }
            };
            seen.push(Seen { claim, at, end });
        }
    }
}

/// Checks all claims of one piece of work, in order.
fn exclusive(key: &Key, claims: &[Seen]) {
    let done = |seen: &Seen| {
        matches!(
            seen.end,
            End::Settled {
                done: true,
                live: Some(true),
                ..
            }
        )
    };
    for pair in claims.windows(2) {
        let [one, next] = pair else { continue };
        assert!(one.given() <= next.given(), "{key}: fences rise with time");
        assert!(!done(one), "{key}: claimed after it was done: {pair:#?}");
        if next.given() < one.claim.until.0 {
            let given_back = matches!(one.end, End::Settled { sent, .. } if sent < next.at);
            assert!(given_back, "{key}: two had it at once: {pair:#?}");
        } else {
            // A worker that settled did so before its lease expired, or was rejected.
            let by_next =
                matches!(one.end, End::Settled { sent, live: Some(true), .. } if sent > next.at);
            assert!(!by_next, "{key}: a late worker was let in: {pair:#?}");
        }
    }
    let last = claims.last().expect("it was claimed");
    let unknown = claims.iter().any(|seen| {
        matches!(
            seen.end,
            End::Settled {
                done: true,
                live: None,
                ..
            }
        )
    });
    assert!(done(last) || unknown, "{key} was not done: {claims:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn claims_are_exclusive_while_connections_are_killed() {
    let server = PostgresServer::start(PostgresServerSettings::default()).expect("a server");
    let database = server.create_database().expect("a database");
    let mut stores = Vec::new();
    for _ in 0..3 {
        stores.push(open(&server, &database).await);
    }
    stores[0].commit(due(), Ack::Numbered).await.expect("sites");
    let (ended, kills) = (AtomicBool::new(false), AtomicU64::new(0));
    let workers = (0..WORKERS).map(|n| tokio::spawn(work(stores[n % stores.len()].clone(), n)));
    let working = async {
        let seen = futures_util::future::join_all(workers).await;
        ended.store(true, Ordering::SeqCst);
        seen.into_iter().flat_map(|seen| seen.expect("no panic"))
    };
    let killing = async {
        let kill = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE datname = '{database}' AND pid <> pg_backend_pid() AND random() < 0.1"
        );
        while !ended.load(Ordering::SeqCst) {
            let killed = tokio::task::block_in_place(|| server.psql("postgres", &kill));
            let killed = killed.expect("the server runs");
            kills.fetch_add(killed.trim().parse().expect("a number"), Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let (seen, ()) = tokio::join!(working, killing);
    let mut by_key: BTreeMap<Key, Vec<Seen>> = BTreeMap::new();
    for seen in seen {
        by_key
            .entry(seen.claim.work.key.clone())
            .or_default()
            .push(seen);
    }
    for (key, claims) in &mut by_key {
        claims.sort_by_key(|seen| seen.claim.fence);
        exclusive(key, claims);
    }
    // A missing claim went to a worker whose reply was lost, and its work would be due again.
    assert_eq!(by_key.len(), WORK, "everything was claimed");
    assert!(
        by_key.values().any(|claims| claims.len() > 2),
        "again and again"
    );
    assert!(kills.load(Ordering::SeqCst) > 10, "connections were killed");
}
