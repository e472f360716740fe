//! Brings one set of objects into one cluster.
//!
//! - Existing objects are read by the label of the set, with one list for each kind. Only
//!   differences are written.
//! - The parent of the set names every kind and namespace *before* an object is written there. So
//!   even after a crash, every object is found again.
//! - An existing object without the label was created by another program. It is applied like any
//!   other, and marked: it is never deleted, only released.

use crate::applyset::{ApplySet, PART_OF, SET};
use crate::client::ClusterClient;
use crate::desired::{DesiredObject, ObjectKey, Unfit, WantedResource, desired, distinct};
use crate::drift::ListedPath;
use crate::failure::RequestFailure;
use crate::health::{Health, changes_after, health};
use crate::kinds::{GroupKind, ServedKind};
use crate::memory::SiteMemory;
use crate::ownership::{HASH, has_hash, owns};
use crate::settings::KubernetesSettings;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tko_core::system::SystemClock;
use tko_core::{Clock, Error, Result, Timestamp};
use tko_scheduler::apply::Phase;
use tokio::time::{Instant, sleep};

/// The annotation of objects that another program had created.
pub(crate) const ADOPTED: &str = "tko.nephio.org/adopted";

/// The pauses between two reads of an object that changes by itself.
const PAUSES: [u64; 5] = [50, 100, 250, 500, 1_000];

/// The phases in the order of applying.
const PHASES: [Phase; 4] = [
    Phase::Foundations,
    Phase::Cluster,
    Phase::Namespaced,
    Phase::Extensions,
];

/// An object in the cluster, with its kind.
pub(crate) struct LiveObject {
    pub(crate) served: ServedKind,
    pub(crate) value: Value,
}

/// An object that could not be applied or removed.
#[derive(Clone, Debug)]
pub(crate) struct ObjectFailure {
    /// The object, for people.
    pub(crate) object: String,
    /// The deployment that it belongs to; empty if no deployment has the object any more.
    pub(crate) owner: String,
    pub(crate) why: String,
}

/// The result of one run.
#[derive(Default)]
pub(crate) struct ApplyReport {
    /// The number of objects that were wanted.
    pub(crate) wanted: usize,
    pub(crate) failures: Vec<ObjectFailure>,
    /// Objects that other programs keep changing, which are left unchanged, with their deployments.
    pub(crate) contested: Vec<(ObjectKey, String)>,
    /// The health of each existing object, with its deployment.
    pub(crate) health: Vec<(ObjectKey, String, Health)>,
    /// The time after which the health of an object changes although the object does not.
    pub(crate) changes_after: Option<Duration>,
    /// The desired objects that exist, as they were last read or written.
    pub(crate) live: HashMap<ObjectKey, LiveObject>,
}

/// One run for one set of objects.
pub(crate) struct Application<'a> {
    pub(crate) client: &'a ClusterClient,
    pub(crate) set: ApplySet,
    pub(crate) settings: &'a KubernetesSettings,
    pub(crate) memory: &'a SiteMemory,
    pub(crate) clock: &'a SystemClock,
    pub(crate) force: bool,
    /// Set once the cluster does not answer: then nothing else is attempted.
    pub(crate) lost: AtomicBool,
    /// The lists that were read.
    pub(crate) lists: Mutex<Vec<ListedPath>>,
}

/// The identity of an object in a package: kind, namespace if any, and name.
pub(crate) type RemovedKeys = HashSet<(GroupKind, Option<String>, String)>;

