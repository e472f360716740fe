//! Manifests in a directory: exactly the resources to apply, under safe names.

mod tree;
mod world;

use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tko_core::{DeploymentId, Gvk, NewDeployment, Package, Registry, Scheduler, SiteId};
use tko_scheduler::{Manifests, ScheduleSettings};
use tree::{Call, files, paths};
use world::{World, config, key};

fn folder(site: &str) -> String {
    Manifests::folder(&SiteId::new(site).expect("valid"))
}

#[tokio::test(start_paused = true)]
async fn the_directory_contains_exactly_the_wanted_resources() {
    let root = TempDir::new().expect("a directory");
    let mut world = World::new();
    let manifests: Arc<dyn Scheduler> = Arc::new(Manifests::directory(root.path()));
    let registry = Registry::new().with_everywhere("manifests", manifests);
    world.start(registry, ScheduleSettings::default());
    world.site("india/south-1").await;
    world.site("india/south-2").await;
    let one = world.deployment("india/south-1", "one", true).await;
    let two = world.deployment("india/south-1", "two", true).await;
    let hidden = world.deployment("india/south-2", "three", false).await;
    until(&world, || files(root.path()).len() == 2).await;
    let expected = [one.as_str(), two.as_str()]
        .map(|id| format!("india+south-1/{id}/030-configmap-core-config.yaml"));
    assert_eq!(paths(root.path()), expected);
    let text = &files(root.path())[&expected[1]];
    assert!(text.contains("text: two"), "{text}");

    world.move_to(&one, "india/south-2").await;
    until(&world, || {
        paths(root.path())
            .iter()
            .any(|p| p.starts_with("india+south-2"))
    })
    .await;
    let expected = [
        format!("india+south-1/{two}/030-configmap-core-config.yaml"),
        format!("india+south-2/{one}/030-configmap-core-config.yaml"),
    ];
    assert_eq!(paths(root.path()), expected);

    world.data.delete(&two.clone().into()).await.expect("taken");
    until(&world, || files(root.path()).len() == 1).await;
    assert!(root.path().join("india+south-1/.tko").exists());
    for _ in 0..100 {
        if world.find(&two).await.is_none() {
            break;
        }
        wait().await;
    }
    assert!(world.find(&two).await.is_none(), "it is off, so it is gone");
    world
        .data
        .delete(&key("india/south-1"))
        .await
        .expect("taken");
    until(&world, || !root.path().join("india+south-1").exists()).await;
    assert!(world.find(&hidden).await.is_some());
    let site = world.find(key("india/south-2")).await.expect("there");
    let condition = site.condition("Manifests").expect("reported");
    assert_eq!(
        condition.message,
        "1 resources of 1 deployments in folder india+south-2"
    );
    world.stop().await;
}

/// A short moment in real time, because files are written on other threads.
async fn wait() {
    tokio::task::yield_now().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let breathe = tokio::task::spawn_blocking(std::thread::yield_now);
    breathe.await.expect("no panic");
}

async fn until(_: &World, done: impl Fn() -> bool) {
    for _ in 0..1_000 {
        if done() {
            return;
        }
        wait().await;
    }
    assert!(done(), "it does not come to be");
}

/// A `HelmChart`, which the preparer renders or a scheduler installs.
fn chart(name: &str, render: bool) -> Value {
    json!({
        "apiVersion": "workload.nephio.org/v1alpha1", "kind": "HelmChart",
        "metadata": {"name": name}, "spec": {"chart": "/charts/web", "render": render},
    })
}

/// Creates an approved deployment with these resources.
async fn create(world: &World, site: &str, resources: Vec<Value>) -> DeploymentId {
    let new = NewDeployment::new()
        .site(SiteId::new(site).expect("valid"))
        .merge(Package::from_values(resources).expect("distinct"))
        .prepared(true)
        .approved(true);
    world.data.create_deployment(new).await.expect("created")
}

/// The message of a deployment that is on its site.
async fn scheduled(world: &World, id: &DeploymentId) -> String {
    for _ in 0..1_000 {
        if let Some((Some(true), _, message)) = world.condition(id).await {
            return message;
        }
        wait().await;
    }
    panic!("deployment {id} is not scheduled");
}

