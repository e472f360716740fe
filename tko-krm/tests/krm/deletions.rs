//! Deletions of objects that others change between the read and the deletion.

use crate::requests::ApiClient;
use crate::serving::{Serving, package, store};
use futures_util::FutureExt;
use reqwest::Method;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tko_backend_memory::{Memory, MemorySettings};
use tko_core::{
    ApiCall, Caller, DataApi, EntityUpdate, Guard, Guarded, Key, Metadata, NewSite, Result, SiteId,
    Store, Want,
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