impl Application<'_> {
    /// Applies and removes objects, and reports.
    ///
    /// # Errors
    /// The cluster as a whole cannot be used. Failures of single objects are in the report.
    pub(crate) async fn run(
        &self,
        wanted: &[WantedResource],
        removed: &RemovedKeys,
    ) -> Result<ApplyReport> {
        if wanted.len() > self.settings.max_objects {
            return Err(Error::bad(
                "site",
                format!(
                    "the site has {} objects, more than the maximum of {}; spread its deployments \
                     over several sites",
                    wanted.len(),
                    self.settings.max_objects
                ),
            ));
        }
        let mut report = ApplyReport {
            wanted: wanted.len(),
            ..ApplyReport::default()
        };
        let (objects, mut unknown) = self
            .resolve(wanted.iter().collect(), &mut report.failures)
            .await?;
        let mut objects = distinct(objects);
        let inventory = self.inventory().await?;
        let exists = inventory.parent.is_some();
        if !exists && wanted.is_empty() {
            return Ok(report);
        }
        let mut scope = inventory.scope.clone();
        let target = self.scope_of(&objects);
        let mut live = self
            .live(&scope.union(&target), &objects, &inventory)
            .await?;
        let keys: HashSet<ObjectKey> = objects.iter().map(|one| one.key.clone()).collect();
        let changed = objects.iter().any(|one| !self.is_settled(one, &live));
        let surplus = live.keys().any(|key| !keys.contains(key));
        if !exists || changed || surplus || !unknown.is_empty() {
            self.write_scope(&mut scope, &target, exists, &objects)
                .await?;
        }
        for phase in PHASES {
            if phase == Phase::Cluster && !unknown.is_empty() {
                let found = self.late_kinds(&mut unknown, &objects, &mut report).await?;
                let more = self.scope_of(&found);
                self.write_scope(&mut scope, &more, true, &objects).await?;
                objects = distinct(objects.into_iter().chain(found).collect());
            }
            let of_phase = objects.iter().filter(|one| one.phase == phase);
            let results = join_all(of_phase.map(|one| self.bring(one, &live))).await;
            for result in results {
                match result {
                    Ok(Some(AppliedObject {
                        key,
                        owner,
                        object,
                        contested,
                    })) => {
                        if contested {
                            report.contested.push((key.clone(), owner));
                        }
                        live.insert(key, object);
                    }
                    Ok(None) => {}
                    Err(failure) => report.failures.push(failure),
                }
            }
            self.check_contact(&report)?;
            if phase == Phase::Foundations {
                self.wait_for_definitions(&objects, &mut live, &mut report)
                    .await?;
            }
        }
        report
            .failures
            .extend(unknown.iter().map(|one| self.unknown_kind(one)));
        self.prune(&objects, &live, removed, &mut report).await?;
        self.finish(&scope, inventory.parent.as_ref(), &objects, &report)
            .await?;
        let now = self.clock.now();
        report.health = health_of(&objects, &live, now);
        let keys: HashSet<&ObjectKey> = objects.iter().map(|one| &one.key).collect();
        live.retain(|key, _| keys.contains(key));
        self.memory.keep_creations(&keys);
        let changes = live
            .values()
            .filter_map(|one| changes_after(&one.value, now));
        report.changes_after = changes.min();
        report.live = live;
        Ok(report)
    }

    /// The objects of resources, and the resources of kinds that the cluster does not serve.
    async fn resolve<'b>(
        &self,
        wanted: Vec<&'b WantedResource>,
        failures: &mut Vec<ObjectFailure>,
    ) -> Result<(Vec<DesiredObject>, Vec<&'b WantedResource>)> {
        let (mut objects, mut unknown) = (Vec::new(), Vec::new());
        for one in wanted {
            match desired(one, self.client, &self.set.namespace).await {
                Ok(object) => objects.push(object),
                Err(Unfit::UnknownKind) => unknown.push(one),
                Err(Unfit::Invalid(why)) => failures.push(ObjectFailure {
                    object: one.resource.identifier().to_string(),
                    owner: one.owner.clone(),
                    why,
                }),
                Err(Unfit::Failed(failure)) => return Err(of_cluster(&failure)),
            }
        }
        Ok((objects, unknown))
    }

    /// Whether nothing has to be written for an object.
    fn is_settled(&self, object: &DesiredObject, live: &HashMap<ObjectKey, LiveObject>) -> bool {
        live.get(&object.key)
            .is_some_and(|found| self.is_as_applied(object, &found.value))
    }

    fn is_as_applied(&self, object: &DesiredObject, live: &Value) -> bool {
        has_hash(live, &object.hash)
            && live.pointer("/metadata/deletionTimestamp").is_none()
            && (owns(live, &object.body) || self.memory.is_opaque(&object.key, &object.hash))
    }

    /// The object with the labels and annotations that TKO adds.
    pub(crate) fn body(&self, object: &DesiredObject, adopted: bool) -> Value {
        let mut body = object.body.clone();
        if let Some(map) = body.as_object_mut() {
            let metadata = tko_core::resource::map_in(map, "metadata");
            let labels = tko_core::resource::map_in(metadata, "labels");
            labels.insert(PART_OF.to_owned(), json!(self.set.id));
            labels.insert(SET.to_owned(), json!(self.set.id));
            let annotations = tko_core::resource::map_in(metadata, "annotations");
            annotations.insert(HASH.to_owned(), json!(object.hash));
            if adopted {
                annotations.insert(ADOPTED.to_owned(), json!("true"));
            }
        }
        body
    }

    /// Applies an object if necessary. Returns its new state, unless nothing changed.
    async fn bring(
        &self,
        object: &DesiredObject,
        live: &HashMap<ObjectKey, LiveObject>,
    ) -> Result<Option<AppliedObject>, ObjectFailure> {
        if self.is_settled(object, live) || self.lost.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let brought = match live.get(&object.key) {
            Some(found) => self.update(object, &found.value, &object.path()).await,
            None => self.create(object, &object.path()).await,
        };
        let (value, contested) = brought.map_err(|why| ObjectFailure {
            object: object.key.to_string(),
            owner: object.owner.clone(),
            why,
        })?;
        let mut applied = AppliedObject {
            key: object.key.clone(),
            owner: object.owner.clone(),
            object: LiveObject {
                served: object.served.clone(),
                value,
            },
            contested,
        };
        name_kind(&object.key.kind, &object.served, &mut applied.object.value);
        Ok(Some(applied))
    }

    /// Applies an object without TKO's label: it is new, was deleted, or another program created or
    /// replaced it.
    async fn create(&self, object: &DesiredObject, path: &str) -> Result<(Value, bool), String> {
        let found = self
            .client
            .get(path)
            .await
            .map_err(|failure| self.said(&failure))?;
        let Some(found) = found else {
            self.check_creation(&object.key)?;
            let written = self.write(object, path, false).await?;
            self.memory.created(&object.key);
            return Ok(written);
        };
        let label = found
            .pointer("/metadata/labels")
            .and_then(|all| all.get(PART_OF));
        match label.and_then(Value::as_str) {
            Some(id) if id == self.set.id => self.update(object, &found, path).await,
            Some(id) => Err(format!(
                "it belongs to another ApplySet ({id}), such as another site of the same cluster; \
                 remove it there, or from this package"
            )),
            // Another program keeps replacing the object, and so removes the labels.
            None if !self.may_create(&object.key) => Ok((found, true)),
            None => {
                let written = self.write(object, path, true).await?;
                self.memory.created(&object.key);
                Ok(written)
            }
        }
    }

    fn may_create(&self, key: &ObjectKey) -> bool {
        self.memory.may_create(key, self.settings.corrections)
    }

    /// Refuses to create an object that something else has deleted too often.
    pub(crate) fn check_creation(&self, key: &ObjectKey) -> Result<(), String> {
        if self.may_create(key) {
            return Ok(());
        }
        Err(
            "something else keeps deleting it; TKO creates it again within an hour; find out which \
             program it is by the audit log of the API server"
                .to_owned(),
        )
    }

    async fn update(
        &self,
        object: &DesiredObject,
        found: &Value,
        path: &str,
    ) -> Result<(Value, bool), String> {
        if self.is_as_applied(object, found) {
            return Ok((found.clone(), false));
        }
        if found.pointer("/metadata/deletionTimestamp").is_some() {
            return Err(format!(
                "it is being deleted{}; it is created again when it is gone",
                finalizers(found)
            ));
        }
        // The hash is the same, so another program changed the object since it was applied.
        let is_correction = has_hash(found, &object.hash);
        if is_correction
            && !self
                .memory
                .may_correct(&object.key, self.settings.corrections)
        {
            return Ok((found.clone(), true));
        }
        let written = self.write(object, path, is_adopted(found)).await?;
        if is_correction {
            self.memory.corrected(&object.key);
            self.client.counters().corrected();
        }
        Ok(written)
    }

    async fn write(
        &self,
        object: &DesiredObject,
        path: &str,
        adopted: bool,
    ) -> Result<(Value, bool), String> {
        let body = self.body(object, adopted);
        let written = self.client.apply(path, &body, self.force).await;
        let written = written.map_err(|failure| self.said(&failure))?;
        if !owns(&written, &object.body) {
            // The record of its fields is in a form that this program does not understand. From now
            // on only the hash decides; otherwise the object would be written again and again.
            self.memory.opaque(&object.key, &object.hash);
        }
        Ok((written, false))
    }

    /// The message of a failure. Records it if the connection to the cluster is lost.
    pub(crate) fn said(&self, failure: &RequestFailure) -> String {
        if failure.is_of_the_cluster() {
            self.lost.store(true, Ordering::Relaxed);
        }
        failure.to_string()
    }

    /// Stops if the connection to the cluster is lost.
    fn check_contact(&self, report: &ApplyReport) -> Result<()> {
        match report.failures.last() {
            Some(failure) if self.lost.load(Ordering::Relaxed) => Err(Error::unavailable(
                "reach the cluster of the site",
                failure.why.clone(),
            )),
            _ => Ok(()),
        }
    }

    /// Waits until the definitions are established.
    async fn wait_for_definitions(
        &self,
        objects: &[DesiredObject],
        live: &mut HashMap<ObjectKey, LiveObject>,
        report: &mut ApplyReport,
    ) -> Result<()> {
        let until = Instant::now() + self.settings.patience;
        for object in objects.iter().filter(|one| one.is_definition()) {
            let mut pauses = Pauses::default();
            while let Some(found) = live.get(&object.key) {
                let why = match health(&found.value, self.clock.now()) {
                    Health::Current => break,
                    Health::InProgress(why) if Instant::now() < until => {
                        pauses.next().await;
                        let read = self.client.get(&object.path()).await;
                        let read = read.map_err(|failure| of_cluster(&failure))?;
                        if let (Some(value), Some(found)) = (read, live.get_mut(&object.key)) {
                            found.value = value;
                            name_kind(&object.key.kind, &object.served, &mut found.value);
                            continue;
                        }
                        why
                    }
                    Health::InProgress(why) | Health::Failed(why) => why,
                    Health::Terminating => "it is being deleted".to_owned(),
                };
                report.failures.push(ObjectFailure {
                    object: object.key.to_string(),
                    owner: object.owner.clone(),
                    why: format!("the definition is not established: {why}"),
                });
                break;
            }
        }
        Ok(())
    }

    /// Resolves kinds that the site's own definitions have just brought. The cluster serves them a
    /// moment after they are established.
    async fn late_kinds(
        &self,
        unknown: &mut Vec<&WantedResource>,
        objects: &[DesiredObject],
        report: &mut ApplyReport,
    ) -> Result<Vec<DesiredObject>> {
        let defined: HashSet<(&str, &str)> = objects
            .iter()
            .filter(|one| one.is_definition())
            .filter_map(|one| {
                let group = one.body.pointer("/spec/group")?.as_str()?;
                Some((group, one.body.pointer("/spec/names/kind")?.as_str()?))
            })
            .collect();
        let is_own = |one: &WantedResource| {
            let gvk = one.resource.gvk();
            defined.contains(&(&*gvk.group, &*gvk.kind))
        };
        let until = Instant::now() + self.settings.patience;
        let (mut found, mut pauses) = (Vec::new(), Pauses::default());
        loop {
            let waiting = std::mem::take(unknown);
            for one in &waiting {
                self.client.kinds.forget_group(&one.resource.gvk().group);
            }
            let (more, still) = self.resolve(waiting, &mut report.failures).await?;
            *unknown = still;
            found.extend(more);
            if !unknown.iter().any(|one| is_own(one)) || Instant::now() >= until {
                return Ok(found);
            }
            pauses.next().await;
        }
    }

    fn unknown_kind(&self, wanted: &WantedResource) -> ObjectFailure {
        let gvk = wanted.resource.gvk();
        // Ask again next time.
        self.client.kinds.forget_group(&gvk.group);
        ObjectFailure {
            object: wanted.resource.identifier().to_string(),
            owner: wanted.owner.clone(),
            why: format!(
                "the cluster has no kind {} in {}; install its CustomResourceDefinition there, or \
                 add it to a package of the site",
                gvk.kind,
                gvk.api_version()
            ),
        }
    }
}

