//! Texts of bounded length, for conditions.

use std::borrow::Cow;

/// The text, truncated between characters to at most `max` bytes; a truncated text ends with its
/// full length.
pub fn shortened(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return text.into();
    }
    let end = text.floor_char_boundary(max);
    format!("{}… ({} bytes in total)", &text[..end], text.len()).into()
}

#[cfg(test)]
mod tests {
    use super::shortened;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(shortened("short", 5), "short");
        assert_eq!(shortened("ääää", 5), "ää… (8 bytes in total)");
    }
}
