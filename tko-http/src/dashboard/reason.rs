//! The message of a condition, with links to the plugins that it names.

use super::html::Html;
use super::path;
use crate::summary::Tally;
use tko_core::{Key, Kind};

/// The message as HTML.
pub(super) fn linked(tally: &Tally, text: &str) -> Html {
    let Some((id, at, length)) = tally.plugin_named(text) else {
        return Html::text(text);
    };
    let Ok(key) = Key::new(Kind::Plugin, &id) else {
        return Html::text(text);
    };
    Html::text(&text[..at])
        .link(&path(&key), &text[at..at + length])
        .with(&text[at + length..])
}
