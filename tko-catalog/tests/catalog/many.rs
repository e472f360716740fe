//! Catalogs of 5,000 packages. A sync of an unchanged one writes nothing.
//!
//! With `TKO_TEST_BARS`, as `bash .ci/long catalogs` sets it, such a sync also has a time.

use crate::git::Repository;
use crate::registry::{Registry, tar};
use crate::server::TestServer;
use crate::support::{Fixture, assert_synced, config};
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tko_catalog::CatalogSettings;

const ID: &str = "catalog|core";

/// How many packages there are.
const COUNT: usize = 5_000;

/// The longest sync of an unchanged catalog.
const BAR: Duration = Duration::from_secs(2);

/// Syncs until one writes nothing, and says how long that took.
async fn unchanged(fixture: &Fixture, source: &str) {
    let mut times = Vec::new();
    for _ in 0..3 {
        times.push(fixture.sync_unchanged(ID).await);
    }
    eprintln!("{COUNT} packages, {source}, unchanged: {times:.3?}");
    if std::env::var_os("TKO_TEST_BARS").is_some() {
        assert!(times.iter().all(|took| *took < BAR), "{times:?}");
    }
}

/// Commits all packages, by one process.
fn fill(repository: &Repository) {
    commit(repository, |number| {
        let name = format!("packages/g{}/p{number}/a.yaml", number % 50);
        vec![(name, config("a", &number.to_string()))]
    });
    repository.git(&["tag", "v1", "main"]);
}

/// Commits the files of all packages, by one process.
fn commit(repository: &Repository, files: impl Fn(usize) -> Vec<(String, String)>) {
    let mut child = Command::new("git")
        .args(["fast-import", "--quiet"])
        .current_dir(repository.path())
        .stdin(Stdio::piped())
        .spawn()
        .expect("git runs");
    let mut text =
        String::from("commit refs/heads/main\ncommitter t <t@example.com> 0 +0000\ndata 1\nx\n");
    for number in 0..COUNT {
        for (name, content) in files(number) {
            let length = content.len();
            write!(text, "M 100644 inline {name}\ndata {length}\n{content}\n").expect("a text");
        }
    }
    text.push('\n');
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(text.as_bytes()).expect("it reads");
    drop(stdin);
    assert!(child.wait().expect("it ends").success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_packages_in_git_unchanged_cost_no_write() {
    let repository = Repository::new();
    fill(&repository);
    let fixture = Fixture::new();
    let url = repository.url();
    let properties = [("url", &*url), ("root", "packages")];
    assert_synced(&fixture.add(ID, "git", &properties).await);
    assert_eq!(fixture.templates().await.len(), COUNT);
    unchanged(&fixture, "git").await;
    // The next one that is new is the only one that is written.
    let before = fixture.revision().await;
    repository.git(&["checkout", "--quiet", "--force", "main"]);
    repository.write("packages/g0/p0/a.yaml", &config("a", "new"));
    repository.commit();
    repository.git(&["tag", "packages/g0/p0/v2"]);
    assert_synced(&fixture.sync(ID).await);
    assert!(fixture.template("g0/p0:v2").await.is_some());
    // The request, the template, the conditions and the answer.
    let writes = fixture.revision().await - before;
    assert!(writes <= 4, "{writes} writes for one new version");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_descriptors_in_git_unchanged_cost_no_write() {
    let repository = Repository::new();
    commit(&repository, |number| {
        let folder = format!("templates/g{}/p{number}", number % 50);
        let id = format!("g{}/p{number}", number % 50);
        let json = format!(r#"{{"id": "{id}", "metadata": {{"number": "{number}"}}}}"#);
        vec![
            (format!("{folder}/package.yaml"), config("a", "1")),
            (format!("{folder}/template.json"), json),
        ]
    });
    let fixture = Fixture::new();
    let url = repository.url();
    let properties = [
        ("url", &*url),
        ("root", "templates"),
        ("descriptors", "true"),
    ];
    assert_synced(&fixture.add(ID, "git", &properties).await);
    assert_eq!(fixture.templates().await.len(), COUNT);
    unchanged(&fixture, "git with descriptors").await;
    // All descriptors are read again by a new process, and after a commit; nothing is written.
    let begun = std::time::Instant::now();
    let renamed = [&properties[..], &[("interval", "12h")]].concat();
    assert_synced(&fixture.add(ID, "git", &renamed).await);
    eprintln!("{COUNT} descriptors read again: {:.3?}", begun.elapsed());
    repository.git(&["checkout", "--quiet", "--force", "main"]);
    repository.write("README.md", "no package");
    repository.commit();
    let before = fixture.revision().await;
    assert_synced(&fixture.sync(ID).await);
    // The request, the conditions with the new commit, and the answer.
    assert_eq!(fixture.revision().await, before + 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_packages_in_a_folder_unchanged_cost_no_write() {
    let folder = tempfile::tempdir().expect("a folder");
    for number in 0..COUNT {
        let package = folder.path().join(format!("g{}/p{number}/v1", number % 50));
        std::fs::create_dir_all(&package).expect("a folder");
        std::fs::write(package.join("a.yaml"), config("a", &number.to_string())).expect("a file");
    }
    let fixture = Fixture::new();
    let url = folder.path().to_str().expect("text");
    assert_synced(&fixture.add(ID, "directory", &[("url", url)]).await);
    assert_eq!(fixture.templates().await.len(), COUNT);
    unchanged(&fixture, "a folder").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_tags_of_a_registry_unchanged_cost_no_write() {
    let mut registry = Registry::new(1_000);
    for number in 0..COUNT {
        let layer = tar("a.yaml", &config("a", &number.to_string()));
        let tag = format!("v1.0.{number}");
        registry.push(&tag, "application/vnd.oci.image.layer.v1.tar", layer);
    }
    let registry = Arc::new(Mutex::new(registry));
    let server = TestServer::start(move |request, number| {
        registry
            .lock()
            .expect("the registry")
            .answer(request, number)
    });
    let fixture = Fixture::with(CatalogSettings::default());
    let url = format!("oci://{}/nf/upf", server.host());
    assert_synced(&fixture.add(ID, "oci", &[("url", &url)]).await);
    assert_eq!(fixture.templates().await.len(), COUNT);
    unchanged(&fixture, "a registry").await;
}
