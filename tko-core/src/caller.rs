//! Callers of the API, and the causes of changes that name them.
//!
//! A server authenticates each request, and gives the API the resulting caller with
//! [`DataApi::with_caller`](crate::DataApi::with_caller). [`Store`](crate::Store) writes the caller
//! into the cause of every change, where history and audit find it.

use crate::error::{Error, Result};
use crate::scope::Scope;
use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::ops::Deref;
use std::sync::Arc;

/// Longest name of a caller, a role or an interface, in bytes.
pub const MAX_CALLER_NAME: usize = 256;

/// The role of this process itself, which permits everything.
pub const ADMIN: &str = "admin";

/// The interface of calls that are made within the process.
pub const PROCESS: &str = "process";

/// The authenticated origin of a call: a name, its roles, and the interface it came through.
///
/// ```
/// use tko_core::Caller;
///
/// let caller = Caller::new("alice")?.role("operator")?.interface("grpc")?;
/// assert!(caller.has_role("operator"));
/// assert_eq!(caller.to_string(), "alice via grpc");
/// # Ok::<(), tko_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    name: Arc<str>,
    /// Roles, each with the scope that restricts it; in byte order of the roles.
    grants: Vec<(Arc<str>, Option<Arc<Scope>>)>,
    interface: Option<Arc<str>>,
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
            grants: Vec::new(),
            interface: None,
        })
    }

    /// This process itself, with the role [`ADMIN`].
    pub fn process() -> Self {
        Self {
            name: "tko".into(),
            grants: vec![(ADMIN.into(), None)],
            interface: Some(PROCESS.into()),
        }
    }

    /// The same roles and interface under another name.
    ///
    /// # Errors
    /// As [`Caller::new`].
    pub fn named(self, name: &str) -> Result<Self> {
        let name = checked("caller name", name)?;
        Ok(Self { name, ..self })
    }

    /// Adds a role.
    ///
    /// # Errors
    /// As [`Caller::new`].
    pub fn role(self, role: &str) -> Result<Self> {
        self.granted(role, None)
    }

    /// Adds a role that covers only some of the entities. Several scopes of one role cover the
    /// union of their entities.
    ///
    /// # Errors
    /// As [`Caller::new`].
    pub fn role_within(self, role: &str, scope: impl Into<Arc<Scope>>) -> Result<Self> {
        self.granted(role, Some(scope.into()))
    }

    fn granted(mut self, role: &str, scope: Option<Arc<Scope>>) -> Result<Self> {
        let role = checked("role", role)?;
        if !self
            .grants()
            .any(|(name, given)| name == &*role && given == scope.as_ref())
        {
            let at = self.grants.partition_point(|(name, _)| *name <= role);
            self.grants.insert(at, (role, scope));
        }
        Ok(self)
    }

    /// Sets the interface that the call came through, such as `grpc`.
    ///
    /// # Errors
    /// As [`Caller::new`].
    pub fn interface(mut self, interface: &str) -> Result<Self> {
        self.interface = Some(checked("interface", interface)?);
        Ok(self)
    }

    /// The name, unique among the callers of an installation.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The distinct roles, restricted ones included, in byte order.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        let mut last = None;
        self.grants.iter().filter_map(move |(role, _)| {
            let role: &str = role;
            (last.replace(role) != Some(role)).then_some(role)
        })
    }

    /// The roles, each with the scope that restricts it, if any.
    pub fn grants(&self) -> impl Iterator<Item = (&str, Option<&Arc<Scope>>)> {
        self.grants
            .iter()
            .map(|(role, scope)| (&**role, scope.as_ref()))
    }

    /// Whether the caller has this role without a restriction.
    pub fn has_role(&self, role: &str) -> bool {
        self.grants()
            .any(|(name, scope)| name == role && scope.is_none())
    }

    /// The interface that the call came through, if known.
    pub fn via(&self) -> Option<&str> {
        self.interface.as_deref()
    }
}

/// Writes the name and the interface.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.interface {
            Some(interface) => write!(f, " via {interface}"),
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

/// The reason for a change: a verb, and the caller that performed it.
///
/// Backends store and send the text form: `VERB`, or `VERB by NAME via INTERFACE`. In the name and
/// the interface, white space and `%` are percent-encoded, so each is one word. A caller without an
/// interface gets the interface `process`. A text that does not end in this form is a verb without a
/// caller.
///
/// ```
/// use tko_core::{Caller, Cause};
///
/// let alice = Caller::new("alice")?.interface("grpc")?;
/// let cause = Cause::new("approved").by(&alice);
/// assert_eq!(cause.as_str(), "approved by alice via grpc");
/// assert_eq!((cause.verb(), cause.caller().as_deref()), ("approved", Some("alice")));
/// # Ok::<(), tko_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cause(Arc<str>);

