//! [`SiteWatches`]: notices changes of a site's objects between two calls.
//!
//! - Each kind with objects is watched from the version of the list that a call read, and only its
//!   metadata. So nothing is missed, and nothing is read twice.
//! - A watch whose connection ends continues from the last version. If it cannot, a call is
//!   requested.
//! - For each object two hashes are kept: of the fields that TKO owns, and of its version. An
//!   object drifts when it is deleted, or when another program takes over one of the fields. Other
//!   changes matter only while the site is not ready.
//! - A change requests one call of the scheduler. The watches request no other call until one has
//!   succeeded: a failed call has its own backoff.

use crate::apply::ApplyReport;
use crate::client::ClusterClient;
use crate::failure::RequestFailure;
use crate::kinds::GroupKind;
use crate::ownership::own_fields;
use crate::watch::{Watched, WatchedEvent};
use serde_json::Value;
use std::collections::{HashMap, HashSet, hash_map::DefaultHasher};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;
use tko_core::SiteId;
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep};

/// The shortest and the longest time between a change and the call that it requests.
const DELAYS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// After a quiet time of this length, a change has the shortest delay again.
const QUIET: Duration = Duration::from_mins(5);

/// A watch that ends sooner than this is opened again after a pause of this length.
const SHORTEST: Duration = Duration::from_secs(5);

/// Minimum time until a call, once the watches of a site are lost. A random time of up to the same
/// length is added.
const LOST: Duration = Duration::from_secs(30);

/// The time until a kind is watched again whose watch the cluster refused.
const REFUSED: Duration = Duration::from_hours(1);

/// Maximum wait for another call for the same site, whose claim is lost.
const LOCKED: Duration = Duration::from_secs(5);

/// Maximum time for which a process still watches a site that it no longer schedules.
const FORGOTTEN: Duration = Duration::from_hours(1);

/// Requests a call of the scheduler for a site, after a delay. It must not block.
pub type DriftSink = Arc<dyn Fn(SiteId, Duration) + Send + Sync>;

/// A list that a call read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListedPath {
    pub(crate) kind: GroupKind,
    pub(crate) path: String,
    pub(crate) selector: String,
    /// The version of the list.
    pub(crate) version: String,
}

impl ListedPath {
    /// The path and the selector, which identify a watch.
    fn target(&self) -> (String, String) {
        (self.path.clone(), self.selector.clone())
    }
}

/// The state that all watches of a process share.
pub(crate) struct WatchLimits {
    sink: Option<DriftSink>,
    streams: Arc<Semaphore>,
}

