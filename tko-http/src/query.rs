//! [`ApiQuery`]: the query of a request, read strictly, and the selections that it describes.

use crate::problem::ProblemResponse;
use axum::extract::{FromRequestParts, Query};
use http::Uri;
use http::request::Parts;
use std::collections::BTreeMap;
use std::str::FromStr;
use tko_core::select::MetadataPatterns;
use tko_core::view::DeploymentState;
use tko_core::{DeploymentId, Error, Gvk, Kind, Metadata, Pattern, Result, Select};

/// Maximum number of parameters of one request.
const MAX_PARAMETERS: usize = 256;

/// Maximum number of fields of one form, which can name many rows of a list.
const MAX_FIELDS: usize = 4_096;

/// The parameters of a request that have not been read yet. Any that remain at the end are an
/// error.
#[derive(Clone, Debug, Default)]
pub(crate) struct ApiQuery(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for ApiQuery {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ProblemResponse> {
        Self::from_uri(&parts.uri)
    }
}

impl ApiQuery {
    fn from_uri(uri: &Uri) -> Result<Self, ProblemResponse> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|error| ProblemResponse::bad(format!("malformed query: {error}")))?;
        check_count(pairs.len(), MAX_PARAMETERS)?;
        Self::checked(pairs)
    }

    /// Reads the fields of a form.
    pub(crate) fn from_form(body: &[u8]) -> Result<Self, ProblemResponse> {
        // A form has the syntax of a query.
        let pairs = body
            .split(|byte| *byte == b'&')
            .filter(|pair| !pair.is_empty());
        // Counted before any is decoded: a pair takes many times the memory of its text.
        check_count(pairs.clone().count(), MAX_FIELDS)?;
        let pairs = pairs.map(|pair| {
            let mut parts = pair.splitn(2, |byte| *byte == b'=');
            let mut part = || decoded(parts.next().unwrap_or_default());
            Ok((part()?, part()?))
        });
        Self::checked(pairs.collect::<Result<_, ProblemResponse>>()?)
    }

    fn checked(pairs: Vec<(String, String)>) -> Result<Self, ProblemResponse> {
        if pairs.iter().any(|(_, value)| value.contains('\0')) {
            return Err(ProblemResponse::bad(
                "a parameter contains the character NUL",
            ));
        }
        Ok(Self(pairs))
    }

    /// Takes all values of a parameter that may be repeated. Empty ones are ignored.
    pub(crate) fn all(&mut self, name: &str) -> Vec<String> {
        let mut values = Vec::new();
        self.0.retain_mut(|(key, value)| {
            let taken = key == name;
            if taken && !value.is_empty() {
                values.push(std::mem::take(value));
            }
            !taken
        });
        values
    }

    /// Takes a parameter that must not be repeated. An empty one is absent.
    pub(crate) fn text(&mut self, name: &'static str) -> Result<Option<String>> {
        let mut values = self.all(name);
        let last = values.pop();
        if values.is_empty() {
            Ok(last)
        } else {
            Err(Error::bad(name, "is given more than once; give it once"))
        }
    }

    /// Takes a parameter and parses it.
    pub(crate) fn parsed<T: FromStr<Err: std::fmt::Display>>(
        &mut self,
        name: &'static str,
        expected: &str,
    ) -> Result<Option<T>> {
        self.text(name)?
            .map(|text| {
                text.parse().map_err(|error| {
                    Error::bad(name, format!("{text:?}: {error}; expected {expected}"))
                })
            })
            .transpose()
    }

    /// Takes a number.
    pub(crate) fn number<T: FromStr<Err: std::fmt::Display>>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<T>> {
        self.parsed(name, "a number that is not negative")
    }

    /// Takes `true` or `false`.
    pub(crate) fn boolean(&mut self, name: &'static str) -> Result<Option<bool>> {
        match self.text(name)?.as_deref() {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => {
                let message = format!("expected true or false, got {other:?}");
                Err(Error::bad(name, message))
            }
        }
    }

    /// Takes a word of a type whose error says which words are expected.
    pub(crate) fn word<T: FromStr<Err = Error>>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<T>> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        text.parse::<T>().map(Some).map_err(|error| match error {
            // The name of the parameter replaces that of the type.
            Error::BadArgument { message, .. } => Error::bad(name, message),
            other => other,
        })
    }

    /// Takes metadata, each `KEY=VALUE`.
    pub(crate) fn metadata(&mut self) -> Result<Metadata> {
        let mut metadata = Metadata::default();
        for text in self.all("metadata") {
            let (key, value) = pair("metadata", &text)?;
            if metadata.contains_key(key) {
                return Err(Error::bad(
                    "metadata",
                    format!("key {key:?} is given twice"),
                ));
            }
            metadata.insert(key, value);
        }
        Ok(metadata)
    }

    /// Takes the filters of a kind.
    pub(crate) fn select(&mut self, kind: Kind) -> Result<Select> {
        let mut select = Select::all(kind);
        match kind {
            Kind::Template => {
                select.ids = self.ids("id")?;
                select.metadata = self.patterns("metadata")?;
            }
            Kind::Site => {
                select.ids = self.ids("id")?;
                select.metadata = self.patterns("metadata")?;
                select.template_ids = self.ids("template-id")?;
            }
            Kind::Deployment => {
                select.ids = self.ids("id")?;
                select.metadata = self.patterns("metadata")?;
                select.template_ids = self.ids("template-id")?;
                select.template_metadata = self.patterns("template-metadata")?;
                select.site_ids = self.ids("site-id")?;
                select.site_metadata = self.patterns("site-metadata")?;
                let parent = self.text("parent")?;
                select.parent = parent.map(|id| DeploymentId::new(&id)).transpose()?;
                select.prepared = self.boolean("prepared")?;
                select.approved = self.boolean("approved")?;
            }
            Kind::Plugin => {
                select.plugin_type = self.word("type")?;
                select.ids = self.ids("name")?;
                select.executor = self.text("executor")?;
                select.trigger = self.text("trigger")?.map(|text| gvk(&text)).transpose()?;
            }
        }
        Ok(select)
    }

    /// Takes the state of entities of a kind.
    pub(crate) fn state(&mut self, kind: Kind) -> Result<Option<DeploymentState>> {
        let text = self.text("state")?;
        text.map(|text| DeploymentState::parse(kind, &text))
            .transpose()
    }

    fn ids(&mut self, name: &'static str) -> Result<Vec<Pattern>> {
        let patterns = self.all(name);
        let parsed = patterns.iter().map(|text| Pattern::id(text));
        let parsed = parsed.collect::<std::result::Result<_, _>>();
        parsed.map_err(|error| Error::bad(name, error.to_string()))
    }

    fn patterns(&mut self, name: &'static str) -> Result<MetadataPatterns> {
        let mut patterns = BTreeMap::new();
        for text in self.all(name) {
            let (key, value) = pair(name, &text)?;
            let pattern =
                Pattern::value(value).map_err(|error| Error::bad(name, error.to_string()))?;
            if patterns.insert(key.to_owned(), pattern).is_some() {
                return Err(Error::bad(name, format!("key {key:?} is given twice")));
            }
        }
        Ok(patterns)
    }

    /// Checks that no parameter is empty, as from an unset variable: in a write, an absent filter
    /// must not widen the selection.
    pub(crate) fn without_empty(self) -> Result<Self> {
        match self.0.iter().find(|(_, value)| value.is_empty()) {
            None => Ok(self),
            Some((name, _)) => Err(Error::bad(
                "query",
                format!("parameter {name:?} is empty; give it a value, or leave it out"),
            )),
        }
    }

    /// Checks that every parameter was taken.
    pub(crate) fn end(self) -> Result<()> {
        match self.0.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => Err(Error::bad(
                "query",
                format!("unknown parameter {name:?}; see /api/v1/openapi.json"),
            )),
        }
    }
}

