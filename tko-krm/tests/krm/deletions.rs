//! Deletions of objects that others change between the read and the deletion.

use crate::serving::{Serving, package, store};
use futures_util::FutureExt;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
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
    // Another test may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
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

fn url(serving: &Serving, rest: &str) -> String {
    let address = serving.address;
    format!("http://{address}/apis/tko.nephio.org/v1alpha1/sites{rest}")
}

async fn sent(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.expect("it is there");
    let status = response.status().as_u16();
    (status, response.json().await.expect("JSON"))
}

async fn exists(serving: &Serving, id: &str) -> bool {
    let key = Key::from(SiteId::new(id).expect("an id"));
    serving.data.get(&key, Want::ROW).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finalizer_that_is_added_during_a_deletion_keeps_the_object() {
    let changed = kept_by(&["example.org/keep"], None);
    let serving = serving(&["lab"], &Metadata::default(), changed).await;
    let (status, answer) = sent(Client::new().delete(url(&serving, "/lab"))).await;
    assert_eq!(status, 200, "{answer}");
    let metadata = &answer["metadata"];
    assert_eq!(metadata["finalizers"], json!(["example.org/keep"]));
    assert!(metadata["deletionTimestamp"].is_string(), "{answer}");
    assert!(exists(&serving, "lab").await);
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_precondition_holds_until_the_object_is_deleted() {
    let changed = Metadata::from([("region", "south")]);
    let serving = serving(&["lab"], &Metadata::default(), changed).await;
    let (_, read) = sent(Client::new().get(url(&serving, "/lab"))).await;
    let version = &read["metadata"]["resourceVersion"];
    let options = json!({"preconditions": {"resourceVersion": version}});
    let delete = Client::new().delete(url(&serving, "/lab")).json(&options);
    let (status, answer) = sent(delete).await;
    assert_eq!(status, 409, "{answer}");
    let message = answer["message"].as_str().expect("a message");
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
        let all = url(&serving, "?labelSelector=region%3Dsouth");
        let (status, answer) = sent(Client::new().delete(all)).await;
        assert_eq!(status, 200, "{answer}");
        let items = answer["items"].as_array().expect("items");
        assert_eq!(items.len(), if is_kept { 1 } else { 2 }, "{answer}");
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
    let patch = Client::new()
        .patch(url(&serving, "/lab"))
        .header("content-type", "application/json-patch+json")
        .body(r#"[{"op": "remove", "path": "/metadata/finalizers/0"}]"#);
    let (status, answer) = sent(patch).await;
    assert_eq!(status, 200, "{answer}");
    let left = &answer["metadata"]["finalizers"];
    assert_eq!(*left, json!(["example.org/two"]), "{answer}");
    assert!(exists(&serving, "lab").await);
    serving.stop().await;
}