#[tokio::test(start_paused = true)]
async fn a_deployment_says_that_no_scheduler_of_its_site_installs_its_charts() {
    let root = TempDir::new().expect("a directory");
    let mut world = World::new();
    // A plugin that a site calls may install charts.
    world.plugin("installer", &Gvk::of("v1", "ConfigMap")).await;
    let manifests: Arc<dyn Scheduler> = Arc::new(Manifests::directory(root.path()));
    let registry = Registry::new().with_everywhere("manifests", manifests);
    world.start(registry, ScheduleSettings::default());
    world.site("plain").await;
    world.site_with("plugged", vec![config("site")]).await;
    let one = create(
        &world,
        "plain",
        vec![chart("web", false), chart("ready", true)],
    )
    .await;
    let two = create(
        &world,
        "plain",
        vec![chart("web", false), chart("db", false)],
    )
    .await;
    let rendered = create(&world, "plain", vec![chart("web", true)]).await;
    let plugged = create(&world, "plugged", vec![chart("web", false)]).await;

    let message = scheduled(&world, &one).await;
    let words = "on site plain; no scheduler of the site installs its HelmChart web: set \
                 spec.render to true";
    assert!(message.starts_with(words), "{message}");
    let message = scheduled(&world, &two).await;
    assert!(message.contains("installs its 2 HelmCharts: "), "{message}");
    assert_eq!(scheduled(&world, &rendered).await, "on site plain");
    assert_eq!(scheduled(&world, &plugged).await, "on site plugged");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_start_with_another_directory_writes_every_site_at_once() {
    let (first, second) = (TempDir::new(), TempDir::new());
    let (first, second) = (first.expect("a directory"), second.expect("a directory"));
    let mut world = World::new();
    world.site("a").await;
    for root in [first.path(), second.path(), second.path()] {
        let manifests: Arc<dyn Scheduler> = Arc::new(Manifests::directory(root));
        let registry = Registry::new().with_everywhere("manifests", manifests);
        world.start(registry, ScheduleSettings::default());
        until(&world, || root.join("a/.tko").exists()).await;
        // The work in flight ends first.
        world.stop().await;
        let site = world.find(key("a")).await.expect("there");
        let condition = site.condition("Scheduled").expect("reported");
        assert_eq!(condition.status, Some(true));
        // The third start finds a directory that was emptied.
        fs::remove_dir_all(root.join("a")).expect("removed");
    }
}

#[tokio::test]
async fn unchanged_files_are_not_touched_and_others_are_repaired() {
    let root = TempDir::new().expect("a directory");
    let manifests = Manifests::directory(root.path());
    let call = Call::of("a")
        .with("d1", vec![config("one")])
        .with("d2", vec![config("two")]);
    call.fence(1).make(&manifests).await.expect("written");
    let files_then = files(root.path());
    let (one, two) = (
        root.path().join("a/d1/030-configmap-core-config.yaml"),
        root.path().join("a/d2/030-configmap-core-config.yaml"),
    );
    let written = fs::metadata(&one)
        .expect("there")
        .modified()
        .expect("called");
    // Remains of a crash, or changes by a person.
    fs::write(&two, "cut o").expect("written");
    fs::write(root.path().join("a/d1/.tko-x7Yz"), "tem").expect("written");
    fs::create_dir_all(root.path().join("a/gone/deep")).expect("made");
    fs::write(root.path().join("a/gone/deep/x.yaml"), "x").expect("written");
    call.fence(2).make(&manifests).await.expect("written");
    assert_eq!(files(root.path()), files_then);
    assert!(!root.path().join("a/d1/.tko-x7Yz").exists());
    let again = fs::metadata(&one)
        .expect("there")
        .modified()
        .expect("called");
    assert_eq!(written, again);
}

#[tokio::test]
async fn an_older_claim_is_refused_and_changes_nothing() {
    let root = TempDir::new().expect("a directory");
    let manifests = Manifests::directory(root.path());
    let new = Call::of("a").with("d1", vec![config("new")]).fence(7);
    new.make(&manifests).await.expect("written");
    let then = files(root.path());
    let old = Call::of("a").with("d1", vec![config("old")]).fence(6);
    let error = old.make(&manifests).await.expect_err("refused");
    assert!(
        error
            .chain()
            .contains("under claim 7, which is newer than 6"),
        "{}",
        error.chain()
    );
    assert_eq!(files(root.path()), then);
    // The site was registered again, perhaps in a store that counts from 1.
    let anew = Call::of("a")
        .with("d1", vec![config("anew")])
        .fence(1)
        .created(5);
    anew.make(&manifests)
        .await
        .expect("newer than any claim of the old one");
    let old = Call::of("a").fence(99).going();
    old.make(&manifests).await.expect_err("refused");
}

#[tokio::test]
async fn hostile_names_stay_inside_the_folder_and_distinct() {
    let root = TempDir::new().expect("a directory");
    let inside = root.path().join("inside");
    let manifests = Manifests::directory(&inside);
    let long = "x/".repeat(500);
    let sites = [
        "..", ".", "/", "../../up", "a/b", "a", "A", "a_", "a__", "aux", "-rf", ".git", ".tko",
        &long,
    ];
    for site in sites {
        let hostile = json!({
            "apiVersion": "v1", "kind": "../../ConfigMap",
            "metadata": {"name": "../../../../etc/passwd", "namespace": "..\u{0}\n"},
        });
        let call = Call::of(site)
            .with("d1", vec![hostile, config(site)])
            .with("D1", vec![config(site)]);
        call.fence(1).make(&manifests).await.expect("written");
    }
    let written = paths(&inside);
    assert_eq!(written.len(), 3 * sites.len(), "{written:?}");
    for path in &written {
        assert_eq!(path.split('/').count(), 3, "{path}");
        assert!(path.is_ascii() && *path == path.to_lowercase(), "{path}");
    }
    let beside: Vec<_> = fs::read_dir(root.path()).expect("there").collect();
    assert_eq!(beside.len(), 1, "nothing outside");
    for site in sites {
        let own = inside
            .join(folder(site))
            .join("d1/030-configmap-core-config.yaml");
        let text = fs::read_to_string(own).expect("there");
        assert!(text.contains(site), "{text}");
        Call::of(site)
            .fence(2)
            .going()
            .make(&manifests)
            .await
            .expect("removed");
    }
    assert_eq!(fs::read_dir(&inside).expect("there").count(), 0);
}

#[tokio::test]
async fn a_foreign_folder_is_refused() {
    let root = TempDir::new().expect("a directory");
    let manifests = Manifests::directory(root.path());
    let own = root.path().join("a");
    fs::create_dir(&own).expect("made");
    fs::write(own.join("precious.txt"), "mine").expect("written");
    let call = Call::of("a").with("d1", vec![config("one")]);
    let error = call.fence(1).make(&manifests).await.expect_err("refused");
    assert!(
        error
            .chain()
            .contains("has no file .tko that marks it as TKO's"),
        "{}",
        error.chain()
    );
    let going = Call::of("a").fence(2).going();
    going
        .make(&manifests)
        .await
        .expect("nothing of ours is there");
    assert_eq!(
        fs::read_to_string(own.join("precious.txt")).expect("there"),
        "mine"
    );
}

#[cfg(unix)]
#[tokio::test]
async fn links_are_removed_and_not_followed() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let root = TempDir::new().expect("a directory");
    let precious = root.path().join("precious");
    fs::create_dir(&precious).expect("made");
    fs::write(precious.join("file"), "mine").expect("written");
    let inside = root.path().join("inside");
    let manifests = Manifests::directory(&inside);
    let call = Call::of("a")
        .with("d1", vec![config("one")])
        .with("d2", vec![config("two")]);
    call.fence(1).make(&manifests).await.expect("written");
    fs::remove_dir_all(inside.join("a/d1")).expect("removed");
    symlink(&precious, inside.join("a/d1")).expect("made");
    let file = inside.join("a/d2/030-configmap-core-config.yaml");
    fs::remove_file(&file).expect("removed");
    symlink(precious.join("file"), &file).expect("made");
    symlink(&precious, inside.join("a/extra")).expect("made");
    call.fence(2).make(&manifests).await.expect("written");
    assert_eq!(
        fs::read_to_string(precious.join("file")).expect("there"),
        "mine"
    );
    assert_eq!(fs::read_dir(&precious).expect("there").count(), 1);
    assert_eq!(paths(&inside).len(), 2);
    let mode = fs::metadata(&file).expect("there").permissions().mode();
    assert_ne!(mode & 0o044, 0, "others may read: {mode:o}");
    symlink(&precious, inside.join("b")).expect("made");
    let error = Call::of("b")
        .fence(1)
        .make(&manifests)
        .await
        .expect_err("refused");
    assert!(error.chain().contains("is a link"), "{}", error.chain());
}

