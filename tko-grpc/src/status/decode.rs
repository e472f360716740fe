//! Converts a status to an error.

use super::unpack;
use crate::google::{self, BadRequest, ErrorInfo};
use crate::proto::v1alpha2 as wire;
use prost::Message;
use std::error::Error as _;
use tko_core::{Error, Key, Kind};
use tonic::{Code, Status};

/// Converts a status to an error.
///
/// A status of this crate's server becomes the original error, as completely as the requested
/// [`Detail`](super::Detail) permits and without its source. For other statuses the code decides;
/// broken connections, deadlines and cancellations become `Unavailable`. `action` is a verb phrase
/// for errors whose status does not name one, such as `read an entity`.
pub fn to_error(status: Status, action: &'static str) -> Error {
    let details = google::Status::decode(status.details()).unwrap_or_default();
    details
        .find::<wire::Error>()
        .or_else(|| from_info(&details, &status))
        .and_then(|error| unpack(error).ok())
        .unwrap_or_else(|| from_code(status, action))
}

/// The error as far as the standard details describe it.
fn from_info(details: &google::Status, status: &Status) -> Option<wire::Error> {
    let info = details
        .find::<ErrorInfo>()
        .filter(|info| info.domain == super::DOMAIN)?;
    let said = |key: &str| info.metadata.get(key).cloned().unwrap_or_default();
    let argument = said("argument");
    let text = status.message();
    let message = text
        .strip_prefix(&format!("{argument}: "))
        .or_else(|| text.strip_prefix("not authenticated: "))
        .or_else(|| text.strip_prefix("not allowed: "))
        .or_else(|| text.strip_prefix("not implemented: "))
        .unwrap_or(text);
    let violations = match info.metadata.get("violations") {
        None => Vec::new(),
        Some(_) => details
            .find::<BadRequest>()
            .unwrap_or_default()
            .field_violations
            .into_iter()
            .map(|violation| wire::Violation {
                resource: None,
                path: violation.field,
                message: violation.description,
            })
            .collect(),
    };
    Some(wire::Error {
        kind: info.reason.clone(),
        subject: if argument.is_empty() {
            said("action")
        } else {
            argument.clone()
        },
        message: message.to_owned(),
        violations,
        keys: said("keys").split(", ").filter_map(key).collect(),
        claim: info.metadata.contains_key("claim"),
        oldest: said("oldest").parse().unwrap_or(0),
    })
}

/// The alert of a TLS server that refuses the client's certificate, or requires one. It arrives
/// after the handshake, so it looks like a broken connection.
fn certificate_alert(status: &Status) -> Option<&'static str> {
    const ALERTS: [&str; 8] = [
        "CertificateRequired",
        "BadCertificate",
        "UnsupportedCertificate",
        "CertificateRevoked",
        "CertificateExpired",
        "CertificateUnknown",
        "UnknownCA",
        // A certificate by another authority of the same name.
        "DecryptError",
    ];
    let mut cause = status.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if let Some((_, alert)) = text.split_once("received fatal alert: ") {
            let known = |known: &&str| alert.contains(known);
            return ALERTS.into_iter().find(known);
        }
        cause = error.source();
    }
    None
}

fn key(text: &str) -> Option<wire::Key> {
    let (kind, id) = text.split_once(' ')?;
    let key = Key::new(kind.parse::<Kind>().ok()?, id).ok()?;
    Some(crate::wire::scalar::key(&key))
}

fn from_code(status: Status, action: &'static str) -> Error {
    let message = status.message().to_owned();
    if let Some(alert) = certificate_alert(&status) {
        return Error::Unauthenticated(format!(
            "the server refuses the client certificate ({alert}); present one that its client CA \
             has signed and that is valid now"
        ));
    }
    match status.code() {
        // Either side found a message over the size limit.
        Code::OutOfRange | Code::ResourceExhausted | Code::InvalidArgument => {
            Error::bad("message", message)
        }
        Code::Unauthenticated => Error::Unauthenticated(message),
        Code::PermissionDenied => Error::Forbidden(message),
        Code::Unimplemented => Error::NotImplemented(message.into()),
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Cancelled
        | Code::Unknown
        | Code::Aborted => Error::unavailable(action, reason(&status)),
        // Made on this side from a broken connection or stream.
        Code::Internal if status.source().is_some() => Error::unavailable(action, reason(&status)),
        Code::Ok
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::Internal
        | Code::DataLoss => Error::internal(action, status),
    }
}

/// The reason of a failure for people: the message, and the innermost source. The sources in between
/// repeat both, with the names of types.
fn reason(status: &Status) -> String {
    let mut innermost = None;
    let mut source = status.source();
    while let Some(error) = source {
        innermost = Some(error);
        source = error.source();
    }
    let message = match status.message() {
        "" => status.code().description(),
        message => message,
    };
    match innermost.map(ToString::to_string) {
        Some(cause) if cause != message => format!("{message}: {cause}"),
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::reason;
    use std::io;
    use tonic::Status;

    /// O20: the words of a broken connection name no types.
    #[test]
    fn a_broken_connection_is_described_in_words() {
        let refused = io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused");
        let status = Status::from_error(Box::new(refused));
        let words = reason(&status);
        assert!(words.contains("connection refused"), "{words}");
        for noise in ["tonic", "(", "Error", "code:"] {
            assert!(!words.contains(noise), "{words}");
        }
    }
}
