//! The annotations of TKO (`nephio.org/…`), their values and defaults.
//!
//! Values are text. A YAML boolean or number is read as text, and an empty text means the default.
//! Other annotations of the group are ignored.

use crate::error::Violation;
use crate::package::Package;
use crate::resource::{Resource, map_in};
use std::sync::Arc;

/// Where this resource is prepared: [`When`].
pub const PREPARE: &str = "nephio.org/prepare";
/// Whether this resource is prepared: `false` (default) or `true`.
pub const PREPARED: &str = "nephio.org/prepared";
/// How the deployment is approved: [`Approve`]. Set on the Deployment resource.
pub const APPROVE: &str = "nephio.org/approve";
/// Whether the deployment is approved: `false` (default) or `true`. Set on the Deployment resource.
pub const APPROVED: &str = "nephio.org/approved";
/// Where this resource's metadata is gathered: [`When`].
pub const METADATA: &str = "nephio.org/metadata";
/// How this resource merges into one with its identifier: [`Merge`].
pub const MERGE: &str = "nephio.org/merge";
/// The name that the resource gets when it is merged: any text.
pub const RENAME: &str = "nephio.org/rename";
/// The setters of fields, which kpt keeps in comments `# kpt-set:`: a JSON map of JSON pointers to
/// patterns such as `${replicas}`. Readers of packages write it, because packages have no comments.
pub const SETTERS: &str = "kpt.nephio.org/setters";
/// The file of a resource in a package of kpt, relative to its first Kptfile. Readers of packages
/// write it if there is a Kptfile, because a Kptfile names files.
pub const FILE: &str = "internal.config.kubernetes.io/path";

const KNOWN: [(&str, &[&str]); 6] = [
    (PREPARE, &["Here", "Postpone", "Never"]),
    (PREPARED, &["false", "true"]),
    (APPROVE, &["Default", "Auto", "Manual"]),
    (APPROVED, &["false", "true"]),
    (METADATA, &["Here", "Postpone", "Never"]),
    (MERGE, &["Replace", "Override"]),
];

/// The place where a resource is prepared, or its metadata gathered.
///
/// The default is [`Here`](Self::Here), but only an explicit `Here` becomes `Never` in a copy for
/// another package; see [`elsewhere`](crate::merge::elsewhere).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// In the package that contains the resource.
    Here,
    /// Only in the package into which it is copied.
    Postpone,
    /// In no package.
    Never,
}

/// The policy by which a prepared deployment is approved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Approve {
    /// The setting of the controller decides. If it is created as prepared, a person approves it.
    #[default]
    Default,
    /// It is approved without a person: by the controller, or at once if it is created as prepared.
    Auto,
    /// A person approves it.
    Manual,
}

/// The way in which a resource merges into another with its identifier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Merge {
    /// It replaces the other resource.
    #[default]
    Replace,
    /// It overlays the other: maps are merged deeply; lists, scalars and nulls replace.
    Override,
}

/// Reads [`PREPARE`] or [`METADATA`]; `None` if it is absent or has a value that [`check`] refuses.
pub fn when(resource: &Resource, annotation: &str) -> Option<When> {
    match resource.annotation(annotation)?.as_ref() {
        "Here" => Some(When::Here),
        "Postpone" => Some(When::Postpone),
        "Never" => Some(When::Never),
        _ => None,
    }
}

/// Reads [`APPROVE`].
pub fn approve(resource: &Resource) -> Approve {
    match resource.annotation(APPROVE).as_deref() {
        Some("Auto") => Approve::Auto,
        Some("Manual") => Approve::Manual,
        _ => Approve::Default,
    }
}

/// Reads [`MERGE`].
pub fn merge(resource: &Resource) -> Merge {
    match resource.annotation(MERGE).as_deref() {
        Some("Override") => Merge::Override,
        _ => Merge::Replace,
    }
}

/// Whether the annotation [`PREPARED`] or [`APPROVED`] is `true`.
pub fn is_true(resource: &Resource, annotation: &str) -> bool {
    resource.annotation(annotation).as_deref() == Some("true")
}

/// Returns the resource with [`PREPARED`] set to `true`; the same pointer if it already is.
pub fn prepared(resource: &Arc<Resource>) -> Arc<Resource> {
    if is_true(resource, PREPARED) {
        resource.clone()
    } else {
        Arc::new(resource.annotated(PREPARED, "true"))
    }
}

/// Returns the resource with an annotation as `before` has it; the same pointer if it already is.
pub fn restored(resource: &Arc<Resource>, before: &Resource, annotation: &str) -> Arc<Resource> {
    let path = ["metadata", "annotations", annotation];
    let old = before.get(&path);
    if resource.get(&path) == old {
        return resource.clone();
    }
    let restored = resource.edited_shallowly(|content| {
        let annotations = map_in(map_in(content, "metadata"), "annotations");
        match old {
            Some(old) => annotations.insert(annotation.to_owned(), old.clone()),
            None => annotations.shift_remove(annotation),
        };
    });
    Arc::new(restored.expect("an annotation does not touch what identifies the resource"))
}

/// Returns a violation if [`RENAME`] is a map or a list, which has no text.
pub(crate) fn check_rename(resource: &Resource) -> Option<Violation> {
    let value = resource.get(&["metadata", "annotations", RENAME])?;
    (value.is_object() || value.is_array()).then(|| Violation {
        resource: Some(resource.identifier().clone()),
        path: format!("metadata.annotations['{RENAME}']"),
        message: "must be a name, not a map or a list".to_owned(),
    })
}

/// Returns a violation for each annotation of TKO with an unknown value.
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
                    message: format!(
                        "unknown value {text:?}; expected one of {}",
                        values.join(", ")
                    ),
                });
            }
        }
        violations.extend(check_rename(resource));
    }
    violations
}
