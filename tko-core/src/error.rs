//! The error of every layer: one variant for each action that a caller can take.
//!
//! The text of an error does not include its source; [`Error::chain`] does. [`ErrorKind`] survives
//! the conversion to gRPC codes, HTTP statuses and Kubernetes reasons and back.

use crate::builder::chainable;
use crate::id::Key;
use crate::resource::Identifier;
use crate::revision::Revision;
use std::borrow::Cow;
use std::fmt;

/// The result of fallible functions of this workspace.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of a lower layer.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// One fault that validation found in a package.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// The resource with the fault; `None` means the package as a whole.
    pub resource: Option<Identifier>,
    /// The place in the resource, such as `spec.template.spec.containers[0].image`; empty means the
    /// resource as a whole.
    pub path: String,
    /// The message for people: what is wrong, and what is expected.
    pub message: String,
}

impl Violation {
    /// A violation of the package as a whole.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            resource: None,
            path: String::new(),
            message: message.into(),
        }
    }

    chainable! {
        /// Sets the resource in which it was found.
        resource: into Option<Identifier>;
        /// Sets the place within the resource.
        path: into String;
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(resource) = &self.resource {
            write!(f, "{resource}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// The thing that does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Subject {
    /// An entity.
    Entity(Key),
    /// A lease or modification of this entity: it was never started, was used, or was cancelled.
    Claim(Key),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entity(key) => write!(f, "{key} does not exist"),
            Self::Claim(key) => write!(
                f,
                "there is no such lease or modification of {key}: it was used, cancelled, or never issued; start again"
            ),
        }
    }
}

/// An error of a request. A write that fails with anything but
/// [`Unavailable`](Self::Unavailable) changed nothing.
///
/// ```
/// use tko_core::{Error, ErrorKind, Key, SiteId};
///
/// let error = Error::Busy(Key::from(SiteId::new("south-100")?));
/// assert_eq!(error.kind(), ErrorKind::Busy);
/// assert!(error.is_retryable());
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request is wrong; correct it. For a package, this lists every violation.
    #[error("{argument}: {message}")]
    BadArgument {
        /// The argument, by the name that people know.
        argument: Cow<'static, str>,
        /// The fault of the argument.
        message: String,
        /// Every violation, if a package was refused.
        violations: Vec<Violation>,
    },
    /// The entity or claim does not exist, or is being deleted.
    #[error("{0}")]
    NotFound(Subject),
    /// The entity should be created, but exists.
    #[error("{0} exists already")]
    AlreadyExists(Key),
    /// These entities changed since they were read, or are still referred to; read them again.
    #[error("changed by someone else meanwhile: {}; read again and retry", list(.0))]
    Conflict(Vec<Key>),
    /// The entity is under a modification, or is being deleted; retry later.
    #[error("{0} is busy: being modified or deleted by someone else; retry later")]
    Busy(Key),
    /// The lease or modification of this entity has expired and nothing was written; start again.
    #[error("the lease or modification of {0} has expired and nothing was written; start again")]
    ClaimExpired(Key),
    /// The change feed does not continue from the requested revision: the changes after it are no
    /// longer kept, or the store has not reached it. List again and watch from there.
    #[error(
        "the change feed does not continue from that revision (the oldest is {oldest}); list again and watch from there"
    )]
    Expired {
        /// The feed can be read after this revision, or after any later one that exists.
        oldest: Revision,
    },
    /// The caller could not be authenticated.
    #[error("not authenticated: {0}")]
    Unauthenticated(String),
    /// The caller has no permission.
    #[error("not allowed: {0}")]
    Forbidden(String),
    /// The operation is not supported here.
    #[error("not implemented: {0}")]
    NotImplemented(Cow<'static, str>),
    /// The service is temporarily unavailable; retry later. A write may have been applied, so read
    /// before repeating it.
    #[error("could not {action}")]
    Unavailable {
        /// The action that failed: a verb phrase, such as `commit the changes`.
        action: Cow<'static, str>,
        /// The error of the lower layer.
        source: BoxError,
    },
    /// A fault of this program or its storage; a retry is unlikely to help.
    #[error("could not {action}")]
    Internal {
        /// The action that failed: a verb phrase.
        action: Cow<'static, str>,
        /// The error of the lower layer.
        source: BoxError,
    },
}

