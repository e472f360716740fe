//! Problems of a resource.

/// One problem in a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SchemaFinding {
    /// Path such as `spec.containers[0].image`; empty for the whole resource.
    pub(crate) path: String,
    /// The fault, and the correct form.
    pub(crate) message: String,
}

/// The problems in a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// Problems in the order of the schema.
    pub(crate) list: Vec<SchemaFinding>,
    /// Number of further problems that are not listed.
    pub(crate) more: usize,
    /// Number of validation rules that were not evaluated.
    pub(crate) skipped_rules: usize,
}

impl Findings {
    /// Creates a list with one problem.
    pub(crate) fn one(finding: SchemaFinding) -> Self {
        Self {
            list: vec![finding],
            ..Self::default()
        }
    }
}
