//! The cost of pages in buffers. It does not depend on the machine, and must not depend on the
//! number of entities.

use super::choose::choose;
use super::join::RelationFilters;
use super::plan::ListPlan;
use super::statements::copy;
use super::walk::SelectionWalk;
use crate::columns::is_row;
use crate::connect::options;
use crate::dialect::select_and_set;
use crate::metrics::StatementMetrics;
use crate::settings::PostgresSettings;
use crate::sql::BuiltSql;
use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection};
use tko_core::{DeploymentId, Key, Kind, Pattern, Select, SiteId, Want};
use tko_postgres_server::shared;

const DEPLOYMENTS: u32 = 100_000;

/// Deployments of 200 templates on 2,000 sites, each with six pairs of metadata.
const FILL: &str = "
    INSERT INTO entity SELECT 2, 'd' || lpad(n::text, 7, '0'), n, 1, 0, 0, 0, NULL, 1, false,
        n % 1000 <> 0, n % 1000 <> 1 AND n % 1000 <> 0, NULL,
        'nf/' || n % 2 || ':v' || n % 200, 'edge/' || n % 2000,
        CASE WHEN n % 10 = 0 THEN 'd' || lpad((n / 10)::text, 7, '0') END,
        CASE WHEN n % 100 = 0 THEN 'edge/' || (n + 7) % 2000 END, NULL,
        decode(repeat('00', 32), 'hex'), concat_ws(chr(10),
        'own' || chr(9) || 'own-' || n, 'few' || chr(9) || 'v' || n % 1000,
        'some' || chr(9) || 'GDC-' || n % 50, 'most' || chr(9) || 'v' || n % 3,
        'late' || chr(9) || CASE WHEN n > {n} * 0.99 THEN 'yes' ELSE 'no' END,
        'uneven' || chr(9) || CASE WHEN n % 10 = 0 THEN 'u' || n / 10 % 100 ELSE 'u0' END),
        json_build_object('placed', 1)
        FROM generate_series(1, {n}) n;
    INSERT INTO facet SELECT 2, 'own', 'own-' || n, 'd' || lpad(n::text, 7, '0') FROM generate_series(1, {n}) n;
    INSERT INTO facet SELECT 2, 'few', 'v' || n % 1000, 'd' || lpad(n::text, 7, '0') FROM generate_series(1, {n}) n;
    INSERT INTO facet SELECT 2, 'some', 'GDC-' || n % 50, 'd' || lpad(n::text, 7, '0') FROM generate_series(1, {n}) n;
    INSERT INTO facet SELECT 2, 'most', 'v' || n % 3, 'd' || lpad(n::text, 7, '0') FROM generate_series(1, {n}) n;
    INSERT INTO facet SELECT 2, 'late', CASE WHEN n > {n} * 0.99 THEN 'yes' ELSE 'no' END, 'd' || lpad(n::text, 7, '0') FROM generate_series(1, {n}) n;
    INSERT INTO facet SELECT 2, 'uneven', CASE WHEN n % 10 = 0 THEN 'u' || n / 10 % 100 ELSE 'u0' END,
        'd' || lpad(n::text, 7, '0') FROM generate_series(1, {n}) n;
    ANALYZE;";

const FETCHED: &str = "SELECT sum(pg_stat_get_xact_blocks_fetched(c.oid))::bigint FROM pg_class c \
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'i')";

async fn fetched(connection: &mut PgConnection) -> i64 {
    let fetched = sqlx::query_scalar(FETCHED).fetch_one(connection).await;
    fetched.expect("counted")
}

/// Reads the first page, or the page after an id. Returns its ids, and the buffers that it cost.
async fn page(
    connection: &mut PgConnection,
    select: &Select,
    after: Option<&str>,
) -> (Vec<String>, i64) {
    let metrics = StatementMetrics::default();
    let mut walk = SelectionWalk::new(&metrics, select, 100).wanting(Want::ROW);
    if let Some(after) = after {
        walk.after(&Key::new(Kind::Deployment, after).expect("an id"));
    }
    let mut all = connection.begin().await.expect("a transaction");
    let before = fetched(&mut all).await;
    let (found, enough) = walk
        .first(&mut all, &mut RelationFilters::none())
        .await
        .expect("a page");
    let after = fetched(&mut all).await;
    all.rollback().await.expect("it ends");
    assert!(enough, "one statement is enough: {select:?}");
    let ids = found.iter().map(|found| found.id().to_owned());
    (ids.collect(), after - before)
}

