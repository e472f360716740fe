//! The state behind its lock, and the signals that end waits.

use crate::shared_value::SharedValues;
use crate::state::MemoryState;
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tko_core::{Clock, Revision, Stage};
use tokio::sync::{Notify, watch};

/// The state, shared by the backend and the feeds that it returned.
pub(crate) struct SharedState {
    state: RwLock<MemoryState>,
    /// Separate from the state, because only calls for shared values need it.
    values: Mutex<SharedValues>,
    pub(crate) clock: Arc<dyn Clock>,
    /// The last revision; feeds wait for it to grow.
    pub(crate) head: watch::Sender<Revision>,
    /// Signals per stage: work may be due, or due earlier than a waiting claim knows.
    due: [Notify; Stage::ALL.len()],
}

impl SharedState {
    /// An empty state that keeps its last `history` changes.
    pub(crate) fn new(clock: Arc<dyn Clock>, history: usize) -> Self {
        Self {
            state: RwLock::new(MemoryState::new(history)),
            values: Mutex::default(),
            clock,
            head: watch::Sender::new(Revision(0)),
            due: Stage::ALL.map(|_| Notify::new()),
        }
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, MemoryState> {
        self.state.read().expect("no code panics while it writes")
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, MemoryState> {
        self.state.write().expect("no code panics while it writes")
    }

    /// The values that workers share.
    pub(crate) fn values(&self) -> MutexGuard<'_, SharedValues> {
        self.values.lock().expect("no code panics while it shares")
    }

    /// The signal for work of this stage.
    pub(crate) fn due(&self, stage: Stage) -> &Notify {
        &self.due[stage as usize]
    }

    /// Signals that work of these stages may be due.
    pub(crate) fn wake(&self, stages: impl IntoIterator<Item = Stage>) {
        let mut woken = [false; Stage::ALL.len()];
        for stage in stages {
            if !std::mem::replace(&mut woken[stage as usize], true) {
                self.due(stage).notify_one();
            }
        }
    }
}