#[tokio::test]
async fn resources_for_orchestration_are_left_out() {
    let root = TempDir::new().expect("a directory");
    let manifests = Manifests::directory(root.path());
    let call = Call::of("a").with(
        "d1",
        vec![json!({
            "apiVersion": "deployment.nephio.org/v1alpha1", "kind": "Deployment",
            "metadata": {"name": "deployment"},
        })],
    );
    call.fence(1).make(&manifests).await.expect("written");
    assert_eq!(paths(root.path()), Vec::<String>::new());
    assert!(!Path::new(&root.path().join("a/d1")).exists());
}

/// O18: a Secret is for the tool that applies it, not for everybody on the machine.
#[cfg(unix)]
#[tokio::test]
async fn o18_secrets_are_readable_by_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let root = TempDir::new().expect("a directory");
    let manifests = Manifests::directory(root.path());
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "core"},
        "stringData": {"password": "one"},
    });
    let call = Call::of("a").with("d1", vec![secret, config("one")]);
    call.fence(1).make(&manifests).await.expect("written");
    let mode = |name: &str| {
        let file = root.path().join("a/d1").join(name);
        fs::metadata(file).expect("there").permissions().mode() & 0o777
    };
    let all = paths(root.path());
    let name = all.iter().find(|path| path.contains("secret"));
    let name = name.expect("written").rsplit('/').next().expect("a name");
    assert_eq!(mode(name), 0o600);
    // One that somebody opened is closed again.
    let file = root.path().join("a/d1").join(name);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("ours");
    call.fence(2).make(&manifests).await.expect("written");
    assert_eq!(mode(name), 0o600);
}