impl Cause {
    /// A cause without a caller, from a verb such as `approved`; or a cause from its text form.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The same verb, performed by this caller.
    #[must_use]
    pub fn by(&self, caller: &Caller) -> Self {
        let interface = caller.via().unwrap_or(PROCESS);
        let (verb, name, interface) = (self.verb(), word(caller.name()), word(interface));
        Self(format!("{verb} by {name} via {interface}").into())
    }

    /// The verb, such as `created`, `approved` or `deleted`.
    pub fn verb(&self) -> &str {
        self.parts().map_or(&self.0, |(verb, _, _)| verb)
    }

    /// The name of the caller, if the cause names one.
    pub fn caller(&self) -> Option<Cow<'_, str>> {
        self.parts().map(|(_, name, _)| plain(name))
    }

    /// The interface through which the caller came, if the cause names one.
    pub fn interface(&self) -> Option<Cow<'_, str>> {
        self.parts().map(|(_, _, interface)| plain(interface))
    }

    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parts(&self) -> Option<(&str, &str, &str)> {
        let (rest, interface) = self.0.rsplit_once(" via ")?;
        let (verb, name) = rest.rsplit_once(" by ")?;
        let is_word = |text: &str| !text.is_empty() && !text.contains(char::is_whitespace);
        (is_word(name) && is_word(interface)).then_some((verb, name, interface))
    }
}

/// The text as one word.
fn word(text: &str) -> String {
    let mut word = String::with_capacity(text.len());
    for character in text.chars() {
        if character == '%' || character.is_whitespace() {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                write!(word, "%{byte:02x}").expect("a string takes every write");
            }
        } else {
            word.push(character);
        }
    }
    word
}

/// The text of a word.
fn plain(word: &str) -> Cow<'_, str> {
    if !word.contains('%') {
        return Cow::Borrowed(word);
    }
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word.as_bytes();
    while let [first, after @ ..] = rest {
        let encoded = after
            .split_at_checked(2)
            .filter(|_| *first == b'%')
            .and_then(|(digits, after)| {
                let digits = std::str::from_utf8(digits).ok()?;
                Some((u8::from_str_radix(digits, 16).ok()?, after))
            });
        let (byte, after) = encoded.unwrap_or((*first, after));
        bytes.push(byte);
        rest = after;
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

/// The text form.
impl Deref for Cause {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl From<&str> for Cause {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Cause {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<Arc<str>> for Cause {
    fn from(text: Arc<str>) -> Self {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::{Caller, Cause, MAX_CALLER_NAME};

    #[test]
    fn names_that_would_break_a_log_line_are_refused() {
        for name in ["", "a\nb", "\u{1b}[31m", &"x".repeat(MAX_CALLER_NAME + 1)] {
            assert!(Caller::new(name).is_err(), "{name:?}");
        }
        assert!(Caller::new(&"x".repeat(MAX_CALLER_NAME)).is_ok());
        let caller = Caller::new("alice").expect("a name");
        assert!(caller.clone().role("").is_err());
        assert!(caller.interface("a\tb").is_err());
    }

    #[test]
    fn a_cause_names_its_verb_its_caller_and_the_interface() {
        for (name, interface) in [
            ("alice", "grpc"),
            ("Alice Smith", "http 2"),
            ("%", "100%41"),
            ("é\u{a0} by x via y", "日本"),
        ] {
            let caller = Caller::new(name).and_then(|caller| caller.interface(interface));
            let cause = Cause::new("taken by force").by(&caller.expect("names"));
            assert_eq!(cause.verb(), "taken by force", "{cause}");
            assert_eq!(cause.caller().as_deref(), Some(name), "{cause}");
            assert_eq!(cause.interface().as_deref(), Some(interface), "{cause}");
            assert_eq!(Cause::new(cause.as_str()), cause);
        }
    }

    #[test]
    fn a_text_of_another_form_is_a_verb() {
        for text in [
            "created",
            "",
            "sent via mail",
            "done by me via a b",
            "x by  via y",
        ] {
            let cause = Cause::new(text);
            assert_eq!(cause.verb(), text);
            assert_eq!(
                (cause.caller(), cause.interface()),
                (None, None),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_second_caller_replaces_the_first() {
        let first = Cause::new("approved").by(&Caller::new("alice").expect("a name"));
        let second = first.by(&Caller::process());
        assert_eq!(second.as_str(), "approved by tko via process");
    }
}
