//! Conversions of keys, kinds, numbers, times and durations.

use crate::proto::v1alpha2 as wire;
use std::time::Duration;
use tko_core::{
    Error, Generation, Gvk, Identifier, Key, Kind, Metadata, PluginType, Result, Stage, Timestamp,
    Token,
};

/// Longest duration accepted: ten years.
pub(crate) const MAX_DURATION: Duration = Duration::from_hours(10 * 366 * 24);

const MICROS: i64 = 1_000_000;

/// The value of a required field.
pub(crate) fn required<T>(field: &'static str, value: Option<T>) -> Result<T> {
    value.ok_or_else(|| Error::bad(field, "the field is required"))
}

pub(crate) fn kind(kind: Kind) -> wire::Kind {
    match kind {
        Kind::Template => wire::Kind::Template,
        Kind::Site => wire::Kind::Site,
        Kind::Deployment => wire::Kind::Deployment,
        Kind::Plugin => wire::Kind::Plugin,
    }
}

pub(crate) fn unpack_kind(number: i32) -> Result<Kind> {
    match wire::Kind::try_from(number) {
        Ok(wire::Kind::Template) => Ok(Kind::Template),
        Ok(wire::Kind::Site) => Ok(Kind::Site),
        Ok(wire::Kind::Deployment) => Ok(Kind::Deployment),
        Ok(wire::Kind::Plugin) => Ok(Kind::Plugin),
        Ok(wire::Kind::Unspecified) => Err(Error::bad("kind", "the field is required")),
        Err(_) => Err(unknown("kind", number)),
    }
}

fn unknown(field: &'static str, number: i32) -> Error {
    Error::bad(
        field,
        format!("unknown value {number}; see the protocol of this version"),
    )
}

pub(crate) fn plugin_type(plugin: PluginType) -> wire::PluginType {
    match plugin {
        PluginType::Prepare => wire::PluginType::Prepare,
        PluginType::Schedule => wire::PluginType::Schedule,
        PluginType::Validate => wire::PluginType::Validate,
        PluginType::Catalog => wire::PluginType::Catalog,
        PluginType::Inventory => wire::PluginType::Inventory,
    }
}

/// Unspecified becomes `None`.
pub(crate) fn unpack_plugin_type(number: i32) -> Result<Option<PluginType>> {
    match wire::PluginType::try_from(number) {
        Ok(wire::PluginType::Unspecified) => Ok(None),
        Ok(wire::PluginType::Prepare) => Ok(Some(PluginType::Prepare)),
        Ok(wire::PluginType::Schedule) => Ok(Some(PluginType::Schedule)),
        Ok(wire::PluginType::Validate) => Ok(Some(PluginType::Validate)),
        Ok(wire::PluginType::Catalog) => Ok(Some(PluginType::Catalog)),
        Ok(wire::PluginType::Inventory) => Ok(Some(PluginType::Inventory)),
        Err(_) => Err(unknown("plugin type", number)),
    }
}

pub(crate) fn stage(stage: Stage) -> wire::Stage {
    match stage {
        Stage::Prepare => wire::Stage::Prepare,
        Stage::Schedule => wire::Stage::Schedule,
        Stage::Delete => wire::Stage::Retire,
    }
}

pub(crate) fn unpack_stage(number: i32) -> Result<Stage> {
    match wire::Stage::try_from(number) {
        Ok(wire::Stage::Prepare) => Ok(Stage::Prepare),
        Ok(wire::Stage::Schedule) => Ok(Stage::Schedule),
        Ok(wire::Stage::Retire) => Ok(Stage::Delete),
        Ok(wire::Stage::Unspecified) => Err(Error::bad("stage", "the field is required")),
        Err(_) => Err(unknown("stage", number)),
    }
}

pub(crate) fn key(key: &Key) -> wire::Key {
    wire::Key {
        kind: kind(key.kind()).into(),
        id: key.id().to_owned(),
    }
}

pub(crate) fn unpack_key(key: &wire::Key) -> Result<Key> {
    Key::new(unpack_kind(key.kind)?, &key.id)
}

pub(crate) fn required_key(key: Option<&wire::Key>) -> Result<Key> {
    unpack_key(required("key", key)?)
}

pub(crate) fn gvk(gvk: &Gvk) -> wire::Gvk {
    wire::Gvk {
        group: gvk.group.to_string(),
        version: gvk.version.to_string(),
        kind: gvk.kind.to_string(),
    }
}

pub(crate) fn unpack_gvk(gvk: &wire::Gvk) -> Gvk {
    Gvk::new(&gvk.group, &gvk.version, &gvk.kind)
}

pub(crate) fn identifier(identifier: &Identifier) -> wire::Identifier {
    wire::Identifier {
        gvk: Some(gvk(&identifier.gvk)),
        name: identifier.name.to_string(),
        namespace: identifier.namespace.as_deref().map(str::to_owned),
    }
}

/// An absent type becomes an empty one.
pub(crate) fn unpack_identifier(identifier: wire::Identifier) -> Identifier {
    Identifier {
        gvk: unpack_gvk(&identifier.gvk.unwrap_or_default()),
        name: identifier.name.into(),
        namespace: identifier.namespace.map(Into::into),
    }
}

pub(crate) fn metadata(metadata: &Metadata) -> std::collections::BTreeMap<String, String> {
    let pairs = metadata.iter();
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// Parses an optional id of any kind.
pub(crate) fn id<T: std::str::FromStr<Err = Error>>(text: Option<&str>) -> Result<Option<T>> {
    text.map(str::parse).transpose()
}

pub(crate) fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    let micros = i32::try_from(time.0.rem_euclid(MICROS)).expect("below a million");
    prost_types::Timestamp {
        seconds: time.0.div_euclid(MICROS),
        nanos: micros * 1_000,
    }
}

pub(crate) fn unpack_timestamp(time: Option<&prost_types::Timestamp>) -> Result<Timestamp> {
    let time = required("time", time)?;
    time.seconds
        .checked_mul(MICROS)
        .and_then(|micros| micros.checked_add(i64::from(time.nanos) / 1_000))
        .map(Timestamp)
        .ok_or_else(|| {
            Error::bad(
                "time",
                "the time is out of range for microseconds in 64 bits",
            )
        })
}

pub(crate) fn duration(duration: Duration) -> prost_types::Duration {
    let duration = duration.min(MAX_DURATION);
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).expect("ten years fit"),
        nanos: i32::try_from(duration.subsec_nanos()).expect("below a billion"),
    }
}

/// Absent becomes zero.
pub(crate) fn unpack_duration(
    field: &'static str,
    duration: Option<&prost_types::Duration>,
) -> Result<Duration> {
    let Some(duration) = duration else {
        return Ok(Duration::ZERO);
    };
    let seconds = u64::try_from(duration.seconds);
    let nanos = u32::try_from(duration.nanos)
        .ok()
        .filter(|nanos| *nanos < 1_000_000_000);
    match (seconds, nanos) {
        (Ok(seconds), Some(nanos)) if seconds <= MAX_DURATION.as_secs() => {
            Ok(Duration::new(seconds, nanos))
        }
        _ => Err(Error::bad(
            field,
            "the duration is negative, longer than ten years, or invalid",
        )),
    }
}

/// Decodes the tokens of a request.
pub(crate) fn tokens(texts: &[String]) -> Result<Vec<Token>> {
    texts.iter().map(|text| Token::decode(text)).collect()
}

pub(crate) fn generation(number: u64) -> Generation {
    Generation(number)
}
