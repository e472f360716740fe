//! Controllers in this process whose handlers are Python objects.

use crate::data::PyData;
use crate::identifier::{PyGvk, PyIdentifier};
use crate::package::PyPackage;
use crate::record::PyEntity;
use crate::running_calls::RunningCalls;
use crate::runtime::wait;
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3_async_runtimes::tokio::get_runtime;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tko_core::{
    Answer, Condition, Error, Gvk, Key, PrepareCall, Preparer, Registry, Result as CoreResult,
    ScheduleCall, Scheduler, async_trait,
};
use tko_preparer::{PrepareController, PrepareSettings};
use tko_scheduler::{ScheduleController, ScheduleSettings};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A Python callable as a handler.
struct PythonHandler {
    /// Shared, because a clone of the inner value needs the interpreter's lock.
    function: Arc<Py<PyAny>>,
    /// The calls of all handlers of the controller.
    running: Arc<RunningCalls>,
}

/// The input of a handler in this process.
#[pyclass(name = "HandlerCall", module = "tko", frozen)]
pub(crate) struct HandlerCall {
    /// The deployment that is prepared; None for a scheduler.
    #[pyo3(get)]
    deployment: Option<Py<PyEntity>>,
    /// The site that is scheduled; None for a preparer.
    #[pyo3(get)]
    site: Option<Py<PyEntity>>,
    /// The package of the deployment or site. A preparer changes it in place.
    #[pyo3(get)]
    package: Py<PyPackage>,
    /// The resource that triggered the call, or None.
    #[pyo3(get)]
    target: Option<Py<PyIdentifier>>,
    /// The packages that should run on the site, by the ids of their deployments.
    #[pyo3(get)]
    deployments: Py<PyDict>,
    /// The packages to remove from the site, by the ids of their deployments.
    #[pyo3(get)]
    removed_deployments: Py<PyDict>,
}

/// The text of an exception. Its traceback goes to standard error.
fn message_of(py: Python<'_>, error: &PyErr) -> String {
    error.print(py);
    let name = error.get_type(py).name().map(|name| name.to_string());
    format!("{}: {}", name.unwrap_or_default(), error.value(py))
}

fn packages(py: Python<'_>, records: &[tko_core::Record]) -> PyResult<Py<PyDict>> {
    let dict = PyDict::new(py);
    for record in records {
        let package = record.package.clone().unwrap_or_default();
        let package = Py::new(py, PyPackage::of(&package))?;
        dict.set_item(record.entity.key.id(), package)?;
    }
    Ok(dict.unbind())
}

impl PythonHandler {
    /// Calls Python for a deployment or site. `action` completes "could not …".
    ///
    /// Only a blocking thread waits for the interpreter's lock, so that the runtime continues to
    /// renew leases whatever Python code does.
    async fn call<T: Send + 'static>(
        &self,
        action: String,
        key: &Key,
        make: impl FnOnce(Python<'_>) -> PyResult<HandlerCall> + Send + 'static,
        read: impl FnOnce(Python<'_>, &HandlerCall, Bound<'_, PyAny>) -> PyResult<T> + Send + 'static,
    ) -> CoreResult<T> {
        let running = match self.running.begin(key) {
            Ok(running) => running,
            Err(reason) => return Err(Error::unavailable(action, reason)),
        };
        let function = self.function.clone();
        let (sender, answer) = oneshot::channel();
        tokio::task::spawn_blocking(move || {
            let called = Python::attach(|py| {
                // The time limit may have passed while this thread waited for the lock.
                if sender.is_closed() {
                    return None;
                }
                let call = || {
                    let call = Bound::new(py, make(py)?)?;
                    let answer = function.bind(py).call1((&call,))?;
                    read(py, call.get(), answer)
                };
                Some(call().map_err(|error| message_of(py, &error)))
            });
            // Before the answer: the next call may follow it at once.
            drop(running);
            if let Some(called) = called {
                // The receiver is gone if the time limit has passed.
                let _ = sender.send(called);
            }
        });
        match answer.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(message)) => Err(Error::unavailable(action, message)),
            Err(_) => Err(Error::internal(action, "the native code of tko panicked")),
        }
    }
}

#[async_trait]
impl Preparer for PythonHandler {
    async fn prepare(&self, call: PrepareCall<'_>) -> CoreResult<Answer> {
        let (record, package) = (call.deployment.clone(), call.package.clone());
        let (target, wanted) = (call.target.clone(), call.target.clone());
        let prepared = self
            .call(
                format!("prepare {wanted} in Python"),
                &call.deployment.entity.key,
                move |py| {
                    Ok(HandlerCall {
                        deployment: Some(Py::new(py, PyEntity::new(record))?),
                        site: None,
                        package: Py::new(py, PyPackage::of(&package))?,
                        target: Some(Py::new(py, PyIdentifier(target))?),
                        deployments: PyDict::new(py).unbind(),
                        removed_deployments: PyDict::new(py).unbind(),
                    })
                },
                |py, call, answer| {
                    if answer.is_truthy()? {
                        call.package.bind(py).try_borrow()?.core(py).map(Some)
                    } else {
                        Ok(None)
                    }
                },
            )
            .await?;
        Ok(match prepared {
            Some(package) => Answer::Done {
                package,
                effects: Vec::new(),
            },
            None => Answer::NotYet {
                reason: format!("the Python preparer is not ready to prepare {wanted}"),
                waits_for: Vec::new(),
            },
        })
    }
}

