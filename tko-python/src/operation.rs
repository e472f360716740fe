//! Calls of the API for which Python code blocks, or which it awaits.

use crate::connections::DrivenConnections;
use crate::error::raised;
use crate::runtime::{ApiAccess, wait};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3_async_runtimes::tokio::future_into_py;
use std::sync::{Arc, Mutex, PoisonError};
use tko_core::{BoxFuture, Result as CoreResult};

/// Makes the Python value of a result.
pub(crate) type Finish = Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>;

/// One call of the API that has not begun, for both kinds of client.
#[pyclass(module = "tko", frozen)]
pub(crate) struct ApiOperation(Mutex<Option<PreparedCall>>);

/// A call, and the connections on which it can be made.
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
