//! Bodies of writes, and the options that come with them.

use crate::failure::{KrmAnswer, KrmFailure};
use crate::object::MAX_DEPTH;
use crate::query::Query;
use crate::request::ApiRequest;
use http::header::CONTENT_TYPE;
use serde_json::Value;
use tko_core::encoding::{DecodeError, Dialect, Format, Limits, decode};

/// The policy for unknown and duplicate fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

/// The options of a write.
#[derive(Clone, Debug)]
pub(crate) struct WriteOptions {
    pub(crate) dry_run: bool,
    pub(crate) validation: FieldValidation,
    /// `fieldManager`, or the user agent.
    pub(crate) manager: String,
    /// Whether the request names its field manager.
    pub(crate) names_manager: bool,
    pub(crate) force: bool,
}

impl WriteOptions {
    pub(crate) fn of(request: &ApiRequest) -> KrmAnswer<Self> {
        let query = &request.query;
        let validation = match query.get("fieldValidation") {
            None | Some("Warn") => FieldValidation::Warn,
            Some("Strict") => FieldValidation::Strict,
            Some("Ignore") => FieldValidation::Ignore,
            Some(other) => {
                return Err(KrmFailure::invalid_options(
                    "fieldValidation",
                    format!("unknown value {other:?}; expected Ignore, Warn or Strict"),
                ));
            }
        };
        let named = query.get("fieldManager");
        if let Some(name) = named
            && let Err(why) = crate::managed::check_name(name)
        {
            return Err(KrmFailure::invalid_options("fieldManager", why));
        }
        let agent: String = request.user_agent().chars().take(128).collect();
        let agent = if agent.is_empty() {
            "unknown".to_owned()
        } else {
            agent
        };
        Ok(Self {
            dry_run: dry_run(query)?,
            validation,
            manager: named.map_or(agent, str::to_owned),
            names_manager: named.is_some(),
            force: query.is_true("force"),
        })
    }
}

/// The parameter `dryRun`: `All`, or absent.
pub(crate) fn dry_run(query: &Query) -> KrmAnswer<bool> {
    let mut dry = false;
    for value in query.all("dryRun") {
        match value {
            "" => {}
            "All" => dry = true,
            other => return Err(unknown_dry_run(other)),
        }
    }
    Ok(dry)
}

/// The failure about an unknown value of `dryRun`.
pub(crate) fn unknown_dry_run(value: &str) -> Box<KrmFailure> {
    KrmFailure::invalid_options(
        "dryRun",
        format!("unknown value {value:?}; the only one is All"),
    )
}

/// The media type of the body, in lower case without parameters; JSON if there is none.
pub(crate) fn media_type(request: &ApiRequest) -> String {
    let header = request.header(&CONTENT_TYPE).unwrap_or_default();
    let media = header.split(';').next().unwrap_or_default().trim();
    if media.is_empty() {
        "application/json".to_owned()
    } else {
        media.to_ascii_lowercase()
    }
}

/// Reads an object in JSON or YAML. Returns it with warnings about its encoding.
pub(crate) fn object(
    request: &ApiRequest,
    validation: FieldValidation,
) -> KrmAnswer<(Value, Vec<String>)> {
    let format = match media_type(request).as_str() {
        "application/json" => Format::Json,
        "application/yaml" => Format::Yaml,
        _ => {
            return Err(KrmFailure::unsupported_media_type(
                "application/json, application/yaml",
            ));
        }
    };
    parse(&request.body, format, validation)
}

/// Reads the operations of a JSON patch. Equal keys in an operation are treated as in an object.
pub(crate) fn json_patch(
    bytes: &[u8],
    validation: FieldValidation,
) -> KrmAnswer<(Value, Vec<String>)> {
    let patch = serde_json::from_slice(bytes)
        .map_err(|error| KrmFailure::bad_request(format!("cannot read the patch: {error}")))?;
    if validation == FieldValidation::Ignore {
        return Ok((patch, Vec::new()));
    }
    // An operation is one level deeper than its value. Values that are too deep are refused when
    // they are applied.
    let limits = Limits::new().depth(MAX_DEPTH + 1);
    let Err(error @ DecodeError::DuplicateKey { .. }) =
        decode(bytes, Format::Json, Dialect::Programs, &limits)
    else {
        return Ok((patch, Vec::new()));
    };
    let why = tko_core::error::chain(&error);
    if validation == FieldValidation::Strict {
        return Err(KrmFailure::bad_request(format!(
            "strict decoding error: {why}"
        )));
    }
    Ok((patch, vec![why]))
}

/// Reads one object.
pub(crate) fn parse(
    bytes: &[u8],
    format: Format,
    validation: FieldValidation,
) -> KrmAnswer<(Value, Vec<String>)> {
    let dialect = match format {
        Format::Yaml => Dialect::People,
        Format::Json | Format::Cbor => Dialect::Programs,
    };
    let limits = Limits::new().depth(MAX_DEPTH);
    let mut warnings = Vec::new();
    let mut decoded = decode(bytes, format, dialect, &limits);
    if let Err(error @ DecodeError::DuplicateKey { .. }) = &decoded
        && validation != FieldValidation::Strict
        && format == Format::Json
        && let Ok(value) = serde_json::from_slice::<Value>(bytes)
    {
        // Duplicate keys are an error only in strict mode; otherwise the last one wins. The limits
        // hold for the rest as well.
        if validation == FieldValidation::Warn {
            warnings.push(tko_core::error::chain(error));
        }
        let single = serde_json::to_vec(&value).unwrap_or_default();
        decoded = decode(&single, format, dialect, &limits);
    }
    match decoded {
        Ok(mut objects) if objects.len() == 1 => Ok((objects.remove(0), warnings)),
        Ok(objects) => Err(KrmFailure::bad_request(format!(
            "the body has {} objects; expected one",
            objects.len()
        ))),
        Err(error) => {
            let what = match validation {
                FieldValidation::Strict => "strict decoding error",
                FieldValidation::Ignore | FieldValidation::Warn => "cannot read the body",
            };
            let why = tko_core::error::chain(&error);
            Err(KrmFailure::bad_request(format!("{what}: {why}")))
        }
    }
}
