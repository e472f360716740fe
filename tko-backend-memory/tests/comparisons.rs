//! Comparisons of a deployment with its earlier states.

use serde_json::{Value, json};
use std::sync::Arc;
use tko_backend_memory::{Memory, MemorySettings};
use tko_conformance::{CountedIds, ManualClock, Strict};
use tko_core::api::{DeploymentComparison, EarlierState, approve_one, compare_deployment};
use tko_core::{
    ClaimRequest, DataApi, DeploymentId, ErrorKind, Generation, Key, NewDeployment, NewSite,
    Outcome, Package, Record, Resource, Revision, ScheduleStep, SiteId, Stage, Store, Want,
    WorkerApi, deployment_resource,
};

type MemoryStore = Store<Memory>;

/// A store that keeps this many changes.
fn store(history: usize) -> Arc<MemoryStore> {
    let memory = Memory::new(Arc::new(ManualClock::new()), MemorySettings { history });
    let ids = Arc::new(CountedIds::default());
    Arc::new(Store::new(Arc::new(memory), Arc::new(Strict), ids))
}

fn config(text: &str) -> Arc<Resource> {
    let value = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "config"},
        "data": {"text": text},
    });
    Arc::new(Resource::new(value).expect("a resource"))
}

async fn site(store: &MemoryStore, id: &str) -> SiteId {
    let id = SiteId::new(id).expect("a valid id");
    let new = NewSite::new(id.clone(), Package::default());
    store.register_site(new).await.expect("valid");
    id
}

/// Creates a prepared deployment that only a person approves, with the text `old`.
async fn created(store: &MemoryStore) -> DeploymentId {
    let site = site(store, "lab").await;
    let own = deployment_resource::asked(None, None, false, false);
    let own = own.annotated("nephio.org/approve", "Manual");
    let package = Package::new(vec![config("old"), Arc::new(own)]).expect("a package");
    let new = NewDeployment::new()
        .merge(package)
        .site(site)
        .prepared(true);
    store.create_deployment(new).await.expect("valid")
}

async fn read(store: &MemoryStore, id: &DeploymentId) -> Record {
    let read = store.get(&Key::from(id), Want::PACKAGE).await;
    read.expect("it exists")
}

async fn approve(store: &MemoryStore, id: &DeploymentId) {
    let entity = read(store, id).await.entity;
    approve_one(store, &entity).await.expect("approved");
}

async fn place(store: &MemoryStore, id: &DeploymentId) {
    let request = ClaimRequest::new(Stage::Schedule, "test");
    let claims = store.claim(&request).await.expect("claimed");
    let claim = claims.first().expect("the site is due");
    let generation = read(store, id).await.entity.generation;
    let step = ScheduleStep::new()
        .placed(id.clone(), generation)
        .settle(Outcome::Done);
    let placed = store.commit_placed(&claim.token, step).await;
    placed.expect("the lease is live");
}

async fn edit(store: &MemoryStore, id: &DeploymentId, package: impl FnOnce(Package) -> Package) {
    let Record {
        entity,
        package: old,
        ..
    } = read(store, id).await;
    let package = package(old.expect("read"));
    let edited = store.update(id, entity.version, package).await;
    edited.expect("nobody else changes it");
}

async fn write(store: &MemoryStore, id: &DeploymentId, text: &str) {
    edit(store, id, |package| package.with(config(text))).await;
}

async fn revision(store: &MemoryStore) -> Revision {
    let position = store.feed_position().await;
    position.expect("read").revision
}

async fn compare(
    store: &MemoryStore,
    id: &DeploymentId,
    at: Option<Revision>,
) -> DeploymentComparison {
    let compared = compare_deployment(store, id, at).await;
    compared.expect("it can be compared")
}

/// The differences with the texts before and after.
fn differences(comparison: &DeploymentComparison) -> Vec<String> {
    let text = |resource: Option<&Arc<Resource>>| {
        let text = resource.and_then(|resource| resource.get(&["data", "text"]));
        text.and_then(Value::as_str).unwrap_or("none").to_owned()
    };
    let differences = comparison.differences();
    let shown = differences.iter().map(|one| {
        let (before, after) = (text(one.before()), text(one.after()));
        format!("{} {}: {before} to {after}", one.as_str(), one.identifier())
    });
    shown.collect()
}