/// Reads the same page by `COPY`, if its plan is plain. Returns the number of rows, and the
/// buffers.
async fn copied(connection: &mut PgConnection, select: &Select) -> Option<(usize, i64)> {
    let mut plan = ListPlan::new(select)?;
    let mut all = connection.begin().await.expect("a transaction");
    let chosen = choose(&StatementMetrics::default(), &mut all, &mut plan).await;
    chosen.expect("a driver");
    if !plan.is_plain() {
        return None;
    }
    let BuiltSql { text, values } = copy(&plan, 100, Want::ROW).expect("a statement");
    let settings = values.into_texts();
    let before = select_and_set("SELECT 1", settings.len());
    let mut before = sqlx::query(AssertSqlSafe(before));
    for setting in settings {
        before = before.bind(setting);
    }
    before.execute(&mut *all).await.expect("set");
    let before = fetched(&mut all).await;
    let rows = all.copy_out_raw(&text).await.expect("it is sent");
    let rows: Vec<_> = rows.try_collect().await.expect("it is sent");
    let after = fetched(&mut all).await;
    all.rollback().await.expect("it ends");
    let rows = rows.iter().filter(|message| is_row(message)).count();
    Some((rows, after - before))
}

/// Selections by name, with the number of rows on the page, and additional buffers: 20 for each
/// merged value, and some for rows that match only one of two labels.
fn selections() -> Vec<(&'static str, Select, usize, i64)> {
    let all = || Select::all(Kind::Deployment);
    let labels = |labels: &[(&str, &str)]| {
        all().metadata_patterns(
            labels
                .iter()
                .map(|(key, value)| {
                    let pattern = Pattern::value(value).expect("a pattern");
                    ((*key).to_owned(), pattern)
                })
                .collect(),
        )
    };
    let ids = |text: &str| vec![Pattern::id(text).expect("a pattern")];
    vec![
        ("all", all(), 100, 0),
        ("one", all().ids(ids("d0000007")), 1, 0),
        ("ids by prefix", all().ids(ids("d00001**")), 100, 0),
        ("no such ids", all().ids(ids("x**")), 0, 0),
        ("a rare label", labels(&[("few", "v7")]), 100, 0),
        ("a frequent label", labels(&[("most", "v1")]), 100, 0),
        ("a label of the newest", labels(&[("late", "yes")]), 100, 0),
        ("no such label", labels(&[("most", "v9")]), 0, 0),
        (
            "two labels",
            labels(&[("most", "v1"), ("few", "v7")]),
            34,
            600,
        ),
        (
            "labels by prefix",
            labels(&[("some", "GDC-*")]),
            100,
            20 * 50,
        ),
        (
            "uneven labels by prefix",
            labels(&[("uneven", "u*")]),
            100,
            20 * 100,
        ),
        ("no label by prefix", labels(&[("some", "x*")]), 0, 0),
        ("one of unique labels", labels(&[("own", "own-77")]), 1, 0),
        ("a template", all().template_ids(ids("nf/1:v7")), 100, 0),
        (
            "templates by prefix",
            all().template_ids(ids("nf/1:**")),
            100,
            20 * 100,
        ),
        ("no such template", all().template_ids(ids("nf/1:v8")), 0, 0),
        ("a site", all().site_ids(ids("edge/7")), 50, 0),
        ("no site by prefix", all().site_ids(ids("lab/**")), 0, 0),
        (
            "a parent",
            all().parent(DeploymentId::new("d0000100").expect("an id")),
            1,
            0,
        ),
        (
            "around a site",
            all().concerning(SiteId::new("edge/7").expect("an id")),
            100,
            0,
        ),
        ("unprepared", all().prepared(false), 100, 0),
        ("unapproved", all().prepared(true).approved(false), 100, 0),
    ]
}

/// Returns the selections whose pages cost too much. A first read of each, which fills caches, does
/// not count.
async fn costly(connection: &mut PgConnection, state: &str) -> Vec<String> {
    let mut costly = Vec::new();
    for (name, select, rows, more) in selections() {
        page(connection, &select, None).await;
        let (found, cost) = page(connection, &select, None).await;
        let (found, bar) = (found.len(), bar(rows, more));
        if found != rows || cost > bar {
            costly.push(format!(
                "{name}: {found} rows of {rows}, {cost} buffers of {bar}, {state}"
            ));
        }
    }
    costly
}

