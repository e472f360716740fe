//! Writes of several processes.

use super::write::GuardedWrite;
use super::{GroupedSet, SetAnswer, TransactionEnds, add_triggers, commit, snapshot, stage_all};
use crate::connect::{SqliteParts, connect};
use crate::dictionary::ChosenDictionaries;
use crate::settings::SqliteSettings;
use sqlx::SqliteConnection;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use tko_core::system::SystemClock;
use tko_core::{ChangeSet, Key, Kind, Put, Require};

/// The connection of one process.
struct Process {
    connection: SqliteConnection,
    parts: SqliteParts,
}

impl Process {
    async fn start(path: &Path) -> Self {
        let (file, mut connection) = connect(SqliteSettings::new(path)).await.expect("it opens");
        add_triggers(&mut connection).await.expect("they are added");
        let clock = Arc::new(SystemClock::new());
        let parts = SqliteParts {
            file,
            clock,
            recent: Default::default(),
        };
        Self { connection, parts }
    }

    async fn commit(&mut self, set: GroupedSet) -> SetAnswer {
        let ends = TransactionEnds {
            begin: true,
            commit: true,
        };
        let (connection, now) = (&mut self.connection, self.parts.clock.now());
        let dictionaries = &mut ChosenDictionaries::default();
        let mut sets = [set];
        let committed = commit(connection, &self.parts, dictionaries, &mut sets, ends, now);
        let (mut answers, is_committed) = committed.await;
        assert!(is_committed || answers[0].is_err(), "{answers:?}");
        answers.remove(0)
    }
}

fn key(id: &str) -> Key {
    Key::new(Kind::Site, id).expect("an id")
}

fn create(id: &str) -> GroupedSet {
    let set = ChangeSet::new().require(Require::Absent(key(id)));
    GroupedSet::new(set.put(Put::new(key(id))), BTreeMap::new())
}

#[tokio::test]
async fn what_another_process_changed_since_the_read_is_not_overwritten() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tko.db");
    let mut one = Process::start(&path).await;
    let mut other = Process::start(&path).await;
    let group = [create("a")];
    for (others_first, written) in [
        (true, GuardedWrite::OthersWroteFirst),
        (false, GuardedWrite::Done),
    ] {
        let Process { connection, parts } = &mut one;
        let read = snapshot::read(connection, parts, &group, false).await;
        let read = read.expect("it is read");
        if others_first {
            other.commit(create("b")).await.expect("it is new");
        }
        let changes = group.iter().map(|grouped| grouped.changes.clone());
        let (write, position, answers) = stage_all(&read, &group, changes, parts.clock.now());
        assert!(answers[0].is_ok(), "{answers:?}");
        let dictionaries = HashMap::new();
        let done = write.execute(connection, parts, &dictionaries, position, false);
        assert_eq!(done.await.expect("no fault"), written);
        let a = sqlx::query_scalar("SELECT count(*) FROM entity WHERE id = 'a'");
        let a: i64 = a.fetch_one(&mut other.connection).await.expect("a count");
        assert_eq!(a == 0, others_first);
    }
    // Both processes see what the other wrote.
    one.commit(create("b")).await.expect_err("it exists");
    other.commit(create("a")).await.expect_err("it exists");
    let committed = one.commit(create("c")).await.expect("it is new").0;
    assert_eq!(committed.revision.map(|revision| revision.0), Some(3));
}
