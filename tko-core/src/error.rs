//! One error for every layer: a variant for each thing that a caller does about it.
//!
//! An error never prints its source; whoever reports it walks the chain. The same kinds survive
//! the way through gRPC codes, HTTP statuses and Kubernetes reasons ([`ErrorKind`]).

use crate::builder::chainable;
use crate::id::Key;
use crate::resource::Identifier;
use crate::revision::Revision;
use std::borrow::Cow;
use std::fmt;

/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Whatever went wrong below.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// One thing that validation found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The resource it is in; `None`: the package as a whole.
    pub resource: Option<Identifier>,
    /// Where in the resource, such as `spec.template.spec.containers[0].image`; empty: the whole.
    pub path: String,
    /// What is wrong, and what would be right.
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

/// What was looked for and is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Subject {
    /// An entity.
    Entity(Key),
    /// A claim of this entity: never made, used, or given up.
    Claim(Key),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entity(key) => write!(f, "{key} does not exist"),
            Self::Claim(key) => write!(
                f,
                "there is no such claim of {key}: it was used, given up, or never made; start again"
            ),
        }
    }
}

/// Why a request was refused, or could not be served. A refused write leaves nothing behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Mend the request. For validation, every violation at once.
    #[error("{argument}: {message}")]
    BadArgument {
        /// Which argument, by the name that people know.
        argument: Cow<'static, str>,
        /// What is wrong with it.
        message: String,
        /// Every violation, if it is a package that was refused.
        violations: Vec<Violation>,
    },
    /// It is not there, or being deleted.
    #[error("{0}")]
    NotFound(Subject),
    /// It was to be made anew.
    #[error("{0} exists already")]
    AlreadyExists(Key),
    /// Read these again and decide again: each of them moved, or is referred to.
    #[error("changed by someone else meanwhile: {}; read again and retry", list(.0))]
    Conflict(Vec<Key>),
    /// Under someone's modification, or being deleted; it ends by itself.
    #[error("{0} is busy: being modified or deleted by someone else; retry later")]
    Busy(Key),
    /// The time of this claim is over: nothing was written. Start again.
    #[error("the claim of {0} has ended: its time is over and nothing was written; start again")]
    ClaimExpired(Key),
    /// The feed no longer keeps what follows this revision, or has not reached it: list again, then
    /// watch from there.
    #[error(
        "the feed does not continue from this revision, it keeps changes after {oldest}; list again and watch from there"
    )]
    Expired {
        /// A feed may be read after this revision, or any later one.
        oldest: Revision,
    },
    /// Say who you are.
    #[error("not authenticated: {0}")]
    Unauthenticated(String),
    /// Whoever you are, you may not.
    #[error("not allowed: {0}")]
    Forbidden(String),
    /// Not here.
    #[error("not implemented: {0}")]
    NotImplemented(Cow<'static, str>),
    /// Try again later, unchanged. A write may have been applied: read before repeating it.
    #[error("could not {action}")]
    Unavailable {
        /// A verb phrase, such as `commit the changes`.
        action: Cow<'static, str>,
        /// Why.
        source: BoxError,
    },
    /// A fault of this program or its storage. Trying again will hardly help.
    #[error("could not {action}")]
    Internal {
        /// A verb phrase.
        action: Cow<'static, str>,
        /// Why.
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

/// The kinds of [`Error`], as they cross process boundaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    /// A [`BadArgument`](Self::BadArgument) without violations.
    pub fn bad(argument: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::BadArgument {
            argument: argument.into(),
            message: message.into(),
            violations: Vec::new(),
        }
    }

    /// A package refused by validation; `violations` must not be empty to make sense to people.
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

    /// The entity is not there.
    pub fn not_found(key: impl Into<Key>) -> Self {
        Self::NotFound(Subject::Entity(key.into()))
    }

    /// An [`Unavailable`](Self::Unavailable): `action` is a verb phrase.
    pub fn unavailable(action: impl Into<Cow<'static, str>>, source: impl Into<BoxError>) -> Self {
        Self::Unavailable {
            action: action.into(),
            source: source.into(),
        }
    }

    /// An [`Internal`](Self::Internal): `action` is a verb phrase.
    pub fn internal(action: impl Into<Cow<'static, str>>, source: impl Into<BoxError>) -> Self {
        Self::Internal {
            action: action.into(),
            source: source.into(),
        }
    }

    /// Its kind.
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

    /// Whether the same request may succeed when it is made again from a fresh read.
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

    /// The error and all its sources in one line, for logs and conditions.
    pub fn chain(&self) -> String {
        chain(self)
    }
}

/// `error` and all its sources in one line.
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
