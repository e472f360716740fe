//! Selections from the keyword arguments of Python.

use crate::error::raised;
use crate::identifier::PyGvk;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use std::collections::BTreeMap;
use tko_core::{DeploymentId, Error, Kind, Pattern, PluginType, Select};

/// Builds a selection. Values that are None are absent.
///
/// # Errors
/// `TypeError` for an argument that entities of this kind do not have, or of the wrong type.
pub(crate) fn select(kind: Kind, arguments: &Bound<'_, PyDict>) -> PyResult<Select> {
    let mut select = Select::all(kind);
    for (name, value) in arguments {
        if value.is_none() {
            continue;
        }
        let name: String = name.extract()?;
        match (name.as_str(), kind) {
            ("template_id_patterns", Kind::Template)
            | ("site_id_patterns", Kind::Site)
            | ("deployment_id_patterns", Kind::Deployment)
            | ("name_patterns", Kind::Plugin) => select.ids = ids(&value)?,
            ("metadata_patterns", Kind::Template | Kind::Site | Kind::Deployment) => {
                select.metadata = metadata(&value)?;
            }
            ("template_id_patterns", Kind::Site | Kind::Deployment) => {
                select.template_ids = ids(&value)?;
            }
            ("template_metadata_patterns", Kind::Deployment) => {
                select.template_metadata = metadata(&value)?;
            }
            ("site_id_patterns", Kind::Deployment) => select.site_ids = ids(&value)?,
            ("site_metadata_patterns", Kind::Deployment) => {
                select.site_metadata = metadata(&value)?;
            }
            ("parent_deployment_id", Kind::Deployment) => {
                let id = DeploymentId::new(value.extract()?);
                select.parent = Some(id.map_err(|error| raised(&error))?);
            }
            ("prepared", Kind::Deployment) => select.prepared = Some(value.extract()?),
            ("approved", Kind::Deployment) => select.approved = Some(value.extract()?),
            ("type", Kind::Plugin) => {
                let text: String = value.extract()?;
                select.plugin_type = Some(plugin_type(&text)?);
            }
            ("executor", Kind::Plugin) => select.executor = Some(value.extract()?),
            ("trigger", Kind::Plugin) => {
                select.trigger = Some(value.cast::<PyGvk>()?.get().0.clone());
            }
            _ => {
                let message = format!("{kind}s have no selection {name:?}");
                return Err(PyTypeError::new_err(message));
            }
        }
    }
    Ok(select)
}

/// Parses the type of a plugin.
pub(crate) fn plugin_type(text: &str) -> PyResult<PluginType> {
    let parsed = text.parse::<PluginType>();
    parsed.map_err(|error| raised(&error))
}

fn ids(value: &Bound<'_, PyAny>) -> PyResult<Vec<Pattern>> {
    if value.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err("patterns are a list of str"));
    }
    let texts: Vec<String> = value.extract()?;
    texts.iter().map(|text| id_pattern(text)).collect()
}

/// Compiles a pattern for ids.
pub(crate) fn id_pattern(text: &str) -> PyResult<Pattern> {
    Pattern::id(text).map_err(|error| raised(&Error::bad("pattern", error.to_string())))
}

/// Compiles a pattern for metadata values.
pub(crate) fn value_pattern(text: &str) -> PyResult<Pattern> {
    Pattern::value(text).map_err(|error| raised(&Error::bad("pattern", error.to_string())))
}

fn metadata(value: &Bound<'_, PyAny>) -> PyResult<BTreeMap<String, Pattern>> {
    let texts: BTreeMap<String, String> = value.extract()?;
    let patterns = texts
        .into_iter()
        .map(|(key, text)| Ok((key, value_pattern(&text)?)));
    patterns.collect()
}