struct AppliedObject {
    key: ObjectKey,
    owner: String,
    object: LiveObject,
    contested: bool,
}

/// Growing pauses.
#[derive(Default)]
pub(crate) struct Pauses(usize);

impl Pauses {
    pub(crate) async fn next(&mut self) {
        let pause = PAUSES[self.0.min(PAUSES.len() - 1)];
        self.0 += 1;
        sleep(Duration::from_millis(pause)).await;
    }
}

/// Whether another program had created the object.
pub(crate) fn is_adopted(object: &Value) -> bool {
    let annotations = object.pointer("/metadata/annotations");
    annotations
        .and_then(|all| all.get(ADOPTED))
        .is_some_and(|value| value == "true")
}

/// The finalizers that keep an object, for people.
pub(crate) fn finalizers(object: &Value) -> String {
    let all = object
        .pointer("/metadata/finalizers")
        .and_then(Value::as_array);
    let names: Vec<&str> = all
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if names.is_empty() {
        String::new()
    } else {
        format!(", and waits for {}", names.join(", "))
    }
}

/// Items of a list do not name their kind.
pub(crate) fn name_kind(kind: &GroupKind, served: &ServedKind, value: &mut Value) {
    if let Some(map) = value.as_object_mut() {
        map.insert("apiVersion".to_owned(), json!(served.api_version()));
        map.insert("kind".to_owned(), json!(kind.kind));
    }
}

/// The health of the existing objects.
fn health_of(
    objects: &[DesiredObject],
    live: &HashMap<ObjectKey, LiveObject>,
    now: Timestamp,
) -> Vec<(ObjectKey, String, Health)> {
    let there = objects.iter().filter_map(|object| {
        let found = live.get(&object.key)?;
        let health = health(&found.value, now);
        Some((object.key.clone(), object.owner.clone(), health))
    });
    there.collect()
}

/// A failure of everything that is to be done in a cluster.
pub(crate) fn of_cluster(failure: &RequestFailure) -> Error {
    Error::unavailable("work on the cluster of the site", failure.to_string())
}
