//! The documents of the plugin protocol.

use crate::error::raised;
use crate::identifier::PyIdentifier;
use crate::json::{from_python, to_python};
use crate::package::PyPackage;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::fmt::{self, Formatter};
use std::sync::Arc;
use tko_core::encoding::{self, Dialect, Format, Limits};
use tko_core::{Gvk, Identifier, Package};

/// The input of one call of a plugin.
#[pyclass(name = "PluginCall", module = "tko", frozen)]
pub(crate) struct DecodedCall {
    #[pyo3(get)]
    log_file: String,
    #[pyo3(get)]
    log_address_port: String,
    #[pyo3(get)]
    deployment_id: Option<String>,
    #[pyo3(get)]
    site_id: Option<String>,
    #[pyo3(get)]
    complete: bool,
    #[pyo3(get)]
    package: Py<PyPackage>,
    #[pyo3(get)]
    deployments: Py<PyDict>,
    #[pyo3(get)]
    removed_deployments: Py<PyDict>,
    grpc: Value,
    target: Option<Identifier>,
}

/// The input document of a call. Packages stay text.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct CallText<'a> {
    grpc: Value,
    log_file: Option<String>,
    log_address_port: Option<String>,
    target_resource_identifier: Value,
    deployment_id: Option<String>,
    site_id: Option<String>,
    complete: Option<bool>,
    #[serde(borrow)]
    deployment_package: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    package: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    site_package: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    deployments: Option<PackageTexts<'a>>,
    #[serde(borrow)]
    removed_deployments: Option<PackageTexts<'a>>,
}

/// Packages by the ids of their deployments, in the order of the document.
struct PackageTexts<'a>(Vec<(String, Vec<&'a RawValue>)>);

impl<'de: 'a, 'a> Deserialize<'de> for PackageTexts<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PackageTextsVisitor)
    }
}

struct PackageTextsVisitor;

impl<'de> Visitor<'de> for PackageTextsVisitor {
    type Value = PackageTexts<'de>;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("packages by the ids of their deployments")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut packages = Vec::new();
        while let Some(entry) = map.next_entry()? {
            packages.push(entry);
        }
        Ok(PackageTexts(packages))
    }
}

fn package(texts: Option<Vec<&RawValue>>) -> PyResult<PyPackage> {
    let texts = texts.unwrap_or_default();
    if let Some(package) = PyPackage::of_texts(&texts) {
        return Ok(package);
    }
    let values = texts.iter().map(|text| serde_json::from_str(text.get()));
    let values = values.collect::<Result<Vec<Value>, _>>();
    let values = values.map_err(|error| PyValueError::new_err(error.to_string()))?;
    let package = Package::from_values(values).map_err(|error| raised(&error))?;
    Ok(PyPackage::of(&package))
}

fn packages(py: Python<'_>, texts: Option<PackageTexts<'_>>) -> PyResult<Py<PyDict>> {
    let dict = PyDict::new(py);
    for (id, texts) in texts.map(|texts| texts.0).unwrap_or_default() {
        dict.set_item(id, Py::new(py, package(Some(texts))?)?)?;
    }
    Ok(dict.unbind())
}

/// Converts a document in YAML to JSON.
fn json_of_yaml(bytes: &[u8]) -> PyResult<String> {
    // A call holds several packages.
    let limits = Limits::new().bytes(1 << 30);
    let documents = encoding::decode(bytes, Format::Yaml, Dialect::Programs, &limits)
        .map_err(|error| PyValueError::new_err(format!("the input is not YAML: {error}")))?;
    match documents.first() {
        Some(document) => Ok(document.to_string()),
        None => Err(PyValueError::new_err(
            "the input is empty; TKO starts plugins, and writes a call to their stdin",
        )),
    }
}

#[pymethods]
impl DecodedCall {
    /// Reads the input document: JSON or YAML.
    #[staticmethod]
    fn decode(py: Python<'_>, bytes: &Bound<'_, PyBytes>) -> PyResult<Self> {
        let bytes = bytes.as_bytes();
        // Most controllers write JSON, which reads many times faster than YAML.
        if let Ok(call) = serde_json::from_slice(bytes) {
            return Self::new(py, call);
        }
        let json = py.detach(|| json_of_yaml(bytes))?;
        let call = serde_json::from_str(&json)
            .map_err(|error| PyValueError::new_err(format!("the input is not a call: {error}")))?;
        Self::new(py, call)
    }

    /// The identifier of the resource that triggered the call, or None.
    #[getter]
    fn target(&self) -> Option<PyIdentifier> {
        self.target.clone().map(PyIdentifier)
    }

    /// The address of the data API, a dict of `level2protocol`, `address` and `port`.
    #[getter]
    fn grpc<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.grpc)
    }
}

impl DecodedCall {
    fn new(py: Python<'_>, call: CallText<'_>) -> PyResult<Self> {
        let target = call.target_resource_identifier;
        let part = |key: &str| target.get(key).and_then(Value::as_str).unwrap_or_default();
        let target = (!part("kind").is_empty()).then(|| {
            let gvk = Gvk::new(part("group"), part("version"), part("kind"));
            let namespace = part("namespace");
            let namespace: Option<Arc<str>> = (!namespace.is_empty()).then(|| namespace.into());
            Identifier::new(gvk, part("name")).namespace(namespace)
        });
        let own = call
            .deployment_package
            .or(call.package)
            .or(call.site_package);
        Ok(Self {
            log_file: call.log_file.unwrap_or_default(),
            log_address_port: call.log_address_port.unwrap_or_default(),
            deployment_id: call.deployment_id,
            site_id: call.site_id,
            complete: call.complete.unwrap_or_default(),
            package: Py::new(py, package(own)?)?,
            deployments: packages(py, call.deployments)?,
            removed_deployments: packages(py, call.removed_deployments)?,
            grpc: call.grpc,
            target,
        })
    }
}

/// Writes an answer as JSON. `package` is added if it is given.
#[pyfunction]
#[pyo3(signature = (answer, package=None))]
pub(crate) fn encode_answer<'py>(
    py: Python<'py>,
    answer: &Bound<'py, PyAny>,
    package: Option<&Bound<'py, PyPackage>>,
) -> PyResult<Bound<'py, PyBytes>> {
    let mut bytes = from_python(answer)?.to_string().into_bytes();
    if let Some(package) = package {
        let package = package.try_borrow()?.json(py)?;
        bytes.pop();
        if bytes.len() > 1 {
            bytes.push(b',');
        }
        bytes.extend_from_slice(b"\"package\":");
        bytes.extend_from_slice(&package);
        bytes.push(b'}');
    }
    Ok(PyBytes::new(py, &bytes))
}

/// The hello of a worker, as JSON.
#[pyfunction]
pub(crate) fn encode_hello(plugin_type: &str, in_flight: usize) -> String {
    json!({
        "protocol": 1,
        "name": concat!("tko for Python ", env!("CARGO_PKG_VERSION")),
        "types": [plugin_type],
        "inFlight": in_flight,
    })
    .to_string()
}
