//! Exports and imports.

use crate::support::{Fixture, assert_synced, config};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tko_catalog::export::{export, import};
use tko_core::{
    DataApi, Dialect, Format, Key, Limits, NewSite, NewTemplate, Package, SiteId, TemplateId,
};

fn package(name: &str, value: &str) -> Package {
    let yaml = config(name, value);
    let limits = Limits::default();
    Package::decode(yaml.as_bytes(), Format::Yaml, Dialect::People, &limits).expect("a package")
}

/// All files below a folder.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path
                    .strip_prefix(root)
                    .expect("below")
                    .display()
                    .to_string();
                found.insert(name, fs::read(path).expect("a file"));
            }
        }
    }
    found
}

async fn filled() -> Fixture {
    let fixture = Fixture::idle();
    for (id, value) in [
        ("nf/upf:v1", "1"),
        ("nf/upf:v2", "2"),
        ("site/edge:v1", "edge"),
    ] {
        let new = NewTemplate::new(TemplateId::new(id).expect("an id"), package("a", value));
        fixture
            .store
            .register_template(new)
            .await
            .expect("registered");
    }
    let id = SiteId::new("india/south-1").expect("an id");
    let template = TemplateId::new("site/edge:v1").expect("an id");
    let metadata = tko_core::Metadata::from_iter([("region", "south"), ("b", "1")]);
    let new = NewSite::new(id, package("b", "site"))
        .template(template)
        .metadata(metadata);
    fixture.store.register_site(new).await.expect("registered");
    fixture
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_is_stable_and_an_import_restores_it() {
    let fixture = filled().await;
    let folder = tempfile::tempdir().expect("a folder");
    let report = export(&fixture.store, folder.path())
        .await
        .expect("exported");
    assert_eq!((report.templates, report.sites, report.written), (3, 1, 8));
    let first = files(folder.path());
    assert!(
        first.contains_key("templates/nf/upf@v1/package.yaml"),
        "{:?}",
        first.keys()
    );
    let again = export(&fixture.store, folder.path())
        .await
        .expect("exported");
    assert_eq!((again.written, again.removed), (0, 0));
    // Into another store, which then exports the same bytes.
    let other = Fixture::idle();
    let dry = import(&other.store, folder.path(), true)
        .await
        .expect("read");
    assert_eq!(dry.created.len(), 4);
    assert!(other.templates().await.is_empty());
    let done = import(&other.store, folder.path(), false)
        .await
        .expect("imported");
    assert_eq!(
        (done.created.len(), done.changed.len(), done.problems.len()),
        (4, 0, 0)
    );
    let second = tempfile::tempdir().expect("a folder");
    export(&other.store, second.path()).await.expect("exported");
    assert_eq!(files(second.path()), first);
    let before = other.revision().await;
    let idle = import(&other.store, folder.path(), false)
        .await
        .expect("imported");
    assert_eq!(
        (idle.unchanged, idle.created.len() + idle.changed.len()),
        (4, 0)
    );
    assert_eq!(other.revision().await, before);
    // What no longer exists is removed from the export; other files stay.
    fs::write(folder.path().join("templates/nf/README.md"), "mine").expect("a file");
    let key = Key::from(TemplateId::new("nf/upf:v2").expect("an id"));
    fixture.store.delete(&key).await.expect("deleted");
    let report = export(&fixture.store, folder.path())
        .await
        .expect("exported");
    assert_eq!(report.removed, 2);
    assert!(!folder.path().join("templates/nf/upf@v2").exists());
    assert!(folder.path().join("templates/nf/README.md").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_and_deep_ids_are_exported_and_restored() {
    let fixture = filled().await;
    let deep = "a/".repeat(400);
    let ids = [
        "x".repeat(300),
        format!("{}y", "x".repeat(300)),
        format!("{deep}b"),
        format!("{deep}c"),
    ];
    for id in &ids {
        let new = NewTemplate::new(TemplateId::new(id).expect("an id"), package("a", id));
        let registered = fixture.store.register_template(new).await;
        registered.expect("registered");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let report = export(&fixture.store, folder.path()).await;
    assert_eq!(report.expect("exported").templates, 7);
    let again = export(&fixture.store, folder.path()).await;
    assert_eq!(again.expect("exported").written, 0);
    let other = Fixture::idle();
    let done = import(&other.store, folder.path(), false).await;
    let done = done.expect("imported");
    assert_eq!((done.created.len(), done.problems.len()), (8, 0));
    for id in &ids {
        let key = Key::from(TemplateId::new(id).expect("an id"));
        let found = other.store.get(&key, tko_core::Want::ROW).await;
        found.expect("it is imported");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_is_a_catalog_and_an_inventory() {
    let fixture = filled().await;
    let folder = tempfile::tempdir().expect("a folder");
    export(&fixture.store, folder.path())
        .await
        .expect("exported");
    let other = Fixture::new();
    let url = folder.path().to_str().expect("text").to_owned();
    let properties = [("url", &*url), ("root", "templates")];
    assert_synced(
        &other
            .add("catalog|exported", "directory", &properties)
            .await,
    );
    assert_eq!(
        other.templates().await,
        ["nf/upf:v1", "nf/upf:v2", "site/edge:v1"]
    );
    let url = format!("{url}/sites");
    assert_synced(
        &other
            .add("inventory|exported", "directory", &[("url", &url)])
            .await,
    );
    let site = other.site("india/south-1").await.expect("a site");
    assert_eq!(site.entity.metadata.get("region"), Some("south"));
    assert!(site.entity.template().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_export_is_refused_and_broken_parts_are_named() {
    let fixture = filled().await;
    let folder = tempfile::tempdir().expect("a folder");
    assert!(import(&fixture.store, folder.path(), false).await.is_err());
    fs::create_dir(folder.path().join("templates")).expect("a folder");
    let error = export(&fixture.store, folder.path())
        .await
        .expect_err("another's folder");
    assert!(error.to_string().contains("is not an export"), "{error}");
    fs::remove_dir(folder.path().join("templates")).expect("removed");
    export(&fixture.store, folder.path())
        .await
        .expect("exported");
    let upf = folder.path().join("templates/nf/upf@v1");
    fs::write(upf.join("package.yaml"), "a: [").expect("a file");
    let secret = folder.path().join("secret");
    fs::write(&secret, config("secret", "secret")).expect("a file");
    let second = folder.path().join("templates/nf/upf@v2/package.yaml");
    fs::remove_file(&second).expect("removed");
    std::os::unix::fs::symlink(&secret, &second).expect("a link");
    let report = import(&fixture.store, folder.path(), false)
        .await
        .expect("read");
    assert_eq!((report.problems.len(), report.unchanged), (2, 2));
    assert!(
        report.problems[1].why.contains("not a regular file"),
        "{:?}",
        report.problems
    );
    // Links in the place of folders lead nowhere, to write or to remove.
    let outside = tempfile::tempdir().expect("a folder");
    let kept = outside.path().join("upf@v3/package.yaml");
    fs::create_dir_all(kept.parent().expect("a folder")).expect("a folder");
    fs::write(&kept, "kept").expect("a file");
    let nf = folder.path().join("templates/nf");
    fs::remove_dir_all(&nf).expect("removed");
    std::os::unix::fs::symlink(outside.path(), &nf).expect("a link");
    let error = export(&fixture.store, folder.path())
        .await
        .expect_err("a link");
    assert!(error.to_string().contains("is not a folder"), "{error}");
    assert_eq!(fs::read(&kept).expect("it stays"), b"kept");
    assert_eq!(fs::read_dir(outside.path()).expect("a folder").count(), 1);
    fs::write(folder.path().join("tko-export.json"), r#"{"version": 9}"#).expect("a file");
    let error = import(&fixture.store, folder.path(), false)
        .await
        .expect_err("newer");
    assert!(error.to_string().contains("use a newer tko"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_export_and_a_bare_repository_are_not_overwritten() {
    let fixture = filled().await;
    let newer = tempfile::tempdir().expect("a folder");
    fs::write(newer.path().join("tko-export.json"), r#"{"version":99}"#).expect("a file");
    let bare = tempfile::tempdir().expect("a folder");
    fs::write(bare.path().join("HEAD"), "ref: refs/heads/main\n").expect("a file");
    for name in ["objects", "refs"] {
        fs::create_dir(bare.path().join(name)).expect("a folder");
    }
    for (folder, said) in [(newer, "use a newer tko"), (bare, "name file:///")] {
        let before = files(folder.path());
        let error = export(&fixture.store, folder.path()).await;
        let error = error.expect_err(said).to_string();
        assert!(error.contains(said), "{error}");
        assert_eq!(files(folder.path()), before);
    }
}
