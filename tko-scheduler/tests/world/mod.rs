//! The fixture: a store in memory, schedulers that record their calls, and virtual time.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

use async_trait::async_trait;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tko_backend_memory::{Memory, MemorySettings};
use tko_conformance::{AdmitAll, TokioClock};
use tko_core::entity::SCHEDULED;
use tko_core::{
    Backend, Clock, Condition, DeploymentId, Entity, Error, Executor, Gvk, Ids, Key, NewDeployment,
    NewPlugin, NewSite, Package, PluginId, PluginType, Preparer, Record, Registry, Result,
    ScheduleCall, Scheduler, SiteId, Store, Validator, Want, WorkerApi,
};
use tko_scheduler::{ScheduleController, ScheduleSettings};
use tko_worker::CancellationToken;
use tokio::task::JoinHandle;

#[derive(Default)]
struct Counted(AtomicU64);

impl Ids for Counted {
    fn next(&self) -> DeploymentId {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        DeploymentId::new(&format!("d{number:04}")).expect("letters and digits")
    }
}

/// A recorded call of a scheduler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedCall {
    pub site: String,
    pub going: bool,
    pub last: bool,
    pub target: Option<String>,
    /// Whether the package of the site has the target.
    pub has_target: bool,
    /// The id, and the text in the package.
    pub wanted: Vec<(String, String)>,
    pub removed: Vec<(String, String)>,
    pub fence: u64,
}

impl RecordedCall {
    pub fn wanted_ids(&self) -> Vec<&str> {
        self.wanted.iter().map(|(id, _)| id.as_str()).collect()
    }

    pub fn removed_ids(&self) -> Vec<&str> {
        self.removed.iter().map(|(id, _)| id.as_str()).collect()
    }
}

/// The action of a recording scheduler.
#[derive(Clone, Debug)]
pub enum Act {
    Succeed,
    Fail(&'static str),
    Panic,
    Take(Duration),
}

/// Records its calls, and performs scripted actions; by default it succeeds at once.
#[derive(Default)]
pub struct Recorder {
    told: Mutex<Vec<RecordedCall>>,
    acts: Mutex<VecDeque<Act>>,
    always: Mutex<Option<Act>>,
    now: Mutex<BTreeMap<String, usize>>,
    pub overlaps: AtomicUsize,
    pub most: AtomicUsize,
}

impl Recorder {
    pub fn next(&self, acts: impl IntoIterator<Item = Act>) {
        self.acts.lock().expect("no panic").extend(acts);
    }

    pub fn always(&self, act: Act) {
        *self.always.lock().expect("no panic") = Some(act);
    }

    pub fn take(&self) -> Vec<RecordedCall> {
        std::mem::take(&mut self.told.lock().expect("no panic"))
    }
}

#[async_trait]
impl Scheduler for Recorder {
    async fn schedule(&self, call: ScheduleCall<'_>) -> Result<Vec<Condition>> {
        let site = call.site.entity.key.id().to_owned();
        self.told.lock().expect("no panic").push(RecordedCall {
            site: site.clone(),
            going: call.site.entity.deleting,
            last: call.last,
            target: call.target.map(ToString::to_string),
            has_target: has_target(&call),
            wanted: call.wanted.iter().map(brief).collect(),
            removed: call.removed.iter().map(brief).collect(),
            fence: call.fence,
        });
        let act = self.acts.lock().expect("no panic").pop_front();
        let act = act.or(self.always.lock().expect("no panic").clone());
        let running = {
            let mut now = self.now.lock().expect("no panic");
            let here = now.entry(site.clone()).or_default();
            *here += 1;
            if *here > 1 {
                self.overlaps.fetch_add(1, Ordering::Relaxed);
            }
            now.values().sum()
        };
        self.most.fetch_max(running, Ordering::Relaxed);
        let leave = Leave(self, site);
        match act.unwrap_or(Act::Succeed) {
            Act::Succeed => {}
            Act::Fail(why) => return Err(Error::unavailable("reach the cluster", why)),
            Act::Panic => panic!("told to"),
            Act::Take(time) => tokio::time::sleep(time).await,
        }
        drop(leave);
        let generation = call.site.entity.generation;
        Ok(vec![Condition::new(
            "Seen",
            true,
            "Seen",
            "by the recorder",
            generation,
        )])
    }
}

struct Leave<'a>(&'a Recorder, String);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        let mut now = self.0.now.lock().expect("no panic");
        *now.get_mut(&self.1).expect("it came") -= 1;
    }
}

fn has_target(call: &ScheduleCall<'_>) -> bool {
    let package = call.site.package.as_ref().expect("sites have packages");
    call.target
        .is_some_and(|target| package.find(target).is_some())
}

fn brief(record: &Record) -> (String, String) {
    let package = record.package.as_ref().expect("schedulers get packages");
    let text = package
        .iter()
        .find_map(|resource| resource.get(&["data", "text"])?.as_str())
        .unwrap_or_default();
    (record.entity.key.id().to_owned(), text.to_owned())
}

/// Makes a scheduler plugin of a recorder.
pub struct Recording(pub Arc<Recorder>);

impl Executor for Recording {
    fn name(&self) -> &'static str {
        "recording"
    }

    fn preparer(&self, _: &Record) -> Result<Arc<dyn Preparer>> {
        Err(Error::NotImplemented("preparing".into()))
    }

    fn scheduler(&self, _: &Record) -> Result<Arc<dyn Scheduler>> {
        Ok(self.0.clone())
    }

    fn validator(&self, _: &Record) -> Result<Arc<dyn Validator>> {
        Err(Error::NotImplemented("validating".into()))
    }
}

