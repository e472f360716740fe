//! What the backend is asked to do.

use super::fleet::{creations, template};
use super::raw::{CALLERS, TIME, rate};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use sqlx::{Executor, PgPool};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tko_core::{
    Ack, Backend, ClaimRequest, Cursor, Kind, List, Outcome, Page, Pattern, Select, Stage, Want,
};

/// Numbers that were not used yet.
static NEXT: AtomicUsize = AtomicUsize::new(100_000_000);

pub(crate) fn fresh(count: usize) -> std::ops::Range<usize> {
    let start = NEXT.fetch_add(count, Ordering::Relaxed);
    start..start + count
}

/// One at a time.
pub(crate) async fn create(backend: &Arc<dyn Backend>) -> f64 {
    rate(CALLERS, 1, |_, _| async move {
        let set = creations(fresh(1));
        backend.commit(set, Ack::Durable).await.expect("created");
    })
    .await
}

/// A hundred at a time. What is to be created is thought out beforehand.
pub(crate) async fn create_in_batches(backend: &Arc<dyn Backend>) -> f64 {
    let sets: Vec<_> = (0..1_000).map(|_| creations(fresh(100))).collect();
    let start = Instant::now();
    let mut count = 0.0;
    for set in sets {
        backend.commit(set, Ack::Durable).await.expect("created");
        count += 100.0;
        if start.elapsed() > TIME {
            break;
        }
    }
    count / start.elapsed().as_secs_f64()
}

/// How often each page is read.
pub(crate) const ROUNDS: u32 = 25;

/// What a kind of page costs.
pub(crate) struct PageCost {
    pub(crate) name: &'static str,
    pub(crate) rows: usize,
    pub(crate) p50: Duration,
    /// Pages of memory touched; of the server.
    pub(crate) buffers: f64,
    pub(crate) bar: f64,
}

/// Pages of a hundred.
pub(crate) async fn pages(backend: &Arc<dyn Backend>, pool: &PgPool, size: usize) -> Vec<PageCost> {
    let all = Select::all(Kind::Deployment);
    let mut middle = None;
    let mut skipped = 0;
    while skipped < size / 2 {
        let list = List {
            select: all.clone(),
            after: middle,
            limit: 1_000,
            want: Want::ROW,
        };
        let page = backend.list(&list).await.expect("a page");
        skipped += page.items.len();
        middle = page.next;
        if middle.is_none() {
            break;
        }
    }
    let value = |text: &str| Pattern::value(text).expect("a pattern");
    let by = |key: &str, pattern: &str| {
        let mut select = all.clone();
        select.metadata.insert(key.to_owned(), value(pattern));
        select
    };
    let mut both = by("tier", "1");
    both.metadata.insert("rack".to_owned(), value("r001"));
    let of_template = |pattern: &str| Select {
        template_ids: vec![Pattern::id(pattern).expect("a pattern")],
        ..all.clone()
    };
    let cases: Vec<(&'static str, Select, Option<Cursor>, f64)> = vec![
        ("page, first", all.clone(), None, 550.0),
        ("page, in the middle", all.clone(), middle.clone(), 550.0),
        ("label, 1 of 1,000", by("rack", "r007"), None, 550.0),
        ("label, 1 of 3", by("tier", "1"), None, 550.0),
        (
            "label, 1 of 3, in the middle",
            by("tier", "1"),
            middle.clone(),
            550.0,
        ),
        ("two labels", both, None, 1_550.0),
        (
            "label prefix, 10 values",
            by("region", "GDC-1*"),
            None,
            750.0,
        ),
        (
            "template, exact",
            of_template(template(7).as_str()),
            None,
            550.0,
        ),
        (
            "template prefix, 100 values",
            of_template("nf/upf:v1*"),
            middle.clone(),
            2_550.0,
        ),
        (
            "unprepared",
            Select {
                prepared: Some(false),
                ..all.clone()
            },
            middle,
            550.0,
        ),
        ("nothing: label", by("rack", "none"), None, 20.0),
        ("nothing: label prefix", by("rack", "none*"), None, 20.0),
        ("nothing: template", of_template("nf/none/**"), None, 20.0),
    ];
    let mut costs = Vec::new();
    for (name, select, after, bar) in cases {
        let list = List {
            select,
            after,
            limit: 100,
            want: Want::ROW,
        };
        let mut times = Vec::new();
        let mut rows = 0;
        for _ in 0..10 {
            backend.list(&list).await.expect("warm");
        }
        pool.execute("SELECT pg_stat_statements_reset()")
            .await
            .expect("reset");
        for _ in 0..ROUNDS {
            let start = Instant::now();
            rows = backend.list(&list).await.expect("a page").items.len();
            times.push(start.elapsed());
        }
        let touched: f64 = sqlx::query_scalar(
            "SELECT coalesce(sum(shared_blks_hit + shared_blks_read), 0)::float8 FROM pg_stat_statements \
             WHERE query NOT LIKE '%pg_stat_statements%' AND query NOT LIKE '%pending%' \
             AND query NOT LIKE '%event%' AND query NOT LIKE '%advisory%'",
        )
        .fetch_one(pool)
        .await
        .expect("counted");
        times.sort();
        costs.push(PageCost {
            name,
            rows,
            p50: times[times.len() / 2],
            buffers: touched / f64::from(ROUNDS),
            bar,
        });
    }
    costs
}

