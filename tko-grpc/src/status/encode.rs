//! Converts an error to a status.

use super::{DOMAIN, Detail, code, pack, reason};
use crate::google::{self, BadRequest, ErrorInfo, FieldViolation, StatusDetail};
use prost::Message;
use std::collections::BTreeMap;
use tko_core::{Error, Key, Subject, Violation};
use tonic::Status;

/// Maximum number of bytes of the text as encoded in headers. The details repeat the text, as
/// clients expect.
const TEXT: usize = 2_000;
/// Maximum number of bytes of violations in short details. Headers encode them as a third more.
const VIOLATIONS: usize = 1_500;
/// Maximum number of bytes of keys in short details.
const KEYS: usize = 500;
/// Maximum number of bytes of full details.
const FULL: usize = 2 * 1024 * 1024;

/// Converts an error to a status.
///
/// Logs the source of an unavailable or internal error, because the status leaves it out.
pub fn from_error(error: &Error, detail: Detail) -> Status {
    log(error);
    let kind = error.kind();
    let mut status = google::Status {
        code: code(kind).into(),
        message: cut(&text(error)),
        details: vec![info(error).any()],
    };
    let full = (detail == Detail::Full)
        .then(|| pack(error))
        .filter(|full| full.encoded_len() <= FULL);
    if let Some(full) = full {
        status.details.push(full.any());
    } else if let Error::BadArgument {
        argument,
        message,
        violations,
    } = error
    {
        status
            .details
            .push(bad_request(argument, message, violations).any());
    }
    let bytes = status.bytes();
    Status::with_details(code(kind), status.message, bytes)
}

/// Logs the source of an error, which callers do not see.
pub(crate) fn log(error: &Error) {
    match error {
        Error::Internal { .. } => tracing::error!(error = error.chain(), "internal error"),
        Error::Unavailable { .. } => tracing::warn!(error = error.chain(), "unavailable"),
        _ => {}
    }
}

/// Whether the text of an action ends with the reason why it failed, as for a validation. Then the
/// log contains nothing more.
pub(super) fn states_reason(action: &str) -> bool {
    action.contains(": ")
}

fn text(error: &Error) -> String {
    match error {
        Error::Internal { action, .. } if states_reason(action) => {
            format!("{error}: internal error")
        }
        Error::Internal { .. } => {
            format!("{error}: internal error; the server's log has the cause")
        }
        Error::Unavailable { action, .. } if states_reason(action) => {
            format!("{error}; try again later")
        }
        Error::Unavailable { .. } => {
            format!("{error}; try again later; the server's log has the cause")
        }
        other => other.to_string(),
    }
}

/// Truncates a text to the bytes that it may use in headers, which encode each byte of a special
/// character as three.
fn cut(text: &str) -> String {
    const MORE: &str = "... (cut)";
    let width = |c: char| {
        if c.is_ascii_alphanumeric() || "-_.,:;/()[]='".contains(c) {
            1
        } else {
            3 * c.len_utf8()
        }
    };
    if text.chars().map(width).sum::<usize>() <= TEXT {
        return text.to_owned();
    }
    let mut left = TEXT - 3 * MORE.len();
    let mut kept = String::new();
    for c in text.chars() {
        match left.checked_sub(width(c)) {
            Some(rest) => left = rest,
            None => break,
        }
        kept.push(c);
    }
    kept + MORE
}

fn info(error: &Error) -> ErrorInfo {
    let mut metadata = BTreeMap::new();
    let mut put = |key: &str, value: String| metadata.insert(key.to_owned(), value);
    match error {
        Error::BadArgument {
            argument,
            violations,
            ..
        } => {
            put("argument", bounded(argument));
            if !violations.is_empty() {
                put("violations", violations.len().to_string());
            }
        }
        Error::NotFound(Subject::Claim(key)) => {
            put("keys", keys(std::slice::from_ref(key)));
            put("claim", "true".to_owned());
        }
        Error::NotFound(Subject::Entity(key))
        | Error::AlreadyExists(key)
        | Error::Busy(key)
        | Error::ClaimExpired(key) => {
            put("keys", keys(std::slice::from_ref(key)));
        }
        Error::Conflict(all) => {
            put("keys", keys(all));
        }
        Error::Expired { oldest } => {
            put("oldest", oldest.to_string());
        }
        Error::Unavailable { action, .. } | Error::Internal { action, .. } => {
            put("action", bounded(action));
        }
        _ => {}
    }
    ErrorInfo {
        reason: reason(error.kind()).to_owned(),
        domain: DOMAIN.to_owned(),
        metadata,
    }
}

/// The first keys that fit, at least one, as `kind id` separated by commas.
fn keys(keys: &[Key]) -> String {
    let mut text = String::new();
    for key in keys {
        let key = key.to_string();
        if !text.is_empty() {
            if text.len() + key.len() > KEYS {
                break;
            }
            text.push_str(", ");
        }
        text.push_str(&key);
    }
    text
}

fn bounded(text: &str) -> String {
    text.chars().take(100).collect()
}

fn bad_request(argument: &str, message: &str, violations: &[Violation]) -> BadRequest {
    if violations.is_empty() {
        return BadRequest {
            field_violations: vec![FieldViolation {
                field: bounded(argument),
                description: message.chars().take(300).collect(),
            }],
        };
    }
    let mut room = VIOLATIONS;
    let mut field_violations = Vec::new();
    for (at, violation) in violations.iter().enumerate() {
        let field = match (&violation.resource, violation.path.as_str()) {
            (Some(resource), "") => resource.to_string(),
            (Some(resource), path) => format!("{resource}: {path}"),
            (None, path) => path.to_owned(),
        };
        let next = FieldViolation {
            field,
            description: violation.message.clone(),
        };
        let Some(rest) = room.checked_sub(next.encoded_len() + 4) else {
            field_violations.push(FieldViolation {
                field: bounded(argument),
                description: format!(
                    "and {} more violations, which do not fit here",
                    violations.len() - at
                ),
            });
            break;
        };
        room = rest;
        field_violations.push(next);
    }
    BadRequest { field_violations }
}
