//! Packages from YAML, and violations as text.

use std::sync::Arc;
use tko_core::{Admission, Dialect, Format, Limits, Package};
use tko_validate::{SchemaValidator, Validation};

/// Decodes a package from YAML as a person writes it.
pub(crate) fn package(yaml: &str) -> Package {
    Package::decode(
        yaml.as_bytes(),
        Format::Yaml,
        Dialect::People,
        &Limits::default(),
    )
    .expect("the test's YAML is a package")
}

/// Returns a validator with defaults.
pub(crate) fn validator() -> SchemaValidator {
    SchemaValidator::builder()
        .build()
        .expect("defaults are sound")
}

/// Returns what a validator finds in a package.
pub(crate) async fn found_by(
    validator: SchemaValidator,
    yaml: &str,
    complete: bool,
) -> Vec<String> {
    Validation::new(Arc::new(validator))
        .admit(&package(yaml), complete)
        .await
        .expect("validated")
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// Returns what the default validator finds.
pub(crate) async fn found(yaml: &str, complete: bool) -> Vec<String> {
    found_by(validator(), yaml, complete).await
}
