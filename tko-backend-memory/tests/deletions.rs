//! Deletions with changes between their reads and their commits.

use async_trait::async_trait;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use tko_backend_memory::{Memory, MemorySettings};
use tko_conformance::{BackendCall, Between, CallObserver, CountedIds, ManualClock, Strict};
use tko_core::{
    Ack, Backend, ChangeSet, ClaimRequest, Condition, DataApi, EntityUpdate, Error, ErrorKind,
    Generation, Key, Metadata, NewDeployment, NewTemplate, Package, Result, Stage, Store,
    TemplateId, Want,
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

type ContendedBackend = Between<Memory, Contention>;

/// Changes an entity before some of the commits.
struct Contention {
    /// The backend that has this observer.
    backend: OnceLock<Weak<ContendedBackend>>,
    key: Key,
    /// Which commits conflict, counted from 0 while it is on.
    conflicts: fn(usize) -> bool,
    commits: AtomicUsize,
    /// Off also during its own commits.
    is_on: AtomicBool,
}

#[async_trait]
impl CallObserver for Contention {
    async fn before(&self, call: BackendCall) -> Result<()> {
        if call != BackendCall::Commit || !self.is_on.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let number = self.commits.fetch_add(1, Ordering::Relaxed);
        if (self.conflicts)(number) {
            let backend = self.backend.get().and_then(Weak::upgrade);
            let text = number.to_string();
            let condition = Condition::new("Test", true, "Changed", text, Generation(1));
            let set = ChangeSet::new().conditions(self.key.clone(), vec![condition]);
            let backend = backend.expect("it calls this");
            backend.commit(set, Ack::Numbered).await?;
        }
        self.is_on.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// A template with deployments, and a deletion of the template that meets conflicts.
struct ContendedDeletion {
    clock: ManualClock,
    store: Store<ContendedBackend>,
    backend: Arc<ContendedBackend>,
    key: Key,
}

impl ContendedDeletion {
    async fn of(deployments: usize, conflicts: fn(usize) -> bool) -> Self {
        let clock = ManualClock::new();
        let memory = Memory::new(Arc::new(clock.clone()), MemorySettings::default());
        let id = TemplateId::new("t").expect("an id");
        let contention = Contention {
            backend: OnceLock::new(),
            key: Key::from(&id),
            conflicts,
            commits: AtomicUsize::new(0),
            is_on: AtomicBool::new(false),
        };
        let backend = Arc::new(Between::new(memory, Arc::new(contention)));
        let added = backend.observer.backend.set(Arc::downgrade(&backend));
        assert!(added.is_ok(), "it is set once");
        let ids = Arc::new(CountedIds::default());
        let store = Store::new(backend.clone(), Arc::new(Strict), ids);
        let new = NewTemplate::new(id.clone(), Package::default());
        store.register_template(new).await.expect("registered");
        let new = NewDeployment::new().template(id.clone());
        for created in store.create_deployments(vec![new; deployments]).await {
            created.expect("created");
        }
        let key = Key::from(id);
        Self {
            clock,
            store,
            backend,
            key,
        }
    }

    /// Deletes the template. Returns the number of commits.
    async fn delete(&self) -> usize {
        let contention = &self.backend.observer;
        contention.is_on.store(true, Ordering::Relaxed);
        let deleted = self.store.delete(&self.key).await;
        contention.is_on.store(false, Ordering::Relaxed);
        deleted.expect("it is hidden, and its deletion is enqueued");
        contention.commits.load(Ordering::Relaxed)
    }

    async fn assert_gone(&self) {
        let read = self.store.get(&self.key, Want::ROW.with_deleting()).await;
        let error = read.expect_err("the row is removed");
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
}

/// Each chunk has its own attempts: more conflicts than the limit do not end a long deletion.
#[tokio::test]
async fn a_long_deletion_survives_conflicts_between_its_chunks() {
    let conflicts = |commit: usize| commit < 20 || (22..42).contains(&commit);
    let deletion = ContendedDeletion::of(1_001, conflicts).await;
    let commits = deletion.delete().await;
    assert!(commits > 42, "{commits} commits");
    deletion.assert_gone().await;
}

#[tokio::test]
async fn a_marked_deletion_that_meets_only_conflicts_is_left_to_a_worker() {
    let deletion = ContendedDeletion::of(1, |commit| commit > 0).await;
    deletion.delete().await;
    let hidden = deletion.store.get(&deletion.key, Want::ROW).await;
    let error = hidden.expect_err("it is being deleted");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    deletion.clock.advance(Duration::from_secs(30));
    let request = ClaimRequest::new(Stage::Delete, "w");
    let claims = deletion.backend.claim(&request).await.expect("claims");
    assert_eq!(claims.len(), 1);
    let finished = deletion.store.finish_deletion(&claims[0].work.key).await;
    finished.expect("nothing contends now");
    deletion.assert_gone().await;
}
