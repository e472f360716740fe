//! A store in virtual time whose backend fails on request, and handlers that follow a script.

use async_trait::async_trait;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tko_backend_memory::{Memory, MemorySettings};
use tko_conformance::{AdmitAll, BackendCall, Between, CallObserver, CountedIds, TokioClock};
use tko_core::{
    Backend, Claim, DataApi, Error, Key, NewSite, Outcome, Package, Result, SiteId, Stage, Store,
    Want, Work,
};
use tko_worker::{CancellationToken, Handle, Worker, WorkerSettings};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// A fault of one call of the backend.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// Refuses the call, with an error that retrying cannot help.
    Forbidden,
    /// Fails the call.
    Unavailable,
    /// Performs the call, and delays its reply.
    LateReply(Duration),
}

/// Injects faults, and counts calls.
#[derive(Default)]
pub(crate) struct Faults {
    faults: Mutex<HashMap<BackendCall, Fault>>,
    pub(crate) claims: AtomicUsize,
}

impl Faults {
    pub(crate) fn set(&self, call: BackendCall, fault: Fault) {
        self.faults.lock().expect("no panic").insert(call, fault);
    }

    pub(crate) fn clear(&self) {
        self.faults.lock().expect("no panic").clear();
    }

    fn of(&self, call: BackendCall) -> Option<Fault> {
        self.faults.lock().expect("no panic").get(&call).copied()
    }
}

#[async_trait]
impl CallObserver for Faults {
    async fn before(&self, call: BackendCall) -> Result<()> {
        if call == BackendCall::Claim {
            self.claims.fetch_add(1, Ordering::Relaxed);
        }
        match self.of(call) {
            Some(Fault::Forbidden) => Err(Error::Forbidden("workers are not welcome".to_owned())),
            Some(Fault::Unavailable) => Err(Error::unavailable("connect", "no such host")),
            Some(Fault::LateReply(_)) | None => Ok(()),
        }
    }

    async fn after(&self, call: BackendCall, items: usize) -> Result<()> {
        if let Some(Fault::LateReply(time)) = self.of(call)
            && items > 0
        {
            tokio::time::sleep(time).await;
        }
        Ok(())
    }
}

/// One step of a script.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Succeed,
    Fail,
    Conflict,
    Panic,
    Take(Duration),
}

/// A handler that acts out a script, and records its calls.
#[derive(Default)]
pub(crate) struct Script {
    acts: Mutex<HashMap<String, Vec<Act>>>,
    /// Site and time in seconds of each call.
    calls: Mutex<Vec<(String, f64)>>,
    pub(crate) finished: AtomicUsize,
    pub(crate) running: AtomicUsize,
    pub(crate) max_running: AtomicUsize,
}

impl Script {
    /// Sets what happens in the next calls for a site; later calls succeed.
    pub(crate) fn set(&self, site: &str, acts: impl IntoIterator<Item = Act>) {
        let mut acts: Vec<Act> = acts.into_iter().collect();
        acts.reverse();
        let mut all = self.acts.lock().expect("no panic");
        all.insert(site.to_owned(), acts);
    }

    pub(crate) fn calls(&self) -> Vec<(String, f64)> {
        self.calls.lock().expect("no panic").clone()
    }

    /// Times of the calls for a site, in seconds.
    pub(crate) fn times(&self, site: &str) -> Vec<f64> {
        let calls = self.calls().into_iter();
        calls.filter(|(s, _)| s == site).map(|(_, t)| t).collect()
    }
}

/// Counts a call as running until it is dropped.
struct RunningCall<'a>(&'a AtomicUsize);

impl Drop for RunningCall<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Scripted {
    script: Arc<Script>,
    clock: Arc<TokioClock>,
}

#[async_trait]
impl Handle for Scripted {
    async fn handle(&self, claim: &Claim) -> Result<Option<Outcome>> {
        let script = &self.script;
        let site = claim.work.key.id().to_owned();
        let now = self.clock.elapsed().as_secs_f64();
        script
            .calls
            .lock()
            .expect("no panic")
            .push((site.clone(), now));
        let running = script.running.fetch_add(1, Ordering::Relaxed) + 1;
        script.max_running.fetch_max(running, Ordering::Relaxed);
        let _running = RunningCall(&script.running);
        let act = {
            let mut acts = script.acts.lock().expect("no panic");
            acts.get_mut(&site).and_then(Vec::pop)
        };
        match act.unwrap_or(Act::Succeed) {
            Act::Succeed => {}
            Act::Fail => return Err(Error::unavailable("reach the cluster", "no route")),
            Act::Conflict => {
                let taken = SiteId::new("taken").expect("a valid id");
                return Err(Error::AlreadyExists(Key::Site(taken)));
            }
            Act::Panic => panic!("a scripted panic"),
            Act::Take(time) => tokio::time::sleep(time).await,
        }
        script.finished.fetch_add(1, Ordering::Relaxed);
        Ok(Some(Outcome::Done))
    }
}

pub(crate) struct Fixture {
    pub(crate) faults: Arc<Faults>,
    pub(crate) store: Store<dyn Backend>,
    pub(crate) clock: Arc<TokioClock>,
    pub(crate) script: Arc<Script>,
}

/// A worker that runs; dropping it is a crash.
pub(crate) struct Running {
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: JoinHandle<Result<()>>,
}

impl Running {
    /// Shuts down. Returns how the worker ended, and how long that took.
    pub(crate) async fn stop(mut self) -> (Result<()>, Duration) {
        let start = Instant::now();
        self.shutdown.cancel();
        let ended = (&mut self.task).await.expect("no panic");
        (ended, start.elapsed())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let clock = Arc::new(TokioClock::new());
        let faults = Arc::new(Faults::default());
        let memory = Memory::new(clock.clone(), MemorySettings::default());
        let backend: Arc<dyn Backend> = Arc::new(Between::new(memory, faults.clone()));
        Self {
            store: Store::new(backend, Arc::new(AdmitAll), Arc::new(CountedIds::default())),
            faults,
            clock,
            script: Arc::default(),
        }
    }

    /// Registers sites, whose scheduling is then due.
    pub(crate) async fn sites<const N: usize>(&self, ids: [&str; N]) {
        for id in ids {
            let new = NewSite::new(SiteId::new(id).expect("a valid id"), Package::default());
            self.store.register_site(new).await.expect("registered");
        }
    }

    pub(crate) fn worker(&self, settings: WorkerSettings) -> Worker {
        let handle = Arc::new(Scripted {
            script: self.script.clone(),
            clock: self.clock.clone(),
        });
        Worker::new(Arc::new(self.store.clone()), Stage::Schedule, handle)
            .with_clock(self.clock.clone())
            .with_settings(settings)
    }

    pub(crate) fn run(worker: Worker) -> Running {
        let shutdown = CancellationToken::new();
        Running {
            task: tokio::spawn(worker.run(shutdown.clone())),
            shutdown,
        }
    }

    /// Starts a worker with default settings.
    pub(crate) fn start(&self) -> Running {
        Self::run(self.worker(WorkerSettings::new("test")))
    }

    /// The due work of a site.
    pub(crate) async fn work(&self, site: &str) -> Option<Work> {
        let want = Want::ROW.with_work();
        let key = Key::Site(SiteId::new(site).expect("a valid id"));
        let record = self.store.get(&key, want).await.expect("registered");
        record.work.into_iter().next()
    }
}

pub(crate) async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}
