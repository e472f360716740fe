//! Query parameters.

use crate::failure::{KrmAnswer, KrmFailure};
use http::Uri;
use std::time::Duration;

/// Maximum number of bytes of a query.
const MAX_QUERY: usize = 64 * 1024;

/// The parameters of a request, by name. If one is repeated, the first is used, except for
/// `dryRun`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Decodes the query of a URI.
    pub(crate) fn of(uri: &Uri) -> KrmAnswer<Self> {
        let Some(text) = uri.query() else {
            return Ok(Self::default());
        };
        if text.len() > MAX_QUERY {
            return Err(KrmFailure::bad_request("the query is too long"));
        }
        let pairs = text
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Some((decode(name, true)?, decode(value, true)?))
            })
            .collect::<Option<Vec<_>>>();
        pairs
            .map(Self)
            .ok_or_else(|| KrmFailure::bad_request("the query is not correctly encoded"))
    }

    /// The value of a parameter; `None` if it is absent or empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// All values of a parameter.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// A boolean: absent, `false` in any case and `0` are false, anything else is true, as in
    /// Kubernetes. The client for Python sends `False`.
    pub(crate) fn is_true(&self, name: &str) -> bool {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .is_some_and(|(_, value)| value != "0" && !value.eq_ignore_ascii_case("false"))
    }

    /// A number; `None` if it is absent or empty.
    pub(crate) fn number(&self, name: &str) -> KrmAnswer<Option<u64>> {
        self.get(name)
            .map(|text| {
                text.parse().map_err(|_| {
                    KrmFailure::bad_request(format!(
                        "{name}: {text:?} is not a number, 0 or larger"
                    ))
                })
            })
            .transpose()
    }

    /// A resource version; `None` if it is absent or empty.
    pub(crate) fn resource_version(&self) -> KrmAnswer<Option<u64>> {
        let Some(text) = self.get("resourceVersion") else {
            return Ok(None);
        };
        parse_resource_version(text)
            .map(Some)
            .ok_or_else(|| KrmFailure::bad_request(format!("invalid resource version {text:?}")))
    }

    /// `timeoutSeconds`.
    pub(crate) fn timeout(&self) -> KrmAnswer<Option<Duration>> {
        Ok(self.number("timeoutSeconds")?.map(Duration::from_secs))
    }
}

/// Reads a resource version: digits without leading zeros, or `0`.
pub(crate) fn parse_resource_version(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = text == "0" || !text.starts_with('0');
    (digits && canonical).then(|| text.parse().ok()).flatten()
}

/// Decodes percent-encoded text; `form`: `+` is a space. `None` if it is malformed or not UTF-8.
pub(crate) fn decode(text: &str, form: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            b'+' if form => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::{Query, decode, parse_resource_version};

    #[test]
    fn queries_are_decoded() {
        let uri =
            "/x?labelSelector=a%3Db%2Cc&watch&limit=5&dryRun=All&dryRun=x&pretty=0&force=False"
                .parse()
                .expect("a URI");
        let query = Query::of(&uri).expect("well encoded");
        assert_eq!(query.get("labelSelector"), Some("a=b,c"));
        assert!(query.is_true("watch") && !query.is_true("pretty") && !query.is_true("none"));
        assert!(!query.is_true("force"));
        assert_eq!(query.number("limit").expect("a number"), Some(5));
        assert_eq!(query.all("dryRun").collect::<Vec<_>>(), ["All", "x"]);
        assert!(Query::of(&"/x?a=%zz".parse().expect("a URI")).is_err());
    }

    #[test]
    fn resource_versions_are_canonical_numbers() {
        assert_eq!(parse_resource_version("12"), Some(12));
        assert_eq!(parse_resource_version("0"), Some(0));
        for bad in ["", "-1", "+1", "01", "1x", "99999999999999999999999"] {
            assert_eq!(parse_resource_version(bad), None, "{bad:?}");
        }
        assert_eq!(decode("a%2Fb+c", false).as_deref(), Some("a/b+c"));
    }
}
