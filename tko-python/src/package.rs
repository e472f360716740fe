//! `tko.Package`: resources that become dicts when they are accessed.

use crate::error::raised;
use crate::expression;
use crate::identifier::{PyGvk, PyIdentifier, gvk_of, identity};
use crate::json::{from_python, to_python};
use crate::resource_text::ResourceText;
use crate::validation;
use pyo3::exceptions::{PyKeyError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use serde_json::value::RawValue;
use std::collections::HashSet;
use std::sync::Arc;
use tko_core::{Dialect, Format, Gvk, Identifier, Limits, Package, Resource, merge};

/// An ordered list of Kubernetes resources, each a dict that can be changed in place.
#[pyclass(name = "Package", module = "tko")]
pub(crate) struct PyPackage {
    slots: Vec<PackageSlot>,
}

/// One resource of a package.
enum PackageSlot {
    /// Not accessed yet, so unchanged.
    Shared(Arc<Resource>),
    /// Not accessed yet, and still the text from a call.
    Text(ResourceText),
    /// A dict that may have changed.
    Dict(Py<PyAny>),
}

impl PackageSlot {
    fn dict<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Dict(dict) => Ok(dict.bind(py).clone()),
            Self::Shared(_) | Self::Text(_) => {
                let dict = to_python(py, self.resource(py)?.value())?;
                *self = Self::Dict(dict.clone().unbind());
                Ok(dict)
            }
        }
    }

    fn is_of(&self, py: Python<'_>, gvk: &Gvk) -> bool {
        match self {
            Self::Shared(resource) => resource.gvk() == gvk,
            Self::Text(text) => text.identifier().gvk == *gvk,
            Self::Dict(dict) => gvk_of(dict.bind(py)).is_ok_and(|other| other == *gvk),
        }
    }

    fn identifier(&self, py: Python<'_>) -> Option<Identifier> {
        match self {
            Self::Shared(resource) => Some(resource.identifier().clone()),
            Self::Text(text) => Some(text.identifier().clone()),
            Self::Dict(dict) => identity(dict.bind(py)),
        }
    }

    fn resource(&self, py: Python<'_>) -> PyResult<Arc<Resource>> {
        match self {
            Self::Shared(resource) => Ok(resource.clone()),
            Self::Text(text) => text.resource(),
            Self::Dict(dict) => {
                let resource = Resource::new(from_python(dict.bind(py))?);
                Ok(Arc::new(resource.map_err(|error| raised(&error))?))
            }
        }
    }
}

impl PyPackage {
    pub(crate) fn of(package: &Package) -> Self {
        Self {
            slots: package
                .iter()
                .map(|resource| PackageSlot::Shared(resource.clone()))
                .collect(),
        }
    }

    /// A package whose resources stay text until they are accessed; `None` if it has an unusual
    /// resource, or one twice.
    pub(crate) fn of_texts(texts: &[&RawValue]) -> Option<Self> {
        let mut seen = HashSet::with_capacity(texts.len());
        let slots = texts.iter().map(|text| {
            let text = ResourceText::new(text)?;
            let is_new = seen.insert(text.identifier().clone());
            is_new.then_some(PackageSlot::Text(text))
        });
        let slots = slots.collect::<Option<_>>()?;
        Some(Self { slots })
    }

    /// The package with all changes.
    pub(crate) fn core(&self, py: Python<'_>) -> PyResult<Package> {
        let resources = (0..self.slots.len()).map(|at| self.resource(py, at));
        let resources = resources.collect::<PyResult<Vec<_>>>()?;
        Package::new(resources).map_err(|error| raised(&error))
    }

    /// The package with all changes as a JSON list. Resources that are still text are not parsed.
    pub(crate) fn json(&self, py: Python<'_>) -> PyResult<Vec<u8>> {
        let mut json = vec![b'['];
        let mut seen = HashSet::with_capacity(self.slots.len());
        for (at, slot) in self.slots.iter().enumerate() {
            if at > 0 {
                json.push(b',');
            }
            if let PackageSlot::Text(text) = slot {
                json.extend_from_slice(text.text().as_bytes());
                seen.insert(text.identifier().clone());
            } else {
                let resource = self.resource(py, at)?;
                json.extend_from_slice(resource.value().to_string().as_bytes());
                seen.insert(resource.identifier().clone());
            }
        }
        json.push(b']');
        if seen.len() < self.slots.len() {
            // Its error names the resource that is there twice.
            self.core(py)?;
        }
        Ok(json)
    }

