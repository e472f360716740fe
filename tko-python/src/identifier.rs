//! `tko.GVK` and `tko.Identifier`.

use crate::json::from_python;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use tko_core::{Gvk, Identifier, Resource};

/// The type of a resource: group, version and kind.
#[pyclass(name = "GVK", module = "tko", frozen)]
#[derive(Clone)]
pub(crate) struct PyGvk(pub(crate) Gvk);

/// The identity of a resource in its package.
#[pyclass(name = "Identifier", module = "tko", frozen)]
#[derive(Clone)]
pub(crate) struct PyIdentifier(pub(crate) Identifier);

/// The text under a key of a dict; `""` if it is absent.
fn text(object: &Bound<'_, PyAny>, key: &str) -> PyResult<String> {
    match object.get_item(key) {
        Ok(value) if !value.is_none() => value.extract(),
        _ => Ok(String::new()),
    }
}

/// The type of a dict with `apiVersion` and `kind`.
pub(crate) fn gvk_of(resource: &Bound<'_, PyAny>) -> PyResult<Gvk> {
    Ok(Gvk::of(
        &text(resource, "apiVersion")?,
        &text(resource, "kind")?,
    ))
}

/// The identity of a dict; `None` if it is not a resource.
pub(crate) fn identity(resource: &Bound<'_, PyAny>) -> Option<Identifier> {
    let gvk = gvk_of(resource).ok()?;
    let metadata = resource.get_item("metadata").ok()?;
    let name = text(&metadata, "name").ok()?;
    let namespace = text(&metadata, "namespace").ok()?;
    Some(Identifier {
        gvk,
        name: name.into(),
        namespace: (!namespace.is_empty()).then(|| namespace.into()),
    })
}

#[pymethods]
impl PyGvk {
    #[new]
    #[pyo3(signature = (group=None, version=None, kind=None, *, resource=None))]
    fn new(
        group: Option<&str>,
        version: Option<&str>,
        kind: Option<&str>,
        resource: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        match (group, version, kind, resource) {
            (None, None, None, Some(resource)) => Ok(Self(gvk_of(resource)?)),
            (group, Some(version), Some(kind), None) => {
                Ok(Self(Gvk::new(group.unwrap_or(""), version, kind)))
            }
            _ => Err(PyTypeError::new_err(
                "GVK takes group, version and kind, or resource=",
            )),
        }
    }

    /// The group; empty for the core group.
    #[getter]
    fn group(&self) -> &str {
        &self.0.group
    }

    /// The version, such as `v1alpha1`.
    #[getter]
    fn version(&self) -> &str {
        &self.0.version
    }

    /// The kind, such as `Deployment`.
    #[getter]
    fn kind(&self) -> &str {
        &self.0.kind
    }

    /// The `apiVersion`: `group/version`, or `version` for the core group.
    #[getter]
    fn api_version(&self) -> String {
        self.0.api_version()
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other
            .cast::<Self>()
            .is_ok_and(|other| other.get().0 == self.0)
    }

    fn __hash__(&self) -> u64 {
        hash(&self.0)
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        let Gvk {
            group,
            version,
            kind,
        } = &self.0;
        format!("GVK({group:?}, {version:?}, {kind:?})")
    }

    fn __getnewargs__(&self) -> (&str, &str, &str) {
        (&self.0.group, &self.0.version, &self.0.kind)
    }
}

#[pymethods]
impl PyIdentifier {
    #[new]
    #[pyo3(signature = (gvk=None, name=None, namespace=None, *, resource=None))]
    fn new(
        gvk: Option<&Bound<'_, PyGvk>>,
        name: Option<&str>,
        namespace: Option<&str>,
        resource: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        match (gvk, name, resource) {
            (None, None, Some(resource)) => {
                let resource = Resource::new(from_python(resource)?);
                let resource = resource.map_err(|error| crate::error::raised(&error))?;
                Ok(Self(resource.identifier().clone()))
            }
            (Some(gvk), Some(name), None) => Ok(Self(Identifier {
                gvk: gvk.get().0.clone(),
                name: name.into(),
                namespace: namespace.filter(|text| !text.is_empty()).map(Into::into),
            })),
            _ => Err(PyTypeError::new_err(
                "Identifier takes a GVK and a name, or resource=",
            )),
        }
    }

    /// The type of the resource.
    #[getter]
    fn gvk(&self) -> PyGvk {
        PyGvk(self.0.gvk.clone())
    }

    /// The name of the resource.
    #[getter]
    fn name(&self) -> &str {
        &self.0.name
    }

    /// The namespace, or None.
    #[getter]
    fn namespace(&self) -> Option<&str> {
        self.0.namespace.as_deref()
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other
            .cast::<Self>()
            .is_ok_and(|other| other.get().0 == self.0)
    }

    fn __hash__(&self) -> u64 {
        hash(&self.0)
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        let gvk = self.gvk().__repr__();
        match &self.0.namespace {
            Some(namespace) => format!("Identifier({gvk}, {:?}, {namespace:?})", self.0.name),
            None => format!("Identifier({gvk}, {:?})", self.0.name),
        }
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
