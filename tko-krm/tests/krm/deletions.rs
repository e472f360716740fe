//! Deletions of objects that others change between the read and the deletion.

use crate::requests::ApiClient;
use crate::serving::{AdmitMost, Serving, package, store};
use futures_util::FutureExt;
use reqwest::Method;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;
use tko_backend_memory::{Memory, MemorySettings};
use tko_core::system::TimeOrderedIds;
use tko_core::{
    ApiCall, BoxFuture, Caller, ClaimRequest, Clock, Condition, DataApi, EntityUpdate, Guard,
    Guarded, Key, Metadata, NewDeployment, NewSite, Result, ScheduleStep, SiteId, Stage, Store,
    Timestamp, Want, WorkerApi,
};
use tko_krm::KrmSettings;
use tko_serve::Access;

/// Gives metadata to an object just before its first deletion.
struct ChangingGuard {
    data: Arc<Store<Memory>>,
    given: Metadata,
    changed: AtomicBool,
}

impl ChangingGuard {
    async fn change(&self, key: &Key) -> Result<()> {
        let record = self.data.get(key, Want::ROW).await?;
        let update = EntityUpdate::new(key, record.entity.version).metadata(self.given.clone());
        self.data.update_entity(update).await?;
        Ok(())
    }
}

impl Guard for ChangingGuard {
    fn check(&self, _: Option<&Caller>, call: ApiCall<'_>) -> Result<()> {
        if let ApiCall::Delete(key) = call
            && !self.changed.swap(true, Ordering::Relaxed)
        {
            let changed = self.change(key).now_or_never();
            return changed.expect("a store in memory does not wait");
        }
        Ok(())
    }
}

/// A server of sites with these ids and metadata. The first that is deleted gets the metadata
/// `changed` just before.
async fn serving(ids: &[&str], given: &Metadata, changed: Metadata) -> Serving {
    let data = store(MemorySettings::default());
    for id in ids {
        let id = SiteId::new(id).expect("an id");
        let new = NewSite::new(id, package("place")).metadata(given.clone());
        data.register_site(new).await.expect("valid");
    }
    let guard = ChangingGuard {
        data: data.clone(),
        given: changed,
        changed: AtomicBool::new(false),
    };
    let api = Arc::new(Guarded::new(data.clone(), guard));
    Serving::through(api, data, 0, KrmSettings::default(), Access::new(), None).await
}

/// The metadata of an object with these finalizers.
fn kept_by(finalizers: &[&str], deletion: Option<&str>) -> Metadata {
    let mut stored = json!({"f": finalizers});
    if let Some(deletion) = deletion {
        stored["d"] = deletion.into();
    }
    Metadata::from([("nephio.org/_kubernetes", stored.to_string())])
}

