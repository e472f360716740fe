//! The output of `helm list`: the releases of a cluster.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use tko_core::BoxError;

/// The identity of a release in a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ReleaseKey {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl fmt::Display for ReleaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// An existing release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundRelease {
    /// The status, such as `deployed`, `failed` or `pending-upgrade`.
    pub(crate) status: String,
}

impl FoundRelease {
    /// Whether the last operation on it succeeded.
    pub(crate) fn is_deployed(&self) -> bool {
        self.status == "deployed"
    }
}

/// Reads the JSON of `helm list`.
///
/// # Errors
/// It is not a list of releases.
pub(crate) fn parse(printed: &[u8]) -> Result<BTreeMap<ReleaseKey, FoundRelease>, BoxError> {
    let printed = printed.trim_ascii();
    if printed.is_empty() {
        return Ok(BTreeMap::new());
    }
    let releases: Vec<Value> = serde_json::from_slice(printed)
        .map_err(|error| format!("helm list printed no list of releases: {error}"))?;
    let releases = releases.iter().map(|release| {
        let text = |key: &str| {
            let value = release[key].as_str().map(str::to_owned);
            value
                .ok_or_else(|| BoxError::from(format!("helm list printed a release without {key}")))
        };
        let key = ReleaseKey {
            namespace: text("namespace")?,
            name: text("name")?,
        };
        let status = text("status")?;
        Ok((key, FoundRelease { status }))
    });
    releases.collect()
}

/// A text as the value of a label: 32 digits of its hash.
pub(crate) fn hash(text: &str) -> String {
    let mut hash = blake3::hash(text.as_bytes()).to_hex().to_string();
    hash.truncate(32);
    hash
}

#[cfg(test)]
mod tests {
    use super::{hash, parse};

    #[test]
    fn releases_are_read_by_namespace_and_name() {
        let found = parse(
            br#"[{"name":"web","namespace":"edge","revision":"2","status":"deployed","chart":"web-1"},
                {"name":"web","namespace":"core","revision":"1","status":"pending-install"}]"#,
        )
        .expect("it is a list");
        let keys: Vec<String> = found.keys().map(ToString::to_string).collect();
        assert_eq!(keys, ["core/web", "edge/web"]);
        assert!(found.values().any(super::FoundRelease::is_deployed));
        assert!(parse(b"").expect("nothing is no release").is_empty());
        assert!(parse(b"[]\n").expect("an empty list").is_empty());
    }

    #[test]
    fn other_output_is_an_error() {
        for printed in [
            "{",
            "{}",
            "[1]",
            r#"[{"name":"a","namespace":1,"status":"x"}]"#,
        ] {
            assert!(parse(printed.as_bytes()).is_err(), "{printed}");
        }
    }

    #[test]
    fn hashes_are_values_of_labels() {
        let one = hash("india/pune/1");
        assert_eq!(one.len(), 32);
        assert!(one.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_ne!(one, hash("india/pune/2"));
    }
}