    /// The resource at a position, with its changes.
    fn resource(&self, py: Python<'_>, at: usize) -> PyResult<Arc<Resource>> {
        self.slots[at].resource(py).map_err(|error| {
            let message = format!("resource {} of the package: {}", at + 1, error.value(py));
            if error.is_instance_of::<PyTypeError>(py) {
                PyTypeError::new_err(message)
            } else {
                PyValueError::new_err(message)
            }
        })
    }

    /// The position that an identifier means; one without a namespace means the only resource of
    /// that name.
    fn position(&self, py: Python<'_>, wanted: &Identifier) -> PyResult<Option<usize>> {
        let mut other = None;
        let mut is_ambiguous = false;
        for (at, slot) in self.slots.iter().enumerate() {
            let Some(identifier) = slot.identifier(py) else {
                continue;
            };
            if identifier.name != wanted.name || identifier.gvk != wanted.gvk {
                continue;
            }
            if identifier.namespace == wanted.namespace {
                return Ok(Some(at));
            }
            is_ambiguous |= other.replace(at).is_some();
        }
        match (&wanted.namespace, is_ambiguous) {
            (Some(_), _) => Ok(None),
            (None, false) => Ok(other),
            (None, true) => Err(PyValueError::new_err(format!(
                "{wanted} is in several namespaces; give the namespace"
            ))),
        }
    }
}

/// The package of an argument: a `Package`, or an iterable of dicts.
pub(crate) fn package_of(object: &Bound<'_, PyAny>) -> PyResult<Package> {
    if let Ok(package) = object.cast::<PyPackage>() {
        return package.try_borrow()?.core(object.py());
    }
    PyPackage::new(Some(object))?.core(object.py())
}

#[pymethods]
impl PyPackage {
    #[new]
    #[pyo3(signature = (resources=None))]
    fn new(resources: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let mut slots = Vec::new();
        if let Some(resources) = resources {
            if let Ok(package) = resources.cast::<Self>() {
                return Ok(Self::of(&package.try_borrow()?.core(resources.py())?));
            }
            for resource in resources.try_iter()? {
                slots.push(PackageSlot::Dict(resource?.unbind()));
            }
        }
        Ok(Self { slots })
    }

    /// Reads a package from text or bytes. `format` is `yaml` (as Kubernetes tools read it; JSON is
    /// read, too), `json` or `cbor`.
    #[staticmethod]
    #[pyo3(signature = (text, format="yaml"))]
    fn parse(text: &Bound<'_, PyAny>, format: &str) -> PyResult<Self> {
        let format = format
            .parse::<Format>()
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        let bytes = match text.cast::<PyBytes>() {
            Ok(bytes) => bytes.as_bytes().to_vec(),
            Err(_) => text.extract::<String>()?.into_bytes(),
        };
        let package = text
            .py()
            .detach(|| Package::decode(&bytes, format, Dialect::People, &Limits::default()));
        Ok(Self::of(&package.map_err(|error| raised(&error))?))
    }

    /// Appends a resource.
    fn append(&mut self, resource: Py<PyAny>) {
        self.slots.push(PackageSlot::Dict(resource));
    }

    /// Iterates over the resources of this type.
    fn iter_all(slf: Bound<'_, Self>, gvk: &Bound<'_, PyGvk>) -> PackageIterator {
        PackageIterator {
            package: slf.unbind(),
            gvk: Some(gvk.get().0.clone()),
            at: 0,
        }
    }

