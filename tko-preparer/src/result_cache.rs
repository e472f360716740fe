//! Results of pure preparers: equal calls run once.

use crate::shared_results::{SharedAnswer, SharedResults};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tko_core::{ContentHash, Error, Package, Result};

/// The packages that pure preparers made, by the hash of what they depend on.
///
/// If several equal calls arrive at the same time, one runs and the others wait for it. If it fails,
/// they fail with its error; failures are not kept for later calls. The least recently used results
/// are dropped first. If results are [shared](crate::PrepareSettings::shared_results), a result that
/// is not in this cache is looked up there.
#[derive(Debug)]
pub struct ResultCache {
    most: AtomicUsize,
    state: Mutex<CacheState>,
    hits: AtomicU64,
    misses: AtomicU64,
    evictions: AtomicU64,
    shared: SharedCounters,
}

#[derive(Debug, Default)]
struct SharedCounters {
    hits: AtomicU64,
    misses: AtomicU64,
    refused: AtomicU64,
    failures: AtomicU64,
}

#[derive(Debug, Default)]
struct CacheState {
    results: HashMap<ContentHash, CachedResult>,
    /// The keys in the order of their last use.
    used: BTreeMap<u64, ContentHash>,
    running: HashMap<ContentHash, Arc<EqualCalls>>,
    clock: u64,
    bytes: usize,
}

/// Equal calls, one of which runs while the others wait.
#[derive(Debug, Default)]
struct EqualCalls {
    /// Number of calls that ran and failed.
    failures: AtomicU64,
    /// The error of the last one that failed. Locked while a call runs.
    failure: tokio::sync::Mutex<Option<Arc<Error>>>,
}

#[derive(Debug)]
struct CachedResult {
    package: Package,
    bytes: usize,
    used: u64,
}

/// The counts of a [`ResultCache`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheCounts {
    /// Calls that were answered with an earlier result of this process.
    pub hits: u64,
    /// Calls that ran.
    pub misses: u64,
    /// Results that were dropped to make room.
    pub evictions: u64,
    /// Results that are kept.
    pub results: u64,
    /// Estimated bytes of the results.
    pub bytes: u64,
    /// Calls that were answered with a shared result.
    pub shared_hits: u64,
    /// Calls that found no shared result.
    pub shared_misses: u64,
    /// Shared results that were damaged or did not match the call, so that it ran.
    pub shared_refused: u64,
    /// Shared results that could not be read or stored because of the data service.
    pub shared_failures: u64,
}

