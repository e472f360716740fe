//! Connections that the calling thread drives, for blocking calls in quick succession.
//!
//! A call over the shared runtime wakes its threads for the request and again for the answer, which
//! takes longer than the call itself. Here the calling thread waits for the socket and wakes no
//! other thread.
//!
//! Nobody reads from such a connection between two calls. Therefore the first call uses the
//! connection of the shared runtime, and an unused connection is soon closed: a stopping server
//! waits for its clients.

use crate::runtime::{ApiAccess, interruptible, wait};
use pyo3::prelude::*;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use tko_core::{BoxFuture, Result as CoreResult};
use tko_grpc::client::{Client, ClientSettings};
use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;

/// Maximum number of connections of one client that threads drive; further calls use the shared
/// runtime.
const MOST: usize = 4;

/// The longest pause between two calls in quick succession.
const PAUSE: Duration = Duration::from_millis(500);

/// The connections of one client.
pub(crate) struct DrivenConnections {
    settings: ClientSettings,
    /// The process that made the client.
    process: u32,
    /// Each open connection has a clone.
    open: Arc<()>,
    state: Mutex<ConnectionState>,
}

#[derive(Default)]
struct ConnectionState {
    /// The connections without a call, with the end of their last one; the latest is last.
    idle: Vec<(Instant, DrivenConnection)>,
    /// The end of the last call.
    last_call: Option<Instant>,
    /// Whether a task closes connections that are not used.
    is_closing: bool,
}

/// A connection, and a runtime whose only thread is the caller.
struct DrivenConnection {
    client: Client,
    /// Taken when it is dropped.
    runtime: Option<Runtime>,
    /// The process that opened it.
    process: u32,
    _open: Arc<()>,
}

impl DrivenConnections {
    pub(crate) fn new(settings: ClientSettings) -> Arc<Self> {
        Arc::new(Self {
            settings,
            process: std::process::id(),
            open: Arc::default(),
            state: Mutex::default(),
        })
    }

    /// Makes a call and waits for its result, on a driven connection or on the shared one.
    pub(crate) fn wait<T: Send + 'static>(
        self: &Arc<Self>,
        py: Python<'_>,
        shared: ApiAccess,
        make: impl FnOnce(ApiAccess) -> BoxFuture<'static, CoreResult<T>>,
    ) -> PyResult<CoreResult<T>> {
        let connection = self.take().or_else(|| py.detach(|| self.open()));
        let Some(connection) = connection else {
            let result = wait(py, make(shared));
            if !self.is_foreign() {
                self.state().last_call = Some(Instant::now());
            }
            return result;
        };
        // Ctrl-C drops the connection, which cancels the call.
        let result = connection.wait(py, make)?;
        self.give_back(connection);
        Ok(result)
    }

    /// Takes a connection that no call uses.
    fn take(&self) -> Option<DrivenConnection> {
        if self.is_foreign() {
            return None;
        }
        self.state().idle.pop().map(|(_, connection)| connection)
    }

    /// Opens a connection, if calls follow one another quickly and there are not too many.
    fn open(&self) -> Option<DrivenConnection> {
        let open = self.open.clone();
        // The threads of the shared runtime do not exist in a process that was forked.
        if !self.is_foreign() {
            let last_call = self.state().last_call?;
            if last_call.elapsed() > PAUSE || Arc::strong_count(&open) > MOST + 1 {
                return None;
            }
        }
        DrivenConnection::open(&self.settings, open)
    }

    fn give_back(self: &Arc<Self>, connection: DrivenConnection) {
        if self.is_foreign() {
            return;
        }
        let mut state = self.state();
        let now = Instant::now();
        state.last_call = Some(now);
        state.idle.push((now, connection));
        if !std::mem::replace(&mut state.is_closing, true) {
            let connections = Arc::downgrade(self);
            pyo3_async_runtimes::tokio::get_runtime().spawn(close_unused(connections));
        }
    }

    /// Closes connections that were not used for a while; returns whether any are left.
    fn close_unused(&self) -> bool {
        let mut state = self.state();
        let connections = std::mem::take(&mut state.idle).into_iter();
        let (used, unused): (_, Vec<_>) =
            connections.partition(|(since, _)| since.elapsed() < PAUSE);
        let is_any_left = !used.is_empty();
        state.idle = used;
        state.is_closing = is_any_left;
        drop(state);
        drop(unused);
        is_any_left
    }

    /// Whether this process was forked from the one that made the client. Then the state may be
    /// locked for ever, and the connections belong to the parent.
    fn is_foreign(&self) -> bool {
        self.process != std::process::id()
    }

    fn state(&self) -> MutexGuard<'_, ConnectionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes connections that are not used, until none is left.
async fn close_unused(connections: Weak<DrivenConnections>) {
    loop {
        tokio::time::sleep(PAUSE).await;
        let connections = connections.upgrade();
        if !connections.is_some_and(|connections| connections.close_unused()) {
            return;
        }
    }
}

impl DrivenConnection {
    fn open(settings: &ClientSettings, open: Arc<()>) -> Option<Self> {
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_io().enable_time().build().ok()?;
        let client = {
            let _guard = runtime.enter();
            Client::new(settings.clone()).ok()?
        };
        Some(Self {
            client,
            runtime: Some(runtime),
            process: std::process::id(),
            _open: open,
        })
    }

    fn wait<T: Send + 'static>(
        &self,
        py: Python<'_>,
        make: impl FnOnce(ApiAccess) -> BoxFuture<'static, T>,
    ) -> PyResult<T> {
        let runtime = self.runtime.as_ref().expect("it is taken by drop only");
        let call = make(ApiAccess::client(&self.client));
        interruptible(py, runtime, async {
            // The server may have closed the connection since the last call. The first turn of the
            // runtime sees what has arrived, and the second handles it. So the call finds the
            // connection closed, and opens it again.
            yield_now().await;
            yield_now().await;
            call.await
        })
    }
}

impl Drop for DrivenConnection {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else {
            return;
        };
        if self.process == std::process::id() {
            // The thread may belong to another runtime, where an ordinary drop panics.
            runtime.shutdown_background();
        } else {
            // To close it here would remove the parent's socket from the parent's event queue.
            std::mem::forget((runtime, self.client.clone()));
        }
    }
}
