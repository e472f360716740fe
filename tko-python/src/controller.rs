//! Controllers in this process whose handlers are Python objects.

use crate::data::PyData;
use crate::identifier::{PyGvk, PyIdentifier};
use crate::package::PyPackage;
use crate::record::PyEntity;
use crate::runtime::wait;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3_async_runtimes::tokio::get_runtime;
use std::sync::{Arc, Mutex, PoisonError};
use tko_core::{
    Answer, Condition, Error, Gvk, PrepareCall, Preparer, Registry, Result as CoreResult,
    ScheduleCall, Scheduler, async_trait,
};
use tko_preparer::PrepareController;
use tko_scheduler::ScheduleController;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A Python callable as a handler.
struct PythonHandler(Py<PyAny>);

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

fn failed(what: &str, error: &PyErr) -> Error {
    let message = Python::attach(|py| {
        error.print(py);
        let name = error.get_type(py).name().map(|name| name.to_string());
        format!("{}: {}", name.unwrap_or_default(), error.value(py))
    });
    Error::unavailable(what.to_owned(), message)
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
    /// Calls Python on a blocking thread, so that the runtime is not blocked.
    async fn call<T: Send + 'static>(
        &self,
        make: impl FnOnce(Python<'_>) -> PyResult<HandlerCall> + Send + 'static,
        read: impl FnOnce(Python<'_>, &HandlerCall, Bound<'_, PyAny>) -> PyResult<T> + Send + 'static,
    ) -> PyResult<T> {
        let function = Python::attach(|py| self.0.clone_ref(py));
        let called = tokio::task::spawn_blocking(move || {
            Python::attach(|py| {
                let call = Bound::new(py, make(py)?)?;
                let answer = function.bind(py).call1((&call,))?;
                read(py, call.get(), answer)
            })
        });
        called
            .await
            .map_err(|error| PyRuntimeError::new_err(error.to_string()))?
    }
}

#[async_trait]
impl Preparer for PythonHandler {
    async fn prepare(&self, call: PrepareCall<'_>) -> CoreResult<Answer> {
        let (record, package) = (call.deployment.clone(), call.package.clone());
        let (target, wanted) = (call.target.clone(), call.target.clone());
        let prepared = self
            .call(
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
            .await
            .map_err(|error| failed(&format!("prepare {wanted} in Python"), &error))?;
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
        let key = call.site.entity.key.clone();
        self.call(
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
        .await
        .map_err(|error| failed(&format!("schedule {key} in Python"), &error))?;
        Ok(Vec::new())
    }
}

/// A controller that runs until it is stopped.
#[pyclass(name = "Controller", module = "tko", frozen)]
pub(crate) struct RunningController {
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<CoreResult<()>>>>,
}

fn handlers(handlers: &Bound<'_, PyDict>) -> PyResult<Vec<(Gvk, Py<PyAny>)>> {
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
        Ok((gvk.get().0.clone(), handler.unbind()))
    });
    handlers.collect()
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
    #[staticmethod]
    fn prepare(store: &PyData, preparers: &Bound<'_, PyDict>) -> PyResult<Self> {
        let mut registry = tko_preparer::native();
        for (gvk, handler) in handlers(preparers)? {
            let name = gvk.kind.to_string();
            registry = registry.preparer(gvk, &name, Arc::new(PythonHandler(handler)));
        }
        let stop = CancellationToken::new();
        let controller = PrepareController::new(store.data.clone()).with_registry(registry);
        Ok(Self::spawn(stop.clone(), controller.run(stop)))
    }

    /// Starts a scheduler with these handlers.
    #[staticmethod]
    fn schedule(store: &PyData, schedulers: &Bound<'_, PyDict>) -> PyResult<Self> {
        let mut registry = Registry::new();
        for (gvk, handler) in handlers(schedulers)? {
            let name = gvk.kind.to_string();
            registry = registry.scheduler(gvk, &name, Arc::new(PythonHandler(handler)));
        }
        let stop = CancellationToken::new();
        let controller = ScheduleController::new(store.data.clone()).with_registry(registry);
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
