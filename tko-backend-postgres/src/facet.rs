//! The index of metadata: facets.
//!
//! Texts that PostgreSQL does not accept (with a NUL), or that are too long for an index entry, have
//! another form in the index. The form keeps the byte order of the text up to the first difference.
//! Readers always compare the text itself.

use std::borrow::Cow;
use tko_core::Metadata;

/// The limit of an indexed text in bytes: a key, a value and an id fit into one index entry (2,704
/// bytes).
pub(crate) const MAX_INDEXED: usize = 500;

/// Returns the indexed form of a key or value. Two texts have the same form only if they are equal.
pub(crate) fn indexed(text: &str) -> Cow<'_, str> {
    let plain = !text.contains(['\0', '\u{1}']);
    if plain && text.len() <= MAX_INDEXED {
        return Cow::Borrowed(text);
    }
    let mut form = prefix(text).into_owned();
    if form.len() > MAX_INDEXED || text.len() > MAX_INDEXED {
        form.truncate(form.floor_char_boundary(MAX_INDEXED));
        form.push('\u{1}');
        form.push_str(&blake3::hash(text.as_bytes()).to_hex());
    }
    Cow::Owned(form)
}

/// Returns the common start of the indexed forms of all texts that start with `text`.
pub(crate) fn prefix(text: &str) -> Cow<'_, str> {
    let cut = &text[..text.floor_char_boundary(MAX_INDEXED)];
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
    form.truncate(form.floor_char_boundary(MAX_INDEXED));
    Cow::Owned(form)
}

/// Keys and values in their indexed forms.
pub(crate) type FacetPairs = Vec<(String, String)>;

/// Returns the pairs to add to the index, and the pairs to remove, when metadata changes.
pub(crate) fn difference(
    before: Option<&Metadata>,
    after: Option<&Metadata>,
) -> (FacetPairs, FacetPairs) {
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
    use super::{MAX_INDEXED, difference, indexed, prefix};
    use tko_core::Metadata;

    #[test]
    fn indexed_forms_are_unique_and_fit() {
        let long = "x".repeat(3 * MAX_INDEXED);
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
            assert!(indexed(one).len() <= MAX_INDEXED + 65);
            for two in texts {
                assert_eq!(one == two, indexed(one) == indexed(two), "{one:?} {two:?}");
                if one.starts_with(two) {
                    assert!(indexed(one).starts_with(&*prefix(two)), "{one:?} {two:?}");
                }
            }
        }
    }

    #[test]
    fn only_differences_are_written() {
        let before = Metadata::from_iter([("a", "1"), ("b", "2"), ("c", "3")]);
        let after = Metadata::from_iter([("a", "1"), ("b", "9"), ("d", "4")]);
        let (added, removed) = difference(Some(&before), Some(&after));
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(added, [pair("b", "9"), pair("d", "4")]);
        assert_eq!(removed, [pair("b", "2"), pair("c", "3")]);
    }
}
