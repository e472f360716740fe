//! A full disk: a small one that is filled, and one that is said to be full at chosen moments.

use super::writers::{a_site, count, exact_feed, open, put, read, set, site, writers_against};
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::{env, fs};
use tko_core::{Ack, Backend, ErrorKind, Require, Revision};
use tko_postgres_server::{Mode, Server, Settings as ServerSettings, StartError};

/// A server with a small disk of its own; none where `cargo xtask test` found that it cannot be had.
fn small() -> Option<Server> {
    let started = Server::start(ServerSettings {
        disk: Some(192 << 20),
        ..ServerSettings::default()
    });
    match started {
        Err(StartError::Disk(_)) if env::var_os("TKO_TEST_WITHOUT_DISK").is_some() => None,
        started => Some(started.expect("a server, or TKO_TEST_WITHOUT_DISK is set")),
    }
}

/// How often this was said in the server's log.
fn said(server: &Server, what: &str) -> usize {
    let log = fs::read_to_string(server.folder().join("log")).expect("a log");
    log.matches(what).count()
}

/// Tables and indexes cannot grow: the server refuses what needs it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_disk_is_full_now_and_then() {
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

/// The log of the server cannot grow: it dies, and once there is space it starts again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_dies_of_a_full_disk() {
    // A commit that is the first of a new file of the log.
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
                    // A file or two may be there already.
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

/// What refuses space: each write to these tables then fails, as the server says it when it
/// cannot extend a file, by this chance. A count of the refusals outlives what they undo.
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

/// There is space again.
const SPACE: &str = "DROP FUNCTION full_disk CASCADE";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn space_is_refused_now_and_then() {
    let server = Server::start(ServerSettings::default()).expect("a server");
    writers_against(&server, |ended, database| {
        let server = &server;
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

/// While the disk is full, reads go on and writes say why not; afterwards all is as if nothing had
/// been.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_and_survived() {
    let server = Server::start(ServerSettings::default()).expect("a server");
    let database = server.create_database().expect("a database");
    let store = open(&server, &database).await;
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
    // Nobody tries again and again what the server has refused.
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
