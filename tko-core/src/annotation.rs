//! The annotations that TKO knows (`nephio.org/…`), their values and defaults.
//!
//! Values are text; a bare YAML boolean or number counts as its text, empty as the default.
//! Other annotations of the group are left alone.

use crate::error::Violation;
use crate::package::Package;
use crate::resource::Resource;
use std::sync::Arc;

/// Whether this resource is prepared here: [`When`].
pub const PREPARE: &str = "nephio.org/prepare";
/// Whether it is prepared: `false` (default) or `true`.
pub const PREPARED: &str = "nephio.org/prepared";
/// On the Deployment resource: [`Approve`].
pub const APPROVE: &str = "nephio.org/approve";
/// On the Deployment resource: `false` (default) or `true`.
pub const APPROVED: &str = "nephio.org/approved";
/// Whether this resource's metadata are gathered here: [`When`].
pub const METADATA: &str = "nephio.org/metadata";
/// How this resource merges over one with its identifier: [`Merge`].
pub const MERGE: &str = "nephio.org/merge";
/// The name it takes when merged: any text.
pub const RENAME: &str = "nephio.org/rename";

const KNOWN: [(&str, &[&str]); 6] = [
    (PREPARE, &["Here", "Postpone", "Never"]),
    (PREPARED, &["false", "true"]),
    (APPROVE, &["Default", "Auto", "Manual"]),
    (APPROVED, &["false", "true"]),
    (METADATA, &["Here", "Postpone", "Never"]),
    (MERGE, &["Replace", "Override"]),
];

/// Where something is done to a resource. Absent means [`Here`](Self::Here), but only an explicit
/// `Here` becomes `Never` in a copy that is merged elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// In this package.
    Here,
    /// Only after it was merged elsewhere.
    Postpone,
    /// Not at all.
    Never,
}

/// Who approves a deployment once it is prepared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Approve {
    /// As the controller is set.
    #[default]
    Default,
    /// The controller.
    Auto,
    /// A person.
    Manual,
}

/// How a resource merges over another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Merge {
    /// It takes the other's place whole.
    #[default]
    Replace,
    /// Property by property: maps deep; lists, scalars and nulls replace.
    Override,
}

/// What [`PREPARE`] or [`METADATA`] says; `None` if nothing, or a value that [`check`] refuses.
pub fn when(resource: &Resource, annotation: &str) -> Option<When> {
    match resource.annotation(annotation)?.as_ref() {
        "Here" => Some(When::Here),
        "Postpone" => Some(When::Postpone),
        "Never" => Some(When::Never),
        _ => None,
    }
}

/// What [`APPROVE`] says.
pub fn approve(resource: &Resource) -> Approve {
    match resource.annotation(APPROVE).as_deref() {
        Some("Auto") => Approve::Auto,
        Some("Manual") => Approve::Manual,
        _ => Approve::Default,
    }
}

/// What [`MERGE`] says.
pub fn merge(resource: &Resource) -> Merge {
    match resource.annotation(MERGE).as_deref() {
        Some("Override") => Merge::Override,
        _ => Merge::Replace,
    }
}

/// Whether [`PREPARED`] or [`APPROVED`] says `true`.
pub fn is_true(resource: &Resource, annotation: &str) -> bool {
    resource.annotation(annotation).as_deref() == Some("true")
}

/// The resource with [`PREPARED`] set; the same pointer if it says so already.
pub fn prepared(resource: &Arc<Resource>) -> Arc<Resource> {
    if is_true(resource, PREPARED) {
        resource.clone()
    } else {
        Arc::new(resource.annotated(PREPARED, "true"))
    }
}

/// Every known annotation that has an unknown value: the resource, and the values that there are.
pub fn check(package: &Package) -> Vec<Violation> {
    let mut violations = Vec::new();
    for resource in package {
        for (name, values) in KNOWN {
            let Some(text) = resource.annotation(name) else {
                continue;
            };
            if !values.contains(&text.as_ref()) {
                violations.push(Violation {
                    resource: Some(resource.identifier().clone()),
                    path: format!("metadata.annotations['{name}']"),
                    message: format!("unknown value {text:?}; it is one of {}", values.join(", ")),
                });
            }
        }
    }
    violations
}
