//! The profile of a fleet: where its time goes, by statement, by call of the API and by process.

use super::backend::World;
use sqlx::FromRow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use tko_core::api::{ApiCall, Guard};
use tko_core::{Caller, Result};

/// Statements that are listed one by one.
const LISTED: usize = 25;

/// The beginning of a statement that is printed, in characters.
const SHOWN: usize = 110;

/// Milliseconds of a clock tick of `/proc`: Linux reports 100 a second.
const TICK_MS: f64 = 10.0;

/// Counts the calls of an API by name, and those that read also by what they read.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallCounts(Arc<Mutex<BTreeMap<String, u64>>>);

impl CallCounts {
    /// One line: names and counts.
    pub(crate) fn line(&self) -> String {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let each = counts.iter().map(|(name, count)| format!("{name}={count}"));
        each.collect::<Vec<_>>().join(" ")
    }
}

impl Guard for CallCounts {
    fn check(&self, _: Option<&Caller>, call: ApiCall<'_>) -> Result<()> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(counted_as(call)).or_default() += 1;
        Ok(())
    }
}

/// The name of a call, without spaces. For a read it includes what is read.
fn counted_as(call: ApiCall<'_>) -> String {
    let mut name = call.name().to_owned();
    match call {
        ApiCall::Get(key) => _ = write!(name, ":{}", key.kind()),
        ApiCall::List(list) => {
            let select = &list.select;
            _ = write!(name, ":{}", select.kind);
            let by = [
                (select.concerning.is_some(), ":concerning"),
                (select.parent.is_some(), ":parent"),
                (!select.metadata.is_empty(), ":metadata"),
                (!select.template_ids.is_empty(), ":template"),
                (!select.ids.is_empty(), ":id"),
            ];
            name.extend(by.iter().filter(|(is, _)| *is).map(|(_, by)| *by));
        }
        _ => {}
    }
    name
}

/// The state of the counters when the fleet starts.
pub(crate) struct ProfileStart {
    commits: i64,
    wal: WalRow,
    processes: BTreeMap<String, f64>,
}

#[derive(Clone, Copy, Default, FromRow)]
struct WalRow {
    records: i64,
    images: i64,
    bytes: i64,
    syncs: i64,
}

#[derive(FromRow)]
struct StatementRow {
    query: String,
    calls: i64,
    exec_ms: f64,
    plan_ms: f64,
    rows: i64,
    wal: i64,
}

async fn commits(world: &World) -> i64 {
    let sql = "SELECT pg_stat_get_db_xact_commit(oid) FROM pg_database \
               WHERE datname = current_database()";
    sqlx::query_scalar(sql)
        .fetch_one(&world.pool)
        .await
        .expect("transactions are counted")
}

async fn wal(world: &World) -> WalRow {
    let sql = "SELECT wal_records AS records, wal_fpi AS images, wal_bytes::bigint AS bytes, \
               wal_sync AS syncs FROM pg_stat_wal";
    let row = sqlx::query_as(sql).fetch_one(&world.pool).await;
    row.expect("the log is counted")
}

/// Processor time of this program's processes and of PostgreSQL, in ms, by name.
fn processes() -> BTreeMap<String, f64> {
    let mut times = BTreeMap::new();
    let own = std::process::id();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(id) = entry.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let read = |file: &str| fs::read_to_string(entry.path().join(file)).unwrap_or_default();
        let stat = read("stat");
        let Some((_, fields)) = stat.rsplit_once(')') else {
            continue;
        };
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok());
        let Some(ticks) = number(11)
            .zip(number(12))
            .map(|(user, kernel)| user + kernel)
        else {
            continue;
        };
        let command = read("cmdline").replace('\0', " ");
        let parent = number(1).unwrap_or_default();
        let name = if id == own {
            "benchmark and its client".to_owned()
        } else if let Some((_, role)) = command.split_once("--role ")
            && parent == f64::from(own)
        {
            role.split(' ').next().unwrap_or_default().to_owned()
        } else if read("comm").starts_with("postgres") {
            "postgres".to_owned()
        } else {
            continue;
        };
        *times.entry(name).or_default() += ticks * TICK_MS;
    }
    times
}

/// Starts to count.
pub(crate) async fn start(world: &World) -> ProfileStart {
    sqlx::query("SELECT pg_stat_statements_reset()")
        .execute(&world.pool)
        .await
        .expect("statements are counted");
    ProfileStart {
        commits: commits(world).await,
        wal: wal(world).await,
        processes: processes(),
    }
}

impl ProfileStart {
    /// The table of what happened since, for each of `size` deployments.
    pub(crate) async fn table(self, world: &World, size: usize) -> String {
        let sql = "SELECT s.query, s.calls, s.total_exec_time AS exec_ms, \
                   s.total_plan_time AS plan_ms, s.rows, s.wal_bytes::bigint AS wal \
                   FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid \
                   WHERE d.datname = current_database() AND s.query NOT LIKE '%pg_stat_%' \
                   ORDER BY s.total_exec_time + s.total_plan_time DESC";
        let after = processes();
        let rows: Vec<StatementRow> = sqlx::query_as(sql)
            .fetch_all(&world.pool)
            .await
            .expect("statements were counted");
        let wal = wal(world).await;
        let commits = commits(world).await;
        #[allow(clippy::cast_precision_loss, reason = "figures for people")]
        let (each, per) = (size as f64, |count: i64| count as f64 / size as f64);
        let mut text = String::from("\n| of each deployment | |\n|---|--:|\n");
        let calls: i64 = rows.iter().map(|row| row.calls).sum();
        for (name, value) in [
            ("statements", per(calls)),
            ("commits", per(commits - self.commits)),
            ("WAL records", per(wal.records - self.wal.records)),
            ("WAL full page images", per(wal.images - self.wal.images)),
            ("WAL KB", per(wal.bytes - self.wal.bytes) / 1_000.0),
            ("WAL syncs", per(wal.syncs - self.wal.syncs)),
        ] {
            let _ = writeln!(text, "| {name} | {value:.2} |");
        }
        for (name, time) in &after {
            let spent = time - self.processes.get(name).unwrap_or(&0.0);
            let _ = writeln!(text, "| processor ms, {name} | {:.2} |", spent / each);
        }
        text += "\n| statement | calls | ms | planning ms | rows | WAL KB |\n|---|--:|--:|--:|--:|--:|\n";
        for row in rows.iter().take(LISTED) {
            let query = row.query.split_whitespace().collect::<Vec<_>>().join(" ");
            let query: String = query.replace('|', "/").chars().take(SHOWN).collect();
            let _ = writeln!(
                text,
                "| `{query}` | {} | {:.0} | {:.0} | {} | {} |",
                row.calls,
                row.exec_ms,
                row.plan_ms,
                row.rows,
                row.wal / 1_000
            );
        }
        text
    }
}

/// The rows of calls, from the counts that the data server printed.
pub(crate) fn calls(line: &str) -> String {
    let mut text = String::from("\n| call of the API | number |\n|---|--:|\n");
    for (name, count) in line.split(' ').filter_map(|each| each.split_once('=')) {
        let _ = writeln!(text, "| {name} | {count} |");
    }
    text
}
