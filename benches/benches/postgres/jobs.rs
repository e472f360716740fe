//! The jobs of the backend.

use super::raw::TIME;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use sqlx::{Executor, PgPool};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tko_benches::sample::{creations, fresh};
use tko_benches::speed::{CALLERS, Inputs, Speed, speed};
use tko_core::{
    Ack, Backend, ClaimRequest, Key, Kind, List, Outcome, Page, Pattern, Select, Stage, Want,
};

/// Names of jobs in the report.
pub(crate) const CREATE: &str = "create, 8 callers";
pub(crate) const BATCHES: &str = "create in batches of 100, 1 caller";
pub(crate) const STREAM: &str = "stream of all";

/// Commits `sets` change sets that create `each` deployments.
async fn commit(backend: &Arc<dyn Backend>, callers: usize, sets: usize, each: usize) -> Speed {
    let sets = Inputs::new(sets, || creations(fresh(each)));
    let sets = &sets;
    speed(callers, TIME, |_, _| async move {
        let Some(set) = sets.next() else {
            return 0;
        };
        backend.commit(set, Ack::Durable).await.expect("created");
        each
    })
    .await
}

/// Creates one deployment at a time, with several callers.
pub(crate) async fn create(backend: &Arc<dyn Backend>) -> Speed {
    commit(backend, CALLERS, 40_000, 1).await
}

/// Creates a hundred deployments at a time, with one caller.
pub(crate) async fn create_in_batches(backend: &Arc<dyn Backend>) -> Speed {
    commit(backend, 1, 1_000, 100).await
}

/// Creates deployments while nothing is written for the feed and no change gets a revision: shows
/// what the feed costs.
pub(crate) async fn create_without_feed(backend: &Arc<dyn Backend>, pool: &PgPool) -> Speed {
    let mut held = pool.begin().await.expect("a transaction");
    // A pass that numbers changes takes this lock first.
    held.execute("SELECT FROM head FOR UPDATE")
        .await
        .expect("locked");
    pool.execute(
        "CREATE FUNCTION bench_nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; \
         CREATE TRIGGER bench_nothing BEFORE INSERT ON pending \
         FOR EACH ROW EXECUTE FUNCTION bench_nothing()",
    )
    .await
    .expect("a trigger");
    let bare = create(backend).await;
    pool.execute("DROP FUNCTION bench_nothing CASCADE")
        .await
        .expect("as before");
    held.rollback().await.expect("unlocked");
    bare
}

/// The load of a control plane. Of ten calls, five list a page by a label, three create, one reads
/// a package, and one claims and settles ten items.
pub(crate) async fn mixed(backend: &Arc<dyn Backend>) -> Speed {
    let page = |count: usize| {
        let mut select = Select::all(Kind::Deployment);
        let value = Pattern::value(&format!("r{:03}", count % 1_000)).expect("a pattern");
        select.metadata.insert("rack".to_owned(), value);
        List::new(select).limit(100)
    };
    let first = page(0).limit(1_000).select(Select::all(Kind::Deployment));
    let known = backend.list(&first).await.expect("a page").items;
    let known: &Vec<Key> = &known.iter().map(|r| r.entity.key.clone()).collect();
    speed(CALLERS, TIME, |caller, count| async move {
        match count % 10 {
            0..5 => {
                let list = page(caller * 100 + count);
                backend.list(&list).await.expect("a page");
            }
            5..8 => {
                let set = creations(fresh(1));
                backend.commit(set, Ack::Durable).await.expect("created");
            }
            8 => {
                let key = &known[(caller * 131 + count * 17) % known.len()];
                let keys = std::slice::from_ref(key);
                backend.get(keys, Want::PACKAGE).await.expect("a package");
            }
            _ => {
                let claims = backend.claim(&request(caller, 10)).await.expect("claimed");
                let done = claims.into_iter().map(|claim| (claim.token, Outcome::Done));
                let done: Vec<_> = done.collect();
                backend.settle(&done).await.expect("settled");
            }
        }
        1
    })
    .await
}

