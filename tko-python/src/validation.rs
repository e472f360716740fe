//! Validation of packages by TKO's schemas.

use crate::error::raised;
use crate::json::to_python;
use pyo3::prelude::*;
use serde_json::json;
use std::sync::{Arc, OnceLock};
use tko_core::{Admission, Package, Violation};
use tko_validate::{SchemaValidator, Validation};

/// The validation with the built-in schemas, made on first use.
pub(crate) fn built_in() -> tko_core::Result<Arc<Validation>> {
    static BUILT_IN: OnceLock<Arc<Validation>> = OnceLock::new();
    if let Some(validation) = BUILT_IN.get() {
        return Ok(validation.clone());
    }
    let validator = SchemaValidator::builder().build()?;
    let validation = Arc::new(Validation::new(Arc::new(validator)));
    Ok(BUILT_IN.get_or_init(|| validation).clone())
}

/// The violations of a package, as dicts.
pub(crate) fn validate<'py>(
    py: Python<'py>,
    package: &Package,
    complete: bool,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let admitted = async {
        let validation = built_in()?;
        validation.admit(package, complete).await
    };
    let violations = crate::runtime::wait(py, admitted)?.map_err(|error| raised(&error))?;
    violations
        .iter()
        .map(|violation| shown(py, violation))
        .collect()
}

/// A violation as a dict of `resource`, `path` and `message`.
pub(crate) fn shown<'py>(py: Python<'py>, violation: &Violation) -> PyResult<Bound<'py, PyAny>> {
    let shown = json!({
        "resource": violation.resource.as_ref().map(ToString::to_string),
        "path": violation.path,
        "message": violation.message,
    });
    to_python(py, &shown)
}
