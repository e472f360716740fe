//! Ids as Kubernetes names, and back.
//!
//! A template id such as `demo/hello-world:v1.0.0` has characters that Kubernetes does not allow in
//! object names. [`encode`] writes every character outside `[0-9A-Za-z.]` as `-` and the four
//! lower-case hexadecimal digits of its code point:
//!
//! ```
//! use tko_core::kubernetes_name::{decode, encode};
//!
//! # fn main() -> tko_core::Result<()> {
//! let name = encode("demo/hello-world:v1.0.0")?;
//! assert_eq!(name, "demo-002fhello-002dworld-003av1.0.0");
//! assert_eq!(decode(&name)?, "demo/hello-world:v1.0.0");
//! # Ok(())
//! # }
//! ```
//!
//! Rules:
//!
//! - Two ids never have the same name, and an id has exactly one name. [`decode`] refuses every
//!   other spelling, such as upper-case digits or an escaped letter.
//! - Keys and values of metadata are written as label keys and values in the same way.
//! - Only characters up to `U+FFFF` can be written. Ids are ASCII, so every id can.
//! - Names are not checked against the rules of Kubernetes. It refuses names with upper-case
//!   letters, a dot at an end, or more than 253 characters (labels: 63), although TKO accepts such
//!   ids.

use crate::error::{Error, Result};
use std::fmt::Write as _;

/// The Kubernetes name of an id.
///
/// # Errors
/// [`Error::BadArgument`]: a character is above `U+FFFF`.
pub fn encode(id: &str) -> Result<String> {
    let mut name = String::with_capacity(id.len() * 2);
    for c in id.chars() {
        if c.is_ascii_alphanumeric() || c == '.' {
            name.push(c);
            continue;
        }
        let code = u16::try_from(u32::from(c)).map_err(|_| {
            let why = format!("{id:?} has {c:?}, which needs more than four digits; remove it");
            Error::bad("id", why)
        })?;
        write!(name, "-{code:04x}").map_err(|error| Error::internal("write a name", error))?;
    }
    Ok(name)
}

/// The id that has this Kubernetes name.
///
/// # Errors
/// [`Error::BadArgument`]: no id has this name.
pub fn decode(name: &str) -> Result<String> {
    let bad = |why: String| Error::bad("Kubernetes name", format!("{name:?}: {why}"));
    let mut id = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c != '-' {
            id.push(c);
            continue;
        }
        let digits = rest
            .get(..4)
            .ok_or_else(|| bad("\"-\" must be followed by four hexadecimal digits".to_owned()))?;
        let code = u32::from_str_radix(digits, 16)
            .ok()
            .and_then(char::from_u32)
            .ok_or_else(|| bad(format!("\"-{digits}\" stands for no character")))?;
        id.push(code);
        rest = &rest[4..];
    }
    // Kubernetes would treat two names of one id as two objects.
    let expected = encode(&id)?;
    if expected != name {
        return Err(bad(format!("the name of id {id:?} is {expected:?}")));
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};
    use proptest::prelude::*;

    #[test]
    fn an_id_has_the_name_that_existing_tools_expect() {
        let id = "demo/hello-world:v1.0.0";
        let name = encode(id).expect("plain characters");
        assert_eq!(name, "demo-002fhello-002dworld-003av1.0.0");
        assert_eq!(decode(&name).expect("a name of an id"), id);
    }

    #[test]
    fn other_spellings_of_a_name_are_refused() {
        for name in [
            "-0041", "a-00", "a-", "a_b", "-002F", "-+041", "ä-", "-d800",
        ] {
            assert!(decode(name).is_err(), "{name}");
        }
    }

    #[test]
    fn characters_of_more_than_four_digits_are_refused() {
        assert!(encode("a\u{10000}").is_err());
        assert_eq!(encode("\u{ffff}").expect("four digits"), "-ffff");
    }

    proptest! {
        #[test]
        fn names_go_there_and_back(id in "[\u{0}-\u{d7ff}\u{e000}-\u{ffff}]{0,40}") {
            let name = encode(&id).expect("four digits each");
            prop_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-'));
            prop_assert_eq!(decode(&name).expect("a name of an id"), id);
        }

        #[test]
        fn ids_in_use_have_names_without_escapes_but_for_their_marks(id in "[0-9A-Za-z._/:-]{1,60}") {
            let marks = id.chars().filter(|c| matches!(c, '_' | '/' | ':' | '-')).count();
            let name = encode(&id).expect("ASCII");
            prop_assert_eq!(name.len(), id.len() + 4 * marks);
        }

        #[test]
        fn what_is_decoded_has_that_name(name in "[a-f0-9A-F.\\-]{0,30}|\\PC{0,20}") {
            if let Ok(id) = decode(&name) {
                prop_assert_eq!(encode(&id).expect("just decoded"), name);
            }
        }
    }
}
