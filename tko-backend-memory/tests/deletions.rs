//! Deletions at a version, with a change between their read and their commit.

use async_trait::async_trait;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tko_backend_memory::{Memory, MemorySettings};
use tko_conformance::{BackendCall, Between, CallObserver, CountedIds, ManualClock, Strict};
use tko_core::{
    DataApi, EntityUpdate, Error, Key, Metadata, NewDeployment, NewTemplate, Package, Result,
    Store, TemplateId, Want,
};
use tokio::sync::Notify;

/// Holds one commit back until it is released.
#[derive(Default)]
struct Holding {
    /// Whether the next commit is held.
    holds_next: AtomicBool,
    reached: Notify,
    released: Notify,
}

#[async_trait]
impl CallObserver for Holding {
    async fn before(&self, call: BackendCall) -> Result<()> {
        if call == BackendCall::Commit && self.holds_next.swap(false, Ordering::Relaxed) {
            self.reached.notify_one();
            self.released.notified().await;
        }
        Ok(())
    }
}

type HeldStore = Store<Between<Memory, Holding>>;

fn store() -> (HeldStore, Arc<Holding>) {
    let memory = Memory::new(Arc::new(ManualClock::new()), MemorySettings::default());
    let holding = Arc::new(Holding::default());
    let backend = Arc::new(Between::new(memory, holding.clone()));
    let ids = Arc::new(CountedIds::default());
    (Store::new(backend, Arc::new(Strict), ids), holding)
}

/// Deletes a template, and changes it before the first commit of the deletion.
async fn changed_before_commit(store: &HeldStore, holding: &Holding, key: &Key) {
    let record = store.get(key, Want::ROW).await.expect("it is there");
    let read = record.entity.version;
    holding.holds_next.store(true, Ordering::Relaxed);
    let deleting = {
        let (store, key) = (store.clone(), key.clone());
        tokio::spawn(async move { store.delete_at(&key, read).await })
    };
    holding.reached.notified().await;
    let given = Metadata::from([("changed", "meanwhile")]);
    let update = EntityUpdate::new(key, read).metadata(given.clone());
    let changed = store.update_entity(update).await;
    changed.expect("nothing is deleted yet");
    holding.released.notify_one();
    let deleted = deleting.await.expect("the task does not panic");
    let error = deleted.expect_err("it has another version");
    let named = matches!(&error, Error::Conflict(keys) if keys[..] == [key.clone()]);
    assert!(named, "{error:?}");
    let record = store.get(key, Want::ROW).await.expect("it is there");
    assert_eq!(record.entity.given, given);
}

#[tokio::test]
async fn a_change_before_the_commit_of_a_deletion_keeps_the_entity() {
    let (store, holding) = store();
    let id = TemplateId::new("t").expect("an id");
    let new = NewTemplate::new(id.clone(), Package::default());
    store.register_template(new).await.expect("registered");
    changed_before_commit(&store, &holding, &Key::from(id)).await;
}

/// Because of the modification, the only commit would hide the template.
#[tokio::test]
async fn a_change_before_a_deletion_is_left_to_a_worker_keeps_the_entity() {
    let (store, holding) = store();
    let id = TemplateId::new("t").expect("an id");
    let new = NewTemplate::new(id.clone(), Package::default());
    store.register_template(new).await.expect("registered");
    let new = NewDeployment::new().template(id.clone());
    let deployment = store.create_deployment(new).await.expect("created");
    let ttl = Duration::from_mins(1);
    let edit = store.start_modification(&deployment, ttl).await;
    edit.expect("the key is free");
    changed_before_commit(&store, &holding, &Key::from(id)).await;
}
