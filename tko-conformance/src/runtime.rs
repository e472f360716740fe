//! Runs one check: a runtime of its own, and an end in any case.

use crate::backend::BackendFixture;
use crate::explore::is_at_length;
use crate::harness::{BackendHarness, DataHarness};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// How many changes a subject keeps, unless a check asks for less.
pub(crate) const HISTORY: usize = 100_000;

/// A check that takes longer hangs. On paused time this passes at once when nothing can go on.
const LIMIT: Duration = Duration::from_mins(2);

/// The same in real time: the machine may be busy with other tests.
const IN_REAL_TIME: Duration = Duration::from_mins(10);

/// The same where many random cases are asked for.
const AT_LENGTH: Duration = Duration::from_hours(24);

/// Runs one check of [`backend`](crate::backend) on a fresh subject.
///
/// # Panics
/// The check failed, or hangs.
pub fn run_backend(harness: Arc<dyn BackendHarness>, check: impl AsyncFnOnce(BackendFixture)) {
    let paused = harness.is_paused();
    block_on(paused, async {
        let fixture = BackendFixture::new(harness, HISTORY).await;
        check(fixture).await;
    });
}

/// Runs one check of [`data`](crate::data) on a fresh subject.
///
/// # Panics
/// The check failed, or hangs.
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
            "the check hangs: it waits for what never comes"
        );
    });
}

fn runtime(paused: bool) -> Runtime {
    let mut builder = if paused {
        Builder::new_current_thread()
    } else {
        // Several threads, so that tasks really run at once.
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(4);
        builder
    };
    builder.enable_all().start_paused(paused);
    builder.build().expect("a runtime can be made here")
}
