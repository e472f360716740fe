//! Backups: written while the store is in use, and restored exactly.

use async_trait::async_trait;
use futures_util::StreamExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tko_backend_sqlite::{Sqlite, SqliteSettings};
use tko_conformance::{BackendCall, Between, CallObserver};
use tko_core::backup::{BackupFrame, BackupReader, RestoreTarget, export, restore};
use tko_core::codec::encode;
use tko_core::system::SystemClock;
use tko_core::{
    Ack, Backend, ChangeSet, ClaimRequest, Condition, Error, ErrorKind, Facts, Generation, Key,
    Kind, List, Metadata, Package, Put, Record, Result, Revision, Select, Stage, Want,
};

async fn open(path: &Path) -> Arc<Sqlite> {
    let clock = Arc::new(SystemClock::new());
    let sqlite = Sqlite::open(clock, SqliteSettings::new(path)).await;
    Arc::new(sqlite.expect("the file opens"))
}

fn site(number: usize) -> Key {
    Key::new(Kind::Site, &format!("site/{number:04}")).expect("an id")
}

fn put(number: usize, text: &str) -> ChangeSet {
    let value = serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "settings"}, "data": {"text": text}});
    let mut put = Put::new(site(number));
    put.metadata = Metadata::from_iter([("number", number.to_string())]);
    put.body = Some(Package::from_values([value]).expect("a package"));
    ChangeSet::new().put(put)
}

/// All sites with their packages, without their revisions, as bytes.
async fn all(store: &Sqlite) -> Vec<(Vec<u8>, Option<Package>)> {
    let mut list = List::new(Select::all(Kind::Site).deleting(true)).want(Want::PACKAGE);
    let mut found = Vec::new();
    loop {
        let page = store.list(&list).await.expect("a page");
        let encoded = |record: Record| {
            let package = record.package.clone();
            (encode(&record.revision(None)), package)
        };
        found.extend(page.items.into_iter().map(encoded));
        list.after = page.next;
        if list.after.is_none() {
            return found;
        }
    }
}

async fn backup(store: &Arc<Sqlite>) -> Vec<u8> {
    let backend: Arc<dyn Backend> = store.clone();
    export(backend, Vec::new()).await.expect("a backup").0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_store_is_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder.path().join("one.db")).await;
    for number in 0..250 {
        let set = put(number, &format!("text {}", number % 7));
        store.commit(set, Ack::Durable).await.expect("put");
    }
    store
        .commit(put(3, "changed"), Ack::Durable)
        .await
        .expect("put");
    let condition = Condition::new("Scheduled", Some(true), "Placed", "done", Generation(1));
    let conditions = ChangeSet::new().conditions(site(4), vec![condition]);
    store.commit(conditions, Ack::Durable).await.expect("put");
    store
        .commit(ChangeSet::new().delete(site(5)), Ack::Durable)
        .await
        .expect("deleted");
    let position = store.feed_position().await.expect("a position");
    let bytes = backup(&store).await;

    let path = folder.path().join("other.db");
    let other = open(&path).await;
    let mut reader = BackupReader::new(&bytes[..]).expect("a backup");
    let size = restore(&mut reader, &*other).await.expect("restored");
    assert_eq!(size.entities, 249);
    assert_eq!(all(&other).await, all(&store).await);
    // A watcher of the old store has to list again.
    let mut feed = other.tail(position.revision, Want::ROW);
    let next = feed.next().await.expect("no end");
    assert!(matches!(next, Err(Error::Expired { .. })), "{next:?}");
    // Every site is looked at again, and new versions are new.
    let claim = ClaimRequest::new(Stage::Schedule, "test").max(1_000);
    assert_eq!(other.claim(&claim).await.expect("claims").len(), 249);
    let done = other
        .commit(put(3, "again"), Ack::Durable)
        .await
        .expect("put");
    let newest = store.get(&[site(249)], Want::ROW).await.expect("read");
    let newest = newest[0].as_ref().expect("it is there").entity.version;
    assert!(done.versions[0].1.0 > newest.0);
    let report = other.check(false).await.expect("checked");
    assert!(report.findings.is_empty(), "{report:?}");
    // A store that is not empty is left alone.
    let refused = other
        .start_restore(Revision(0))
        .await
        .expect_err("not empty");
    assert_eq!(refused.kind(), ErrorKind::BadArgument);
    // After the end, one file is enough.
    drop(feed);
    let other = Arc::into_inner(other).expect("nobody else has it");
    other.close().await.expect("closed");
    assert!(!folder.path().join("other.db-wal").exists());
}

