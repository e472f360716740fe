//! Limits on what the operations of a JSON patch add to an object.

use super::PatchError;
use super::pointer::Pointer;
use crate::object::{MAX_DEPTH, depth};
use serde_json::Value;

/// Maximum number of bytes that the operations of one patch copy, as in Kubernetes.
const MAX_COPIED: usize = 3 << 20;

/// The bytes that each value counts in addition to its text, because small values take memory, too.
const VALUE: usize = 8;

/// The copies that a patch has made.
#[derive(Debug, Default)]
pub(super) struct CopyBudget {
    /// The estimated bytes of all copied values.
    copied: usize,
}

impl CopyBudget {
    /// Counts a copy of a value, before it is made. Stops as soon as the limit is exceeded.
    pub(super) fn count(&mut self, value: &Value) -> Result<(), PatchError> {
        self.copied += VALUE;
        if let Value::String(text) = value {
            self.copied += text.len();
        }
        if self.copied > MAX_COPIED {
            return Err(PatchError::TooLarge(format!(
                "the patch copies too much; at most {MAX_COPIED} bytes are allowed"
            )));
        }
        match value {
            Value::Array(items) => items.iter().try_for_each(|item| self.count(item)),
            Value::Object(map) => map.iter().try_for_each(|(key, value)| {
                self.copied += key.len();
                self.count(value)
            }),
            _ => Ok(()),
        }
    }
}

/// Refuses a value that would be nested too deeply at this path.
///
/// Objects are copied, written and dropped recursively, so their depth determines the stack that
/// this takes.
pub(super) fn check_depth(path: &Pointer, value: &Value) -> Result<(), PatchError> {
    if path.steps() + depth(value) > MAX_DEPTH {
        return Err(PatchError::Unfit(format!(
            "{path} would be nested more than {MAX_DEPTH} levels deep"
        )));
    }
    Ok(())
}
