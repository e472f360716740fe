//! [`Continuation`]: the position where a listing continues, as the opaque `continue` token.

use std::fmt::Write as _;
use tko_core::{Cursor, Key, Kind};

/// Longest token.
const MAX_TOKEN: usize = 4 * 1024;

/// The rest of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Continuation {
    /// The resource version of the listing. `None`: the current one, because the state at the
    /// beginning is no longer known.
    pub(crate) version: Option<u64>,
    /// The end of the part that the client has.
    pub(crate) after: Cursor,
}

impl Continuation {
    /// The token.
    pub(crate) fn to_token(&self) -> String {
        let mut id = String::new();
        for byte in self.after.0.id().bytes() {
            // Writing into memory does not fail.
            let _ = write!(id, "{byte:02x}");
        }
        format!("v1.{}.{id}", self.version.unwrap_or_default())
    }

    /// Reads a token for a listing of this kind; `None` if it is not one.
    pub(crate) fn parse(kind: Kind, token: &str) -> Option<Self> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let (version, id) = token.strip_prefix("v1.")?.split_once('.')?;
        let version = crate::query::parse_resource_version(version)?;
        if id.len() % 2 != 0 || !id.is_ascii() {
            return None;
        }
        let bytes = (0..id.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&id[at..at + 2], 16).ok())
            .collect::<Option<Vec<u8>>>()?;
        let key = Key::new(kind, str::from_utf8(&bytes).ok()?).ok()?;
        let read = Self {
            version: (version > 0).then_some(version),
            after: Cursor(key),
        };
        (read.to_token() == token).then_some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::Continuation;
    use proptest::prelude::*;
    use tko_core::{Cursor, Key, Kind};

    #[test]
    fn a_token_comes_back() {
        for version in [None, Some(7)] {
            let key = Key::new(Kind::Plugin, "prepare|a/b").expect("an id");
            let after = Cursor(key);
            let one = Continuation { version, after };
            assert_eq!(
                Continuation::parse(Kind::Plugin, &one.to_token()),
                Some(one.clone())
            );
            assert_eq!(Continuation::parse(Kind::Site, &one.to_token()), None);
        }
    }

    proptest! {
        #[test]
        fn other_tokens_are_refused(token in "v1\\.[0-9]{0,3}\\.[0-9a-fA-F+]{0,8}|\\PC{0,20}") {
            if let Some(read) = Continuation::parse(Kind::Template, &token) {
                prop_assert_eq!(read.to_token(), token);
            }
        }
    }
}