/// Refuses too many parameters.
fn check_count(count: usize, most: usize) -> Result<(), ProblemResponse> {
    if count > most {
        let detail = format!("there are {count} parameters; at most {most} are allowed");
        return Err(ProblemResponse::bad(detail));
    }
    Ok(())
}

/// Decodes a part of a form: `+` is a space, `%` begins two hexadecimal digits.
fn decoded(part: &[u8]) -> Result<String, ProblemResponse> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part;
    while let [first, after @ ..] = rest {
        rest = after;
        bytes.push(match (first, after) {
            (b'+', _) => b' ',
            (b'%', [one, two, after @ ..]) => {
                rest = after;
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                let value = digit(one).zip(digit(two)).map(|(one, two)| one * 16 + two);
                let value = value.and_then(|value| u8::try_from(value).ok());
                value.ok_or_else(|| ProblemResponse::bad("malformed form"))?
            }
            (byte, _) => *byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| ProblemResponse::bad("a form must be UTF-8"))
}

fn pair<'a>(name: &'static str, text: &'a str) -> Result<(&'a str, &'a str)> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key, value)),
        _ => Err(Error::bad(
            name,
            format!("expected KEY=VALUE, got {text:?}"),
        )),
    }
}

fn gvk(text: &str) -> Result<Gvk> {
    let parts: Vec<&str> = text.split(',').collect();
    let [group, version, kind] = parts[..] else {
        let expected = format!("expected GROUP,VERSION,KIND, got {text:?}");
        return Err(Error::bad("trigger", expected));
    };
    let gvk = Gvk::new(group, version, kind);
    gvk.check_trigger()?;
    Ok(gvk)
}

