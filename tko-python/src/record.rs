//! `tko.Entity`: templates, sites, deployments and plugins as they were read.

use crate::error::raised;
use crate::json::to_python;
use crate::package::PyPackage;
use pyo3::exceptions::{PyAttributeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyString, PyTuple};
use serde_json::{Map, Value};
use std::sync::OnceLock;
use tko_core::{DeploymentId, Key, Modification, Record, view};

/// A template, site, deployment or plugin, as it was read. The attributes are the fields of the API,
/// in snake case or as the messages spell them.
#[pyclass(name = "Entity", module = "tko", frozen)]
pub(crate) struct PyEntity {
    record: Record,
    deployment_ids: Option<Vec<String>>,
    detail: OnceLock<Value>,
}

impl PyEntity {
    pub(crate) fn new(record: Record) -> Self {
        Self {
            record,
            deployment_ids: None,
            detail: OnceLock::new(),
        }
    }

    /// Adds the deployments of a template or site.
    pub(crate) fn with_deployments(mut self, ids: Vec<String>) -> Self {
        self.deployment_ids = Some(ids);
        self
    }

    fn detail(&self) -> &Value {
        self.detail
            .get_or_init(|| view::detail(&self.record, self.deployment_ids.as_deref()))
    }

    /// The id under the name of its kind, such as `site_id`, without making the details.
    fn own_id(&self, name: &str) -> Option<&str> {
        match (&self.record.entity.key, name) {
            (Key::Template(id), "template_id" | "templateId") => Some(id.as_str()),
            (Key::Site(id), "site_id" | "siteId") => Some(id.as_str()),
            (Key::Deployment(id), "deployment_id" | "deploymentId") => Some(id.as_str()),
            _ => None,
        }
    }
}

#[pymethods]
impl PyEntity {
    /// The kind: `template`, `site`, `deployment` or `plugin`.
    #[getter]
    fn entity_kind(&self) -> String {
        self.record.entity.key.kind().to_string()
    }

    /// The id; of a plugin: `TYPE|NAME`.
    #[getter]
    fn id(&self) -> &str {
        self.record.entity.key.id()
    }

    /// The package.
    fn get_package(&self) -> PyResult<PyPackage> {
        match &self.record.package {
            Some(package) => Ok(PyPackage::of(package)),
            None => Err(PyValueError::new_err(format!(
                "{} was read without its package; get it, or list with packages=True",
                self.record.entity.key
            ))),
        }
    }

    /// All fields as a dict, with keys in snake case; `package` is a list, if it was read.
    fn to_ard<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let mut ard = snake(self.detail());
        if let (Value::Object(map), Some(package)) = (&mut ard, &self.record.package) {
            map.insert("package".to_owned(), view::package(package));
        }
        to_python(py, &ard)
    }

    fn __getattr__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        if let Some(id) = self.own_id(name) {
            return Ok(id.into_pyobject(py)?.into_any());
        }
        match self.detail().get(camel(name)) {
            Some(value) if name == "conditions" || name == "work" => {
                let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
                to_python(py, &Value::Array(items.iter().map(snake).collect()))
            }
            // Scripts for the original call a method of the messages' times.
            Some(Value::String(text)) if name == "created" || name == "updated" => py
                .import("tko._compatible")?
                .getattr("TimeText")?
                .call1((text.as_str(),)),
            Some(value) => to_python(py, value),
            None if camel(name) == "deploymentIds"
                && view::deployments_of(&self.record.entity.key).is_some() =>
            {
                Err(PyAttributeError::new_err(format!(
                    "{} was read without the ids of its deployments; read it with get_template or \
                     get_site",
                    self.record.entity.key
                )))
            }
            None => Err(PyAttributeError::new_err(format!(
                "a {} has no {name:?}",
                self.record.entity.key.kind()
            ))),
        }
    }

    fn __dir__(&self) -> Vec<String> {
        let mut names: Vec<String> = ["entity_kind", "id", "get_package", "to_ard"]
            .map(str::to_owned)
            .into();
        if let Value::Object(map) = snake(self.detail()) {
            names.extend(map.into_iter().map(|(key, _)| key));
        }
        names
    }

    fn __repr__(&self) -> String {
        format!("<{}>", self.record.entity.key)
    }
}

/// `deployment_id` as `deploymentId`.
fn camel(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    let mut is_upper = false;
    for c in name.chars() {
        match c {
            '_' => is_upper = true,
            c if is_upper => {
                camel.push(c.to_ascii_uppercase());
                is_upper = false;
            }
            c => camel.push(c),
        }
    }
    camel
}

/// A map with its own keys, and those of the maps in its lists, in snake case. Metadata and
/// properties keep their keys.
fn snake(value: &Value) -> Value {
    let Value::Object(map) = value else {
        return value.clone();
    };
    let entries = map.iter().map(|(key, value)| {
        let value = match value {
            Value::Array(items) => Value::Array(items.iter().map(snake).collect()),
            other => other.clone(),
        };
        (snake_key(key), value)
    });
    Value::Object(entries.collect::<Map<_, _>>())
}

fn snake_key(key: &str) -> String {
    let mut snake = String::with_capacity(key.len() + 2);
    for c in key.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

/// The exclusive right to change a deployment's package for a while.
#[pyclass(name = "Modification", module = "tko", frozen)]
pub(crate) struct PyModification(Modification);

impl PyModification {
    pub(crate) fn new(modification: Modification) -> Self {
        Self(modification)
    }
}

#[pymethods]
impl PyModification {
    /// The token that ends or cancels the modification.
    #[getter]
    fn modification_token(&self) -> String {
        self.0.token.encode()
    }

    /// The id of the deployment.
    #[getter]
    fn deployment_id(&self) -> &str {
        self.0.token.key.id()
    }

    /// When the modification expires, by the server's clock.
    #[getter]
    fn until(&self) -> String {
        view::rfc3339(self.0.until)
    }

    /// The token and the modification, for `token, deployment = ...`.
    fn __iter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, PyIterator>> {
        let py = slf.py();
        let token = PyString::new(py, &slf.get().modification_token()).into_any();
        PyTuple::new(py, [token, slf.into_any()])?.try_iter()
    }

    /// The names of the fields as the messages of the original spell them.
    fn __getattr__(&self, name: &str) -> PyResult<String> {
        match name {
            "modificationToken" => Ok(self.modification_token()),
            "deploymentId" => Ok(self.deployment_id().to_owned()),
            _ => Err(PyAttributeError::new_err(format!(
                "a modification has no {name:?}"
            ))),
        }
    }

    /// The package as it was at the start.
    fn get_package(&self) -> PyResult<PyPackage> {
        let package = self.0.record.package.as_ref();
        package
            .map(PyPackage::of)
            .ok_or_else(|| PyValueError::new_err("the server sent no package"))
    }
}

/// Parses the id of a deployment.
pub(crate) fn deployment_id(text: &str) -> PyResult<DeploymentId> {
    DeploymentId::new(text).map_err(|error| raised(&error))
}