/// A merge of lists of very different lengths omits no id.
async fn merges_uneven_lists(connection: &mut PgConnection) {
    let selections = selections().into_iter();
    let mut uneven = selections.filter(|(name, ..)| *name == "uneven labels by prefix");
    let (_, select, ..) = uneven.next().expect("it is selected");
    for first in [50_001, DEPLOYMENTS - 49] {
        let before = format!("d{:07}", first - 1);
        let (ids, _) = page(connection, &select, Some(&before)).await;
        // Every deployment has one of the values.
        let next = (first..=DEPLOYMENTS).take(100).map(|n| format!("d{n:07}"));
        assert_eq!(ids, next.collect::<Vec<_>>());
    }
}

/// The limit of buffers for a page with this many rows, and additional buffers.
fn bar(rows: usize, more: i64) -> i64 {
    match rows {
        0 => 20,
        rows => 5 * i64::try_from(rows).expect("it fits") + more + 50,
    }
}

/// Indexes: the statement that removes each, and the selection that needs it.
const INDEXES: [(&str, &str); 8] = [
    ("DROP INDEX entity_template", "a template"),
    ("DROP INDEX entity_site", "a site"),
    ("DROP INDEX entity_parent", "a parent"),
    ("DROP INDEX entity_elsewhere", "around a site"),
    ("DROP INDEX entity_unfinished", "unprepared"),
    ("DROP INDEX entity_unfinished", "unapproved"),
    (
        "ALTER TABLE facet DROP CONSTRAINT facet_pkey",
        "a rare label",
    ),
    ("ALTER TABLE entity DROP CONSTRAINT entity_pkey", "all"),
];

/// Returns the selections that cost no more without their index: the limits would not detect its
/// loss.
async fn unnoticed(connection: &mut PgConnection) -> Vec<String> {
    let mut unnoticed = Vec::new();
    for (lose, page_of) in INDEXES {
        let (name, select, rows, more) = selections()
            .into_iter()
            .find(|(name, ..)| *name == page_of)
            .expect("it is selected");
        let mut without = connection.begin().await.expect("a transaction");
        without.execute(lose).await.expect("the index goes");
        let (_, cost) = page(&mut without, &select, None).await;
        without.rollback().await.expect("the index is back");
        if cost <= bar(rows, more) {
            unnoticed.push(format!("{lose}: {name} costs {cost} buffers"));
        }
    }
    unnoticed
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_cost_what_is_on_them() {
    let server = shared();
    let database = server.create_database().expect("a database");
    let url = server.url(&database);
    let options = options("url", &url, &PostgresSettings::new(&url)).expect("a URL");
    let mut connection = options.connect().await.expect("the server runs");
    let schema = include_str!("../../migrations/0001_entities.sql");
    connection.execute(schema).await.expect("the schema");
    let by_hand = "ALTER TABLE entity SET (autovacuum_enabled = false); \
        ALTER TABLE facet SET (autovacuum_enabled = false)";
    connection.execute(by_hand).await.expect("a setting");
    let fill = FILL.replace("{n}", &DEPLOYMENTS.to_string());
    connection
        .execute(AssertSqlSafe(fill))
        .await
        .expect("deployments");
    // Before the vacuum, every index entry costs a look at its row.
    let mut wrong = costly(&mut connection, "before the vacuum").await;
    connection.execute("VACUUM").await.expect("it is cleaned");
    for mode in ["force_custom_plan", "force_generic_plan"] {
        let set = format!("SET plan_cache_mode = {mode}");
        let set = connection.execute(AssertSqlSafe(set)).await;
        set.expect("a setting");
        wrong.extend(costly(&mut connection, mode).await);
        let all = Select::all(Kind::Deployment);
        let (_, cost) = page(&mut connection, &all, Some("d0099000")).await;
        assert!(cost <= 550, "near the end: {cost} buffers, {mode}");
    }
    merges_uneven_lists(&mut connection).await;
    let mut plain = 0;
    for (name, select, rows, more) in selections() {
        let Some((found, cost)) = copied(&mut connection, &select).await else {
            continue;
        };
        plain += 1;
        let bar = bar(rows, more);
        if found != rows || cost > bar {
            wrong.push(format!(
                "{name} by COPY: {found} rows of {rows}, {cost} buffers of {bar}"
            ));
        }
    }
    assert!(plain >= 10, "{plain} are sent by COPY");
    let unnoticed = unnoticed(&mut connection).await;
    connection.close().await.expect("it ends");
    server.drop_database(&database).expect("it goes");
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(unnoticed.is_empty(), "{unnoticed:#?}");
}