/// The pages of a listing.
pub(crate) type Pages = BoxStream<'static, tko_core::Result<Page>>;

/// Reads all rows, page by page.
pub(crate) async fn stream(pages: impl FnOnce(List) -> Pages) -> Speed {
    let start = Instant::now();
    let list = List::new(Select::all(Kind::Deployment)).limit(1_000);
    let mut pages = pages(list);
    let mut count = 0;
    while let Some(page) = pages.next().await {
        count += page.expect("a page").items.len();
    }
    Speed::of(count, start.elapsed())
}

fn request(caller: usize, max: usize) -> ClaimRequest {
    ClaimRequest::new(Stage::Prepare, format!("worker {caller}"))
        .max(max)
        .lease(Duration::from_secs(30))
}

/// Maximum number of items that one measurement settles.
pub(crate) struct Work(pub(crate) usize);

impl Work {
    /// Claims items and settles them as done.
    pub(crate) async fn done_by_workers(&self, backend: &Arc<dyn Backend>) -> Speed {
        let total = AtomicUsize::new(0);
        let total = &total;
        speed(CALLERS, TIME, |caller, _| async move {
            if total.load(Ordering::Relaxed) >= self.0 {
                return 0;
            }
            let claims = backend.claim(&request(caller, 100)).await.expect("claimed");
            assert!(!claims.is_empty(), "there is enough to do");
            let done = claims.into_iter().map(|claim| (claim.token, Outcome::Done));
            let done: Vec<_> = done.collect();
            let settled = backend.settle(&done).await.expect("settled");
            let live = settled.iter().filter(|live| **live).count();
            total.fetch_add(live, Ordering::Relaxed);
            live
        })
        .await
    }

    /// Does the same while an idle transaction holds a snapshot.
    pub(crate) async fn done_under_snapshot(
        &self,
        backend: &Arc<dyn Backend>,
        pool: &PgPool,
    ) -> Speed {
        let mut held = pool.begin().await.expect("a transaction");
        held.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            .await
            .expect("set");
        held.execute("SELECT count(*) FROM work")
            .await
            .expect("a snapshot");
        let speed = self.done_by_workers(backend).await;
        held.rollback().await.expect("it ends");
        speed
    }
}

/// Ids of changed entities, from the feed.
pub(crate) async fn news(backend: &Arc<dyn Backend>) -> BoxStream<'static, String> {
    let head = backend.feed_position().await.expect("the head");
    let tail = backend.tail(head.revision, Want::ROW);
    tail.map(|change| change.expect("a change").key.id().to_owned())
        .boxed()
}

/// The times from the answer to a commit until a watcher sees the change, sorted.
pub(crate) async fn lag(
    backend: &Arc<dyn Backend>,
    mut news: BoxStream<'static, String>,
) -> Vec<Duration> {
    let sent: Arc<Mutex<std::collections::HashMap<String, Instant>>> = Arc::default();
    let writer = {
        let (backend, sent) = (backend.clone(), sent.clone());
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_millis(1));
            for _ in 0..5_000 {
                tick.tick().await;
                let (backend, sent) = (backend.clone(), sent.clone());
                tokio::spawn(async move {
                    let set = creations(fresh(1));
                    let id = set.changes[0].key().id().to_owned();
                    backend.commit(set, Ack::Durable).await.expect("created");
                    sent.lock()
                        .expect("not poisoned")
                        .entry(id)
                        .or_insert_with(Instant::now);
                });
            }
        })
    };
    let mut lags = Vec::new();
    while lags.len() < 5_000 {
        let id = news.next().await.expect("no end");
        let seen = Instant::now();
        let mut sent = sent.lock().expect("not poisoned");
        // Seen before its writer got the answer: counts as no time.
        let at = *sent.entry(id).or_insert(seen);
        lags.push(seen.duration_since(at));
    }
    writer.await.expect("it wrote");
    lags.sort();
    lags
}
