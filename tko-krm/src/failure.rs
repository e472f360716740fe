//! [`KrmFailure`]: an error as a Kubernetes `Status`.

use crate::resource::{GROUP, ResourceType};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use tko_core::{Error, ErrorKind};
use tko_serve::BrowserRefusal;

/// Seconds after which a client should retry when the server is busy.
const RETRY_SECONDS: u32 = 1;

/// The result of handling a request.
pub(crate) type KrmAnswer<T> = std::result::Result<T, Box<KrmFailure>>;

/// A failed request: code, reason, message and details of a `Status`.
#[derive(Clone, Debug)]
pub(crate) struct KrmFailure {
    pub(crate) code: u16,
    reason: &'static str,
    message: String,
    resource: Option<&'static ResourceType>,
    name: Option<String>,
    causes: Vec<StatusCause>,
    pub(crate) retry_after: Option<u32>,
    /// Whether the object changed meanwhile, so that the request may be handled again.
    is_raced: bool,
    /// Additional fields of `metadata`, such as a new `continue` token.
    metadata: Map<String, Value>,
}

/// One cause in the details of a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StatusCause {
    /// A reason for programs, such as `FieldValueInvalid`.
    pub(crate) reason: Cow<'static, str>,
    /// The message for people.
    pub(crate) message: String,
    /// The path of the field; empty if no field is at fault.
    pub(crate) field: String,
}

impl StatusCause {
    /// The cause that the value of a field is invalid.
    pub(crate) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            reason: "FieldValueInvalid".into(),
            message: message.into(),
            field: field.into(),
        }
    }

    /// The cause that a field is forbidden or cannot change.
    pub(crate) fn forbidden(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            reason: "FieldValueForbidden".into(),
            ..Self::invalid(field, message)
        }
    }
}

