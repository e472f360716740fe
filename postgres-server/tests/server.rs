//! A server starts, keeps committed data, and leaves nothing behind.

#[path = "server/left.rs"]
mod left;

use left::Left;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use tko_postgres_server::{Mode, PostgresServer, PostgresServerSettings, StartError, shared};

/// The variable that makes a process use the shared server, and end in the given way.
const END: &str = "TKO_TEST_END";

fn start() -> PostgresServer {
    PostgresServer::start(PostgresServerSettings::default()).expect("it starts")
}

fn rows(server: &PostgresServer) -> String {
    server
        .psql("postgres", "SELECT n FROM kept ORDER BY n")
        .expect("the table is there")
}

fn keep(server: &PostgresServer, n: u32) {
    let sql = format!("CREATE TABLE IF NOT EXISTS kept (n int); INSERT INTO kept VALUES ({n})");
    server.psql("postgres", &sql).expect("a row");
}

#[test]
fn committed_rows_survive_every_end() {
    let server = start();
    keep(&server, 1);
    server.restart(Mode::Immediate).expect("it recovers");
    assert_eq!(rows(&server), "1");
    keep(&server, 2);
    server.kill().expect("it is killed");
    server
        .psql("postgres", "SELECT 1")
        .expect_err("nobody is there");
    server.start_again().expect("it recovers");
    assert_eq!(rows(&server), "1\n2");
    keep(&server, 3);
    server.restart(Mode::Fast).expect("it starts");
    assert_eq!(rows(&server), "1\n2\n3");
    server.stop().expect("it stops");
    server.stop().expect("it has stopped");
    server.start_again().expect("it starts");
    server.start_again().expect("it runs");
    assert_eq!(rows(&server), "1\n2\n3");
}

/// An idle session does not notice by itself that its server was killed.
#[test]
fn busy_sessions_are_killed() {
    let server = start();
    thread::scope(|scope| {
        let busy = scope.spawn(|| server.psql("postgres", "DO 'BEGIN LOOP END LOOP; END'"));
        let running =
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DO %' AND state = 'active'";
        while server.psql("postgres", running).expect("a number") != "1" {
            assert!(!busy.is_finished(), "it goes on for ever");
        }
        server.kill().expect("it is killed");
        busy.join()
            .expect("no panic")
            .expect_err("its server is gone");
    });
    server.start_again().expect("nothing is in its way");
}

#[test]
fn it_starts_again_after_it_died_by_itself() {
    let server = start();
    keep(&server, 1);
    let lock = fs::read_to_string(server.folder().join("data/postmaster.pid")).expect("it runs");
    let id = lock
        .lines()
        .next()
        .and_then(|id| Pid::from_raw(id.parse().ok()?));
    kill_process(id.expect("a number"), Signal::QUIT).expect("it runs");
    // The server may still be ending, or have ended.
    server.restart(Mode::Immediate).expect("it recovers");
    assert_eq!(rows(&server), "1");
}

#[test]
fn it_is_what_was_asked_for() {
    let server = PostgresServer::start(PostgresServerSettings {
        durable: true,
        shared_buffers: "16MB".to_owned(),
        loopback: None,
        disk: None,
        max_connections: 7,
        options: vec![
            ("work_mem".to_owned(), "3MB".to_owned()),
            ("jit".to_owned(), "on".to_owned()),
        ],
    })
    .expect("it starts");
    let show = |name: &str| {
        server
            .psql("postgres", &format!("SHOW {name}"))
            .expect("it is there")
    };
    assert_eq!(show("fsync"), "on");
    assert_eq!(show("full_page_writes"), "on");
    assert_eq!(show("shared_buffers"), "16MB");
    assert_eq!(show("max_connections"), "7");
    assert_eq!(show("work_mem"), "3MB");
    assert_eq!(show("jit"), "on");
}

#[test]
fn by_default_it_is_fast_and_private() {
    let server = shared();
    let show = |name: &str| {
        server
            .psql("postgres", &format!("SHOW {name}"))
            .expect("it is there")
    };
    assert_eq!(show("fsync"), "off");
    assert_eq!(show("synchronous_commit"), "on");
    assert_eq!(show("listen_addresses"), "");
    assert_eq!(show("server_encoding"), "UTF8");
    assert_eq!(show("lc_collate"), "C.UTF-8");
    assert_eq!(show("max_connections"), "300");
    assert_eq!(
        server
            .psql("postgres", "SELECT current_user")
            .expect("a name"),
        "tko"
    );
}

