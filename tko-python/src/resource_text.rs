//! Resources that are still JSON text.

use crate::error::raised;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use tko_core::{Gvk, Identifier, Resource};

/// A resource as JSON text, which is parsed when its content is accessed.
///
/// A plugin reads few resources of its package, and passes the others on unchanged.
pub(crate) struct ResourceText {
    text: Box<RawValue>,
    identifier: Identifier,
    resource: OnceLock<Arc<Resource>>,
}

/// The part of a resource that identifies it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceHead<'a> {
    #[serde(borrow)]
    api_version: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    metadata: HeadMetadata<'a>,
}

#[derive(Deserialize)]
struct HeadMetadata<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    namespace: Option<Cow<'a, str>>,
}

impl ResourceText {
    /// `None` if the text has no plain identity; [`Resource::new`] then reports why, if it is
    /// invalid.
    pub(crate) fn new(text: &RawValue) -> Option<Self> {
        let head: ResourceHead<'_> = serde_json::from_str(text.get()).ok()?;
        let gvk = Gvk::of(&head.api_version, &head.kind);
        let name = head.metadata.name;
        if gvk.version.is_empty()
            || gvk.version.contains('/')
            || gvk.kind.is_empty()
            || name.is_empty()
        {
            return None;
        }
        let namespace = head.metadata.namespace.filter(|text| !text.is_empty());
        Some(Self {
            text: text.to_owned(),
            identifier: Identifier::new(gvk, &name).namespace(namespace.map(Arc::from)),
            resource: OnceLock::new(),
        })
    }

    pub(crate) fn text(&self) -> &str {
        self.text.get()
    }

    pub(crate) fn identifier(&self) -> &Identifier {
        &self.identifier
    }

    /// The resource, parsed once.
    pub(crate) fn resource(&self) -> PyResult<Arc<Resource>> {
        if let Some(resource) = self.resource.get() {
            return Ok(resource.clone());
        }
        let value: Value = serde_json::from_str(self.text())
            .map_err(|error| PyValueError::new_err(format!("{}: {error}", self.identifier)))?;
        let resource = Arc::new(Resource::new(value).map_err(|error| raised(&error))?);
        Ok(self.resource.get_or_init(|| resource).clone())
    }
}
