//! The calls that Python code still executes.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tko_core::Key;

/// Maximum number of calls of one controller. A controller works on at most 64 entities at a time;
/// the others are calls that exceeded their time limit. Each call takes a thread of the runtime,
/// which has 512.
const MAX_CALLS: usize = 128;

/// The calls of one controller that Python code still executes.
///
/// A Python function cannot be stopped, so a call that exceeds its time limit continues. Until it
/// returns, the handlers of the controller are not called for the same deployment or site.
#[derive(Default)]
pub(crate) struct RunningCalls(Mutex<HashSet<Key>>);

/// A call that is executed until this value is dropped.
pub(crate) struct RunningHandler {
    calls: Arc<RunningCalls>,
    key: Key,
}

impl RunningCalls {
    /// Begins a call for a deployment or site. The error says why it must wait.
    pub(crate) fn begin(self: &Arc<Self>, key: &Key) -> Result<RunningHandler, String> {
        let mut keys = self.lock();
        if keys.contains(key) {
            return Err(format!(
                "an earlier call for {key} is still running; the next one waits until it returns"
            ));
        }
        if keys.len() >= MAX_CALLS {
            return Err(format!(
                "{MAX_CALLS} calls are still running; the next one waits until one returns"
            ));
        }
        keys.insert(key.clone());
        Ok(RunningHandler {
            calls: self.clone(),
            key: key.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Key>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RunningHandler {
    fn drop(&mut self) {
        self.calls.lock().remove(&self.key);
    }
}