/// As they are read on.
pub(crate) type Pages = BoxStream<'static, tko_core::Result<Page>>;

/// All rows, page by page.
pub(crate) async fn stream(pages: impl FnOnce(List) -> Pages) -> f64 {
    let start = Instant::now();
    let list = List {
        select: Select::all(Kind::Deployment),
        after: None,
        limit: 1_000,
        want: Want::ROW,
    };
    let mut pages = pages(list);
    let mut count = 0.0;
    while let Some(page) = pages.next().await {
        let page = page.expect("a page");
        #[allow(clippy::cast_precision_loss)] // A thousand.
        let items = page.items.len() as f64;
        count += items;
    }
    count / start.elapsed().as_secs_f64()
}

/// Claims, and settles as done; at most so many, which must be due.
pub(crate) async fn claims(backend: &Arc<dyn Backend>, most: usize) -> f64 {
    let total = AtomicUsize::new(0);
    let start = Instant::now();
    let workers = (0..CALLERS).map(|caller| {
        let total = &total;
        async move {
            let request = ClaimRequest {
                stage: Stage::Prepare,
                worker: format!("worker {caller}"),
                max: 100,
                lease: Duration::from_secs(30),
                wait: Duration::ZERO,
            };
            while start.elapsed() < TIME && total.load(Ordering::Relaxed) < most {
                let claims = backend.claim(&request).await.expect("claimed");
                assert!(!claims.is_empty(), "there is enough to do");
                let done: Vec<_> = claims
                    .into_iter()
                    .map(|claim| (claim.token, Outcome::Done))
                    .collect();
                let settled = backend.settle(&done).await.expect("settled");
                let live = settled.iter().filter(|live| **live).count();
                total.fetch_add(live, Ordering::Relaxed);
            }
        }
    });
    futures_util::future::join_all(workers).await;
    #[allow(clippy::cast_precision_loss)] // Far below 2^52.
    let total = total.load(Ordering::Relaxed) as f64;
    total / start.elapsed().as_secs_f64()
}

/// The same, while an idle transaction holds a snapshot.
pub(crate) async fn claims_under_snapshot(
    backend: &Arc<dyn Backend>,
    pool: &PgPool,
    most: usize,
) -> f64 {
    let mut held = pool.begin().await.expect("a transaction");
    held.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        .await
        .expect("set");
    held.execute("SELECT count(*) FROM work")
        .await
        .expect("a snapshot");
    let rate = claims(backend, most).await;
    held.rollback().await.expect("it ends");
    rate
}

/// Ids of what is changed, as the feed tells.
pub(crate) async fn news(backend: &Arc<dyn Backend>) -> BoxStream<'static, String> {
    let head = backend.head().await.expect("the head");
    let tail = backend.tail(head.revision, Want::ROW);
    tail.map(|change| change.expect("a change").key.id().to_owned())
        .boxed()
}

/// From the answer to a commit to a watcher's sight, sorted.
pub(crate) async fn lag(
    backend: &Arc<dyn Backend>,
    mut news: BoxStream<'static, String>,
) -> Vec<Duration> {
    let sent: Arc<std::sync::Mutex<std::collections::HashMap<String, Instant>>> = Arc::default();
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
        // Seen before its writer had the answer: no time at all.
        let at = *sent.entry(id).or_insert(seen);
        lags.push(seen.duration_since(at));
    }
    writer.await.expect("it wrote");
    lags.sort();
    lags
}
