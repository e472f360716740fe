//! Claims whose call ends before their reply are handed back.

use super::{LAST_CLAIM, WorkerService};
use crate::proto::v1alpha2 as wire;
use crate::proto::v1alpha2::controller_server::Controller;
use crate::server::call::ServiceContext;
use crate::server::settings::ServerSettings;
use crate::wire::scalar::{duration, stage};
use std::sync::Arc;
use std::time::Duration;
use tko_backend_memory::{Memory, MemorySettings};
use tko_conformance::{AdmitAll, BackendCall, Between, CallObserver, CountedIds, TokioClock};
use tko_core::{Backend, DataApi, Key, NewSite, Package, Result, SiteId, Stage, Store, Want, Work};
use tko_serve::HeavyWork;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request};

/// Delays the replies to claims of work.
struct LateReplies;

#[tonic::async_trait]
impl CallObserver for LateReplies {
    async fn after(&self, call: BackendCall, items: usize) -> Result<()> {
        if call == BackendCall::Claim && items > 0 {
            tokio::time::sleep(LAST_CLAIM / 2).await;
        }
        Ok(())
    }
}

struct Fixture {
    store: Arc<Store<dyn Backend>>,
    service: WorkerService,
    ending: CancellationToken,
}

impl Fixture {
    fn new() -> Self {
        let memory = Memory::new(Arc::new(TokioClock::new()), MemorySettings::default());
        let backend: Arc<dyn Backend> = Arc::new(Between::new(memory, Arc::new(LateReplies)));
        let ids = Arc::new(CountedIds::default());
        let store = Arc::new(Store::new(backend, Arc::new(AdmitAll), ids));
        let ending = CancellationToken::new();
        let context = ServiceContext {
            api: store.clone(),
            settings: ServerSettings::default(),
            addresses: Vec::new(),
            insecure: false,
            open: true,
            ending: ending.clone(),
            heavy_work: HeavyWork::default(),
            window_ends: Arc::default(),
            streams: Arc::new(Semaphore::new(1)),
        };
        Self {
            store,
            service: WorkerService(Arc::new(context)),
            ending,
        }
    }

    fn site() -> SiteId {
        SiteId::new("a").expect("a valid id")
    }

    /// Registers a site, whose scheduling is then due.
    async fn register(&self) {
        let new = NewSite::new(Self::site(), Package::default());
        self.store.register_site(new).await.expect("registered");
    }

    async fn work(&self) -> Work {
        let key = Key::Site(Self::site());
        let record = self.store.get(&key, Want::ROW.with_work()).await;
        let mut work = record.expect("registered").work;
        work.pop().expect("still due")
    }
}

/// A claim whose lease does not expire during a test.
fn request() -> Request<wire::ClaimRequest> {
    Request::new(wire::ClaimRequest {
        stage: stage(Stage::Schedule).into(),
        worker: "test".to_owned(),
        max: 1,
        lease: Some(duration(Duration::from_hours(1))),
        wait: Some(duration(Duration::from_secs(30))),
        want: None,
    })
}

#[tokio::test(start_paused = true)]
async fn claims_whose_worker_is_gone_are_handed_back() {
    let f = Fixture::new();
    f.register().await;
    let mut call = f.service.claim(request());
    assert!(futures_util::poll!(&mut call).is_pending());
    assert!(f.work().await.leased.is_some(), "the reply is on its way");
    drop(call);
    tokio::time::sleep(LAST_CLAIM).await;
    let work = f.work().await;
    assert_eq!((work.attempts, work.leased), (0, None));
}

#[tokio::test(start_paused = true)]
async fn claims_of_a_server_that_stops_are_handed_back_before_it_ends() {
    let f = Fixture::new();
    f.register().await;
    let mut call = f.service.claim(request());
    assert!(futures_util::poll!(&mut call).is_pending());
    f.ending.cancel();
    let status = call.await.expect_err("the server stops");
    assert_eq!(status.code(), Code::Unavailable);
    let work = f.work().await;
    assert_eq!((work.attempts, work.leased), (0, None));
}

#[tokio::test(start_paused = true)]
async fn claims_whose_worker_goes_while_the_server_stops_are_handed_back() {
    let f = Fixture::new();
    f.register().await;
    let mut call = f.service.claim(request());
    assert!(futures_util::poll!(&mut call).is_pending());
    f.ending.cancel();
    assert!(futures_util::poll!(&mut call).is_pending());
    drop(call);
    tokio::time::sleep(LAST_CLAIM).await;
    let work = f.work().await;
    assert_eq!((work.attempts, work.leased), (0, None));
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_waits_for_work_does_not_keep_a_server_from_stopping() {
    let f = Fixture::new();
    let mut call = f.service.claim(request());
    assert!(futures_util::poll!(&mut call).is_pending());
    let start = Instant::now();
    f.ending.cancel();
    let status = call.await.expect_err("the server stops");
    assert_eq!(status.code(), Code::Unavailable);
    let took = start.elapsed();
    assert!(took <= LAST_CLAIM + Duration::from_millis(10), "{took:?}");
    // Work that becomes due later is left to others.
    f.register().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(f.work().await.leased, None);
}
