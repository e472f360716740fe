//! Waits for futures without holding the interpreter's lock, and stays interruptible.

use crate::connections::DrivenConnections;
use crate::error::raised;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3_async_runtimes::tokio::{future_into_py, get_runtime};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tko_core::{BoxFuture, DataApi, Result as CoreResult};
use tko_grpc::client::Client;
use tokio::runtime::Runtime;

/// How often a wait looks for Ctrl-C.
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

/// Makes the Python value of a result.
pub(crate) type Finish = Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>;

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

/// One call of the API that has not begun, for both kinds of client.
#[pyclass(module = "tko", frozen)]
pub(crate) struct ApiOperation(Mutex<Option<PreparedCall>>);

/// A call, and the ways on which it can be made.
struct PreparedCall {
    shared: ApiAccess,
    /// For a blocking call; an embedded API has none.
    connections: Option<Arc<DrivenConnections>>,
    make: MakeCall,
}

type MakeCall = Box<dyn FnOnce(ApiAccess) -> BoxFuture<'static, CoreResult<Finish>> + Send>;

impl ApiOperation {
    pub(crate) fn new(
        shared: ApiAccess,
        connections: Option<Arc<DrivenConnections>>,
        make: impl FnOnce(ApiAccess) -> BoxFuture<'static, CoreResult<Finish>> + Send + 'static,
    ) -> Self {
        Self(Mutex::new(Some(PreparedCall {
            shared,
            connections,
            make: Box::new(make),
        })))
    }

    fn take(&self) -> PyResult<PreparedCall> {
        let mut call = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        call.take()
            .ok_or_else(|| PyRuntimeError::new_err("this call was already made"))
    }
}

#[pymethods]
impl ApiOperation {
    /// Makes the call and waits for its result.
    fn wait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let call = self.take()?;
        let finish = match &call.connections {
            Some(connections) => connections.wait(py, call.shared, call.make)?,
            None => wait(py, (call.make)(call.shared))?,
        };
        finish.map_err(|error| raised(&error))?(py)
    }

    /// Begins the call and returns an awaitable of its result.
    fn start<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let call = self.take()?;
        let future = (call.make)(call.shared);
        future_into_py(py, async move {
            let finish = future.await.map_err(|error| raised(&error))?;
            Python::attach(finish)
        })
    }
}

/// A result that is nothing.
pub(crate) fn nothing() -> Finish {
    Box::new(|py| Ok(py.None()))
}
