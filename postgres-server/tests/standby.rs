//! A standby shows the data of its primary as far as it may, and leaves nothing behind.

#[path = "server/left.rs"]
mod left;

use left::Left;
use tko_postgres_server::{PostgresServer, PostgresServerSettings};

fn keep(server: &PostgresServer, n: u32) {
    let sql = format!("CREATE TABLE IF NOT EXISTS kept (n int); INSERT INTO kept VALUES ({n})");
    server.psql("postgres", &sql).expect("a row");
}

fn rows(server: &PostgresServer) -> String {
    let sql = "SELECT n FROM kept ORDER BY n";
    server.psql("postgres", sql).expect("the table is there")
}

#[test]
fn a_standby_follows_as_far_as_it_is_let() {
    let primary = PostgresServer::start(PostgresServerSettings::default()).expect("it starts");
    keep(&primary, 1);
    let standby = primary.standby().expect("it starts");
    assert_ne!(standby.folder(), primary.folder());
    assert_eq!(rows(&standby), "1", "it has what was there before");
    standby
        .psql("postgres", "INSERT INTO kept VALUES (9)")
        .expect_err("it is read only");
    keep(&primary, 2);
    standby.catch_up(&primary).expect("it does");
    assert_eq!(rows(&standby), "1\n2");
    standby.pause_replay().expect("it stops");
    keep(&primary, 3);
    assert_eq!(rows(&standby), "1\n2");
    standby.resume_replay().expect("it goes on");
    standby.catch_up(&primary).expect("it does");
    assert_eq!(rows(&standby), "1\n2\n3");
    // Either server may restart.
    standby.kill().expect("it is killed");
    keep(&primary, 4);
    standby.start_again().expect("it recovers");
    primary.kill().expect("it is killed");
    primary.start_again().expect("it recovers");
    keep(&primary, 5);
    standby.catch_up(&primary).expect("it does");
    assert_eq!(rows(&standby), "1\n2\n3\n4\n5");
    let (left, of_primary) = (Left::of(standby.folder()), Left::of(primary.folder()));
    drop(standby);
    left.nothing();
    keep(&primary, 6);
    drop(primary);
    of_primary.nothing();
}
