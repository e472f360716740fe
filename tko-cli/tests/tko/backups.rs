//! Data move between backends, by backups and by copies.

use super::harness::{Run, Server, example, tko};
use std::fs;
use std::path::Path;
use tko_postgres_server::shared;

/// The URL of an empty database.
fn database() -> String {
    let server = shared();
    server.url(&server.create_database().expect("a database is made"))
}

fn sqlite(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

fn backend(command: &str, backend: &str) -> Run {
    tko(&format!("backend {command} --backend {backend}"))
}

/// Everything that a backend has, as lists show it.
async fn content(backend: &str) -> Vec<String> {
    let server = Server::start(&format!("data start --backend {backend}")).await;
    let mut all = Vec::new();
    for list in ["template list", "site list", "deployment list"] {
        let listed = server.tko(&format!("{list} -o json")).good().await;
        all.push(listed.text().to_owned());
    }
    let package = server.tko("template get nf/upf:v1.0.0").good().await;
    all.push(package.text().to_owned());
    server.service.stop().await;
    all
}

/// Checks that a backend has no findings, and the four entities.
async fn assert_sound(backend_name: &str) {
    let report = backend("check -o json", backend_name).good().await.json();
    assert_eq!(report["findings"].as_array().map(Vec::len), Some(0));
    assert_eq!(report["entities"], 4, "{report}");
}

#[tokio::test]
async fn data_go_from_sqlite_to_postgresql_and_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = sqlite(&folder.path().join("first.db"));
    let server = Server::start(&format!("data start --backend {first}")).await;
    let register = server.tko("template register nf/upf:v1.0.0 --url");
    register.arg(example("packages/upf")).good().await;
    for site in ["edge/1", "edge/2"] {
        let register = server.tko(&format!("site register {site}"));
        register.good().await;
    }
    let create = server.tko("deployment create nf/upf:v1.0.0 --site edge/1");
    create.good().await;
    // A backup of a backend that is in use.
    let file = folder.path().join("backup");
    backend("backup", &first).arg(&file).good().await;
    server.service.stop().await;
    let expected = content(&first).await;

    // SQLite to PostgreSQL, and from there to another file.
    let (postgres, last) = (database(), sqlite(&folder.path().join("last.db")));
    let copy = |from: &str, to: &str| tko("backend copy").arg(from).arg(to);
    copy(&first, &postgres).good().await;
    assert_sound(&postgres).await;
    assert_eq!(content(&postgres).await, expected);
    copy(&postgres, &last).good().await;
    assert_sound(&last).await;
    assert_eq!(content(&last).await, expected);

    // Backups of each, restored into the other.
    let other = folder.path().join("other-backup");
    backend("backup", &postgres).arg(&other).good().await;
    let restored = sqlite(&folder.path().join("restored.db"));
    backend("restore", &restored).arg(&other).good().await;
    assert_eq!(content(&restored).await, expected);
    let database = database();
    backend("restore", &database).arg(&file).good().await;
    assert_eq!(content(&database).await, expected);

    // What has data already is left alone, and so is a damaged backup.
    copy(&first, &postgres).bad(2).await;
    copy(&first, &last).bad(2).await;
    let said = copy("memory", &last).bad(2).await;
    assert!(said.contains("gone with their process"), "{said}");
    let mut bytes = fs::read(&file).expect("a backup");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&file, &bytes).expect("written");
    let damaged = folder.path().join("damaged.db");
    let run = backend("restore", &sqlite(&damaged)).arg(&file).run().await;
    assert_ne!(run.code(), Some(0), "{run}");
    assert!(!damaged.exists());
}

/// SQLite would apply the log of an old file to the restored one.
#[tokio::test]
async fn a_backup_is_not_restored_next_to_the_files_of_another_database() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = sqlite(&folder.path().join("first.db"));
    let server = Server::start(&format!("data start --backend {first}")).await;
    server.tko("site register edge/1").good().await;
    let file = folder.path().join("backup");
    backend("backup", &first).arg(&file).good().await;
    server.service.stop().await;

    let path = folder.path().join("new.db");
    let named = |suffix: &str| folder.path().join(format!("new.db{suffix}"));
    let cases: [&[&str]; 3] = [&["-wal"], &["-shm"], &["", "-wal", "-shm"]];
    for suffixes in cases {
        for suffix in suffixes {
            fs::write(named(suffix), "old").expect("written");
        }
        let restore = backend("restore", &sqlite(&path)).arg(&file);
        let said = restore.bad(2).await;
        for suffix in suffixes {
            let name = format!("new.db{suffix}\"");
            assert!(said.contains(&name), "{name}: {said}");
            let kept = fs::read(named(suffix)).expect("it is left alone");
            assert_eq!(kept, b"old");
            fs::remove_file(named(suffix)).expect("removed");
        }
        assert!(said.contains("move all of them away first"), "{said}");
    }
    backend("restore", &sqlite(&path)).arg(&file).good().await;
    assert!(path.exists());
}
