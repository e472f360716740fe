//! [`Caller`]: the person, program or worker on whose behalf a call is made.
//!
//! A server authenticates each request, and gives the API the resulting caller with
//! [`DataApi::with_caller`](crate::DataApi::with_caller). [`Store`](crate::Store) writes the caller
//! into the cause of every change, where history and audit find it.

use crate::error::{Error, Result};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// Longest name of a caller, a role or a door, in bytes.
pub const MAX_CALLER_NAME: usize = 256;

/// The authenticated origin of a call: a name, its roles, and the door it came through.
///
/// ```
/// use tko_core::Caller;
///
/// let caller = Caller::new("alice")?.role("operator")?.door("grpc")?;
/// assert!(caller.has_role("operator"));
/// assert_eq!(caller.to_string(), "alice via grpc");
/// # Ok::<(), tko_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    name: Arc<str>,
    roles: BTreeSet<Arc<str>>,
    door: Option<Arc<str>>,
}

impl Caller {
    /// Creates a caller without roles.
    ///
    /// # Errors
    /// [`BadArgument`](Error::BadArgument): the name is empty, longer than [`MAX_CALLER_NAME`], or
    /// contains a control character, which would break log lines.
    pub fn new(name: &str) -> Result<Self> {
        Ok(Self {
            name: checked("caller name", name)?,
            roles: BTreeSet::new(),
            door: None,
        })
    }

    /// Adds a role.
    ///
    /// # Errors
    /// As [`Caller::new`].
    pub fn role(mut self, role: &str) -> Result<Self> {
        self.roles.insert(checked("role", role)?);
        Ok(self)
    }

    /// Sets the door: the interface that the call came through, such as `grpc`.
    ///
    /// # Errors
    /// As [`Caller::new`].
    pub fn door(mut self, door: &str) -> Result<Self> {
        self.door = Some(checked("door", door)?);
        Ok(self)
    }

    /// The name, unique among the callers of an installation.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The roles, in byte order.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.roles.iter().map(AsRef::as_ref)
    }

    /// Whether the caller has this role.
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.contains(role)
    }

    /// The interface that the call came through, if known.
    pub fn via(&self) -> Option<&str> {
        self.door.as_deref()
    }

    /// The cause of a change that this caller made: the verb, the name and the door.
    pub(crate) fn cause(&self, verb: &str) -> Arc<str> {
        format!("{verb} by {self}").into()
    }
}

/// Writes the name and the door.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.door {
            Some(door) => write!(f, " via {door}"),
            None => Ok(()),
        }
    }
}

fn checked(argument: &'static str, text: &str) -> Result<Arc<str>> {
    if text.is_empty() {
        return Err(Error::bad(argument, "is empty"));
    }
    if text.len() > MAX_CALLER_NAME {
        return Err(Error::bad(
            argument,
            format!(
                "has {} bytes; at most {MAX_CALLER_NAME} are allowed",
                text.len()
            ),
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(Error::bad(
            argument,
            format!("{text:?} contains a control character"),
        ));
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::{Caller, MAX_CALLER_NAME};

    #[test]
    fn names_that_would_break_a_log_line_are_refused() {
        for name in ["", "a\nb", "\u{1b}[31m", &"x".repeat(MAX_CALLER_NAME + 1)] {
            assert!(Caller::new(name).is_err(), "{name:?}");
        }
        assert!(Caller::new(&"x".repeat(MAX_CALLER_NAME)).is_ok());
        let caller = Caller::new("alice").expect("a name");
        assert!(caller.clone().role("").is_err());
        assert!(caller.door("a\tb").is_err());
    }

    #[test]
    fn the_cause_names_the_verb_the_caller_and_the_door() {
        let caller = Caller::new("alice").expect("a name");
        assert_eq!(&*caller.cause("created"), "created by alice");
        let caller = caller.door("grpc").expect("a door");
        assert_eq!(&*caller.cause("created"), "created by alice via grpc");
    }
}