    /// The first resource of this type, or None.
    fn get_first<'py>(
        &mut self,
        py: Python<'py>,
        gvk: &Bound<'py, PyGvk>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let gvk = &gvk.get().0;
        let slot = self.slots.iter_mut().find(|slot| slot.is_of(py, gvk));
        slot.map(|slot| slot.dict(py)).transpose()
    }

    /// A new package: `other` merged over this one, as TKO merges packages.
    fn merge(&self, other: &Bound<'_, PyAny>) -> PyResult<Self> {
        let (under, over) = (self.core(other.py())?, package_of(other)?);
        let merged = other.py().detach(|| merge::merge(&under, &over));
        Ok(Self::of(&merged.map_err(|error| raised(&error))?))
    }

    /// The violations that TKO's schemas find, each a dict of `resource`, `path` and `message`.
    #[pyo3(signature = (complete=true))]
    fn validate<'py>(&self, py: Python<'py>, complete: bool) -> PyResult<Vec<Bound<'py, PyAny>>> {
        validation::validate(py, &self.core(py)?, complete)
    }

    /// Evaluates a text whose expressions see this package.
    fn evaluate<'py>(&self, py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyAny>> {
        let value = expression::evaluate(text, &self.core(py)?).map_err(PyValueError::new_err)?;
        to_python(py, &value)
    }

    /// The metadata that TKO collects from this package.
    fn metadata(&self, py: Python<'_>) -> PyResult<std::collections::BTreeMap<String, String>> {
        let metadata = tko_core::Metadata::gather(&self.core(py)?);
        let metadata = metadata.map_err(|error| raised(&error))?;
        Ok(metadata
            .iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect())
    }

    /// The resources as a list of dicts, which still belong to this package.
    #[allow(clippy::wrong_self_convention)] // The name in Python; resources become dicts.
    fn to_list<'py>(&mut self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        self.slots.iter_mut().map(|slot| slot.dict(py)).collect()
    }

    /// The package as YAML documents.
    fn to_yaml(&self, py: Python<'_>) -> PyResult<String> {
        self.encoded(py, Format::Yaml)
    }

    /// The package as one JSON list.
    fn to_json(&self, py: Python<'_>) -> PyResult<String> {
        self.encoded(py, Format::Json)
    }

    fn __getitem__<'py>(&mut self, key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = key.py();
        if let Ok(identifier) = key.cast::<PyIdentifier>() {
            let at = self.position(py, &identifier.get().0)?;
            return at.map(|at| self.slots[at].dict(py)).transpose();
        }
        let at = key
            .extract::<isize>()
            .map_err(|_| PyTypeError::new_err("a package is indexed by an Identifier or an int"))?;
        let at = if at < 0 {
            self.slots.len().checked_add_signed(at)
        } else {
            usize::try_from(at).ok()
        };
        match at.and_then(|at| self.slots.get_mut(at)) {
            Some(slot) => Ok(Some(slot.dict(py)?)),
            None => Err(pyo3::exceptions::PyIndexError::new_err(
                "package index out of range",
            )),
        }
    }

    fn __setitem__(
        &mut self,
        py: Python<'_>,
        key: &Bound<'_, PyIdentifier>,
        resource: Py<PyAny>,
    ) -> PyResult<()> {
        let slot = PackageSlot::Dict(resource);
        match self.position(py, &key.get().0)? {
            Some(at) => self.slots[at] = slot,
            None => self.slots.push(slot),
        }
        Ok(())
    }

    fn __delitem__(&mut self, py: Python<'_>, key: &Bound<'_, PyIdentifier>) -> PyResult<()> {
        match self.position(py, &key.get().0)? {
            Some(at) => {
                self.slots.remove(at);
                Ok(())
            }
            None => Err(PyKeyError::new_err(key.get().0.to_string())),
        }
    }

    fn __contains__(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        match key.cast::<PyIdentifier>() {
            Ok(identifier) => Ok(self.position(key.py(), &identifier.get().0)?.is_some()),
            Err(_) => Ok(false),
        }
    }

    fn __len__(&self) -> usize {
        self.slots.len()
    }

    fn __iter__(slf: Bound<'_, Self>) -> PackageIterator {
        PackageIterator {
            package: slf.unbind(),
            gvk: None,
            at: 0,
        }
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        let Ok(other) = other.cast::<Self>() else {
            return Ok(false);
        };
        let py = other.py();
        Ok(self.core(py)? == other.try_borrow()?.core(py)?)
    }

    fn __str__(&self, py: Python<'_>) -> PyResult<String> {
        self.to_yaml(py)
    }

    fn __repr__(&self) -> String {
        format!("<Package of {} resources>", self.slots.len())
    }
}

impl PyPackage {
    fn encoded(&self, py: Python<'_>, format: Format) -> PyResult<String> {
        let package = self.core(py)?;
        let bytes = py.detach(|| package.encode(format));
        String::from_utf8(bytes).map_err(|error| PyValueError::new_err(error.to_string()))
    }
}

/// Iterates over a package, which may change meanwhile.
#[pyclass(module = "tko")]
pub(crate) struct PackageIterator {
    package: Py<PyPackage>,
    gvk: Option<Gvk>,
    at: usize,
}

#[pymethods]
impl PackageIterator {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let mut package = self.package.bind(py).try_borrow_mut()?;
        while let Some(slot) = package.slots.get_mut(self.at) {
            self.at += 1;
            if self.gvk.as_ref().is_none_or(|gvk| slot.is_of(py, gvk)) {
                return slot.dict(py).map(Some);
            }
        }
        Ok(None)
    }
}
