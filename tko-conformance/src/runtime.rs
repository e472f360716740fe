//! Runs one check on its own runtime, with a time limit.

use crate::backend::BackendFixture;
use crate::explore::is_at_length;
use crate::harness::{BackendHarness, DataHarness};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// The number of changes that a store keeps, unless a check requests fewer.
pub(crate) const HISTORY: usize = 100_000;

/// The time limit of a check. With paused time, it expires at once when no task can continue.
const LIMIT: Duration = Duration::from_mins(2);

/// The time limit in real time, when other tests may keep the machine busy.
const IN_REAL_TIME: Duration = Duration::from_mins(10);

/// The time limit when the environment sets the number of random cases.
const AT_LENGTH: Duration = Duration::from_hours(24);

/// Runs one check of [`backend`](crate::backend) on a fresh backend.
///
/// # Panics
/// If the check fails or hangs.
pub fn run_backend(harness: Arc<dyn BackendHarness>, check: impl AsyncFnOnce(BackendFixture)) {
    let paused = harness.is_paused();
    block_on(paused, async {
        let fixture = BackendFixture::new(harness, HISTORY).await;
        check(fixture).await;
    });
}

/// Runs one check of [`data`](crate::data) on a fresh store.
///
/// # Panics
/// If the check fails or hangs.
pub fn run_data(harness: Arc<dyn DataHarness>, check: impl AsyncFnOnce(crate::data::DataFixture)) {
    let paused = harness.is_paused();
    block_on(paused, async {
        let fixture = crate::data::DataFixture::new(harness, HISTORY).await;
        check(fixture).await;
    });
}

fn block_on(paused: bool, check: impl Future<Output = ()>) {
    runtime(paused).block_on(async {
        let limit = match () {
            () if is_at_length() => AT_LENGTH,
            () if paused => LIMIT,
            () => IN_REAL_TIME,
        };
        let done = tokio::time::timeout(limit, check).await;
        assert!(
            done.is_ok(),
            "the check hangs: it waits for an event that does not come"
        );
    });
}

fn runtime(paused: bool) -> Runtime {
    let mut builder = if paused {
        Builder::new_current_thread()
    } else {
        // Several threads, so that tasks run concurrently.
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(4);
        builder
    };
    builder.enable_all().start_paused(paused);
    builder.build().expect("a runtime can be made here")
}
