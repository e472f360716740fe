//! The demo's check finds every difference on disk.

use crate::services::assembly::Assembly;
use crate::services::controllers::{
    ControllerArgs, ManifestDestination, PreparerArgs, SchedulerArgs,
};
use futures_util::StreamExt;
use std::fs;
use std::path::{Path, PathBuf};
use tko_core::entity::SCHEDULED;
use tko_core::{
    DataApi, Dialect, Event, Expect, Format, Kind, Limits, NewDeployment, NewSite, Package,
    Revision, Select, SiteId, Watch,
};
use tko_scheduler::Manifests;

/// Starts an assembly with one site and one deployment of two resources, and waits for its
/// manifests.
async fn scheduled(root: &Path) -> Assembly {
    let mut assembly = Assembly::memory().await.expect("in memory");
    let controller = ControllerArgs::default();
    assembly.prepare(&PreparerArgs::default(), &controller);
    let manifests = ManifestDestination::Directory {
        path: root.to_owned(),
        sync: false,
    };
    assembly.schedule(&SchedulerArgs::default(), &controller, manifests);
    let yaml = b"{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n---\n\
        {apiVersion: v1, kind: ConfigMap, metadata: {name: b}, data: {c: d}}\n";
    let limits = Limits::default();
    let package = Package::decode(yaml, Format::Yaml, Dialect::People, &limits);
    let data = assembly.data();
    let site =
        NewSite::new("here".parse().expect("an id"), Package::default()).expect(Expect::Absent);
    data.register_site(site).await.expect("valid");
    let deployment = NewDeployment::new()
        .site(SiteId::new("here").expect("an id"))
        .merge(package.expect("YAML"));
    data.create_deployment(deployment).await.expect("valid");
    let mut events = data.watch(Watch::new(
        Select::all(Kind::Deployment),
        Revision::default(),
    ));
    while let Some(event) = events.next().await {
        if let Event::Put { record, .. } = event.expect("in memory")
            && let Some(condition) = record.entity.condition(SCHEDULED)
            && condition.status == Some(true)
        {
            return assembly;
        }
    }
    panic!("the watch ended");
}

/// The folder of the only deployment, and its files.
fn files(root: &Path) -> (PathBuf, Vec<PathBuf>) {
    let sub = |path: &Path| {
        let entries = fs::read_dir(path).expect("a folder");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let mut paths: Vec<_> = paths.collect();
        paths.sort();
        paths
    };
    let folder = |path: &Path| sub(path).into_iter().find(|p| p.is_dir());
    let site = folder(root).expect("the site's");
    let deployment = folder(&site).expect("the deployment's");
    let files = sub(&deployment);
    (deployment, files)
}

#[tokio::test]
async fn every_difference_on_disk_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let assembly = Box::pin(scheduled(root)).await;
    let data: &dyn DataApi = &*assembly.data();
    assert_eq!(Manifests::verify(data, root).await.expect("as expected"), 2);
    let (deployment, files) = files(root);
    let [one, other] = &files[..] else {
        panic!("not two files: {files:?}");
    };
    let text = fs::read(one).expect("a file");
    let differs = async |what: &str| {
        let error = Manifests::verify(data, root).await.expect_err(what);
        format!("{error:#}")
    };

    fs::remove_file(one).expect("it exists");
    assert!(differs("lost").await.contains("different"));
    fs::write(one, &text).expect("a file");
    Manifests::verify(data, root).await.expect("mended");

    fs::write(
        one,
        b"{apiVersion: v1, kind: ConfigMap, metadata: {name: z}}\n",
    )
    .expect("a file");
    assert!(differs("changed").await.contains("different"));
    fs::write(
        one,
        [&text[..], b"\n---\n", &fs::read(other).expect("a file")].concat(),
    )
    .expect("a file");
    assert!(differs("two in one").await.contains("one resource"));
    fs::write(one, b"a: [").expect("a file");
    assert!(differs("torn").await.contains("line 1"));
    fs::write(one, &text).expect("a file");

    fs::create_dir(deployment.with_file_name("more")).expect("a folder");
    assert!(differs("surplus").await.contains("surplus"));
    fs::remove_dir(deployment.with_file_name("more")).expect("it exists");
    fs::create_dir(root.join("elsewhere")).expect("a folder");
    assert!(
        differs("unknown")
            .await
            .contains("does not belong to any site")
    );
    fs::remove_dir(root.join("elsewhere")).expect("it exists");
    Manifests::verify(data, root).await.expect("mended");

    fs::rename(&deployment, root.join("away")).expect("it exists");
    assert!(differs("lost").await.contains("missing"));
    assembly.stop().await;
}
