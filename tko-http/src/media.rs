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

/// Decodes the package in the body of a request. An empty body stands for an empty package.
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
    let decode = || Package::decode(body, format, dialect, limits);
    Ok(context.heavy_work.run(package_weight(body), decode).await?)
}

/// A package as a response.
pub(crate) fn package_response(package: &Package, format: Format) -> Response {
    let mut response = package.encode(format).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type(format)));
    headers.insert(VARY, HeaderValue::from_static("accept"));
    response
}

/// The response for a package that the client has already.
pub(crate) fn unchanged_package() -> Response {
    let mut response = StatusCode::NOT_MODIFIED.into_response();
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("accept"));
    response
}

/// The entity tag of a version.
pub(crate) fn etag(version: Version) -> String {
    format!("\"{version}\"")
}

/// What the entity tags of packages in JSON and CBOR end with.
const SUFFIXES: [(Format, &str); 2] = [(Format::Json, "-json"), (Format::Cbor, "-cbor")];

/// The entity tag of a package. It differs by format, because the bytes do.
pub(crate) fn package_etag(version: Version, format: Format) -> String {
    let suffix = SUFFIXES.iter().find(|(one, _)| *one == format);
    let suffix = suffix.map_or("", |(_, suffix)| *suffix);
    format!("\"{version}{suffix}\"")
}

/// The version that an entity tag without its quotes stands for; `None` if no entity has the tag.
fn version_of(opaque: &str) -> Option<Version> {
    let mut suffixes = SUFFIXES.iter();
    let number = suffixes.find_map(|(_, suffix)| opaque.strip_suffix(*suffix));
    let number = number.unwrap_or(opaque).parse::<u64>();
    number.ok().map(Version)
}

/// Adds the entity tag of a version to a response.
pub(crate) fn with_etag(response: Response, version: Version) -> Response {
    with_tag(response, &etag(version))
}

/// Adds an entity tag to a response.
pub(crate) fn with_tag(mut response: Response, tag: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(ETAG, value);
    }
    response
}

/// The precondition of a request on the state of an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Precondition {
    /// `If-Match: "VERSION"`.
    At(Version),
    /// `If-Match` with a list, or with a tag that no version has: one of these versions. If there
    /// are none, the precondition fails.
    OneOf(Vec<Version>),
    /// `If-Match: *`.
    Exists,
    /// `If-None-Match: *`.
    Absent,
}

/// Reads the precondition of a write.
pub(crate) fn precondition(headers: &HeaderMap) -> Result<Option<Precondition>, ProblemResponse> {
    let malformed =
        || ProblemResponse::bad("expected If-Match with entity tags or *, or If-None-Match with *");
    let read = |name| -> Result<Option<String>, ProblemResponse> {
        let values = headers.get_all(name).iter();
        let values = values.map(|value| value.to_str().map_err(|_| malformed()));
        let values = values.collect::<Result<Vec<&str>, _>>()?;
        // Repeated headers are one list.
        Ok((!values.is_empty()).then(|| values.join(",")))
    };
    let (matching, differing) = (read(IF_MATCH)?, read(IF_NONE_MATCH)?);
    match (matching.as_deref(), differing.as_deref()) {
        (None, None) => Ok(None),
        (Some("*"), None) => Ok(Some(Precondition::Exists)),
        (None, Some("*")) => Ok(Some(Precondition::Absent)),
        (Some(tags), None) => required(tags).map(Some).ok_or_else(malformed),
        _ => Err(malformed()),
    }
}

/// The precondition of the entity tags in `If-Match`; `None` if they are malformed.
fn required(tags: &str) -> Option<Precondition> {
    let tags = entity_tags(tags)?;
    let count = tags.len();
    // `If-Match` compares strongly, so a weak tag matches nothing.
    let strong = tags.into_iter().filter(|(_, is_weak)| !is_weak);
    let versions: Vec<Version> = strong
        .filter_map(|(opaque, _)| version_of(opaque))
        .collect();
    let only = versions.first().copied().filter(|_| count == 1);
    Some(match only {
        Some(version) => Precondition::At(version),
        None => Precondition::OneOf(versions),
    })
}

/// Reads a list of entity tags, such as `"1", W/"2"`: each without its quotes, and whether it is
/// weak. `None` if it is malformed or empty.
fn entity_tags(mut text: &str) -> Option<Vec<(&str, bool)>> {
    let mut tags = Vec::new();
    loop {
        text = text.trim_start_matches([' ', '\t', ',']);
        if text.is_empty() {
            return (!tags.is_empty()).then_some(tags);
        }
        let weak = text.strip_prefix("W/");
        let quoted = weak.unwrap_or(text).strip_prefix('"')?;
        let (opaque, rest) = quoted.split_once('"')?;
        tags.push((opaque, weak.is_some()));
        text = rest.trim_start_matches([' ', '\t']);
        if !text.is_empty() && !text.starts_with(',') {
            return None;
        }
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
    has_tag(headers, &etag(version))
}

/// Whether the client has the response with this entity tag already, by `If-None-Match`.
pub(crate) fn has_tag(headers: &HeaderMap, current: &str) -> bool {
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
    use super::{Precondition, is_unchanged, package_etag, precondition, preferred};
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
        for malformed in ["7", "", ",", "\"", "\"1\" \"2\"", "\"1\", *", "w/\"1\""] {
            assert_eq!(read("if-match", malformed), None, "{malformed}");
        }
    }

    #[test]
    fn a_list_of_entity_tags_requires_one_of_them() {
        let read = |value| precondition(&headers("if-match", value)).ok().flatten();
        let one_of = |versions: &[u64]| {
            let versions = versions.iter().copied().map(Version);
            Some(Precondition::OneOf(versions.collect()))
        };
        assert_eq!(read("\"1\", \"2\""), one_of(&[1, 2]));
        assert_eq!(read(",\"1\" ,W/\"2\",\"x,y\""), one_of(&[1]));
        // Neither a weak tag nor one of another server matches a version.
        assert_eq!(read("W/\"1\""), one_of(&[]));
        assert_eq!(read("\"x\""), one_of(&[]));
        let mut twice = headers("if-match", "\"1\"");
        twice.append("if-match", HeaderValue::from_static("\"2\""));
        assert_eq!(precondition(&twice).ok().flatten(), one_of(&[1, 2]));
    }

    #[test]
    fn packages_have_a_tag_for_each_format() {
        let tags = [Format::Yaml, Format::Json, Format::Cbor]
            .map(|format| package_etag(Version(7), format));
        assert_eq!(tags, ["\"7\"", "\"7-json\"", "\"7-cbor\""]);
        for tag in tags {
            let read = precondition(&headers("if-match", &tag)).ok().flatten();
            assert_eq!(read, Some(Precondition::At(Version(7))), "{tag}");
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
