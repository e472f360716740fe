//! Pages of a hundred deployments, for many selections.

use sqlx::{Executor, PgPool};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tko_benches::sample::template;
use tko_core::{Backend, Cursor, Kind, List, Pattern, Select};

/// How often each page is read.
pub(crate) const ROUNDS: u32 = 25;

/// The cost of a kind of page.
pub(crate) struct PageCost {
    pub(crate) name: &'static str,
    pub(crate) rows: usize,
    pub(crate) p50: Duration,
    /// Buffers that the server touched for one page.
    pub(crate) buffers: f64,
    pub(crate) bar: f64,
}

/// A cursor that half of the deployments precede.
async fn middle(backend: &Arc<dyn Backend>, size: usize) -> Option<Cursor> {
    let mut list = List::new(Select::all(Kind::Deployment)).limit(1_000);
    let mut skipped = 0;
    while skipped < size / 2 {
        let page = backend.list(&list).await.expect("a page");
        skipped += page.items.len();
        list.after = page.next;
        if list.after.is_none() {
            break;
        }
    }
    list.after
}

/// All kinds of page: name, selection, cursor and the maximum number of buffers.
fn cases(middle: Option<&Cursor>) -> Vec<(&'static str, Select, Option<Cursor>, f64)> {
    let all = Select::all(Kind::Deployment);
    let value = |text: &str| Pattern::value(text).expect("a pattern");
    let by = |key: &str, pattern: &str| {
        let mut select = all.clone();
        select.metadata.insert(key.to_owned(), value(pattern));
        select
    };
    let mut both = by("tier", "1");
    both.metadata.insert("rack".to_owned(), value("r001"));
    let of_template = |pattern: &str| {
        all.clone()
            .template_id(Pattern::id(pattern).expect("a pattern"))
    };
    let unprepared = all.clone().prepared(false);
    let exactly = of_template(template(7).as_str());
    let there = || middle.cloned();
    vec![
        ("page, first", all.clone(), None, 550.0),
        ("page, in the middle", all.clone(), there(), 550.0),
        ("label, 1 of 1,000", by("rack", "r007"), None, 550.0),
        ("label, 1 of 3", by("tier", "1"), None, 550.0),
        (
            "label, 1 of 3, in the middle",
            by("tier", "1"),
            there(),
            550.0,
        ),
        // One of three rows that have the first label has the other: each costs a lookup.
        ("two labels", both, None, 550.0 + 300.0 * 5.0),
        (
            "label prefix, 10 values",
            by("region", "GDC-1*"),
            None,
            750.0,
        ),
        ("template, exact", exactly, None, 550.0),
        (
            "template prefix, 100 values",
            of_template("nf/upf:v1*"),
            there(),
            2_550.0,
        ),
        ("unprepared", unprepared, there(), 550.0),
        ("nothing: label", by("rack", "none"), None, 20.0),
        ("nothing: label prefix", by("rack", "none*"), None, 20.0),
        ("nothing: template", of_template("nf/none/**"), None, 20.0),
    ]
}

pub(crate) async fn measure(
    backend: &Arc<dyn Backend>,
    pool: &PgPool,
    size: usize,
) -> Vec<PageCost> {
    let mut costs = Vec::new();
    for (name, select, after, bar) in cases(middle(backend, size).await.as_ref()) {
        let list = List::new(select).after(after).limit(100);
        costs.push(cost(backend, pool, name, &list, bar).await);
    }
    costs
}

/// The cost of one page when all it needs is in memory.
pub(crate) async fn cost(
    backend: &Arc<dyn Backend>,
    pool: &PgPool,
    name: &'static str,
    list: &List,
    bar: f64,
) -> PageCost {
    let mut times = Vec::new();
    let mut rows = 0;
    for _ in 0..10 {
        backend.list(list).await.expect("warm");
    }
    pool.execute("SELECT pg_stat_statements_reset()")
        .await
        .expect("reset");
    for _ in 0..ROUNDS {
        let start = Instant::now();
        rows = backend.list(list).await.expect("a page").items.len();
        times.push(start.elapsed());
    }
    let touched: f64 = sqlx::query_scalar(
        "SELECT coalesce(sum(shared_blks_hit + shared_blks_read), 0)::float8 FROM pg_stat_statements \
         WHERE query NOT LIKE '%pg_stat_statements%' AND query NOT LIKE '%pending%' \
         AND query NOT LIKE '%event%'",
    )
    .fetch_one(pool)
    .await
    .expect("counted");
    times.sort();
    PageCost {
        name,
        rows,
        p50: times[times.len() / 2],
        buffers: touched / f64::from(ROUNDS),
        bar,
    }
}
