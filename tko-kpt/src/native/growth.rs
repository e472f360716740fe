//! Limits on what a native function writes: a few kilobytes of configuration could otherwise make
//! terabytes.

use serde_json::Value;

/// Maximum length of a text that a function composes, in bytes.
const LONGEST: usize = 1 << 20;
/// Maximum levels of maps and lists of a value that a function copies.
const LEVELS: usize = 100;

/// The bytes that one call of a function may still write.
pub(super) struct WriteBudget {
    limit: usize,
    /// `None` once the function needed more than was left.
    left: Option<usize>,
}

impl WriteBudget {
    /// A budget of this many bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            left: Some(limit),
        }
    }

    /// Takes bytes for a write; returns whether they were left. After a refusal, every further one
    /// is refused.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        self.left = self.left.and_then(|left| left.checked_sub(bytes));
        self.is_left()
    }

    /// Whether no write was refused yet.
    pub(super) fn is_left(&self) -> bool {
        self.left.is_some()
    }

    /// Takes the bytes of a copy of a value, before it is made.
    ///
    /// # Errors
    /// A clause that says that the value has more than 100 levels, or that too few bytes were left.
    pub(super) fn take_copy(&mut self, value: &Value) -> Result<(), String> {
        self.take_levels(value, LEVELS)
    }

    fn take_levels(&mut self, value: &Value, levels: usize) -> Result<(), String> {
        let text = value.as_str().map_or(0, str::len);
        self.take(size_of::<Value>() + text);
        self.check()?;
        let inner = || {
            let inner = levels.checked_sub(1);
            inner.ok_or_else(|| format!("a value that it copies has more than {LEVELS} levels"))
        };
        match value {
            Value::Array(items) => {
                let levels = inner()?;
                for item in items {
                    self.take_levels(item, levels)?;
                }
            }
            Value::Object(map) => {
                let levels = inner()?;
                for (key, item) in map {
                    self.take(key.len());
                    self.take_levels(item, levels)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Checks that no write was refused.
    ///
    /// # Errors
    /// A clause that says that the function writes too much.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.is_left() {
            return Ok(());
        }
        let limit = self.limit;
        Err(format!("it writes more than {limit} bytes into resources"))
    }
}

/// Checks the length of a text before it is composed.
///
/// # Errors
/// A clause that says that it is too long.
pub(super) fn check_length(bytes: usize) -> Result<(), String> {
    if bytes > LONGEST {
        return Err("the value of a field becomes longer than 1 MiB".to_owned());
    }
    Ok(())
}

/// The names in `${…}` of a pattern, in order.
pub(super) fn names(pattern: &str) -> Vec<&str> {
    let parts = pattern.split("${").skip(1);
    parts
        .filter_map(|part| part.split_once('}').map(|(name, _)| name))
        .collect()
}

/// The pattern with the value of each name in `${…}`. Names without a value stay as they are, and so
/// does everything in values, even if it looks like a name.
///
/// # Errors
/// A clause that says that the text becomes too long.
pub(super) fn substituted<'v>(
    pattern: &str,
    value: impl Fn(&str) -> Option<&'v str>,
) -> Result<String, String> {
    let mut text = String::new();
    let mut push = |part: &str| -> Result<(), String> {
        check_length(text.len() + part.len())?;
        text.push_str(part);
        Ok(())
    };
    let mut parts = pattern.split("${");
    push(parts.next().unwrap_or_default())?;
    for part in parts {
        let named = part.split_once('}');
        if let Some((found, after)) = named.and_then(|(name, after)| Some((value(name)?, after))) {
            push(found)?;
            push(after)?;
        } else {
            push("${")?;
            push(part)?;
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::{WriteBudget, substituted};
    use serde_json::{Value, json};

    #[test]
    fn values_are_not_substituted_again() {
        let value = |name: &str| match name {
            "a" => Some("${b}"),
            "b" => Some("x"),
            _ => None,
        };
        for (pattern, expected) in [
            ("${a}-${b}", "${b}-x"),
            ("${c} ${a", "${c} ${a"),
            ("${c${b}}", "${cx}"),
            ("plain", "plain"),
        ] {
            let text = substituted(pattern, value).expect("is short");
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn copies_have_few_levels_and_take_what_they_hold() {
        let nested = |levels: usize| {
            let value = (0..levels).fold(Value::Null, |value, _| json!([value]));
            WriteBudget::new(1 << 20).take_copy(&value)
        };
        nested(100).expect("is accepted");
        let error = nested(101).expect_err("refused");
        assert!(error.contains("more than 100 levels"), "{error}");
        let mut budget = WriteBudget::new(1_000);
        budget.take_copy(&json!({"a": "b"})).expect("is accepted");
        let error = budget.take_copy(&json!("x".repeat(1_000)));
        let error = error.expect_err("refused");
        assert!(error.contains("more than 1000 bytes"), "{error}");
        assert!(!budget.take(1), "more is refused");
    }
}