/// Percent-encodes a text as one path segment or query value.
pub(crate) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            for digit in [byte >> 4, byte & 15] {
                let digit = char::from_digit(u32::from(digit), 16).unwrap_or('0');
                encoded.push(digit.to_ascii_uppercase());
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::{ApiQuery, MAX_FIELDS};
    use tko_core::Kind;

    fn query(pairs: &[(&str, &str)]) -> ApiQuery {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        ApiQuery(pairs.iter().map(own).collect())
    }

    #[test]
    fn filters_become_a_selection() {
        let mut query = query(&[
            ("template-id", "nf/*"),
            ("metadata", "a=b*"),
            ("prepared", "true"),
            ("approved", ""),
        ]);
        let select = query.select(Kind::Deployment).expect("filters");
        assert_eq!(select.template_ids.len(), 1);
        assert_eq!(select.metadata["a"].as_str(), "b*");
        assert_eq!((select.prepared, select.approved), (Some(true), None));
        assert!(query.end().is_ok());
    }

    #[test]
    fn the_fields_of_a_form_are_counted_before_they_are_decoded() {
        let most = "a=b&".repeat(MAX_FIELDS);
        assert!(ApiQuery::from_form(most.as_bytes()).is_ok());
        // Decoding the last field would fail.
        let more = format!("{most}&&%zz");
        let refused = ApiQuery::from_form(more.as_bytes()).expect_err("too many");
        assert!(
            refused.detail().contains("4097 parameters"),
            "{}",
            refused.detail()
        );
    }

    #[test]
    fn errors_say_once_what_is_expected() {
        let refused = query(&[("kind", "foo")]).word::<Kind>("kind");
        assert_eq!(
            refused.expect_err("unknown").to_string(),
            "kind: unknown kind \"foo\"; expected template, site, deployment or plugin"
        );
        for (kind, name) in [(Kind::Plugin, "type"), (Kind::Deployment, "prepared")] {
            let refused = query(&[(name, "foo")]).select(kind);
            let text = refused.expect_err("unknown").to_string();
            assert_eq!(text.matches("expected").count(), 1, "{text}");
            assert_eq!(text.matches("foo").count(), 1, "{text}");
        }
    }

    #[test]
    fn what_is_malformed_or_unknown_is_refused() {
        for (name, value) in [
            ("prepared", "banana"),
            ("metadata", "novalue"),
            ("metadata", "=x"),
            ("parent", "a/b"),
        ] {
            let refused = query(&[(name, value)]).select(Kind::Deployment);
            assert!(refused.is_err(), "{name}={value}");
        }
        let twice = query(&[("parent", "a"), ("parent", "b")]).select(Kind::Deployment);
        assert!(twice.is_err());
        let mut unknown = query(&[("colour", "red")]);
        assert!(unknown.select(Kind::Site).is_ok());
        let error = unknown.end().expect_err("unknown");
        assert!(error.to_string().contains("colour"), "{error}");
    }
}
