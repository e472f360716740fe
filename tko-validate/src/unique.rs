//! The keyword for lists whose items are identified by some of their properties.

use jsonschema::{Keyword, ValidationError};
use serde_json::Value;
use std::collections::HashSet;

/// Name of the keyword. Its value is a list of properties, or a list of such lists; `protocol=TCP`
/// has a default.
pub(crate) const UNIQUE_BY: &str = "x-tko-unique-by";

/// The beginning of the messages, for the explainer.
pub(crate) const MESSAGE: &str = "must not contain two items with the same ";

/// A list that must not have two items with equal keys.
pub(crate) struct UniqueBy(Vec<Keys>);

/// Properties with their defaults.
type Keys = Vec<(String, Option<Value>)>;

impl UniqueBy {
    /// Reads the value of the keyword.
    pub(crate) fn new(keys: &Value) -> Self {
        let read = |keys: &Value| -> Keys {
            let texts = keys
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str);
            texts
                .map(|text| match text.split_once('=') {
                    Some((name, default)) => (name.to_owned(), Some(Value::from(default))),
                    None => (text.to_owned(), None),
                })
                .collect()
        };
        let sets = keys
            .as_array()
            .filter(|keys| keys.iter().all(Value::is_array));
        Self(match sets {
            Some(sets) => sets.iter().map(read).collect(),
            None => vec![read(keys)],
        })
    }

    /// Returns the first key that occurs twice, for people.
    fn duplicate(&self, list: &Value) -> Option<String> {
        let list = list.as_array()?;
        self.0.iter().find_map(|keys| duplicate(keys, list))
    }
}

fn duplicate(keys: &Keys, list: &[Value]) -> Option<String> {
    let mut seen = HashSet::new();
    for item in list {
        let values: Option<Vec<String>> = keys
            .iter()
            .map(|(name, default)| {
                let value = item
                    .get(name)
                    .filter(|value| !value.is_null() && *value != "");
                value.or(default.as_ref()).map(ToString::to_string)
            })
            .collect();
        // An item without its key is reported elsewhere.
        let Some(values) = values else {
            continue;
        };
        if seen.contains(&values) {
            let pairs = keys.iter().zip(&values);
            let pairs: Vec<String> = pairs
                .map(|((name, _), value)| format!("{name} {value}"))
                .collect();
            return Some(pairs.join(" and "));
        }
        seen.insert(values);
    }
    None
}

impl<'i> Keyword<'i> for UniqueBy {
    fn validate(&self, instance: &'i Value) -> Result<(), ValidationError<'i>> {
        match self.duplicate(instance) {
            Some(key) => Err(ValidationError::custom(format!("{MESSAGE}{key}"))),
            None => Ok(()),
        }
    }

    fn is_valid(&self, instance: &'i Value) -> bool {
        self.duplicate(instance).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::UniqueBy;
    use serde_json::json;

    #[test]
    fn keys_may_be_several_and_have_defaults() {
        let ports = UniqueBy::new(&json!(["port", "protocol=TCP"]));
        assert_eq!(
            ports.duplicate(&json!([{"port": 1}, {"port": 1, "protocol": "UDP"}, {}, {}])),
            None
        );
        assert_eq!(
            ports.duplicate(&json!([{"port": 1, "protocol": "TCP"}, {"port": 1}])),
            Some("port 1 and protocol \"TCP\"".to_owned())
        );
        assert_eq!(ports.duplicate(&json!("no list")), None);
    }
}
