//! JSON Pointers (RFC 6901).

use super::PatchError;
use serde_json::Value;
use std::fmt;

/// Maximum number of steps of a pointer.
const MAX_STEPS: usize = 128;

/// A path in a JSON value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pointer(Vec<String>);

impl Pointer {
    /// Reads a pointer; `None` if it is malformed.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self(Vec::new()));
        }
        let steps: Vec<String> = text
            .strip_prefix('/')?
            .split('/')
            .map(|step| step.replace("~1", "/").replace("~0", "~"))
            .collect();
        (steps.len() <= MAX_STEPS).then_some(Self(steps))
    }

    /// The number of steps from the root.
    pub(super) fn steps(&self) -> usize {
        self.0.len()
    }

    /// Whether this path leads to something below the other path.
    pub(super) fn is_below(&self, other: &Self) -> bool {
        self.0.len() > other.0.len() && self.0.starts_with(&other.0)
    }

    pub(super) fn find<'v>(&self, value: &'v Value) -> Result<&'v Value, PatchError> {
        self.0
            .iter()
            .try_fold(value, |value, step| match value {
                Value::Object(map) => map.get(step),
                Value::Array(items) => items.get(index(step)?),
                _ => None,
            })
            .ok_or_else(|| self.missing())
    }

    pub(super) fn find_mut<'v>(&self, value: &'v mut Value) -> Result<&'v mut Value, PatchError> {
        find_mut(value, &self.0).ok_or_else(|| self.missing())
    }

    pub(super) fn add(&self, target: &mut Value, value: Value) -> Result<(), PatchError> {
        let Some((last, parents)) = self.0.split_last() else {
            *target = value;
            return Ok(());
        };
        match find_mut(target, parents) {
            Some(Value::Object(map)) => {
                map.insert(last.clone(), value);
            }
            Some(Value::Array(items)) => {
                let at = if last == "-" {
                    Some(items.len())
                } else {
                    index(last).filter(|at| *at <= items.len())
                };
                items.insert(at.ok_or_else(|| self.missing())?, value);
            }
            _ => return Err(self.missing()),
        }
        Ok(())
    }

    pub(super) fn remove(&self, target: &mut Value) -> Result<Value, PatchError> {
        let Some((last, parents)) = self.0.split_last() else {
            return Ok(std::mem::take(target));
        };
        let removed = match find_mut(target, parents) {
            Some(Value::Object(map)) => map.shift_remove(last),
            Some(Value::Array(items)) => index(last)
                .filter(|at| *at < items.len())
                .map(|at| items.remove(at)),
            _ => None,
        };
        removed.ok_or_else(|| self.missing())
    }

    fn missing(&self) -> PatchError {
        PatchError::Unfit(format!("the path {self} does not exist"))
    }
}

fn find_mut<'v>(value: &'v mut Value, steps: &[String]) -> Option<&'v mut Value> {
    steps.iter().try_fold(value, |value, step| match value {
        Value::Object(map) => map.get_mut(step),
        Value::Array(items) => items.get_mut(index(step)?),
        _ => None,
    })
}

/// A position in a list: digits without leading zeros.
fn index(step: &str) -> Option<usize> {
    let canonical = step == "0" || !step.starts_with('0');
    let digits = !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit());
    (canonical && digits).then(|| step.parse().ok()).flatten()
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for step in &self.0 {
            text.push('/');
            text.push_str(&step.replace('~', "~0").replace('/', "~1"));
        }
        write!(f, "{text:?}")
    }
}
