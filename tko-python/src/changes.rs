//! Changes of entities, as dicts.

use crate::error::raised;
use crate::record::PyEntity;
use crate::runtime::wait;
use crate::stream::SharedStream;
use pyo3::exceptions::PyStopAsyncIteration;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3_async_runtimes::tokio::future_into_py;
use std::sync::Arc;
use tko_core::{BoxStream, ChangeRecord, Result as CoreResult, view};

/// A change as a dict.
pub(crate) fn change(py: Python<'_>, change: ChangeRecord) -> PyResult<Bound<'_, PyDict>> {
    let entry = PyDict::new(py);
    entry.set_item("kind", change.key.kind().as_str())?;
    entry.set_item("id", change.key.id())?;
    entry.set_item("revision", change.revision.0)?;
    entry.set_item("at", view::rfc3339(change.at))?;
    entry.set_item("before", change.before.map(PyEntity::new))?;
    entry.set_item("after", change.after.map(PyEntity::new))?;
    let cause = change.cause.as_ref();
    entry.set_item("cause", cause.map(ToString::to_string))?;
    Ok(entry)
}

/// The changes of all entities, oldest first, up to the last one when it began.
#[pyclass(name = "Changes", module = "tko", frozen)]
pub(crate) struct PyChanges(Arc<SharedStream<ChangeRecord>>);

impl PyChanges {
    pub(crate) fn new(changes: BoxStream<'static, CoreResult<ChangeRecord>>) -> Self {
        Self(SharedStream::new(changes))
    }
}

#[pymethods]
impl PyChanges {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        match wait(py, self.0.clone().next())? {
            Some(Ok(record)) => change(py, record).map(Some),
            Some(Err(error)) => Err(raised(&error)),
            None => Ok(None),
        }
    }

    fn __aiter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __anext__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let next = self.0.clone().next();
        future_into_py(py, async move {
            match next.await {
                Some(Ok(record)) => Python::attach(|py| Ok(change(py, record)?.unbind())),
                Some(Err(error)) => Err(raised(&error)),
                None => Err(PyStopAsyncIteration::new_err(())),
            }
        })
    }

    /// Ends the listing, even for a waiting reader; the server stops reading.
    fn close(&self) {
        self.0.close();
    }
}