async fn exists(serving: &Serving, id: &str) -> bool {
    let key = Key::from(SiteId::new(id).expect("an id"));
    serving.data.get(&key, Want::ROW).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finalizer_that_is_added_during_a_deletion_keeps_the_object() {
    let changed = kept_by(&["example.org/keep"], None);
    let serving = serving(&["lab"], &Metadata::default(), changed).await;
    let deleted = ApiClient::new(&serving).delete("sites/lab").await;
    assert_eq!(deleted.status, 200, "{deleted:?}");
    let metadata = &deleted.body["metadata"];
    assert_eq!(metadata["finalizers"], json!(["example.org/keep"]));
    assert!(metadata["deletionTimestamp"].is_string(), "{deleted:?}");
    assert!(exists(&serving, "lab").await);
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_precondition_holds_until_the_object_is_deleted() {
    let changed = Metadata::from([("region", "south")]);
    let serving = serving(&["lab"], &Metadata::default(), changed).await;
    let client = ApiClient::new(&serving);
    let read = client.get("sites/lab").await;
    let version = &read.body["metadata"]["resourceVersion"];
    let options = json!({"preconditions": {"resourceVersion": version}}).to_string();
    let refused = client
        .send(Method::DELETE, "sites/lab", "application/json", options)
        .await;
    assert_eq!(refused.status, 409, "{refused:?}");
    let message = refused.message();
    assert!(message.contains("Precondition failed"), "{message}");
    assert!(exists(&serving, "lab").await);
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_of_a_collection_leaves_what_is_no_longer_selected() {
    let south = Metadata::from([("region", "south")]);
    let still = Metadata::from([("region", "south"), ("rack", "1")]);
    for (changed, is_kept) in [(Metadata::default(), true), (still, false)] {
        let serving = serving(&["a", "b"], &south, changed).await;
        let client = ApiClient::new(&serving);
        let deleted = client.delete("sites?labelSelector=region%3Dsouth").await;
        assert_eq!(deleted.status, 200, "{deleted:?}");
        let items = deleted.body["items"].as_array().expect("items");
        assert_eq!(items.len(), if is_kept { 1 } else { 2 }, "{deleted:?}");
        assert_eq!(exists(&serving, "a").await, is_kept);
        assert!(!exists(&serving, "b").await);
        serving.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_finalizer_is_that_of_the_object_that_is_deleted() {
    let since = Some("2026-01-01T00:00:00Z");
    let given = kept_by(&["example.org/one"], since);
    let changed = kept_by(&["example.org/one", "example.org/two"], since);
    let serving = serving(&["lab"], &given, changed).await;
    let client = ApiClient::new(&serving);
    let patch = json!([{"op": "remove", "path": "/metadata/finalizers/0"}]);
    let patched = client.patch("sites/lab", "json-patch+json", &patch).await;
    assert_eq!(patched.status, 200, "{patched:?}");
    let left = &patched.body["metadata"]["finalizers"];
    assert_eq!(*left, json!(["example.org/two"]), "{patched:?}");
    assert!(exists(&serving, "lab").await);
    serving.stop().await;
}

/// A clock that the test sets, in microseconds. Sleeps never end.
struct SetClock(AtomicI64);

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_a_deletion_stays_while_schedulers_report() {
    let start = 1_800_000_000_000_000;
    let clock = Arc::new(SetClock(AtomicI64::new(start)));
    let memory = Arc::new(Memory::new(clock.clone(), MemorySettings::default()));
    let (admission, ids) = (Arc::new(AdmitMost), Arc::new(TimeOrderedIds));
    let data = Arc::new(Store::new(memory, admission, ids));
    let site = SiteId::new("lab").expect("an id");
    let new = NewSite::new(site.clone(), package("place"));
    data.register_site(new).await.expect("valid");
    let new = NewDeployment::new().site(site).merge(package("a"));
    let new = new.prepared(true).approved(true);
    let id = data.create_deployment(new).await.expect("valid");
    let key = Key::from(&id);
    let placed = data.get(&key, Want::ROW).await.expect("it exists");
    let generation = placed.entity.generation;
    let request = ClaimRequest::new(Stage::Schedule, "test");
    let claims = data.claim(&request).await.expect("work");
    let claim = &claims.first().expect("the site is due").token;
    let step = ScheduleStep::new().placed(id.clone(), generation);
    data.commit_placed(claim, step).await.expect("it is live");
    data.delete(&key).await.expect("it exists");

    let (settings, access) = (KrmSettings::default(), Access::new());
    let serving = Serving::over(data.clone(), 0, settings, access, None).await;
    let client = ApiClient::new(&serving);
    let path = format!("deployments/{id}");
    let before = client.get(&path).await.body;
    let requested = &before["metadata"]["deletionTimestamp"];
    assert_eq!(*requested, "2027-01-15T08:00:00Z", "{before}");
    clock.0.store(start + 5_000_000, Ordering::Relaxed);
    let failed = Condition::new("Scheduled", false, "SchedulerFailed", "away", generation);
    let step = ScheduleStep::new().conditions(key, vec![failed]);
    data.commit_placed(claim, step).await.expect("it is live");
    let after = client.get(&path).await.body;
    assert_eq!(after["metadata"]["deletionTimestamp"], *requested);
    let version = |object: &serde_json::Value| object["metadata"]["resourceVersion"].clone();
    assert_ne!(
        version(&after),
        version(&before),
        "the condition was stored"
    );
    serving.stop().await;
}
