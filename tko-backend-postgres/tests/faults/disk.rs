//! Full disks: a small one that is filled, and one that reports being full at chosen times.

use super::writers::{a_site, count, exact_feed, open, put, read, set, site, writers_against};
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::{env, fs};
use tko_core::{Ack, Backend, ErrorKind, Require, Revision};
use tko_postgres_server::{Mode, PostgresServer, PostgresServerSettings, StartError, shared};

/// A server with a separate small disk; `None` if `cargo xtask test` found that it is not possible.
fn small() -> Option<PostgresServer> {
    let started = PostgresServer::start(PostgresServerSettings {
        disk: Some(192 << 20),
        ..PostgresServerSettings::default()
    });
    match started {
        Err(StartError::Disk(_)) if env::var_os("TKO_TEST_WITHOUT_DISK").is_some() => None,
        started => Some(started.expect("a server, or TKO_TEST_WITHOUT_DISK is set")),
    }
}

/// Counts the occurrences of a text in the server's log.
fn said(server: &PostgresServer, what: &str) -> usize {
    let log = fs::read_to_string(server.folder().join("log")).expect("a log");
    log.matches(what).count()
}

/// Tables and indexes cannot grow: the server rejects statements that need space.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_survive_a_disk_that_is_sometimes_full() {
    const REFUSAL: &str = "No space left on device";
    let Some(server) = small() else { return };
    writers_against(&server, |ended, _| {
        let server = &server;
        async move {
            let mut rounds = 0;
            while !ended.load(Ordering::SeqCst) {
                let before = said(server, REFUSAL);
                tokio::task::block_in_place(|| server.fill()).expect("it is filled");
                while said(server, REFUSAL) == before && !ended.load(Ordering::SeqCst) {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                tokio::task::block_in_place(|| server.make_space()).expect("there is space");
                rounds += usize::from(said(server, REFUSAL) > before);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert!(rounds > 1, "only {rounds} times there was no space");
        }
    })
    .await;
    assert_eq!(said(&server, "PANIC"), 0, "it had room for its log");
}

/// The write-ahead log cannot grow: the server crashes, and starts again once there is space.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_survive_a_server_that_crashes_of_a_full_disk() {
    // A commit that is the first of a new file of the write-ahead log.
    const LAST: &str = "SELECT pg_switch_wal(); SELECT pg_logical_emit_message(true, '', '')";
    let Some(server) = small() else { return };
    writers_against(&server, |ended, _| {
        let server = &server;
        async move {
            for _ in 0..2 {
                tokio::time::sleep(Duration::from_millis(50)).await;
                assert!(!ended.load(Ordering::SeqCst), "somebody writes");
                tokio::task::block_in_place(|| {
                    let deaths = said(server, "PANIC:");
                    server.fill().expect("it is filled");
                    // One or two files may already exist.
                    let refused = (0..4).any(|_| server.psql("postgres", LAST).is_err());
                    assert!(refused, "there is space for all of it");
                    assert!(said(server, "PANIC:") > deaths, "{}", server.log());
                    server.make_space().expect("there is space");
                    server.restart(Mode::Immediate).expect("it starts again");
                });
            }
        }
    })
    .await;
}

/// SQL that makes writes to these tables fail with this chance, like a file that cannot be
/// extended. A sequence counts the failures, because it survives their rollback.
fn full(chance: &str) -> String {
    let tables = ["entity", "body", "pending", "event", "work"];
    let triggers = tables.map(|table| {
        format!(
            "CREATE OR REPLACE TRIGGER full_disk BEFORE INSERT OR UPDATE ON {table} \
             FOR EACH STATEMENT EXECUTE FUNCTION full_disk();"
        )
    });
    format!(
        "CREATE SEQUENCE IF NOT EXISTS refusals; \
         CREATE OR REPLACE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF random() < {chance} THEN PERFORM nextval('refusals'); \
         RAISE 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; \
         END IF; RETURN NULL; END $$; {}",
        triggers.concat()
    )
}

/// SQL that makes space again.
const SPACE: &str = "DROP FUNCTION full_disk CASCADE";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_survive_writes_that_fail_for_lack_of_space() {
    let server = shared();
    writers_against(server, |ended, database| {
        let psql = move |sql: &str| {
            let done = tokio::task::block_in_place(|| server.psql(&database, sql));
            done.expect("the server runs")
        };
        async move {
            psql(&full("0.1"));
            while !ended.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            psql(SPACE);
            let refused = psql("SELECT last_value FROM refusals");
            let refused: u64 = refused.trim().parse().expect("a number");
            assert!(refused > 50, "only {refused} writes found no space");
        }
    })
    .await;
}

/// While the disk is full, reads succeed and writes fail with a reason. Afterwards everything works
/// as before.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_for_lack_of_space_is_reported() {
    let server = shared();
    let database = server.create_database().expect("a database");
    let store = open(server, &database).await;
    let key = site("a");
    let new = set(Require::Absent(key.clone()), put(&key, a_site(), 1));
    store.commit(new, Ack::Numbered).await.expect("a site");
    server.psql(&database, &full("2")).expect("it is full");
    let more = |count| set(Require::Exists(key.clone()), put(&key, a_site(), count));
    let refused = store.commit(more(2), Ack::Durable).await;
    let refused = refused.expect_err("there is no space");
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused:?}");
    let said = refused.chain();
    assert!(said.contains("No space left on device"), "{said}");
    // A rejected statement is not retried again and again.
    let refusals = server.psql(&database, "SELECT last_value FROM refusals");
    assert_eq!(refusals.expect("a number").trim(), "1");
    let there = read(&store, &key).await.expect("reads go on");
    assert_eq!(count(&there), 1);
    server.psql(&database, SPACE).expect("there is space");
    let done = store.commit(more(3), Ack::Numbered).await;
    assert_eq!(done.expect("it is written").revision, Some(Revision(2)));
    exact_feed(&store).await;
    let report = store.check(false).await.expect("it is looked at");
    assert_eq!(report.left(), 0, "{report:?}");
}
