//! Conversion between JSON values and Python objects.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use serde_json::{Map, Number, Value};
use tko_core::encoding::MAX_DEPTH;

/// Converts a JSON value to `None`, `bool`, `int`, `float`, `str`, `list` and `dict`.
pub(crate) fn to_python<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Null => py.None().into_bound(py),
        Value::Bool(value) => PyBool::new(py, *value).to_owned().into_any(),
        Value::Number(number) => {
            if let Some(number) = number.as_i64() {
                number.into_pyobject(py)?.into_any()
            } else if let Some(number) = number.as_u64() {
                number.into_pyobject(py)?.into_any()
            } else {
                let number = number.as_f64().unwrap_or(f64::NAN);
                PyFloat::new(py, number).into_any()
            }
        }
        Value::String(text) => PyString::new(py, text).into_any(),
        Value::Array(items) => {
            let list = PyList::empty(py);
            for item in items {
                list.append(to_python(py, item)?)?;
            }
            list.into_any()
        }
        Value::Object(map) => {
            let dict = PyDict::new(py);
            for (key, value) in map {
                dict.set_item(PyString::intern(py, key), to_python(py, value)?)?;
            }
            dict.into_any()
        }
    })
}

/// Converts a Python object to a JSON value.
///
/// # Errors
/// `TypeError` or `ValueError`: the object, or a part of it, is not JSON; names the place.
pub(crate) fn from_python(object: &Bound<'_, PyAny>) -> PyResult<Value> {
    convert(object, 0).map_err(|fault| {
        let place = fault.path.into_iter().rev().collect::<String>();
        let place = place.trim_start_matches('.');
        let at = if place.is_empty() {
            String::new()
        } else {
            format!("{place}: ")
        };
        let message = format!("{at}{}", fault.message);
        if fault.is_type {
            PyTypeError::new_err(message)
        } else {
            PyValueError::new_err(message)
        }
    })
}

/// A part of an object that is not JSON.
struct JsonFault {
    /// The path to the part, innermost first.
    path: Vec<String>,
    message: String,
    is_type: bool,
}

impl JsonFault {
    fn value(message: impl Into<String>) -> Self {
        Self {
            path: Vec::new(),
            message: message.into(),
            is_type: false,
        }
    }

    fn under(mut self, part: impl FnOnce() -> String) -> Self {
        self.path.push(part());
        self
    }
}

impl From<PyErr> for JsonFault {
    fn from(error: PyErr) -> Self {
        Self::value(error.to_string())
    }
}

fn convert(object: &Bound<'_, PyAny>, depth: usize) -> Result<Value, JsonFault> {
    if depth > MAX_DEPTH {
        return Err(JsonFault::value(format!(
            "nested more than {MAX_DEPTH} levels deep"
        )));
    }
    // In the order of frequency; a bool is an int, too.
    if let Ok(text) = object.cast::<PyString>() {
        return Ok(Value::String(text.to_str()?.to_owned()));
    }
    if let Ok(dict) = object.cast::<PyDict>() {
        let mut map = Map::with_capacity(dict.len());
        for (key, value) in dict {
            let Ok(key) = key.cast::<PyString>() else {
                let message = format!("the key {key} is not a str; quote it");
                return Err(JsonFault {
                    is_type: true,
                    ..JsonFault::value(message)
                });
            };
            let key = key.to_str()?;
            let value = convert(&value, depth + 1).map_err(|f| f.under(|| format!(".{key}")))?;
            map.insert(key.to_owned(), value);
        }
        return Ok(Value::Object(map));
    }
    if let Ok(list) = object.cast::<PyList>() {
        return items(list.iter(), depth);
    }
    if object.is_none() {
        return Ok(Value::Null);
    }
    if let Ok(value) = object.cast::<PyBool>() {
        return Ok(Value::Bool(value.is_true()));
    }
    if object.is_instance_of::<PyInt>() {
        if let Ok(number) = object.extract::<i64>() {
            return Ok(number.into());
        }
        let number = object.extract::<u64>().map_err(|_| {
            JsonFault::value(format!(
                "the integer {object} has more than 64 bits; quote it"
            ))
        })?;
        return Ok(number.into());
    }
    if let Ok(number) = object.cast::<PyFloat>() {
        let number = Number::from_f64(number.value());
        let number = number.ok_or_else(|| {
            JsonFault::value(format!("the float {object} is not finite; leave it out"))
        })?;
        return Ok(Value::Number(number));
    }
    if let Ok(tuple) = object.cast::<PyTuple>() {
        return items(tuple.iter(), depth);
    }
    let kind = object.get_type().name()?;
    let message = format!(
        "a {kind} cannot be part of a resource; use None, bool, int, float, str, list or dict"
    );
    Err(JsonFault {
        is_type: true,
        ..JsonFault::value(message)
    })
}

fn items<'py>(
    items: impl Iterator<Item = Bound<'py, PyAny>>,
    depth: usize,
) -> Result<Value, JsonFault> {
    let items = items.enumerate().map(|(at, item)| {
        convert(&item, depth + 1).map_err(|fault| fault.under(|| format!("[{at}]")))
    });
    Ok(Value::Array(items.collect::<Result<_, _>>()?))
}
