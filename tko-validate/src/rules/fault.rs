//! Why a rule cannot be evaluated.

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RuleFault {
    /// It uses an unknown function or variable.
    Unknown(String),
    /// It exceeds the limit of steps.
    Cost,
    /// It has no value for this input.
    Failed(String),
}
