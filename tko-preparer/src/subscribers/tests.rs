use super::SubscriberFeed;
use crate::context::PrepareContext;
use crate::result_cache::ResultCache;
use crate::settings::PrepareSettings;
use async_trait::async_trait;
use std::sync::{Arc, Mutex};
use tko_backend_memory::{Memory, MemorySettings};
use tko_conformance::{BackendCall, Between, CallObserver, CountedIds, ManualClock, Strict};
use tko_core::subscription::selection_keys;
use tko_core::{
    Ack, Backend, Change, ChangeSet, DeploymentId, Kind, MAX_CHANGES, Metadata, Put, Registry,
    Result, Store,
};

/// Records the calls that reach the backend.
#[derive(Default)]
struct CallLog(Mutex<Vec<BackendCall>>);

impl CallLog {
    fn take(&self) -> Vec<BackendCall> {
        std::mem::take(&mut self.0.lock().expect("no panic"))
    }
}

#[async_trait]
impl CallObserver for CallLog {
    async fn before(&self, call: BackendCall) -> Result<()> {
        self.0.lock().expect("no panic").push(call);
        Ok(())
    }
}

#[tokio::test]
async fn deployments_with_selections_are_enqueued_page_by_page() {
    let clock = Arc::new(ManualClock::new());
    let memory = Memory::new(clock.clone(), MemorySettings::default());
    let log = Arc::new(CallLog::default());
    let backend = Arc::new(Between::new(memory, log.clone()));
    let [key, _] = selection_keys(Kind::Site);
    let metadata: Metadata = [(key.as_str(), "[]")].into_iter().collect();
    for thousand in 0..3 {
        let mut set = ChangeSet::new();
        for number in 0..MAX_CHANGES {
            let id = format!("d{thousand}{number:04}");
            let id = DeploymentId::new(&id).expect("letters and digits");
            let put = Put::new(id).metadata(metadata.clone());
            set.changes.push(Change::Put(put));
        }
        let committed = backend.commit(set, Ack::Durable).await;
        committed.expect("valid");
    }
    log.take();
    let ids = Arc::new(CountedIds::default());
    let context = PrepareContext {
        data: Arc::new(Store::new(backend, Arc::new(Strict), ids.clone())),
        registry: Arc::new(Registry::new()),
        clock,
        ids,
        settings: PrepareSettings::default(),
        results: Arc::new(ResultCache::new(0)),
    };
    let feed = SubscriberFeed::new(Arc::new(context));
    feed.enqueue_selections().await.expect("enqueued");
    let calls = log.take();
    let is_commit = |call: &BackendCall| *call == BackendCall::Commit;
    // The first pages of all selections come together; after them, each page is enqueued before
    // the next one is read.
    let first = calls.iter().position(is_commit).expect("enqueued");
    let last = calls.iter().rposition(is_commit).expect("enqueued");
    let in_turn = |two: &[BackendCall]| two[0] != two[1];
    assert!(last - first >= 4, "at least three pages: {calls:?}");
    assert!(calls[first..=last].windows(2).all(in_turn), "{calls:?}");
}
