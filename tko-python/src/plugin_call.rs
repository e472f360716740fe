//! The documents of the plugin protocol.

use crate::error::raised;
use crate::identifier::PyIdentifier;
use crate::json::{from_python, to_python};
use crate::package::PyPackage;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use serde_json::{Map, Value, json};
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

fn taken_text(map: &mut Map<String, Value>, key: &str) -> Option<String> {
    match map.remove(key) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

fn package(value: Option<Value>) -> PyResult<Package> {
    let values = match value {
        Some(Value::Array(values)) => values,
        None | Some(Value::Null) => Vec::new(),
        Some(_) => return Err(PyValueError::new_err("a package must be a list")),
    };
    Package::from_values(values).map_err(|error| raised(&error))
}

fn packages(py: Python<'_>, value: Option<Value>) -> PyResult<Py<PyDict>> {
    let dict = PyDict::new(py);
    if let Some(Value::Object(map)) = value {
        for (id, value) in map {
            dict.set_item(id, Py::new(py, PyPackage::of(&package(Some(value))?))?)?;
        }
    }
    Ok(dict.unbind())
}

fn document(bytes: &[u8]) -> PyResult<Map<String, Value>> {
    // Most controllers write JSON, which reads many times faster than YAML.
    if let Ok(Value::Object(map)) = serde_json::from_slice(bytes) {
        return Ok(map);
    }
    // A call holds several packages.
    let limits = Limits::new().bytes(1 << 30);
    let documents = encoding::decode(bytes, Format::Yaml, Dialect::Programs, &limits)
        .map_err(|error| PyValueError::new_err(format!("the input is not YAML: {error}")))?;
    match documents.into_iter().next() {
        Some(Value::Object(map)) => Ok(map),
        _ => Err(PyValueError::new_err(
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
        let mut map = py.detach(|| document(bytes))?;
        let target = map.remove("targetResourceIdentifier").unwrap_or_default();
        let part = |key: &str| target.get(key).and_then(Value::as_str).unwrap_or_default();
        let target = (!part("kind").is_empty()).then(|| {
            let gvk = Gvk::new(part("group"), part("version"), part("kind"));
            Identifier::new(gvk, part("name"))
        });
        let mut own = None;
        for key in ["deploymentPackage", "package", "sitePackage"] {
            own = own.or(map.remove(key));
        }
        let own = PyPackage::of(&package(own)?);
        Ok(Self {
            log_file: taken_text(&mut map, "logFile").unwrap_or_default(),
            log_address_port: taken_text(&mut map, "logAddressPort").unwrap_or_default(),
            deployment_id: taken_text(&mut map, "deploymentId"),
            site_id: taken_text(&mut map, "siteId"),
            complete: map.get("complete") == Some(&Value::Bool(true)),
            package: Py::new(py, own)?,
            deployments: packages(py, map.remove("deployments"))?,
            removed_deployments: packages(py, map.remove("removedDeployments"))?,
            grpc: map.remove("grpc").unwrap_or_default(),
            target,
        })
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
        let package = package.try_borrow()?.core(py)?;
        bytes.pop();
        if bytes.len() > 1 {
            bytes.push(b',');
        }
        py.detach(|| {
            bytes.extend_from_slice(b"\"package\":");
            bytes.extend_from_slice(&package.encode(Format::Json));
            bytes.push(b'}');
        });
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
