//! [`SiteWatches`]: notices changes of a site's objects between two calls.
//!
//! - Each kind that a call listed is watched from the version of that list on, by its metadata alone.
//!   So nothing is missed, and nothing is read twice.
//! - Of each object two hashes are kept: of the fields that TKO owns, and of its version. An object
//!   drifts when it is deleted, or when something else takes over one of the fields. Other changes
//!   count only while the site is not ready.
//! - A change requests one call of the scheduler. Until that has ended well, the watches say nothing
//!   more: a call that fails has a backoff of its own.

use crate::client::ClusterClient;
use crate::desired::ObjectKey;
use crate::kinds::GroupKind;
use crate::ownership::own_fields;
use crate::watch::{Watched, WatchedEvent};
use serde_json::Value;
use std::collections::{HashMap, hash_map::DefaultHasher};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;
use tko_core::SiteId;
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// The shortest and the longest time between a change and the call that it requests.
const DELAYS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// After a quiet time of this length, a change is seen with the shortest delay again.
const QUIET: Duration = Duration::from_mins(5);

/// A watch that ends sooner than this is opened again after a pause of this length.
const SHORTEST: Duration = Duration::from_secs(5);

/// The least time until a call, once the watches of a site are lost. Sites add up to as much again.
const LOST: Duration = Duration::from_secs(30);

/// The longest wait for another call for the same site, which has lost its claim.
const LOCKED: Duration = Duration::from_secs(5);

/// The longest time that a site is watched by a process that does not schedule it any more.
const FORGOTTEN: Duration = Duration::from_hours(1);

/// Requests that a scheduler is called for a site, after a time. It must not block.
pub type DriftSink = Arc<dyn Fn(SiteId, Duration) + Send + Sync>;

/// A list that a call read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListedPath {
    pub(crate) kind: GroupKind,
    pub(crate) path: String,
    /// The version of the list.
    pub(crate) version: String,
}

/// What all watches of a process share.
pub(crate) struct WatchLimits {
    sink: Option<DriftSink>,
    streams: Arc<Semaphore>,
}

impl WatchLimits {
    pub(crate) fn new(sink: Option<DriftSink>, streams: usize) -> Self {
        Self {
            sink,
            streams: Arc::new(Semaphore::new(streams)),
        }
    }
}

/// The watches of one site.
pub(crate) struct SiteWatches {
    limits: Arc<WatchLimits>,
    site: String,
    known: Arc<Mutex<KnownSite>>,
    running: SyncMutex<RunningWatches>,
}

#[derive(Default)]
struct RunningWatches {
    tasks: JoinSet<()>,
    /// The kinds and paths that they watch.
    paths: Vec<(GroupKind, String)>,
    streams: Option<OwnedSemaphorePermit>,
}

/// What a call left behind.
#[derive(Default)]
struct KnownSite {
    objects: HashMap<u64, KnownObject>,
    is_ready: bool,
    /// Whether a change requests a call.
    listens: bool,
    ended: Option<Instant>,
    /// The time at which the cluster refused a watch.
    refused: Option<Instant>,
    requested: Option<Instant>,
    delay: Duration,
}

/// Hashes of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct KnownObject {
    fields: u64,
    version: u64,
}

/// A call for the site. Meanwhile events wait.
pub(crate) struct WatchedCall<'a> {
    watches: &'a SiteWatches,
    known: OwnedMutexGuard<KnownSite>,
}

impl SiteWatches {
    pub(crate) fn new(limits: Arc<WatchLimits>, site: &str) -> Self {
        Self {
            limits,
            site: site.to_owned(),
            known: Arc::default(),
            running: SyncMutex::default(),
        }
    }

    /// Begins a call; `None` if nothing is watched in this process. Unless it is
    /// [finished](WatchedCall::finish), the site is not watched until the next call.
    pub(crate) async fn begin(&self) -> Option<WatchedCall<'_>> {
        self.limits.sink.as_ref()?;
        let known = tokio::time::timeout(LOCKED, self.known.clone().lock_owned()).await;
        let mut known = known.ok()?;
        known.listens = false;
        Some(WatchedCall {
            watches: self,
            known,
        })
    }
}

