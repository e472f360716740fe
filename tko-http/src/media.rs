//! Media types: package formats in `Accept` and `Content-Type`, and entity tags.

use crate::context::HttpContext;
use crate::problem::ProblemResponse;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, CONTENT_TYPE, ETAG, HeaderValue, IF_MATCH, IF_NONE_MATCH, VARY};
use http::{HeaderMap, StatusCode};
use tko_core::{Dialect, Format, Package, Version};
use tko_serve::package_weight;

/// Newline-delimited JSON: one value on each line.
pub(crate) const NDJSON: &str = "application/x-ndjson";

/// The media type of a package format.
pub(crate) fn media_type(format: Format) -> &'static str {
    match format {
        Format::Yaml => "application/yaml",
        Format::Json => "application/json",
        Format::Cbor => "application/cbor",
    }
}

fn format_of(media: &str) -> Option<Format> {
    match media {
        "application/yaml" | "application/x-yaml" | "text/yaml" | "text/x-yaml" => {
            Some(Format::Yaml)
        }
        "application/json" => Some(Format::Json),
        "application/cbor" => Some(Format::Cbor),
        _ => None,
    }
}

/// The essence of a media type: without parameters, in lower case.
fn essence(text: &str) -> String {
    text.split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

/// The content type of a request, without parameters; empty if there is none.
pub(crate) fn content_type(headers: &HeaderMap) -> String {
    let text = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    essence(text.unwrap_or_default())
}

/// Whether the client accepts this media type by name.
pub(crate) fn accepts(headers: &HeaderMap, media: &str) -> bool {
    accepted(headers).iter().any(|(one, _)| one == media)
}

/// The accepted media types with their weights, the heaviest first.
fn accepted(headers: &HeaderMap) -> Vec<(String, f32)> {
    let mut types: Vec<(String, f32)> = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .take(64)
        .map(|one| {
            let weight = one.split(';').skip(1).find_map(|parameter| {
                parameter
                    .trim()
                    .strip_prefix("q=")
                    .and_then(|q| q.parse().ok())
            });
            (essence(one), weight.unwrap_or(1.0))
        })
        .filter(|(_, weight)| *weight > 0.0)
        .collect();
    types.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    types
}

/// The package format that the client prefers; YAML if it does not care.
pub(crate) fn preferred(headers: &HeaderMap) -> Result<Format, ProblemResponse> {
    let accepted = accepted(headers);
    if accepted.is_empty() {
        return Ok(Format::Yaml);
    }
    accepted
        .iter()
        .find_map(|(media, _)| match media.as_str() {
            "*/*" | "application/*" | "text/*" => Some(Format::Yaml),
            media => format_of(media),
        })
        .ok_or_else(|| {
            ProblemResponse::new(
                StatusCode::NOT_ACCEPTABLE,
                "not-acceptable",
                "packages are served as application/yaml, application/json or application/cbor",
            )
        })
}

/// Decodes the package in the body of a request. No bytes are an empty package.
pub(crate) async fn package(
    context: &HttpContext,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Package, ProblemResponse> {
    if body.is_empty() {
        return Ok(Package::default());
    }
    let media = content_type(headers);
    let format = if media.is_empty() {
        Some(Format::Yaml)
    } else {
        format_of(&media)
    };
    let Some(format) = format else {
        return Err(ProblemResponse::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            format!(
                "a package cannot be read from {media:?}; send application/yaml, \
                 application/json or application/cbor"
            ),
        ));
    };
    let dialect = match format {
        Format::Yaml => Dialect::People,
        Format::Json | Format::Cbor => Dialect::Programs,
    };
    let limits = &context.settings.limits;
    let decoding = async { Package::decode(body, format, dialect, limits) };
    Ok(context.workshop.run(package_weight(body), decoding).await?)
}

/// A package as a response.
pub(crate) fn package_response(package: &Package, format: Format) -> Response {
    let mut response = package.encode(format).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type(format)));
    headers.insert(VARY, HeaderValue::from_static("accept"));
    response
}

/// The entity tag of a version.
pub(crate) fn etag(version: Version) -> String {
    format!("\"{version}\"")
}