impl KrmFailure {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            resource: None,
            name: None,
            causes: Vec::new(),
            retry_after: None,
            is_raced: false,
            metadata: Map::new(),
        }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Box<Self> {
        Box::new(Self::new(400, "BadRequest", message))
    }

    pub(crate) fn unauthorized() -> Box<Self> {
        Box::new(Self::new(401, "Unauthorized", "Unauthorized"))
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Box<Self> {
        Box::new(Self::new(403, "Forbidden", message))
    }

    /// A page of another origin made a browser send the request.
    pub(crate) fn foreign_page(refusal: &BrowserRefusal) -> Box<Self> {
        let code = refusal.status().as_u16();
        let reason = if *refusal == BrowserRefusal::CrossOrigin {
            "Forbidden"
        } else {
            // Kubernetes has no reason for the status 421.
            "MisdirectedRequest"
        };
        Box::new(Self::new(code, reason, refusal.to_string()))
    }

    /// The path is not served.
    pub(crate) fn no_path() -> Box<Self> {
        Box::new(Self::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        ))
    }

    pub(crate) fn not_found(resource: &'static ResourceType, name: &str) -> Box<Self> {
        let message = format!("{}.{GROUP} {name:?} not found", resource.plural);
        Box::new(Self::new(404, "NotFound", message).of(resource, name))
    }

    pub(crate) fn already_exists(resource: &'static ResourceType, name: &str) -> Box<Self> {
        let message = format!("{}.{GROUP} {name:?} already exists", resource.plural);
        Box::new(Self::new(409, "AlreadyExists", message).of(resource, name))
    }

    /// Tells the client that it can repeat the request, which gets another generated name.
    pub(crate) fn with_other_name(mut self: Box<Self>) -> Box<Self> {
        if self.reason == "AlreadyExists" {
            self.retry_after = Some(RETRY_SECONDS);
        }
        self
    }

    pub(crate) fn conflict(
        resource: &'static ResourceType,
        name: &str,
        why: impl AsRef<str>,
    ) -> Box<Self> {
        let message = format!(
            "Operation cannot be fulfilled on {}.{GROUP} {name:?}: {}",
            resource.plural,
            why.as_ref()
        );
        Box::new(Self::new(409, "Conflict", message).of(resource, name))
    }

    /// An apply met fields of other managers.
    pub(crate) fn apply_conflict(
        resource: &'static ResourceType,
        name: &str,
        causes: Vec<StatusCause>,
    ) -> Box<Self> {
        let many = if causes.len() == 1 { "" } else { "s" };
        let list = causes
            .iter()
            .map(|cause| format!("{}: {}", cause.message, cause.field))
            .collect::<Vec<_>>()
            .join("; ");
        let message = format!("Apply failed with {} conflict{many}: {list}", causes.len());
        let mut failure = Self::new(409, "Conflict", message).of(resource, name);
        failure.causes = causes;
        Box::new(failure)
    }

    /// The object is invalid.
    pub(crate) fn invalid(
        resource: &'static ResourceType,
        name: &str,
        causes: Vec<StatusCause>,
    ) -> Box<Self> {
        let list = causes
            .iter()
            .map(|cause| match cause.field.as_str() {
                "" => cause.message.clone(),
                field => format!("{field}: {}", cause.message),
            })
            .collect::<Vec<_>>()
            .join("; ");
        let message = format!("{}.{GROUP} {name:?} is invalid: {list}", resource.name);
        let mut failure = Self::new(422, "Invalid", message).of(resource, name);
        failure.causes = causes;
        Box::new(failure)
    }

    /// A parameter of the request has an invalid value.
    pub(crate) fn invalid_options(field: &str, message: impl Into<String>) -> Box<Self> {
        let message = message.into();
        let mut failure = Self::new(422, "Invalid", format!("{field}: {message}"));
        failure.causes = vec![StatusCause::invalid(field, message)];
        Box::new(failure)
    }

    pub(crate) fn method_not_allowed() -> Box<Self> {
        Box::new(Self::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        ))
    }

    pub(crate) fn not_acceptable(served: &str) -> Box<Self> {
        let message =
            format!("only the following media types are accepted in a response: {served}");
        Box::new(Self::new(406, "NotAcceptable", message))
    }

    pub(crate) fn unsupported_media_type(supported: &str) -> Box<Self> {
        let message = format!(
            "the body of the request was in an unknown format; accepted media types: {supported}"
        );
        Box::new(Self::new(415, "UnsupportedMediaType", message))
    }

    pub(crate) fn too_large(limit: usize) -> Box<Self> {
        let message = format!("limit is {limit} bytes: the body of the request is too large");
        Box::new(Self::new(413, "RequestEntityTooLarge", message))
    }

    /// A patch has more operations, or copies more, than allowed.
    pub(crate) fn too_large_patch(message: impl Into<String>) -> Box<Self> {
        Box::new(Self::new(413, "RequestEntityTooLarge", message))
    }

    /// The state at a resource version is no longer kept.
    pub(crate) fn expired(message: impl Into<String>) -> Box<Self> {
        Box::new(Self::new(410, "Expired", message))
    }

    /// The resource version is newer than the state of the server.
    pub(crate) fn too_new(asked: u64, current: u64) -> Box<Self> {
        let message = format!("Too large resource version: {asked}, current: {current}");
        let mut failure = Self::new(504, "Timeout", message);
        failure.retry_after = Some(RETRY_SECONDS);
        failure.causes = vec![StatusCause {
            reason: "ResourceVersionTooLarge".into(),
            message: "Too large resource version".to_owned(),
            field: String::new(),
        }];
        Box::new(failure)
    }

    pub(crate) fn too_many_requests(message: impl Into<String>) -> Box<Self> {
        let mut failure = Self::new(429, "TooManyRequests", message);
        failure.retry_after = Some(RETRY_SECONDS);
        Box::new(failure)
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Box<Self> {
        let mut failure = Self::new(503, "ServiceUnavailable", message);
        failure.retry_after = Some(RETRY_SECONDS);
        Box::new(failure)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Box<Self> {
        Box::new(Self::new(500, "InternalError", message))
    }

    /// An error of the data service about this object.
    pub(crate) fn from_error(
        error: &Error,
        resource: &'static ResourceType,
        name: &str,
    ) -> Box<Self> {
        match (error.kind(), error) {
            (ErrorKind::NotFound, _) => Self::not_found(resource, name),
            (ErrorKind::AlreadyExists, _) => Self::already_exists(resource, name),
            (ErrorKind::Conflict, _) => Self::conflict(
                resource,
                name,
                "the object has been modified; please apply your changes to the latest version \
                 and try again",
            ),
            (ErrorKind::Busy | ErrorKind::ClaimExpired, error) => {
                let mut failure = Self::conflict(resource, name, error.to_string());
                failure.retry_after = Some(RETRY_SECONDS);
                failure
            }
            (
                ErrorKind::BadArgument,
                Error::BadArgument {
                    argument,
                    message,
                    violations,
                },
            ) => {
                let causes = if violations.is_empty() {
                    let field = match argument.as_ref() {
                        "package" => "spec.package",
                        _ => "spec",
                    };
                    vec![StatusCause::invalid(
                        field,
                        format!("{argument}: {message}"),
                    )]
                } else {
                    violations
                        .iter()
                        .map(|violation| {
                            StatusCause::invalid("spec.package.resources", violation.to_string())
                        })
                        .collect()
                };
                Self::invalid(resource, name, causes)
            }
            (_, error) => Self::from_other(error),
        }
    }

    /// An error of the data service that does not concern an object.
    pub(crate) fn from_other(error: &Error) -> Box<Self> {
        match error.kind() {
            ErrorKind::BadArgument | ErrorKind::NotFound => Self::bad_request(error.to_string()),
            ErrorKind::Expired => Self::expired(error.to_string()),
            ErrorKind::Unauthenticated => Self::unauthorized(),
            ErrorKind::Forbidden => Self::forbidden(error.to_string()),
            ErrorKind::NotImplemented => Self::method_not_allowed(),
            ErrorKind::Conflict
            | ErrorKind::AlreadyExists
            | ErrorKind::Busy
            | ErrorKind::ClaimExpired
            | ErrorKind::Unavailable => {
                tracing::warn!(error = error.chain(), "the data service is unavailable");
                Self::unavailable(error.to_string())
            }
            // Internal, and kinds that a later version adds.
            _ => {
                tracing::error!(error = error.chain(), "a request failed");
                Self::internal(error.to_string())
            }
        }
    }

    /// An error of reading a change. `expired` is the failure of a client that must list again.
    pub(crate) fn from_change(error: &Error, expired: Box<Self>) -> Box<Self> {
        match error {
            Error::Expired { .. } => expired,
            // A retry would fail again, whereas a new list does not read the change.
            Error::Internal { .. } => {
                tracing::error!(
                    error = error.chain(),
                    "cannot read a change for a list or a watch"
                );
                expired
            }
            error => Self::from_other(error),
        }
    }

    /// Adds the name of the object to the failure.
    pub(crate) fn about(
        mut self: Box<Self>,
        resource: &'static ResourceType,
        name: &str,
    ) -> Box<Self> {
        self.resource = Some(resource);
        self.name = Some(name.to_owned());
        self
    }

    /// Marks the failure as the result of a race.
    pub(crate) fn raced(mut self: Box<Self>) -> Box<Self> {
        self.is_raced = true;
        self
    }

    /// Whether the object changed meanwhile, so that the request may be handled again.
    pub(crate) fn is_raced(&self) -> bool {
        self.is_raced
    }

    fn of(mut self, resource: &'static ResourceType, name: &str) -> Self {
        self.resource = Some(resource);
        self.name = Some(name.to_owned());
        self
    }

    /// Adds a field to the `metadata` of the status.
    pub(crate) fn with_metadata(mut self: Box<Self>, key: &str, value: Value) -> Box<Self> {
        self.metadata.insert(key.to_owned(), value);
        self
    }

    /// The `Status` object.
    pub(crate) fn to_status(&self) -> Value {
        let mut details = Map::new();
        if let Some(name) = &self.name {
            details.insert("name".into(), name.as_str().into());
        }
        if let Some(resource) = self.resource {
            details.insert("group".into(), GROUP.into());
            details.insert("kind".into(), resource.plural.into());
        }
        if !self.causes.is_empty() {
            let causes = self.causes.iter().map(|cause| {
                let mut map = Map::new();
                map.insert("reason".into(), cause.reason.as_ref().into());
                map.insert("message".into(), cause.message.as_str().into());
                if !cause.field.is_empty() {
                    map.insert("field".into(), cause.field.as_str().into());
                }
                Value::Object(map)
            });
            details.insert("causes".into(), causes.collect());
        }
        if let Some(seconds) = self.retry_after {
            details.insert("retryAfterSeconds".into(), seconds.into());
        }
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.metadata,
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        });
        if !details.is_empty() {
            status["details"] = Value::Object(details);
        }
        status
    }
}

/// The `Status` of a finished deletion.
pub(crate) fn deleted(resource: &'static ResourceType, name: &str, uid: &str) -> Value {
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {"name": name, "group": GROUP, "kind": resource.plural, "uid": uid},
    })
}