impl WatchedCall<'_> {
    /// Ends a call that succeeded: these objects are there, and these lists were read before
    /// anything was written.
    pub(crate) fn finish<'o>(
        mut self,
        client: &Arc<ClusterClient>,
        selector: &str,
        lists: Vec<ListedPath>,
        objects: impl Iterator<Item = (&'o ObjectKey, &'o Value)>,
        is_ready: bool,
    ) {
        let known = &mut *self.known;
        known.objects = objects
            .map(|(key, value)| {
                let id = id_of(&key.kind, &key.namespace, &key.name);
                (id, KnownObject::of(value))
            })
            .collect();
        known.is_ready = is_ready;
        known.listens = true;
        known.ended = Some(Instant::now());
        if known.refused.is_none_or(|at| at.elapsed() > FORGOTTEN) {
            self.watches.ensure(client, selector, lists);
        }
    }
}

impl SiteWatches {
    /// Starts watches, unless the same ones run.
    fn ensure(&self, client: &Arc<ClusterClient>, selector: &str, lists: Vec<ListedPath>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let mut paths: Vec<(GroupKind, String)> = lists
            .iter()
            .map(|list| (list.kind.clone(), list.path.clone()))
            .collect();
        paths.sort();
        let has_ended = running.tasks.try_join_next().is_some();
        if !has_ended && !running.tasks.is_empty() && running.paths == paths {
            return;
        }
        // The streams of the former ones are free again first.
        running.tasks = JoinSet::new();
        drop(running.streams.take());
        let count = u32::try_from(lists.len()).unwrap_or(u32::MAX);
        let Ok(streams) = self.limits.streams.clone().try_acquire_many_owned(count) else {
            return;
        };
        for list in lists {
            let watch = KindWatch {
                client: client.clone(),
                selector: selector.to_owned(),
                site: self.site.clone(),
                known: self.known.clone(),
                limits: self.limits.clone(),
                kind: list.kind,
                path: list.path,
            };
            running.tasks.spawn(watch.run(list.version));
        }
        running.paths = paths;
        running.streams = Some(streams);
    }
}

/// One watch.
struct KindWatch {
    client: Arc<ClusterClient>,
    selector: String,
    site: String,
    known: Arc<Mutex<KnownSite>>,
    limits: Arc<WatchLimits>,
    kind: GroupKind,
    path: String,
}

impl KindWatch {
    /// Watches until the watch is lost or refused, or the site is forgotten.
    async fn run(self, mut version: String) {
        loop {
            let began = Instant::now();
            let mut events = match self
                .client
                .watch(&self.path, &self.selector, &version)
                .await
            {
                Ok(events) => events,
                // Without the right the site is resynced, as before.
                Err(failure) if matches!(failure.code(), 403 | 405) => {
                    self.known.lock().await.refused = Some(Instant::now());
                    return;
                }
                Err(_) => return self.lose().await,
            };
            loop {
                match events.next().await {
                    Ok(Some(event)) => {
                        event.version().clone_into(&mut version);
                        self.see(&event).await;
                    }
                    Ok(None) => break,
                    Err(_) => return self.lose().await,
                }
            }
            if self.known.lock().await.is_forgotten() {
                return self.lose().await;
            }
            if began.elapsed() < SHORTEST {
                sleep(SHORTEST).await;
            }
        }
    }

    async fn see(&self, event: &WatchedEvent) {
        if event.kind == Watched::Bookmark {
            return;
        }
        let mut known = self.known.lock().await;
        if known.listens && known.has_changed(&self.kind, event) {
            let delay = known.next_delay();
            self.request(&mut known, delay);
        }
    }

    /// Requests a call that finds what was missed. Not all sites of a cluster at once.
    async fn lose(&self) {
        let part = u32::try_from(hash_of(&self.site) % 100).unwrap_or_default();
        let spread = LOST * part / 100;
        let mut known = self.known.lock().await;
        if known.listens {
            self.request(&mut known, LOST + spread);
        }
    }

    fn request(&self, known: &mut KnownSite, delay: Duration) {
        known.listens = false;
        known.requested = Some(Instant::now());
        if let (Some(sink), Ok(site)) = (&self.limits.sink, SiteId::new(&self.site)) {
            sink(site, delay);
        }
    }
}

