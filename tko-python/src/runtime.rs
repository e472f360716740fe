//! Waits for futures without holding the interpreter's lock, and stays interruptible.

use crate::error::raised;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3_async_runtimes::tokio::{future_into_py, get_runtime};
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tko_core::{BoxFuture, Result as CoreResult};

/// How often a wait looks for Ctrl-C.
const SIGNALS: Duration = Duration::from_millis(50);

/// Waits for a future without the interpreter's lock. Ctrl-C ends the wait.
pub(crate) fn wait<T: Send>(py: Python<'_>, future: impl Future<Output = T> + Send) -> PyResult<T> {
    let runtime = get_runtime();
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

/// One call of the API that has not begun, for both kinds of client.
#[pyclass(module = "tko", frozen)]
pub(crate) struct ApiOperation {
    future: Mutex<Option<BoxFuture<'static, CoreResult<Finish>>>>,
}

impl ApiOperation {
    pub(crate) fn new(future: impl Future<Output = CoreResult<Finish>> + Send + 'static) -> Self {
        Self {
            future: Mutex::new(Some(Box::pin(future))),
        }
    }

    fn take(&self) -> PyResult<BoxFuture<'static, CoreResult<Finish>>> {
        let mut future = self.future.lock().unwrap_or_else(PoisonError::into_inner);
        future
            .take()
            .ok_or_else(|| PyRuntimeError::new_err("this call was already made"))
    }
}

#[pymethods]
impl ApiOperation {
    /// Makes the call and waits for its result.
    fn wait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let finish = wait(py, self.take()?)?.map_err(|error| raised(&error))?;
        finish(py)
    }

    /// Begins the call and returns an awaitable of its result.
    fn start<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let future = self.take()?;
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
