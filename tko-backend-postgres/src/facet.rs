//! Metadata as it is indexed.
//!
//! A text that PostgreSQL does not take (it holds a NUL) or that is too long for an index entry is
//! stored in another form, which keeps the byte order as far as it is the same; whoever reads
//! judges rows by the text itself.

use std::borrow::Cow;
use tko_core::Metadata;

/// Longest start of a key or value that is indexed. Two and an id fit into one index entry (2,704
/// bytes).
pub(crate) const LONGEST: usize = 500;

/// The indexed form of a key or value. Equal texts have equal forms, and different texts have
/// different ones.
pub(crate) fn indexed(text: &str) -> Cow<'_, str> {
    let plain = !text.contains(['\0', '\u{1}']);
    if plain && text.len() <= LONGEST {
        return Cow::Borrowed(text);
    }
    let mut form = prefix(text).into_owned();
    if form.len() > LONGEST || text.len() > LONGEST {
        form.truncate(form.floor_char_boundary(LONGEST));
        form.push('\u{1}');
        form.push_str(&blake3::hash(text.as_bytes()).to_hex());
    }
    Cow::Owned(form)
}

/// What the forms of all texts that start with `text` start with.
pub(crate) fn prefix(text: &str) -> Cow<'_, str> {
    let cut = &text[..text.floor_char_boundary(LONGEST)];
    if !cut.contains(['\0', '\u{1}']) {
        return Cow::Borrowed(cut);
    }
    let mut form = String::with_capacity(cut.len() + 8);
    for character in cut.chars() {
        match character {
            '\0' => form.push_str("\u{1}\u{1}"),
            '\u{1}' => form.push_str("\u{1}\u{2}"),
            character => form.push(character),
        }
    }
    form.truncate(form.floor_char_boundary(LONGEST));
    Cow::Owned(form)
}

/// Keys and values, as they are indexed.
pub(crate) type Facets = Vec<(String, String)>;

/// What must be added to and taken from the index when metadata changes.
pub(crate) fn difference(before: Option<&Metadata>, after: Option<&Metadata>) -> (Facets, Facets) {
    let only = |one: Option<&Metadata>, other: Option<&Metadata>| {
        one.into_iter()
            .flat_map(|metadata| metadata.iter())
            .filter(|(key, value)| other.is_none_or(|other| other.get(key) != Some(*value)))
            .map(|(key, value)| (indexed(key).into_owned(), indexed(value).into_owned()))
            .collect()
    };
    (only(after, before), only(before, after))
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, difference, indexed, prefix};
    use tko_core::Metadata;

    #[test]
    fn forms_tell_texts_apart_and_fit() {
        let long = "x".repeat(3 * LONGEST);
        let other = format!("{long}y");
        let texts = [
            "",
            "a",
            "\0",
            "\u{1}",
            "\u{1}\u{1}",
            "a\0b",
            "é",
            &long,
            &other,
        ];
        for one in texts {
            assert!(!indexed(one).contains('\0'));
            assert!(indexed(one).len() <= LONGEST + 65);
            for two in texts {
                assert_eq!(one == two, indexed(one) == indexed(two), "{one:?} {two:?}");
                if one.starts_with(two) {
                    assert!(indexed(one).starts_with(&*prefix(two)), "{one:?} {two:?}");
                }
            }
        }
    }

    #[test]
    fn only_what_differs_is_written() {
        let before = Metadata::from_iter([("a", "1"), ("b", "2"), ("c", "3")]);
        let after = Metadata::from_iter([("a", "1"), ("b", "9"), ("d", "4")]);
        let (added, removed) = difference(Some(&before), Some(&after));
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(added, [pair("b", "9"), pair("d", "4")]);
        assert_eq!(removed, [pair("b", "2"), pair("c", "3")]);
    }
}
