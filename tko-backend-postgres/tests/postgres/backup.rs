//! Backups of one database, restored into another.

use std::sync::Arc;
use tko_backend_postgres::{Postgres, PostgresSettings};
use tko_core::backup::{BackupReader, RestoreTarget, export, restore};
use tko_core::codec::encode;
use tko_core::{
    Ack, Backend, ChangeSet, ClaimRequest, ErrorKind, Key, Kind, List, Metadata, Package, Put,
    Record, Revision, Select, Stage, Want,
};
use tko_postgres_server::shared;

async fn open() -> Arc<Postgres> {
    let database = shared().create_database().expect("a database");
    let settings = PostgresSettings::new(shared().url(&database));
    Arc::new(Postgres::connect(settings).await.expect("a store"))
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

async fn all(store: &Postgres) -> Vec<(Vec<u8>, Option<Package>)> {
    let list = List::new(Select::all(Kind::Site).deleting(true)).want(Want::PACKAGE);
    let page = store.list(&list).await.expect("a page");
    assert!(page.next.is_none());
    let encoded = |record: Record| {
        let package = record.package.clone();
        (encode(&record.revision(None)), package)
    };
    page.items.into_iter().map(encoded).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_database_is_the_same() {
    let store = open().await;
    for number in 0..250 {
        let set = put(number, &format!("text {}", number % 7));
        store.commit(set, Ack::Durable).await.expect("put");
    }
    let last = store
        .commit(put(3, "changed"), Ack::Numbered)
        .await
        .expect("put");
    let backend: Arc<dyn Backend> = store.clone();
    let (bytes, _) = export(backend, Vec::new()).await.expect("a backup");

    let other = open().await;
    let mut reader = BackupReader::new(&bytes[..]).expect("a backup");
    let size = restore(&mut reader, &*other).await.expect("restored");
    assert_eq!(size.entities, 250);
    assert_eq!(all(&other).await, all(&store).await);
    let claim = ClaimRequest::new(Stage::Schedule, "test").max(1_000);
    assert_eq!(other.claim(&claim).await.expect("claims").len(), 250);
    let done = other
        .commit(put(3, "again"), Ack::Numbered)
        .await
        .expect("put");
    assert!(done.revision > last.revision);
    let versions = store.get(&[site(3)], Want::ROW).await.expect("read");
    let old = versions[0].as_ref().expect("it is there").entity.version;
    assert_ne!(done.versions[0].1, old);
    let report = other.check(false).await.expect("checked");
    assert_eq!(report.left(), 0, "{report:?}");
    let refused = other
        .start_restore(Revision(0))
        .await
        .expect_err("not empty");
    assert_eq!(refused.kind(), ErrorKind::BadArgument);
}