/// Adds the entity tag of a version to a response.
pub(crate) fn with_etag(mut response: Response, version: Version) -> Response {
    if let Ok(value) = HeaderValue::from_str(&etag(version)) {
        response.headers_mut().insert(ETAG, value);
    }
    response
}

/// The precondition of a request on the state of an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Precondition {
    /// `If-Match: "VERSION"`.
    At(Version),
    /// `If-Match: *`.
    Exists,
    /// `If-None-Match: *`.
    Absent,
}

/// Reads the precondition of a write.
pub(crate) fn precondition(headers: &HeaderMap) -> Result<Option<Precondition>, ProblemResponse> {
    let malformed = || {
        ProblemResponse::bad("expected If-Match with one entity tag or *, or If-None-Match with *")
    };
    let read = |name| -> Result<Option<&str>, ProblemResponse> {
        let mut values = headers.get_all(name).iter();
        let first = values
            .next()
            .map(|value| value.to_str().map_err(|_| malformed()));
        if values.next().is_some() {
            return Err(malformed());
        }
        first.transpose()
    };
    match (read(IF_MATCH)?, read(IF_NONE_MATCH)?) {
        (None, None) => Ok(None),
        (Some("*"), None) => Ok(Some(Precondition::Exists)),
        (None, Some("*")) => Ok(Some(Precondition::Absent)),
        (Some(tag), None) => {
            let version = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
            let version = version.and_then(|version| version.parse().ok());
            Ok(Some(Precondition::At(Version(
                version.ok_or_else(malformed)?,
            ))))
        }
        _ => Err(malformed()),
    }
}

/// Refuses a precondition where none can be checked: ignoring it would lose the changes of others.
pub(crate) fn without_precondition(headers: &HeaderMap, verb: &str) -> Result<(), ProblemResponse> {
    if precondition(headers)?.is_none() {
        return Ok(());
    }
    Err(ProblemResponse::bad(format!(
        "cannot {verb} under a precondition; remove If-Match and If-None-Match"
    )))
}

/// Whether the client has this version already, by `If-None-Match`.
pub(crate) fn is_unchanged(headers: &HeaderMap, version: Version) -> bool {
    let current = etag(version);
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == "*" || tag == current)
}

#[cfg(test)]
mod tests {
    use super::{Precondition, is_unchanged, precondition, preferred};
    use http::{HeaderMap, HeaderName, HeaderValue};
    use tko_core::{Format, Version};

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let value = HeaderValue::from_str(value).expect("a value");
        HeaderMap::from_iter([(HeaderName::from_static(name), value)])
    }

    #[test]
    fn the_heaviest_known_format_is_preferred() {
        for (accept, format) in [
            ("application/json", Some(Format::Json)),
            ("text/html, */*;q=0.1", Some(Format::Yaml)),
            (
                "application/json;q=0.5, application/cbor",
                Some(Format::Cbor),
            ),
            ("application/json;q=0, text/yaml", Some(Format::Yaml)),
            ("text/html", None),
        ] {
            let preferred = preferred(&headers("accept", accept)).ok();
            assert_eq!(preferred, format, "{accept}");
        }
        assert_eq!(preferred(&HeaderMap::new()).ok(), Some(Format::Yaml));
    }

    #[test]
    fn preconditions_are_read_strictly() {
        let read = |name, value| precondition(&headers(name, value)).ok();
        assert_eq!(
            read("if-match", "\"7\""),
            Some(Some(Precondition::At(Version(7))))
        );
        assert_eq!(read("if-match", "*"), Some(Some(Precondition::Exists)));
        assert_eq!(read("if-none-match", "*"), Some(Some(Precondition::Absent)));
        for malformed in ["7", "\"x\"", "\"1\", \"2\"", "\""] {
            assert_eq!(read("if-match", malformed), None, "{malformed}");
        }
    }

    #[test]
    fn a_known_version_is_unchanged() {
        for (tags, unchanged) in [("\"7\"", true), ("\"6\", W/\"7\"", true), ("\"8\"", false)] {
            let headers = headers("if-none-match", tags);
            assert_eq!(is_unchanged(&headers, Version(7)), unchanged, "{tags}");
        }
    }
}
