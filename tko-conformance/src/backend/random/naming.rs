//! The keys, durations and changes that generated numbers stand for.

use super::operation::{Length, RandomChange, RandomEntity, RandomOutcome, RandomSelect};
use crate::backend::sample::{
    PutBuilder, all, condition, d, deployment, id_pattern, s, site, t, template, value_pattern,
};
use serde_json::{Value, json};
use std::time::Duration;
use tko_core::{Change, Key, Kind, Outcome, Put, Select, Stage};

/// Ten keys: three templates, three sites, four deployments.
pub(super) fn key(number: u8) -> Key {
    match number {
        0..3 => t(&format!("t/{number}")),
        3..6 => s(&format!("s/{}", number - 3)),
        _ => d(&format!("d{}", number - 6)),
    }
}

pub(super) fn length(length: Length) -> Duration {
    Duration::from_secs(10) * u32::from(length)
}

/// Odd steps, so that advances of time rarely end exactly at a deadline.
pub(super) fn passing(length: Length) -> Duration {
    Duration::from_secs(5) * (2 * u32::from(length) - 1)
}

pub(super) fn stage(number: u8) -> Stage {
    Stage::ALL[usize::from(number)]
}

pub(super) fn word(number: u8) -> &'static str {
    ["", "one", "two"][usize::from(number)]
}

pub(super) fn progress(number: u8) -> Value {
    match number {
        0 => Value::Null,
        number => json!({"at": number}),
    }
}

pub(super) fn outcome(end: &RandomOutcome) -> Outcome {
    match end {
        RandomOutcome::Done => Outcome::Done,
        RandomOutcome::Retry(after) => Outcome::Retry {
            after: length(*after),
            reason: format!("after {after}"),
        },
        RandomOutcome::Yield(after) => Outcome::Yield {
            after: length(*after),
        },
    }
}

pub(super) fn change(number: u8, alter: &RandomChange) -> Change {
    match alter {
        RandomChange::Put(look) => Change::Put(put(number, look)),
        RandomChange::Delete => Change::Delete(key(number)),
        RandomChange::Conditions(said) => Change::Conditions(key(number), vec![say(*said)]),
    }
}

fn say(number: u8) -> tko_core::Condition {
    condition(["A", "B"][usize::from(number % 2)], number < 2, "Said")
}

fn put(number: u8, look: &RandomEntity) -> Put {
    let key = key(number);
    let mut put = match key.kind() {
        Kind::Template => template(key.id()),
        Kind::Site => site(key.id()),
        Kind::Deployment | Kind::Plugin => deployment(key.id()),
    };
    if look.word > 0 {
        put = put.with_label("word", word(look.word));
    }
    if let Some(body) = look.body {
        put = put.with_resources(&["a", "b", "c"][..usize::from(body)]);
    }
    if let Some(said) = look.condition {
        put = put.with_condition(say(said));
    }
    put.deleting = look.deleting;
    put.beside_modification = look.beside_modification;
    let id = |number: Option<u8>, kind: Kind| {
        let key = self::key(number?);
        (key.kind() == kind).then(|| key.id().to_owned())
    };
    if let Some(id) = id(look.template, Kind::Template)
        && key.kind() != Kind::Template
    {
        put = put.template(&id);
    }
    if key.kind() != Kind::Deployment {
        return put;
    }
    if let Some(id) = id(look.site, Kind::Site) {
        put = put.site(&id);
    }
    if let Some(id) = id(look.placed, Kind::Site) {
        put = put.placed(&id);
    }
    if let Some(id) = id(look.parent, Kind::Deployment) {
        put = put.parent(&id);
    }
    if look.prepared {
        put = put.prepared();
    }
    put
}

pub(super) fn select(choice: &RandomSelect) -> Select {
    let patterns = |number: Option<u8>| match number {
        None => Vec::new(),
        Some(0) => vec![id_pattern("*/1")],
        Some(1) => vec![id_pattern("**")],
        Some(_) => vec![id_pattern("*0"), id_pattern("**0")],
    };
    let words = |number: Option<u8>| match number {
        None => [].into(),
        Some(0) => [("word".to_owned(), value_pattern("*"))].into(),
        Some(number) => [("word".to_owned(), value_pattern(word(number)))].into(),
    };
    let kind = [Kind::Template, Kind::Site, Kind::Deployment][usize::from(choice.kind)];
    let mut select = all(kind)
        .ids(patterns(choice.id))
        .metadata_patterns(words(choice.word))
        .deleting(choice.deleting);
    if kind == Kind::Template {
        return select;
    }
    select.template_ids = patterns(choice.template);
    if kind == Kind::Site {
        return select;
    }
    select.template_metadata = words(choice.template_word);
    select.site_ids = patterns(choice.site);
    select.site_metadata = words(choice.site_word);
    select.prepared = choice.prepared;
    select.parent = choice.parent.and_then(|n| key(n).deployment().cloned());
    select.concerning = choice.concerning.and_then(|n| key(n).site().cloned());
    select
}
