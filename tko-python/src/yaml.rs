//! YAML texts that are not packages.

use crate::json::{from_python, to_python};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use tko_core::{Dialect, Format, Limits, encoding};

/// Reads the documents of a text in YAML 1.2, each a map.
#[pyfunction]
pub(crate) fn decode_yaml<'py>(py: Python<'py>, text: &str) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let limits = Limits::default();
    let documents =
        encoding::decode_placed(text.as_bytes(), Format::Yaml, Dialect::Programs, &limits)
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
    if documents.iter().any(|document| document.at.item.is_some()) {
        return Err(PyValueError::new_err(
            "the YAML text is a list; expected a map",
        ));
    }
    let values = documents.iter().map(|document| &document.value);
    values.map(|value| to_python(py, value)).collect()
}

/// Writes a value as one document.
#[pyfunction]
pub(crate) fn encode_yaml(value: &Bound<'_, PyAny>) -> PyResult<String> {
    let value = from_python(value)?;
    let bytes = encoding::encode([&value], Format::Yaml);
    String::from_utf8(bytes).map_err(|error| PyValueError::new_err(error.to_string()))
}