impl WatchLimits {
    pub(crate) fn new(sink: Option<DriftSink>, streams: usize) -> Self {
        Self {
            sink,
            streams: Arc::new(Semaphore::new(streams.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// Requests a call for a site.
    fn request(&self, site: &str, delay: Duration) {
        if let (Some(sink), Ok(site)) = (&self.sink, SiteId::new(site)) {
            sink(site, delay);
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
    /// The tasks by the path and the selector that they watch.
    by_target: HashMap<(String, String), AbortHandle>,
    /// The task that requests a call because time has passed.
    timer: Option<AbortHandle>,
}

/// The state that a call left behind.
#[derive(Default)]
struct KnownSite {
    objects: HashMap<u64, KnownObject>,
    is_ready: bool,
    /// Whether a change requests a call.
    listens: bool,
    ended: Option<Instant>,
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
    /// Ends a call that succeeded, with this report. The lists were read before anything was
    /// written.
    pub(crate) fn finish(
        mut self,
        client: &Arc<ClusterClient>,
        mut lists: Vec<ListedPath>,
        report: &ApplyReport,
        is_ready: bool,
    ) {
        let objects = &report.live;
        // A kind without objects, such as that of the inventory, needs no watch.
        let kinds: HashSet<&GroupKind> = objects.keys().map(|key| &key.kind).collect();
        lists.retain(|list| kinds.contains(&list.kind));
        let known = &mut *self.known;
        known.objects = HashMap::new();
        known.listens = self.watches.ensure(client, lists);
        if known.listens {
            let hashes = objects.iter().map(|(key, object)| {
                let id = id_of(&key.kind, &key.namespace, &key.name);
                (id, KnownObject::of(&object.value))
            });
            known.objects = hashes.collect();
        }
        known.is_ready = is_ready;
        known.ended = Some(Instant::now());
        self.watches.request_after(report.changes_after);
    }
}

impl SiteWatches {
    /// Requests a call after this time, if there is one. An earlier request is dropped.
    fn request_after(&self, time: Option<Duration>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(timer) = running.timer.take() {
            timer.abort();
        }
        let Some(time) = time else { return };
        let (limits, site) = (self.limits.clone(), self.site.clone());
        // A request during the present call would repeat it at once, so it is made later.
        let timer = running.tasks.spawn(async move {
            sleep(time).await;
            limits.request(&site, Duration::ZERO);
        });
        running.timer = Some(timer);
    }

    /// Starts the watches that are not running yet, and ends watches of other lists. Returns
    /// `false` if there are too few streams for all of them: then none runs.
    fn ensure(&self, client: &Arc<ClusterClient>, mut lists: Vec<ListedPath>) -> bool {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let RunningWatches {
            tasks, by_target, ..
        } = &mut *running;
        // Those that have ended.
        while tasks.try_join_next().is_some() {}
        let targets: HashSet<(String, String)> = lists.iter().map(ListedPath::target).collect();
        by_target.retain(|target, watch| {
            let goes_on = !watch.is_finished() && targets.contains(target);
            if !goes_on {
                watch.abort();
            }
            goes_on
        });
        lists.retain(|list| !by_target.contains_key(&list.target()));
        let count = u32::try_from(lists.len()).unwrap_or(u32::MAX);
        let Ok(mut streams) = self.limits.streams.clone().try_acquire_many_owned(count) else {
            tasks.abort_all();
            by_target.clear();
            return false;
        };
        for list in lists {
            let target = list.target();
            let watch = KindWatch {
                client: client.clone(),
                site: self.site.clone(),
                known: self.known.clone(),
                limits: self.limits.clone(),
                stream: streams.split(1),
                list,
            };
            by_target.insert(target, tasks.spawn(watch.run()));
        }
        true
    }
}

/// One watch.
struct KindWatch {
    client: Arc<ClusterClient>,
    site: String,
    known: Arc<Mutex<KnownSite>>,
    limits: Arc<WatchLimits>,
    /// Counts the watch, until it ends or is refused.
    stream: Option<OwnedSemaphorePermit>,
    /// The watched list, and the version that the watch has reached.
    list: ListedPath,
}

impl KindWatch {
    /// Watches until the watch is lost or refused, or the site is forgotten.
    async fn run(mut self) {
        loop {
            let began = Instant::now();
            let list = &self.list;
            let opened = self.client.watch(&list.path, &list.selector, &list.version);
            let mut events = match opened.await {
                Ok(events) => events,
                // Without the permission to watch, changes of this kind are found at the resync
                // interval.
                Err(failure) if matches!(failure.code(), 403 | 405) => {
                    self.stream = None;
                    return sleep(REFUSED).await;
                }
                Err(_) => return self.lose().await,
            };
            loop {
                match events.next().await {
                    Ok(Some(event)) => {
                        event.version().clone_into(&mut self.list.version);
                        self.see(&event).await;
                    }
                    // Restarting proxies and servers close connections.
                    Ok(None) | Err(RequestFailure::Unreachable(_)) => break,
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
        if known.listens && known.has_changed(&self.list.kind, event) {
            let delay = known.next_delay();
            self.request(&mut known, delay);
        }
    }

    /// Requests a call that finds the missed changes, but not for all sites of a cluster at once.
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
        self.limits.request(&self.site, delay);
    }
}

impl KnownSite {
    /// Whether an event is worth a call.
    fn has_changed(&self, kind: &GroupKind, event: &WatchedEvent) -> bool {
        let metadata = &event.object["metadata"];
        let text = |name: &str| metadata[name].as_str().unwrap_or_default();
        let id = id_of(kind, text("namespace"), text("name"));
        let Some(known) = self.objects.get(&id) else {
            // The inventory object, or objects that were removed.
            return false;
        };
        let now = KnownObject::of(&event.object);
        event.kind == Watched::Deleted
            || !metadata["deletionTimestamp"].is_null()
            || now.fields != known.fields
            || (!self.is_ready && now.version != known.version)
    }

    /// The delay of the next call: it doubles as long as changes continue.
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

/// The hash of an object's identity.
pub(crate) fn id_of(kind: &GroupKind, namespace: &str, name: &str) -> u64 {
    hash_of(&(kind, namespace, name))
}

fn hash_of<T: Hash + ?Sized>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::{DELAYS, DriftSink, KnownObject, KnownSite, SiteWatches, WatchLimits, id_of};
    use crate::kinds::GroupKind;
    use crate::watch::{Watched, WatchedEvent};
    use serde_json::{Value, json};
    use std::sync::Arc;
    use std::time::Duration;
    use tko_core::SiteId;
    use tokio::sync::mpsc::unbounded_channel;
    use tokio::time::{Instant, advance};

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
        // Objects that do not belong to the site.
        let mut other = object("2", &json!({}));
        other["metadata"]["name"] = json!("other");
        assert!(!changes(&waiting, Watched::Deleted, other));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_requested_when_time_changes_the_state() {
        let (send, mut requests) = unbounded_channel();
        let sink: DriftSink = Arc::new(move |site: SiteId, delay: Duration| {
            // The receiver is there as long as the test.
            let _ = send.send((site, delay));
        });
        let watches = SiteWatches::new(Arc::new(WatchLimits::new(Some(sink), 0)), "a");
        let began = Instant::now();
        // The next call replaces the request of the first.
        watches.request_after(Some(Duration::from_secs(5)));
        watches.request_after(Some(Duration::from_secs(15)));
        let (site, delay) = requests.recv().await.expect("a request");
        assert_eq!((site.as_str(), delay), ("a", Duration::ZERO));
        assert!(began.elapsed() >= Duration::from_secs(15));
        watches.request_after(Some(Duration::from_secs(15)));
        watches.request_after(None);
        advance(Duration::from_mins(1)).await;
        assert!(requests.try_recv().is_err(), "nothing is left to wait for");
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
