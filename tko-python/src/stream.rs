//! Listings and watches as iterators, for `for` and `async for`.

use crate::error::raised;
use crate::record::PyEntity;
use crate::runtime::wait;
use futures_util::StreamExt;
use pyo3::exceptions::PyStopAsyncIteration;
use pyo3::prelude::*;
use pyo3_async_runtimes::tokio::future_into_py;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tko_core::{BoxStream, Event, Page, Record, Result as CoreResult};
use tokio_util::sync::CancellationToken;

/// A stream that is read by one reader at a time, and that any thread can close.
pub(crate) struct SharedStream<T> {
    /// `None` once it is closed.
    stream: tokio::sync::Mutex<Option<BoxStream<'static, CoreResult<T>>>>,
    closed: CancellationToken,
}

impl<T> SharedStream<T> {
    pub(crate) fn new(stream: BoxStream<'static, CoreResult<T>>) -> Arc<Self> {
        Arc::new(Self {
            stream: tokio::sync::Mutex::new(Some(stream)),
            closed: CancellationToken::new(),
        })
    }

    /// The next item; `None` at the end, and from the moment it is closed.
    pub(crate) async fn next(self: Arc<Self>) -> Option<CoreResult<T>> {
        let _reader = OneReader(&self);
        tokio::select! {
            biased;
            () = self.closed.cancelled() => None,
            item = async { self.stream.lock().await.as_mut()?.next().await } => item,
        }
    }

    /// Ends the stream, also for a reader that waits. The server stops sending.
    pub(crate) fn close(&self) {
        self.closed.cancel();
        self.drop_if_closed();
    }

    /// Drops the stream if it is closed and nobody reads. A reader does the same when it ends, so
    /// the last of them drops it.
    fn drop_if_closed(&self) {
        if self.closed.is_cancelled()
            && let Ok(mut stream) = self.stream.try_lock()
        {
            *stream = None;
        }
    }
}

/// A reader of a stream. It must be dropped after the lock of the stream.
struct OneReader<'a, T>(&'a SharedStream<T>);

impl<T> Drop for OneReader<'_, T> {
    fn drop(&mut self) {
        self.0.drop_if_closed();
    }
}

/// The entities of a listing, read page by page, a bounded number of pages ahead.
#[pyclass(name = "Listing", module = "tko", frozen)]
pub(crate) struct PyListing {
    pages: Arc<SharedStream<Page>>,
    window: Arc<Mutex<ListWindow>>,
}

/// The records that were read and not yet returned.
struct ListWindow {
    ready: VecDeque<Record>,
    skip: u64,
    left: u64,
}

impl PyListing {
    pub(crate) fn new(pages: BoxStream<'static, CoreResult<Page>>, skip: u64, left: u64) -> Self {
        Self {
            pages: SharedStream::new(pages),
            window: Arc::new(Mutex::new(ListWindow {
                ready: VecDeque::new(),
                skip,
                left,
            })),
        }
    }
}

impl ListWindow {
    /// The next record that was read, if any.
    fn pop(&mut self) -> Option<Record> {
        if self.left == 0 {
            return None;
        }
        let record = self.ready.pop_front()?;
        self.left -= 1;
        Some(record)
    }

    fn fill(&mut self, mut items: Vec<Record>) {
        let skipped = usize::try_from(self.skip)
            .unwrap_or(usize::MAX)
            .min(items.len());
        self.skip -= skipped as u64;
        items.drain(..skipped);
        self.ready.extend(items);
    }
}

/// Reads pages until there is a record.
async fn record(
    pages: Arc<SharedStream<Page>>,
    window: Arc<Mutex<ListWindow>>,
) -> CoreResult<Option<Record>> {
    loop {
        {
            let mut window = window.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(record) = window.pop() {
                return Ok(Some(record));
            }
            if window.left == 0 {
                return Ok(None);
            }
        }
        let Some(page) = pages.clone().next().await else {
            return Ok(None);
        };
        let items = page?.items;
        let mut window = window.lock().unwrap_or_else(PoisonError::into_inner);
        window.fill(items);
    }
}

#[pymethods]
impl PyListing {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<PyEntity>> {
        let ready = {
            let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
            window.pop()
        };
        if let Some(record) = ready {
            return Ok(Some(PyEntity::new(record)));
        }
        let record = wait(py, record(self.pages.clone(), self.window.clone()))?;
        let record = record.map_err(|error| raised(&error))?;
        Ok(record.map(PyEntity::new))
    }

    fn __aiter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __anext__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let next = record(self.pages.clone(), self.window.clone());
        future_into_py(py, async move {
            match next.await.map_err(|error| raised(&error))? {
                Some(record) => Ok(PyEntity::new(record)),
                None => Err(PyStopAsyncIteration::new_err(())),
            }
        })
    }

    /// Ends the listing, even for a waiting reader; the server stops reading.
    fn close(&self) {
        self.pages.close();
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        window.left = 0;
        window.ready.clear();
    }
}

/// The changes of a selection, without end.
#[pyclass(name = "Watching", module = "tko", frozen)]
pub(crate) struct PyWatching(Arc<SharedStream<Event>>);

impl PyWatching {
    pub(crate) fn new(events: BoxStream<'static, CoreResult<Event>>) -> Self {
        Self(SharedStream::new(events))
    }
}

#[pymethods]
impl PyWatching {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<PyEvent>> {
        match wait(py, self.0.clone().next())? {
            Some(Ok(event)) => Ok(Some(PyEvent(event))),
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
                Some(Ok(event)) => Ok(PyEvent(event)),
                Some(Err(error)) => Err(raised(&error)),
                None => Err(PyStopAsyncIteration::new_err(())),
            }
        })
    }

    /// Ends the watch, even for a waiting reader; the server stops sending.
    fn close(&self) {
        self.0.close();
    }
}

/// One change: `type` is `put`, `gone` or `bookmark`.
#[pyclass(name = "Event", module = "tko", frozen)]
pub(crate) struct PyEvent(Event);

#[pymethods]
impl PyEvent {
    /// `put`: created, changed, or begins to match; `gone`: deleted, or ceases to match;
    /// `bookmark`: nothing changed up to `revision`.
    #[getter]
    fn r#type(&self) -> &'static str {
        match self.0 {
            Event::Put { .. } => "put",
            Event::Gone { .. } => "gone",
            _ => "bookmark",
        }
    }

    /// The revision to watch after in order to continue behind this event.
    #[getter]
    fn revision(&self) -> u64 {
        self.0.revision().0
    }

    /// The entity after the change; before it, if it is gone; None for a bookmark.
    #[getter]
    fn entity(&self) -> Option<PyEntity> {
        match &self.0 {
            Event::Put { record, .. } => Some(PyEntity::new(record.clone())),
            Event::Gone { before, .. } => Some(PyEntity::new(before.clone())),
            _ => None,
        }
    }

    fn __repr__(&self) -> String {
        format!("<Event {} at {}>", self.r#type(), self.revision())
    }
}

/// Runs a stream within the runtime, which some streams need when they are made.
pub(crate) fn in_runtime<T>(make: impl FnOnce() -> T) -> T {
    let runtime = pyo3_async_runtimes::tokio::get_runtime();
    let _guard = runtime.enter();
    make()
}