/// While a backup is written, sites are created, changed and deleted. It shows one state.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_writes_shows_one_state() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder.path().join("one.db")).await;
    for number in 0..300 {
        store
            .commit(put(number, "0"), Ack::Durable)
            .await
            .expect("put");
    }
    let writer = store.clone();
    let writing = tokio::spawn(async move {
        for round in 1..200_usize {
            // Both of a pair change in one set: a backup has both changes or none.
            let (one, other) = (round % 150, 299 - round % 150);
            let mut set = put(one, &round.to_string());
            set.changes.extend(put(other, &round.to_string()).changes);
            writer.commit(set, Ack::Durable).await.expect("put");
        }
    });
    let bytes = backup(&store).await;
    let other = open(&folder.path().join("other.db")).await;
    let mut reader = BackupReader::new(&bytes[..]).expect("a backup");
    restore(&mut reader, &*other).await.expect("restored");
    let found = other
        .get(&(0..300).map(site).collect::<Vec<_>>(), Want::PACKAGE)
        .await;
    let found = found.expect("read");
    for number in 0..150 {
        let text = |at: usize| {
            let record = found[at].as_ref().expect("it is there");
            record.package.clone().expect("a package")
        };
        assert_eq!(text(number), text(299 - number), "{number}");
    }
    tokio::time::timeout(Duration::from_mins(1), writing)
        .await
        .expect("in time")
        .expect("no panic");
}

fn deployment(id: &str) -> Key {
    Key::new(Kind::Deployment, id).expect("an id")
}

/// A deployment with an idempotency key.
fn put_deployment(id: &str, idempotency_key: &str, text: &str) -> ChangeSet {
    let mut put = Put::new(deployment(id));
    put.metadata = Metadata::from_iter([("text", text)]);
    if let Facts::Deployment(facts) = &mut put.facts {
        facts.idempotency_key = Some(idempotency_key.into());
    }
    ChangeSet::new().put(put)
}

/// Makes changes once, after the first page with deployments was read.
#[derive(Default)]
struct ChangingMeanwhile(Mutex<Option<PendingChanges>>);

/// Changes of a backend.
type PendingChanges = (Arc<dyn Backend>, Vec<ChangeSet>);

#[async_trait]
impl CallObserver for ChangingMeanwhile {
    async fn after(&self, call: BackendCall, items: usize) -> Result<()> {
        if call != BackendCall::List || items == 0 {
            return Ok(());
        }
        let changes = self.0.lock().expect("no panic").take();
        if let Some((backend, sets)) = changes {
            for set in sets {
                backend.commit(set, Ack::Durable).await?;
            }
        }
        Ok(())
    }
}

/// While a backup is written, a deployment is deleted, another with a smaller id gets its
/// idempotency key, and the first is created again. One more changes several times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_has_the_last_states_of_changes_after_all_deletions() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder.path().join("one.db")).await;
    for set in [
        put_deployment("c", "of c", "0"),
        put_deployment("z", "key", "0"),
    ] {
        store.commit(set, Ack::Durable).await.expect("put");
    }
    let store = Arc::into_inner(store).expect("nobody else has it");
    let changing = Arc::new(ChangingMeanwhile::default());
    let backend: Arc<dyn Backend> = Arc::new(Between::new(store, changing.clone()));
    let changes = vec![
        put_deployment("c", "of c", "1"),
        ChangeSet::new().delete(deployment("z")),
        put_deployment("a", "key", "0"),
        put_deployment("c", "of c", "2"),
        put_deployment("z", "other", "1"),
    ];
    *changing.0.lock().expect("no panic") = Some((backend.clone(), changes));
    let bytes = export(backend, Vec::new()).await.expect("a backup").0;

    let mut reader = BackupReader::new(&bytes[..]).expect("a backup");
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame().expect("sound") {
        frames.push(match frame {
            BackupFrame::Entity(Record { entity, .. }) => {
                let text = entity.metadata.get("text").unwrap_or_default();
                format!("{} {text}", entity.key.id())
            }
            BackupFrame::Deleted(key) => format!("{} deleted", key.id()),
        });
    }
    assert_eq!(frames, ["c 0", "z 0", "z deleted", "a 0", "c 2", "z 1"]);

    let other = open(&folder.path().join("other.db")).await;
    let mut reader = BackupReader::new(&bytes[..]).expect("a backup");
    restore(&mut reader, &*other).await.expect("restored");
    let keys = ["a", "c", "z"].map(deployment);
    let found = other.get(&keys, Want::ROW).await.expect("read");
    let found: Vec<bool> = found.iter().map(Option::is_some).collect();
    assert_eq!(found, [true; 3]);
}