fn list(keys: &[Key]) -> String {
    const SHOWN: usize = 10;
    let mut parts: Vec<String> = keys.iter().take(SHOWN).map(Key::to_string).collect();
    if keys.len() > SHOWN {
        parts.push(format!("and {} more", keys.len() - SHOWN));
    }
    parts.join(", ")
}

/// The kind of an [`Error`], as it crosses process boundaries.
///
/// The set is closed: each boundary maps every kind in one exhaustive match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// [`Error::BadArgument`].
    BadArgument,
    /// [`Error::NotFound`].
    NotFound,
    /// [`Error::AlreadyExists`].
    AlreadyExists,
    /// [`Error::Conflict`].
    Conflict,
    /// [`Error::Busy`].
    Busy,
    /// [`Error::ClaimExpired`].
    ClaimExpired,
    /// [`Error::Expired`].
    Expired,
    /// [`Error::Unauthenticated`].
    Unauthenticated,
    /// [`Error::Forbidden`].
    Forbidden,
    /// [`Error::NotImplemented`].
    NotImplemented,
    /// [`Error::Unavailable`].
    Unavailable,
    /// [`Error::Internal`].
    Internal,
}

impl Error {
    /// Creates a [`BadArgument`](Self::BadArgument) without violations.
    pub fn bad(argument: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::BadArgument {
            argument: argument.into(),
            message: message.into(),
            violations: Vec::new(),
        }
    }

    /// Creates a [`BadArgument`](Self::BadArgument) for a refused package; `violations` should not
    /// be empty.
    pub fn invalid(argument: impl Into<Cow<'static, str>>, violations: Vec<Violation>) -> Self {
        let message = violations
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("; ");
        Self::BadArgument {
            argument: argument.into(),
            message,
            violations,
        }
    }

    /// Creates a [`NotFound`](Self::NotFound) for an entity.
    pub fn not_found(key: impl Into<Key>) -> Self {
        Self::NotFound(Subject::Entity(key.into()))
    }

    /// Creates an [`Unavailable`](Self::Unavailable); `action` is a verb phrase.
    pub fn unavailable(action: impl Into<Cow<'static, str>>, source: impl Into<BoxError>) -> Self {
        Self::Unavailable {
            action: action.into(),
            source: source.into(),
        }
    }

    /// Creates an [`Internal`](Self::Internal); `action` is a verb phrase.
    pub fn internal(action: impl Into<Cow<'static, str>>, source: impl Into<BoxError>) -> Self {
        Self::Internal {
            action: action.into(),
            source: source.into(),
        }
    }

    /// Returns the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::BadArgument { .. } => ErrorKind::BadArgument,
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::AlreadyExists(_) => ErrorKind::AlreadyExists,
            Self::Conflict(_) => ErrorKind::Conflict,
            Self::Busy(_) => ErrorKind::Busy,
            Self::ClaimExpired(_) => ErrorKind::ClaimExpired,
            Self::Expired { .. } => ErrorKind::Expired,
            Self::Unauthenticated(_) => ErrorKind::Unauthenticated,
            Self::Forbidden(_) => ErrorKind::Forbidden,
            Self::NotImplemented(_) => ErrorKind::NotImplemented,
            Self::Unavailable { .. } => ErrorKind::Unavailable,
            Self::Internal { .. } => ErrorKind::Internal,
        }
    }

    /// Whether the request may succeed if it is repeated after reading again.
    pub fn is_retryable(&self) -> bool {
        match self.kind() {
            ErrorKind::Conflict | ErrorKind::Busy | ErrorKind::Unavailable => true,
            ErrorKind::BadArgument
            | ErrorKind::NotFound
            | ErrorKind::AlreadyExists
            | ErrorKind::ClaimExpired
            | ErrorKind::Expired
            | ErrorKind::Unauthenticated
            | ErrorKind::Forbidden
            | ErrorKind::NotImplemented
            | ErrorKind::Internal => false,
        }
    }

    /// Formats the error and all its sources in one line, for logs and conditions.
    pub fn chain(&self) -> String {
        chain(self)
    }
}

/// Formats an error and all its sources in one line.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