impl ResultCache {
    /// A cache of at most `most` estimated bytes; 0 keeps nothing.
    pub fn new(most: usize) -> Self {
        Self {
            most: AtomicUsize::new(most),
            state: Mutex::default(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            evictions: AtomicU64::new(0),
            shared: SharedCounters::default(),
        }
    }

    /// Changes the limit. Results beyond a lower limit are dropped when the next result is added.
    pub fn set_limit(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// Whether it keeps nothing.
    pub fn is_off(&self) -> bool {
        self.most.load(Ordering::Relaxed) == 0
    }

    /// Counts of calls since the cache was created, and the results that it keeps now.
    pub fn counts(&self) -> CacheCounts {
        let state = self.state();
        CacheCounts {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            evictions: self.evictions.load(Ordering::Relaxed),
            results: state.results.len() as u64,
            bytes: state.bytes as u64,
            shared_hits: self.shared.hits.load(Ordering::Relaxed),
            shared_misses: self.shared.misses.load(Ordering::Relaxed),
            shared_refused: self.shared.refused.load(Ordering::Relaxed),
            shared_failures: self.shared.failures.load(Ordering::Relaxed),
        }
    }

    /// Returns the result for a key: an earlier one, a shared one, or that of `run`. A result is
    /// kept if `keep` finds a package in it. A failure is the answer to all calls that wait then.
    pub(crate) async fn get_or_run<T>(
        &self,
        key: ContentHash,
        shared: Option<SharedResults<'_>>,
        made: impl FnOnce(Package) -> T,
        keep: impl FnOnce(&T) -> Option<Package>,
        run: impl Future<Output = Result<T, Arc<Error>>>,
    ) -> Result<T, Arc<Error>> {
        if let Some(package) = self.find(key) {
            return Ok(made(package));
        }
        let running = self.state().running.entry(key).or_default().clone();
        let running = RunningCall {
            cache: self,
            key,
            calls: Some(running),
        };
        let calls = running.calls.clone().unwrap_or_default();
        let failures = calls.failures.load(Ordering::Relaxed);
        let mut failure = calls.failure.lock().await;
        // Another call may have finished meanwhile.
        if let Some(package) = self.find(key) {
            return Ok(made(package));
        }
        // If each of many waiting calls ran and failed, the last would exceed their time limits.
        if calls.failures.load(Ordering::Relaxed) != failures
            && let Some(error) = &*failure
        {
            return Err(error.clone());
        }
        if let Some(package) = self.find_shared(key, shared).await {
            self.keep(key, package.clone());
            return Ok(made(package));
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        let result = match run.await {
            Ok(result) => result,
            Err(error) => {
                *failure = Some(error.clone());
                calls.failures.fetch_add(1, Ordering::Relaxed);
                return Err(error);
            }
        };
        if let Some(package) = keep(&result) {
            self.keep(key, package.clone());
            if let Some(shared) = shared
                && !shared.put(key, package).await
            {
                self.shared.failures.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(result)
    }

    async fn find_shared(
        &self,
        key: ContentHash,
        shared: Option<SharedResults<'_>>,
    ) -> Option<Package> {
        let (counter, found) = match shared?.find(key).await {
            SharedAnswer::Found(package) => (&self.shared.hits, Some(package)),
            SharedAnswer::Nothing => (&self.shared.misses, None),
            SharedAnswer::Refused => (&self.shared.refused, None),
            SharedAnswer::Failed => (&self.shared.failures, None),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    fn find(&self, key: ContentHash) -> Option<Package> {
        let mut state = self.state();
        let state = &mut *state;
        let found = state.results.get_mut(&key)?;
        state.clock += 1;
        state.used.remove(&found.used);
        found.used = state.clock;
        state.used.insert(state.clock, key);
        self.hits.fetch_add(1, Ordering::Relaxed);
        Some(found.package.clone())
    }

    fn keep(&self, key: ContentHash, package: Package) {
        let bytes = package.iter().map(|resource| size(resource.value())).sum();
        let most = self.most.load(Ordering::Relaxed);
        if bytes > most {
            return;
        }
        let mut state = self.state();
        let state = &mut *state;
        state.clock += 1;
        state.used.insert(state.clock, key);
        state.bytes += bytes;
        let result = CachedResult {
            package,
            bytes,
            used: state.clock,
        };
        if let Some(old) = state.results.insert(key, result) {
            state.used.remove(&old.used);
            state.bytes -= old.bytes;
        }
        while state.bytes > most {
            let Some((_, oldest)) = state.used.pop_first() else {
                break;
            };
            if let Some(old) = state.results.remove(&oldest) {
                state.bytes -= old.bytes;
                self.evictions.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, CacheState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that runs or waits. The last of a key removes its [`EqualCalls`].
struct RunningCall<'a> {
    cache: &'a ResultCache,
    key: ContentHash,
    calls: Option<Arc<EqualCalls>>,
}

impl Drop for RunningCall<'_> {
    fn drop(&mut self) {
        drop(self.calls.take());
        let mut state = self.cache.state();
        let is_last = state
            .running
            .get(&self.key)
            .is_some_and(|calls| Arc::strong_count(calls) == 1);
        if is_last {
            state.running.remove(&self.key);
        }
    }
}

/// The approximate bytes of a value in memory.
fn size(value: &Value) -> usize {
    /// Bytes of a value itself, with its place in a list or map.
    const OWN: usize = 64;
    OWN + match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(map) => map.iter().map(|(key, value)| key.len() + size(value)).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::ResultCache;
    use crate::shared_results::SharedResults;
    use serde_json::json;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;
    use tko_backend_memory::{Memory, MemorySettings};
    use tko_conformance::{CountedIds, ManualClock, Strict};
    use tko_core::{ContentHash, Error, Package, SharedLimits, Store, WorkerApi};

    fn package(name: &str) -> Package {
        let value = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
        Package::from_values([value]).expect("a package")
    }

    async fn get(cache: &ResultCache, key: u8) -> Package {
        let made = package(&key.to_string());
        let key = ContentHash([key; 32]);
        let run = async { Ok(made) };
        let package = cache
            .get_or_run(
                key,
                None,
                |package| package,
                |package| Some(package.clone()),
                run,
            )
            .await;
        package.expect("it does not fail")
    }

    #[tokio::test]
    async fn equal_calls_run_once_and_the_oldest_results_go_first() {
        let cache = ResultCache::new(1_000);
        let first = get(&cache, 1).await;
        assert!(get(&cache, 1).await.shares(&first));
        for key in 2..=10 {
            get(&cache, key).await;
            // It stays, because it is used.
            assert!(get(&cache, 1).await.shares(&first));
        }
        let counts = cache.counts();
        assert_eq!((counts.misses, counts.hits), (10, 10));
        assert!(counts.evictions > 0 && counts.bytes <= 1_000, "{counts:?}");
        assert!(cache.state().running.is_empty());
    }

    #[tokio::test]
    async fn calls_at_the_same_time_wait_for_one() {
        let cache = ResultCache::new(1 << 20);
        let calls = (0..100).map(|_| get(&cache, 7));
        let packages = futures_util::future::join_all(calls).await;
        assert!(packages.iter().all(|package| package.shares(&packages[0])));
        assert_eq!(cache.counts().misses, 1);
        assert!(cache.state().running.is_empty());
    }

    /// A call that says whether it ran.
    async fn shared(
        cache: &ResultCache,
        data: &dyn WorkerApi,
        key: ContentHash,
    ) -> (Package, bool) {
        let mut has_run = false;
        let run = async {
            has_run = true;
            Ok(package("made"))
        };
        let shared = SharedResults {
            data,
            limits: SharedLimits::new(),
        };
        let keep = |package: &Package| Some(package.clone());
        let package = cache
            .get_or_run(key, Some(shared), |package| package, keep, run)
            .await;
        (package.expect("it does not fail"), has_run)
    }

    #[tokio::test]
    async fn another_process_uses_a_shared_result_and_refuses_a_false_one() {
        let clock = Arc::new(ManualClock::new());
        let memory = Arc::new(Memory::new(clock, MemorySettings::default()));
        let ids = Arc::new(CountedIds::default());
        let store = Store::new(memory, Arc::new(Strict), ids);
        let key = ContentHash([1; 32]);
        let [one, other, third] = [0; 3].map(|_| ResultCache::new(1 << 20));
        assert_eq!(shared(&one, &store, key).await, (package("made"), true));
        assert_eq!(shared(&other, &store, key).await, (package("made"), false));
        assert_eq!(shared(&other, &store, key).await, (package("made"), false));
        let counts = other.counts();
        let found = (counts.hits, counts.misses, counts.shared_hits);
        assert_eq!(found, (1, 0, 1));
        assert_eq!(one.counts().shared_misses, 1);
        // The result of another call, under this key.
        let stored = store.get_shared(key, SharedLimits::new().age).await;
        let stored = stored.expect("looked up").expect("it is kept");
        let false_key = ContentHash([2; 32]);
        let kept = store
            .put_shared(false_key, &stored, SharedLimits::new())
            .await;
        kept.expect("it is kept");
        assert_eq!(
            shared(&third, &store, false_key).await,
            (package("made"), true)
        );
        assert_eq!(third.counts().shared_refused, 1);
        // The true one has replaced it.
        assert_eq!(
            shared(&one, &store, false_key).await,
            (package("made"), false)
        );
    }

    #[tokio::test]
    async fn failures_are_not_kept() {
        let cache = ResultCache::new(1 << 20);
        let key = ContentHash([1; 32]);
        let run = async { Err::<(), _>(Arc::new(Error::bad("poison", "never works"))) };
        let failed = cache.get_or_run(key, None, |_| (), |()| None, run).await;
        assert!(failed.is_err());
        assert_eq!(cache.counts().results, 0);
        get(&cache, 1).await;
        assert_eq!(cache.counts().misses, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_wait_for_one_that_fails_fail_with_its_error() {
        let cache = ResultCache::new(1 << 20);
        let runs = AtomicUsize::new(0);
        let calls = (0..100).map(|_| {
            let run = async {
                runs.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_secs(1)).await;
                Err::<(), _>(Arc::new(Error::bad("poison", "never works")))
            };
            let key = ContentHash([1; 32]);
            let call = cache.get_or_run(key, None, |_| (), |()| None, run);
            tokio::time::timeout(Duration::from_secs(30), call)
        });
        for ended in futures_util::future::join_all(calls).await {
            let ended = ended.expect("within its time limit");
            let error = ended.expect_err("it fails");
            assert_eq!(error.to_string(), "poison: never works");
        }
        assert_eq!(runs.load(Ordering::Relaxed), 1);
        assert!(cache.state().running.is_empty());
        get(&cache, 1).await;
        assert_eq!(cache.counts().misses, 2, "a later call runs");
    }
}
