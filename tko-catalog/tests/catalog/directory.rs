//! Catalogs in folders.

use crate::support::{Fixture, assert_synced, condition, config, value};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tko_catalog::provenance::SYNC_REQUESTED;
use tko_core::{
    Admission, DataApi, EntityUpdate, Key, NewDeployment, NewPlugin, NewSite, NewTemplate, Package,
    PackageUpdate, PluginId, Result, SiteId, TemplateId, Violation, async_trait,
};
use tokio::sync::Semaphore;

const ID: &str = "catalog|core";

fn write(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, text).expect("a file");
}

fn url(root: &Path) -> String {
    root.to_str().expect("text").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packages_become_templates_that_say_where_they_are_from() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "nf/upf/v1/upf.yaml", &config("upf", "1"));
    write(folder.path(), "nf/upf/v2/upf.yaml", &config("upf", "2"));
    write(folder.path(), "nf/smf/smf.yaml", &config("smf", "1"));
    write(folder.path(), "README.md", "not a package");
    let fixture = Fixture::new();
    let entity = fixture
        .add(ID, "directory", &[("url", &url(folder.path()))])
        .await;
    assert_synced(&entity);
    let upf = fixture.template("nf/upf:v1").await.expect("a template");
    assert_eq!(value(upf.package.as_ref()), "1");
    let given = &upf.entity.given;
    assert_eq!(given.get("Catalog.name"), Some("core"));
    assert_eq!(given.get("Catalog.path"), Some("nf/upf/v1"));
    assert!(given.contains_key("Catalog.digest") && given.contains_key("Catalog.revision"));
    assert!(fixture.template("nf/upf:v2").await.is_some());
    // A package without a version has one by its content, and an alias.
    let smf = fixture.template("nf/smf:latest").await.expect("the alias");
    let digest = smf.entity.given.get("Catalog.digest").expect("a digest");
    let pinned = format!("nf/smf:{}", &digest[..12]);
    assert!(fixture.template(&pinned).await.is_some());
    assert_eq!(fixture.templates().await.len(), 4);
    // Deployments do not inherit where their template is from.
    let new = NewDeployment::new().template(TemplateId::new("nf/upf:v1").expect("an id"));
    let id = fixture.store.create_deployment(new).await.expect("created");
    let deployment = fixture.entity(&Key::from(&id)).await.expect("it exists");
    assert!(
        deployment
            .metadata
            .keys()
            .all(|key| !key.starts_with("Catalog."))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_without_a_change_writes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    for number in 0..200 {
        let name = format!("packages/p{number}/v1/a.yaml");
        write(folder.path(), &name, &config("a", &number.to_string()));
    }
    let fixture = Fixture::new();
    let properties = [("url", &*url(folder.path())), ("path", "packages/*/v*")];
    assert_synced(&fixture.add(ID, "directory", &properties).await);
    assert_eq!(fixture.templates().await.len(), 200);
    let before = fixture.revision().await;
    fixture.sync(ID).await;
    // The request and its answer are the only changes.
    assert_eq!(fixture.revision().await, before + 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_package_is_one_problem_and_is_not_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "smf/a.yaml", &config("smf", "1"));
    write(folder.path(), "upf/a.yaml", &config("upf", "1"));
    write(folder.path(), "broken/a.yaml", "kind: [");
    let fixture = Fixture::new();
    let properties = [("url", &*url(folder.path()))];
    let mut entity = fixture.add(ID, "directory", &properties).await;
    // The first sync, and one that creates nothing.
    for _ in 0..2 {
        let synced = condition(&entity, "Synced");
        assert!(synced.message.starts_with("4 templates"), "{synced:?}");
        let complete = condition(&entity, "Complete");
        assert!(
            complete.message.starts_with("1 problem; broken: "),
            "{complete:?}"
        );
        assert_eq!(fixture.templates().await.len(), 4);
        entity = fixture.sync(ID).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_never_changes_unless_that_is_allowed() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "upf/v1/upf.yaml", &config("upf", "1"));
    let fixture = Fixture::new();
    let place = url(folder.path());
    fixture
        .add(ID, "directory", &[("url", &place), ("path", "*/*")])
        .await;
    write(folder.path(), "upf/v1/upf.yaml", &config("upf", "changed"));
    let entity = fixture.sync(ID).await;
    let complete = condition(&entity, "Complete");
    assert_eq!(complete.status, Some(false));
    assert!(
        complete.message.contains("upf:v1 has other content"),
        "{}",
        complete.message
    );
    let read = fixture.template("upf:v1").await.expect("a template");
    assert_eq!(value(read.package.as_ref()), "1");
    // Nor does a person change it unnoticed.
    write(folder.path(), "upf/v1/upf.yaml", &config("upf", "1"));
    assert_synced(&fixture.sync(ID).await);
    let read = fixture.template("upf:v1").await.expect("a template").entity;
    let update = EntityUpdate::new(read.key.clone(), read.version)
        .package(PackageUpdate::Replace(Package::default()));
    fixture.store.update_entity(update).await.expect("updated");
    let entity = fixture.sync(ID).await;
    let message = &condition(&entity, "Complete").message;
    assert!(message.contains("upf:v1 was changed by hand"), "{message}");
    // What is mutable has the content of the source.
    let properties = [("url", &*place), ("path", "*/*"), ("mutable", "true")];
    assert_synced(&fixture.add(ID, "directory", &properties).await);
    let read = fixture.template("upf:v1").await.expect("a template");
    assert_eq!(value(read.package.as_ref()), "1");
    fixture.sync_unchanged(ID).await;
    write(folder.path(), "upf/v1/upf.yaml", &config("upf", "changed"));
    assert_synced(&fixture.sync(ID).await);
    let read = fixture.template("upf:v1").await.expect("a template");
    assert_eq!(value(read.package.as_ref()), "changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_vanishes_is_marked_and_removed_only_when_nothing_refers_to_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let add = |name: &str| {
        let file = format!("{name}/v1/a.yaml");
        write(folder.path(), &file, &config(name, "1"));
    };
    let remove =
        |name: &str| fs::remove_dir_all(folder.path().join(name)).expect("it can be removed");
    for name in ["by-site", "kept", "unused", "used"] {
        add(name);
    }
    let fixture = Fixture::new();
    let place = url(folder.path());
    fixture.add(ID, "directory", &[("url", &place)]).await;
    let template = |id: &str| TemplateId::new(id).expect("an id");
    let new = NewDeployment::new().template(template("used:v1"));
    fixture.store.create_deployment(new).await.expect("created");
    let id = SiteId::new("edge").expect("an id");
    let new = NewSite::new(id, Package::default()).template(template("by-site:v1"));
    fixture.store.register_site(new).await.expect("registered");
    // A copy that a person makes of a template is not from the catalog.
    let kept = fixture.template("kept:v1").await.expect("a template");
    let copy = NewTemplate::new(template("copy:v1"), Package::default())
        .metadata(kept.entity.given.clone());
    let registered = fixture.store.register_template(copy).await;
    registered.expect("registered");
    for name in ["by-site", "unused", "used"] {
        remove(name);
    }
    fixture.sync(ID).await;
    for id in ["by-site:v1", "unused:v1", "used:v1"] {
        let template = fixture.template(id).await.expect("it stays");
        assert_eq!(template.entity.given.get("Catalog.gone"), Some("true"));
    }
    let properties = [("url", &*place), ("prune", "true")];
    assert_synced(&fixture.add(ID, "directory", &properties).await);
    let left = ["by-site:v1", "copy:v1", "kept:v1", "used:v1"];
    assert_eq!(fixture.templates().await, left);
    // What comes back is not gone any more.
    add("used");
    fixture.sync(ID).await;
    let template = fixture.template("used:v1").await.expect("it stays");
    assert!(!template.entity.given.contains_key("Catalog.gone"));
    // A catalog that vanishes as a whole deletes nothing.
    fs::rename(folder.path(), folder.path().with_extension("away")).expect("renamed");
    let entity = fixture.sync(ID).await;
    assert_eq!(condition(&entity, "Synced").status, Some(false));
    assert_eq!(fixture.templates().await, left);
    fs::rename(folder.path().with_extension("away"), folder.path()).expect("renamed");
    // Nor does an empty one.
    remove("kept");
    remove("used");
    let entity = fixture.sync(ID).await;
    assert_eq!(condition(&entity, "Synced").status, Some(true));
    let message = &condition(&entity, "Complete").message;
    assert!(message.contains("nothing is removed"), "{message}");
    assert_eq!(fixture.templates().await, left);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_offers_nothing_is_a_problem() {
    let folder = tempfile::tempdir().expect("a folder");
    let fixture = Fixture::new();
    let place = url(folder.path());
    let properties = [("url", &*place), ("path", "packages/*")];
    let is_reported = |entity: &Arc<tko_core::Entity>| {
        assert_eq!(condition(entity, "Synced").status, Some(true));
        let complete = condition(entity, "Complete");
        assert_eq!(complete.status, Some(false));
        let problem = "1 problem; core: the source offers no template; check the properties url";
        assert!(complete.message.starts_with(problem), "{complete:?}");
    };
    is_reported(&fixture.add(ID, "directory", &properties).await);
    // A package that the pattern does not match.
    write(folder.path(), "package/upf/v1/a.yaml", &config("a", "1"));
    is_reported(&fixture.sync(ID).await);
    let properties = [("url", &*place), ("path", "package/*/*")];
    assert_synced(&fixture.add(ID, "directory", &properties).await);
    // The templates of a source that is empty now are marked, as those that vanish are.
    fs::remove_dir_all(folder.path().join("package")).expect("removed");
    is_reported(&fixture.sync(ID).await);
    let upf = fixture.template("package/upf:v1").await;
    let upf = upf.expect("it stays").entity;
    assert_eq!(upf.given.get("Catalog.gone"), Some("true"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_package_that_cannot_be_read_is_not_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["b/v1", "c/v1", "d"] {
        write(folder.path(), &format!("{name}/a.yaml"), &config("a", name));
    }
    let settings = tko_catalog::CatalogSettings::default()
        .with_local(true)
        .with_max_templates(4);
    let fixture = Fixture::with(settings);
    let place = url(folder.path());
    let properties = [("url", &*place), ("prune", "true")];
    assert_synced(&fixture.add(ID, "directory", &properties).await);
    let before = fixture.templates().await;
    assert_eq!(before.len(), 4, "{before:?}");
    let is_kept = async |problem: &str| {
        let entity = fixture.sync(ID).await;
        let complete = condition(&entity, "Complete");
        assert!(complete.message.contains(problem), "{}", complete.message);
        for id in &before {
            let kept = fixture.template(id).await.expect("it stays");
            assert!(!kept.entity.given.contains_key("Catalog.gone"), "{id}");
        }
    };
    // Links are not read.
    for name in ["b/v1/a.yaml", "d/a.yaml"] {
        let file = folder.path().join(name);
        let real = file.with_extension("real");
        fs::rename(&file, &real).expect("renamed");
        std::os::unix::fs::symlink(&real, &file).expect("a link");
    }
    is_kept("is a link").await;
    for name in ["b/v1/a.yaml", "d/a.yaml"] {
        let file = folder.path().join(name);
        fs::rename(file.with_extension("real"), &file).expect("renamed");
    }
    // One package too many displaces the last one.
    write(folder.path(), "a/v1/a.yaml", &config("a", "new"));
    is_kept("more than 4 templates").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_package_does_not_stop_the_others() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "good/v1/a.yaml", &config("good", "1"));
    write(folder.path(), "torn/v1/a.yaml", "a: [\n");
    write(folder.path(), "empty/v1/a.yaml", "# nothing\n");
    write(folder.path(), "sp ace/v1/a.yaml", &config("a", "1"));
    write(
        folder.path(),
        "giant/v1/a.yaml",
        &config("a", &"x".repeat(2 << 20)),
    );
    fs::create_dir_all(folder.path().join("link/v1")).expect("a folder");
    std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link/v1/a.yaml"))
        .expect("a link");
    std::os::unix::fs::symlink(folder.path(), folder.path().join("cycle")).expect("a link");
    let limits = tko_source::SourceLimits::default().with_max_bytes(1 << 20);
    let settings = tko_catalog::CatalogSettings::default()
        .with_local(true)
        .with_source(limits);
    let fixture = Fixture::with(settings);
    let entity = fixture
        .add(ID, "directory", &[("url", &url(folder.path()))])
        .await;
    assert_eq!(fixture.templates().await, ["good:v1"]);
    assert_eq!(condition(&entity, "Synced").status, Some(true));
    let message = &condition(&entity, "Complete").message;
    for part in [
        "torn/v1/a.yaml: ",
        "line",
        "empty/v1: it has no resource",
        "sp ace",
        "giant",
        "links are not followed",
    ] {
        assert!(message.contains(part), "{part} in {message}");
    }
    assert!(message.starts_with("5 problems"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn templates_of_others_are_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "upf/v1/upf.yaml", &config("upf", "catalog"));
    let fixture = Fixture::new();
    let bytes = config("upf", "mine");
    let package = Package::decode(
        bytes.as_bytes(),
        tko_core::Format::Yaml,
        tko_core::Dialect::People,
        &tko_core::Limits::default(),
    );
    let id = TemplateId::new("upf:v1").expect("an id");
    let new = NewTemplate::new(id, package.expect("a package"));
    fixture
        .store
        .register_template(new)
        .await
        .expect("registered");
    let place = url(folder.path());
    let entity = fixture
        .add(ID, "directory", &[("url", &place), ("mutable", "true")])
        .await;
    let message = &condition(&entity, "Complete").message;
    assert!(message.contains("is not from a catalog"), "{message}");
    let read = fixture.template("upf:v1").await.expect("a template");
    assert_eq!(value(read.package.as_ref()), "mine");
    let entity = fixture
        .add(
            "catalog|first",
            "directory",
            &[("url", &place), ("id", "a/{path}:{version}")],
        )
        .await;
    assert_synced(&entity);
    let entity = fixture
        .add(
            "catalog|second",
            "directory",
            &[("url", &place), ("id", "a/{path}:{version}")],
        )
        .await;
    let message = &condition(&entity, "Complete").message;
    assert!(
        message.contains("belongs to the catalog first"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_properties_and_restricted_controllers_are_told() {
    let fixture = Fixture::with(tko_catalog::CatalogSettings::default());
    for (properties, part) in [
        (&[("url", "/here")][..], "reads no local files"),
        (&[("ulr", "/here")], "unknown property"),
        (&[("path", "*")], "property \"url\" is missing"),
        (
            &[("url", "/here"), ("mutable", "yes")],
            "neither true nor false",
        ),
        (&[("url", "/here"), ("id", "{path}")], "has no {version}"),
    ] {
        let entity = fixture.add(ID, "directory", properties).await;
        let synced = condition(&entity, "Synced");
        assert_eq!((synced.status, &*synced.reason), (Some(false), "Invalid"));
        assert!(
            synced.message.contains(part),
            "{part} in {}",
            synced.message
        );
    }
    let entity = fixture.add(ID, "nothing", &[("url", "/here")]).await;
    assert!(
        condition(&entity, "Synced")
            .message
            .contains("unknown executor")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_package_that_is_not_valid_is_named_with_file_and_line() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "good/v1/a.yaml", &config("good", "1"));
    let wrong = format!(
        "{}---\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: upf\nspec:\n  \
         replicas: three\n",
        config("upf", "1")
    );
    let lines = config("upf", "1").lines().count();
    write(folder.path(), "wrong/v1/a.yaml", &config("a", "1"));
    write(folder.path(), "wrong/v1/upf.yaml", &wrong);
    let fixture = Fixture::validating();
    let entity = fixture
        .add(ID, "directory", &[("url", &url(folder.path()))])
        .await;
    assert_eq!(fixture.templates().await, ["good:v1"]);
    let message = &condition(&entity, "Complete").message;
    let place = format!("wrong/v1: wrong/v1/upf.yaml:{}: ", lines + 7);
    assert!(message.contains(&place), "{place} in {message}");
    assert!(message.contains("spec.replicas"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_becomes_visible_within_the_interval() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "upf/v1/a.yaml", &config("a", "1"));
    let fixture = Fixture::new();
    let place = url(folder.path());
    let properties = [("url", &*place), ("interval", "1s")];
    assert_synced(&fixture.add(ID, "directory", &properties).await);
    write(folder.path(), "upf/v2/a.yaml", &config("a", "2"));
    // Nobody asks for a sync.
    let visible = async {
        while fixture.template("upf:v2").await.is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(std::time::Duration::from_secs(90), visible).await;
    waited.expect("it becomes visible");
}

/// Lets a package with the resource `slow` wait, and panics at one with the resource `bad`.
struct Trap {
    /// Gets a permit when a slow package comes.
    came: Semaphore,
    /// Lets slow packages pass.
    gate: Semaphore,
    is_set: AtomicBool,
}

#[async_trait]
impl Admission for Trap {
    async fn admit(&self, package: &Package, _: bool) -> Result<Vec<Violation>> {
        let has = |name: &str| {
            let mut resources = package.iter();
            resources.any(|resource| *resource.identifier().name == *name)
        };
        assert!(!has("bad") || !self.is_set.load(Ordering::SeqCst), "a trap");
        if has("slow") {
            self.came.add_permits(1);
            let _passed = self.gate.acquire().await.expect("the gate is never closed");
        }
        Ok(Vec::new())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_that_panics_is_retried_while_another_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["slow", "bad"] {
        let file = format!("{name}/{name}/v1/a.yaml");
        write(folder.path(), &file, &config(name, "1"));
    }
    let place = |name: &str| url(&folder.path().join(name));
    let trap = Arc::new(Trap {
        came: Semaphore::new(0),
        gate: Semaphore::new(0),
        is_set: AtomicBool::new(true),
    });
    let settings = tko_catalog::CatalogSettings::default().with_local(true);
    let fixture = Fixture::admitting(settings, trap.clone());
    let slow: PluginId = "catalog|slow".parse().expect("an id");
    let properties = [("url".to_owned(), place("slow"))];
    let new = NewPlugin::new(slow.clone(), "directory").properties(properties.into());
    let registered = fixture.store.register_plugin(new).await;
    registered.expect("registered");
    let came = trap.came.acquire().await;
    came.expect("it is never closed").forget();
    // Its sync runs. Another one is requested before the sync of the bad catalog panics.
    let key = Key::from(slow);
    let others = async {
        let is_requested = async || {
            let entity = fixture.entity(&key).await.expect("the catalog");
            entity.given.contains_key(SYNC_REQUESTED)
        };
        while !is_requested().await {
            tokio::task::yield_now().await;
        }
        let bad = [("url", &*place("bad"))];
        let entity = fixture.add("catalog|bad", "directory", &bad).await;
        let synced = condition(&entity, "Synced");
        assert_eq!(synced.status, Some(false));
        assert!(synced.message.contains("a trap"), "{}", synced.message);
        trap.is_set.store(false, Ordering::SeqCst);
        assert_synced(&fixture.sync("catalog|bad").await);
        trap.gate.add_permits(1);
    };
    let (entity, ()) = tokio::join!(fixture.sync("catalog|slow"), others);
    assert_synced(&entity);
    assert_eq!(fixture.templates().await, ["bad:v1", "slow:v1"]);
}
