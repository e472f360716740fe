//! Waits for futures without holding the interpreter's lock, and stays interruptible.

use pyo3::prelude::*;
use pyo3_async_runtimes::tokio::get_runtime;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tko_core::DataApi;
use tko_grpc::client::Client;
use tokio::runtime::Runtime;

/// The interval at which a wait checks for Ctrl-C.
const SIGNALS: Duration = Duration::from_millis(50);

/// Waits for a future without the interpreter's lock. Ctrl-C ends the wait.
pub(crate) fn wait<T: Send>(py: Python<'_>, future: impl Future<Output = T> + Send) -> PyResult<T> {
    interruptible(py, get_runtime(), future)
}

/// Waits for a future in this runtime, as [`wait`] does in the shared one.
pub(crate) fn interruptible<T: Send>(
    py: Python<'_>,
    runtime: &Runtime,
    future: impl Future<Output = T> + Send,
) -> PyResult<T> {
    let mut future = pin!(future);
    loop {
        let done = py.detach(|| {
            let timed = async { tokio::time::timeout(SIGNALS, &mut future).await };
            runtime.block_on(timed)
        });
        match done {
            Ok(value) => return Ok(value),
            Err(_) => py.check_signals()?,
        }
    }
}

/// The data API that a call uses: an embedded one, or a connection.
#[derive(Clone)]
pub(crate) struct ApiAccess {
    pub(crate) data: Arc<dyn DataApi>,
    pub(crate) client: Option<Client>,
}

impl ApiAccess {
    pub(crate) fn client(client: &Client) -> Self {
        Self {
            data: Arc::new(client.clone()),
            client: Some(client.clone()),
        }
    }
}
