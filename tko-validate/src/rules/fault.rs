//! Why a rule cannot be evaluated.

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RuleFault {
    /// It uses a function or a variable that is not known here.
    Unknown(String),
    /// It takes more steps than it may.
    Cost,
    /// It has no value for this input.
    Failed(String),
}