#[test]
fn its_disk_is_full_and_has_space_again() {
    let server = match PostgresServer::start(PostgresServerSettings {
        disk: Some(128 << 20),
        ..PostgresServerSettings::default()
    }) {
        Err(StartError::Disk(_)) if env::var_os("TKO_TEST_WITHOUT_DISK").is_some() => return,
        started => started.expect("a file system of its own, or TKO_TEST_WITHOUT_DISK is set"),
    };
    keep(&server, 1);
    let left = Left::of(server.folder());
    server.fill().expect("it is filled");
    let more = "INSERT INTO kept SELECT n FROM generate_series(1, 100000) n";
    let error = server
        .psql("postgres", more)
        .expect_err("there is no space");
    let said = error.to_string();
    assert!(said.contains("No space left on device"), "{said}");
    assert_eq!(rows(&server), "1");
    server.make_space().expect("there is some");
    server.make_space().expect("there is some already");
    keep(&server, 2);
    server.kill().expect("it is killed");
    server.start_again().expect("its disk is still there");
    assert_eq!(rows(&server), "1\n2");
    drop(server);
    left.nothing();
    shared().fill().expect_err("its disk is everybody's");
}

#[test]
fn databases_come_and_go() {
    let server = shared();
    let one = server.create_database().expect("a database");
    server
        .psql(
            &one,
            "CREATE TABLE t (a int, b text); INSERT INTO t VALUES (1, 'x')",
        )
        .expect("a table");
    let like = server
        .create_database_from(&one)
        .expect("a database like it");
    assert_ne!(one, like);
    assert_eq!(
        server.psql(&like, "SELECT * FROM t").expect("a table"),
        "1|x"
    );
    server.drop_database(&one).expect("it goes");
    server.psql(&one, "SELECT 1").expect_err("it is gone");
    server.drop_database(&one).expect_err("it is gone");
}

#[test]
fn two_do_not_meet() {
    let (one, two) = (start(), start());
    keep(&one, 1);
    keep(&two, 2);
    assert_eq!(rows(&one), "1");
    assert_eq!(rows(&two), "2");
}

#[test]
fn what_it_refuses_is_said() {
    let error = shared()
        .psql("postgres", "SELECT nothing")
        .expect_err("there is no such column");
    let said = error.to_string();
    assert!(said.contains("column \"nothing\" does not exist"), "{said}");
    let error = PostgresServer::start(PostgresServerSettings {
        shared_buffers: "much".to_owned(),
        ..PostgresServerSettings::default()
    });
    let error = error.expect_err("that is no number");
    assert!(matches!(error, StartError::Ended(_)), "{error:?}");
    let said = error.to_string();
    assert!(
        said.contains("invalid value for parameter \"shared_buffers\": \"much\""),
        "{said}"
    );
}

#[test]
fn nothing_is_left_of_a_dropped_one() {
    let server = start();
    let left = Left::of(server.folder());
    drop(server);
    left.nothing();
}

#[test]
fn nothing_is_left_of_a_killed_one() {
    let server = start();
    let left = Left::of(server.folder());
    server.kill().expect("it is killed");
    drop(server);
    left.nothing();
}

#[test]
fn nothing_is_left_of_a_process_that_exits() {
    let (mut child, left) = using("exit");
    assert!(child.wait().expect("it is ours").success());
    left.nothing();
}

#[test]
fn nothing_is_left_of_a_process_that_is_killed() {
    let (mut child, left) = using("wait");
    // The whole group, as a terminal or `timeout` does. The processes that clean up are not in it.
    kill_process_group(Pid::from_child(&child), Signal::KILL).expect("it is ours");
    child.wait().expect("it is ours");
    left.nothing();
}

/// Starts this program again with one test, which uses the shared server.
fn using(end: &str) -> (Child, Left) {
    let mut child = Command::new(env::current_exe().expect("this program"))
        .args(["--exact", "the_other_process", "--nocapture"])
        .env(END, end)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program runs");
    let stdout = BufReader::new(child.stdout.as_mut().expect("it is piped"));
    let mut lines = stdout.lines().map_while(Result::ok);
    let folder = lines.find_map(|line| Some(line.split_once("folder=")?.1.to_owned()));
    let left = Left::of(folder.expect("it says where its server is").as_ref());
    if end == "exit" {
        drop(child.stdin.take());
    }
    (child, left)
}

/// The process that [`using`] starts. It does nothing in an ordinary run.
#[test]
fn the_other_process() {
    if env::var_os(END).is_some() {
        println!("folder={}", shared().folder().display());
        // Until the other side has looked, or forever.
        let _ = std::io::stdin().lines().count();
    }
}
