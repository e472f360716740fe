//! Texts of rules.

use std::fmt;
use std::ops::Deref;
use std::rc::Rc;

/// A text. Copies share it: a rule can copy a long text for each item of a list.
#[derive(Clone)]
pub(super) enum RuleText<'a> {
    /// A text of the resource.
    Given(&'a str),
    /// A text that the evaluation made.
    Made(Rc<str>),
}

impl Deref for RuleText<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Given(text) => text,
            Self::Made(text) => text,
        }
    }
}

impl AsRef<str> for RuleText<'_> {
    fn as_ref(&self) -> &str {
        self
    }
}

impl fmt::Display for RuleText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

/// Writes the text in quotes.
impl fmt::Debug for RuleText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