#[tokio::test]
async fn an_unapproved_edit_is_compared_with_the_package_that_the_site_keeps() {
    let store = store(1_000);
    let id = created(&store).await;
    approve(&store, &id).await;
    place(&store, &id).await;
    write(&store, &id, "new").await;
    write(&store, &id, "newer").await;
    let comparison = compare(&store, &id, None).await;
    let EarlierState::Kept { site, record } = &comparison.before else {
        panic!("the site keeps a package: {comparison:?}");
    };
    assert_eq!(site.as_str(), "lab");
    assert_eq!(record.entity.generation, Generation(2));
    assert_eq!(comparison.after.entity.generation, Generation(4));
    // The lost approval is not a difference.
    assert_eq!(
        differences(&comparison),
        ["changed ConfigMap config: old to newer"]
    );
    // After the approval, the last edit is the last change of the package.
    approve(&store, &id).await;
    let comparison = compare(&store, &id, None).await;
    let EarlierState::BeforeChange { record, .. } = &comparison.before else {
        panic!("the package changed: {comparison:?}");
    };
    assert_eq!(record.entity.generation, Generation(3));
    assert_eq!(
        differences(&comparison),
        ["changed ConfigMap config: new to newer"]
    );
}

#[tokio::test]
async fn a_package_that_never_changed_is_compared_with_nothing() {
    let store = store(1_000);
    let id = created(&store).await;
    for _ in 0..2 {
        let comparison = compare(&store, &id, None).await;
        let is_unchanged = matches!(comparison.before, EarlierState::NeverChanged);
        assert!(is_unchanged, "{comparison:?}");
        assert!(differences(&comparison).is_empty());
        // An approval does not change the package.
        approve(&store, &id).await;
    }
}

#[tokio::test]
async fn another_order_is_a_change_without_a_difference() {
    let store = store(1_000);
    let id = created(&store).await;
    edit(&store, &id, |package| {
        let reversed = package.iter().rev().cloned();
        Package::new(reversed.collect()).expect("a package")
    })
    .await;
    let comparison = compare(&store, &id, None).await;
    let has_changed = matches!(comparison.before, EarlierState::BeforeChange { .. });
    assert!(has_changed, "{comparison:?}");
    assert!(differences(&comparison).is_empty() && comparison.is_reordered());
}

#[tokio::test]
async fn the_state_at_a_revision_is_found_in_history() {
    let store = store(1_000);
    let id = created(&store).await;
    let first = revision(&store).await;
    write(&store, &id, "new").await;
    site(&store, "other").await;
    let second = revision(&store).await;
    write(&store, &id, "newer").await;
    write(&store, &id, "newest").await;
    for (at, text) in [(first, "old"), (second, "new")] {
        let comparison = compare(&store, &id, Some(at)).await;
        let difference = format!("changed ConfigMap config: {text} to newest");
        assert_eq!(differences(&comparison), [difference]);
    }
    let now = compare(&store, &id, Some(Revision(u64::MAX))).await;
    assert!(differences(&now).is_empty());
    let before = compare_deployment(&*store, &id, Some(Revision(0))).await;
    let error = before.expect_err("it did not exist");
    assert_eq!(error.kind(), ErrorKind::BadArgument, "{error}");
    let why = format!("did not exist at revision 0; it was created at revision {first}");
    assert!(error.to_string().contains(&why), "{error}");
}

#[tokio::test]
async fn an_error_says_how_far_history_reaches() {
    let store = store(20);
    let id = created(&store).await;
    let first = revision(&store).await;
    // More changes than one page of history has.
    for number in 0..20 {
        write(&store, &id, &format!("text {number}")).await;
    }
    // The change itself is no longer kept, but the next one has the state before it.
    let comparison = compare(&store, &id, Some(first)).await;
    assert_eq!(
        differences(&comparison),
        ["changed ConfigMap config: old to text 19"]
    );
    let error = compare_deployment(&*store, &id, Some(Revision(first.0 - 1))).await;
    let error = error.expect_err("it is not kept");
    assert_eq!(error.kind(), ErrorKind::BadArgument, "{error}");
    let why = format!("give {first} or a later one");
    assert!(error.to_string().contains(&why), "{error}");
    // History forgets all changes of the deployment.
    for number in 0..20 {
        site(&store, &format!("other/{number}")).await;
    }
    let comparison = compare(&store, &id, None).await;
    let is_forgotten = matches!(comparison.before, EarlierState::Forgotten);
    assert!(is_forgotten, "{comparison:?}");
    let comparison = compare(&store, &id, Some(revision(&store).await)).await;
    assert!(differences(&comparison).is_empty());
}