impl KnownSite {
    /// Whether an event is worth a call.
    fn has_changed(&self, kind: &GroupKind, event: &WatchedEvent) -> bool {
        let metadata = &event.object["metadata"];
        let text = |name: &str| metadata[name].as_str().unwrap_or_default();
        let id = id_of(kind, text("namespace"), text("name"));
        let Some(known) = self.objects.get(&id) else {
            // The inventory, or what was removed.
            return false;
        };
        let now = KnownObject::of(&event.object);
        event.kind == Watched::Deleted
            || !metadata["deletionTimestamp"].is_null()
            || now.fields != known.fields
            || (!self.is_ready && now.version != known.version)
    }

    /// The delay of the next call: it doubles while changes do not end.
    fn next_delay(&mut self) -> Duration {
        let is_quiet = self.requested.is_none_or(|at| at.elapsed() > QUIET);
        self.delay = if is_quiet {
            DELAYS.0
        } else {
            (self.delay * 2).clamp(DELAYS.0, DELAYS.1)
        };
        self.delay
    }

    fn is_forgotten(&self) -> bool {
        self.ended.is_none_or(|at| at.elapsed() > FORGOTTEN)
    }
}

impl KnownObject {
    fn of(object: &Value) -> Self {
        let fields = own_fields(object).map(Value::to_string);
        Self {
            fields: hash_of(&fields),
            version: hash_of(&object["metadata"]["resourceVersion"].as_str()),
        }
    }
}

fn id_of(kind: &GroupKind, namespace: &str, name: &str) -> u64 {
    hash_of(&(kind, namespace, name))
}

fn hash_of<T: Hash + ?Sized>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::{DELAYS, KnownObject, KnownSite, id_of};
    use crate::kinds::GroupKind;
    use crate::watch::{Watched, WatchedEvent};
    use serde_json::{Value, json};
    use std::time::Duration;

    fn kind() -> GroupKind {
        GroupKind::parse("ConfigMap").expect("a kind")
    }

    fn object(version: &str, fields: &Value) -> Value {
        json!({"metadata": {
            "namespace": "a", "name": "b", "resourceVersion": version,
            "managedFields": [{"manager": "tko", "operation": "Apply", "fieldsV1": fields}],
        }})
    }

    fn site(is_ready: bool) -> KnownSite {
        let known = KnownObject::of(&object("1", &json!({"f:data": {"f:x": {}}})));
        KnownSite {
            objects: [(id_of(&kind(), "a", "b"), known)].into(),
            is_ready,
            listens: true,
            ..KnownSite::default()
        }
    }

    fn changes(site: &KnownSite, what: Watched, object: Value) -> bool {
        let event = WatchedEvent { kind: what, object };
        site.has_changed(&kind(), &event)
    }

    #[test]
    fn drift_is_what_takes_a_field_or_the_object() {
        let fields = json!({"f:data": {"f:x": {}}});
        let ready = site(true);
        let same = object("2", &fields);
        assert!(!changes(&ready, Watched::Put, same.clone()));
        assert!(changes(&ready, Watched::Deleted, same.clone()));
        assert!(changes(&ready, Watched::Put, object("2", &json!({}))));
        let mut going = same.clone();
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert!(changes(&ready, Watched::Put, going));
        // While the site is not ready, its own controllers matter, too.
        let waiting = site(false);
        assert!(changes(&waiting, Watched::Put, same));
        assert!(!changes(&waiting, Watched::Put, object("1", &fields)));
        // What is no object of the site's.
        let mut other = object("2", &json!({}));
        other["metadata"]["name"] = json!("other");
        assert!(!changes(&waiting, Watched::Deleted, other));
    }

    #[tokio::test(start_paused = true)]
    async fn calls_get_rarer_while_changes_do_not_end() {
        let mut site = site(true);
        let mut delays = Vec::new();
        for _ in 0..9 {
            delays.push(site.next_delay().as_secs());
            site.requested = Some(tokio::time::Instant::now());
        }
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        tokio::time::advance(Duration::from_mins(6)).await;
        assert_eq!(site.next_delay(), DELAYS.0);
    }
}