pub struct World {
    pub data: Arc<dyn WorkerApi>,
    pub clock: Arc<dyn Clock>,
    pub recorder: Arc<Recorder>,
    pub shutdown: CancellationToken,
    pub running: Vec<JoinHandle<Result<()>>>,
}

impl World {
    pub fn new() -> Self {
        let clock = Arc::new(TokioClock::new());
        let memory = Memory::new(clock.clone(), MemorySettings::default());
        Self::over(clock, Arc::new(memory))
    }

    /// A fixture over a backend with this clock.
    pub fn over(clock: Arc<dyn Clock>, backend: Arc<dyn Backend>) -> Self {
        let store = Store::new(backend, Arc::new(AdmitAll), Arc::new(Counted::default()));
        Self {
            data: Arc::new(store),
            clock,
            recorder: Arc::default(),
            shutdown: CancellationToken::new(),
            running: Vec::new(),
        }
    }

    /// A fixture with the recorder for every site.
    pub fn everywhere() -> Self {
        let mut world = Self::new();
        world.start_recording(ScheduleSettings::default());
        world
    }

    pub fn start_recording(&mut self, settings: ScheduleSettings) {
        let recorder: Arc<dyn Scheduler> = self.recorder.clone();
        let registry = Registry::new().with_everywhere("recorder", recorder);
        self.start(registry, settings);
    }

    pub fn start(&mut self, registry: Registry<dyn Scheduler>, settings: ScheduleSettings) {
        let executor: Arc<dyn Executor> = Arc::new(Recording(self.recorder.clone()));
        let scheduling = ScheduleController::new(self.data.clone())
            .with_registry(registry)
            .with_executors(vec![executor])
            .with_clock(self.clock.clone())
            .with_settings(settings);
        let shutdown = self.shutdown.clone();
        self.running.push(tokio::spawn(scheduling.run(shutdown)));
    }

    pub async fn stop(&mut self) {
        self.shutdown.cancel();
        for running in self.running.drain(..) {
            running.await.expect("no panic").expect("it ends well");
        }
        self.shutdown = CancellationToken::new();
    }

    pub async fn site(&self, id: &str) {
        self.site_with(id, Vec::new()).await;
    }

    pub async fn site_with(&self, id: &str, resources: Vec<Value>) {
        let new = NewSite::new(
            SiteId::new(id).expect("valid"),
            Package::from_values(resources).expect("distinct"),
        );
        self.data.register_site(new).await.expect("registered");
    }

    /// Creates a prepared deployment for this site, with this text in its package.
    pub async fn deployment(&self, site: &str, text: &str, approved: bool) -> DeploymentId {
        let new = NewDeployment::new()
            .site(SiteId::new(site).expect("valid"))
            .merge(Package::from_values([config(text)]).expect("one"))
            .prepared(true)
            .approved(approved);
        self.data.create_deployment(new).await.expect("created")
    }

    /// Changes a deployment's package.
    pub async fn modify(&self, id: &DeploymentId, change: impl Fn(&mut Value)) {
        let record = self
            .data
            .get(&id.into(), Want::PACKAGE)
            .await
            .expect("there");
        let package = record.package.expect("wanted");
        let values = package.iter().map(|resource| {
            let mut value = resource.value().clone();
            change(&mut value);
            value
        });
        let package = Package::from_values(values).expect("still distinct");
        let expect = record.entity.version;
        self.data.update(id, expect, package).await.expect("taken");
    }

    pub async fn move_to(&self, id: &DeploymentId, site: &str) {
        self.modify(id, |value| {
            if value["kind"] == "Deployment" {
                value["spec"]["siteId"] = json!(site);
            }
        })
        .await;
    }

    pub async fn unapprove(&self, id: &DeploymentId) {
        self.modify(id, |value| {
            if value["kind"] == "Deployment" {
                value["metadata"]["annotations"]["nephio.org/approved"] = json!("false");
            }
        })
        .await;
    }

    pub async fn plugin(&self, name: &str, trigger: &Gvk) -> Key {
        let id = PluginId::new(PluginType::Schedule, name).expect("valid");
        let new = NewPlugin::new(id.clone(), "recording".to_owned())
            .arguments(Vec::new())
            .properties(BTreeMap::new())
            .triggers(vec![trigger.clone()]);
        self.data.register_plugin(new).await.expect("registered");
        id.into()
    }

    /// Lets all work finish, in less time than any resync.
    pub async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }

    pub async fn find(&self, key: impl Into<Key>) -> Option<Arc<Entity>> {
        let want = Want::ROW.with_deleting();
        let found = self.data.get(&key.into(), want).await;
        found.ok().map(|record| record.entity)
    }

    pub async fn condition(&self, key: impl Into<Key>) -> Option<(Option<bool>, String, String)> {
        let entity = self.find(key).await?;
        let condition = entity.condition(SCHEDULED)?;
        let said = condition.clone();
        Some((said.status, said.reason, said.message))
    }
}

pub fn config(text: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "config", "namespace": "core"},
        "data": {"text": text},
    })
}

pub fn key(site: &str) -> Key {
    Key::Site(SiteId::new(site).expect("valid"))
}

pub fn placed(entity: &Entity) -> Option<&str> {
    let (site, _) = entity.deployment()?.placed.as_ref()?;
    Some(site.as_str())
}