#[async_trait]
impl Scheduler for PythonHandler {
    async fn schedule(&self, call: ScheduleCall<'_>) -> CoreResult<Vec<Condition>> {
        let (site, target) = (call.site.clone(), call.target.cloned());
        let (wanted, removed) = (call.wanted.to_vec(), call.removed.to_vec());
        let key = &call.site.entity.key;
        self.call(
            format!("schedule {key} in Python"),
            key,
            move |py| {
                let package = site.package.clone().unwrap_or_default();
                Ok(HandlerCall {
                    deployment: None,
                    site: Some(Py::new(py, PyEntity::new(site))?),
                    package: Py::new(py, PyPackage::of(&package))?,
                    target: target
                        .map(|target| Py::new(py, PyIdentifier(target)))
                        .transpose()?,
                    deployments: packages(py, &wanted)?,
                    removed_deployments: packages(py, &removed)?,
                })
            },
            |_, _, _| Ok(()),
        )
        .await?;
        Ok(Vec::new())
    }
}

/// A controller that runs until it is stopped.
#[pyclass(name = "Controller", module = "tko", frozen)]
pub(crate) struct RunningController {
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<CoreResult<()>>>>,
}

/// The handlers of one controller.
fn handlers(handlers: &Bound<'_, PyDict>) -> PyResult<Vec<(Gvk, Arc<PythonHandler>)>> {
    let running: Arc<RunningCalls> = Arc::default();
    let handlers = handlers.iter().map(|(gvk, handler)| {
        let gvk = gvk
            .cast::<PyGvk>()
            .map_err(|_| PyTypeError::new_err("handlers are a dict by GVK"))?;
        if !handler.is_callable() {
            return Err(PyTypeError::new_err(format!(
                "the handler of {} is not callable",
                gvk.get().0
            )));
        }
        let handler = PythonHandler {
            function: Arc::new(handler.unbind()),
            running: running.clone(),
        };
        Ok((gvk.get().0.clone(), Arc::new(handler)))
    });
    handlers.collect()
}

/// The time limit of one call; the default if it is not given.
fn time_limit(seconds: Option<f64>, default: Duration) -> PyResult<Duration> {
    match seconds.map(Duration::try_from_secs_f64) {
        None => Ok(default),
        Some(limit) => limit.map_err(|error| PyValueError::new_err(format!("timeout: {error}"))),
    }
}

impl RunningController {
    pub(crate) fn spawn(
        stop: CancellationToken,
        run: impl Future<Output = CoreResult<()>> + Send + 'static,
    ) -> Self {
        Self {
            stop,
            task: Mutex::new(Some(get_runtime().spawn(run))),
        }
    }
}

#[pymethods]
impl RunningController {
    /// Starts a preparer with these handlers in addition to TKO's own. Merge conditions are
    /// refused, because their language is in `tko-helm`, which the package does not include.
    /// `timeout` is the time limit of one call in seconds.
    #[staticmethod]
    #[pyo3(signature = (store, preparers, timeout=None))]
    fn prepare(
        store: &PyData,
        preparers: &Bound<'_, PyDict>,
        timeout: Option<f64>,
    ) -> PyResult<Self> {
        let settings = PrepareSettings::default();
        let limit = time_limit(timeout, settings.timeout)?;
        let mut registry = tko_preparer::native();
        for (gvk, handler) in handlers(preparers)? {
            let name = gvk.kind.to_string();
            registry = registry.preparer(gvk, &name, handler);
        }
        let stop = CancellationToken::new();
        let controller = PrepareController::new(store.data.clone())
            .with_registry(registry)
            .with_settings(settings.with_timeout(limit));
        Ok(Self::spawn(stop.clone(), controller.run(stop)))
    }

    /// Starts a scheduler with these handlers. `timeout` is the time limit of one call in seconds.
    #[staticmethod]
    #[pyo3(signature = (store, schedulers, timeout=None))]
    fn schedule(
        store: &PyData,
        schedulers: &Bound<'_, PyDict>,
        timeout: Option<f64>,
    ) -> PyResult<Self> {
        let settings = ScheduleSettings::default();
        let limit = time_limit(timeout, settings.timeout)?;
        let mut registry = Registry::new();
        for (gvk, handler) in handlers(schedulers)? {
            let name = gvk.kind.to_string();
            registry = registry.scheduler(gvk, &name, handler);
        }
        let stop = CancellationToken::new();
        let controller = ScheduleController::new(store.data.clone())
            .with_registry(registry)
            .with_settings(settings.with_timeout(limit));
        Ok(Self::spawn(stop.clone(), controller.run(stop)))
    }

    /// Stops the controller, and waits until its work in flight has ended.
    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        self.stop.cancel();
        let task = {
            let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
            task.take()
        };
        let Some(task) = task else {
            return Ok(());
        };
        match wait(py, task)? {
            Ok(ended) => ended.map_err(|error| crate::error::raised(&error)),
            Err(error) => Err(PyRuntimeError::new_err(error.to_string())),
        }
    }
}

impl Drop for RunningController {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
