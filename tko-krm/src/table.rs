//! Tables, which `kubectl get` prints.

use crate::accept::MetaVersion;
use crate::names;
use crate::object::{self, time};
use crate::ready::ready;
use crate::resource::ResourceType;
use serde_json::{Map, Value, json};
use std::time::Duration;
use tko_core::{Condition, DeploymentId, Facts, Key, Kind, Record, SiteId, TemplateId, Timestamp};

/// The part of its object that each row of a table includes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum IncludeObject {
    /// Nothing.
    None,
    /// The metadata of the object only.
    #[default]
    Metadata,
    /// The whole object.
    Object,
}

impl IncludeObject {
    /// Reads the parameter `includeObject`.
    pub(crate) fn parse(text: Option<&str>) -> Option<Self> {
        match text {
            None | Some("Metadata") => Some(Self::Metadata),
            Some("None") => Some(Self::None),
            Some("Object") => Some(Self::Object),
            Some(_) => None,
        }
    }
}

type Column = (&'static str, &'static str, u8, &'static str);

const NAME: Column = ("Name", "name", 0, "Name of the object");
const AGE: Column = ("Age", "", 0, "Time since the creation");
const UPDATED: Column = ("Updated", "", 1, "Time of the last change");

fn columns(kind: Kind) -> &'static [Column] {
    match kind {
        Kind::Template => &[
            NAME,
            ("Template ID", "", 0, "Id of the template"),
            AGE,
            UPDATED,
        ],
        Kind::Site => &[
            NAME,
            ("Site ID", "", 0, "Id of the site"),
            ("Template ID", "", 0, "Id of its template"),
            ("Status", "", 0, "Why it is ready, or not"),
            AGE,
            UPDATED,
            ("Message", "", 1, "What to do"),
        ],
        Kind::Deployment => &[
            NAME,
            ("Template ID", "", 0, "Id of its template"),
            ("Site ID", "", 0, "Id of its site"),
            ("Prepared", "", 0, "Whether it is prepared"),
            ("Approved", "", 0, "Whether it is approved"),
            ("Status", "", 0, "Why it is ready, or not"),
            AGE,
            (
                "Parent",
                "",
                1,
                "Id of the deployment whose preparation created it",
            ),
            ("Placed", "", 1, "Id of the site that runs it"),
            UPDATED,
            ("Message", "", 1, "What to do"),
        ],
        Kind::Plugin => &[
            NAME,
            ("Type", "", 0, "Type of the plugin"),
            ("Plugin ID", "", 0, "Name of the plugin"),
            ("Executor", "", 0, "Executor that runs it"),
            AGE,
            (
                "Triggers",
                "",
                1,
                "Kinds of resources that it is called for",
            ),
            UPDATED,
        ],
    }
}

/// A table without rows. `definitions`: with the definitions of columns, which only the first table
/// of a watch has.
pub(crate) fn table(version: MetaVersion, kind: Kind, metadata: Value, definitions: bool) -> Value {
    let columns = columns(kind).iter().map(|(name, format, priority, text)| {
        json!({"name": name, "type": "string", "format": format, "description": text, "priority": priority})
    });
    let mut table = Map::new();
    table.insert("kind".into(), "Table".into());
    table.insert("apiVersion".into(), version.api_version().into());
    table.insert("metadata".into(), metadata);
    let columns = if definitions {
        columns.collect()
    } else {
        Value::Null
    };
    table.insert("columnDefinitions".into(), columns);
    table.insert("rows".into(), Value::Array(Vec::new()));
    Value::Object(table)
}

/// The row of one object.
pub(crate) fn row(
    record: &Record,
    version: MetaVersion,
    include: IncludeObject,
    now: Timestamp,
) -> Value {
    let object = match include {
        IncludeObject::None => Value::Null,
        IncludeObject::Metadata => partial(record, version),
        IncludeObject::Object => object::object(record),
    };
    let mut row = json!({"cells": cells(record, now)});
    if !object.is_null() {
        row["object"] = object;
    }
    row
}

/// A `PartialObjectMetadata`.
pub(crate) fn partial(record: &Record, version: MetaVersion) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": version.api_version(),
        "metadata": object::metadata(record),
    })
}

fn cells(record: &Record, now: Timestamp) -> Vec<Value> {
    let entity = &*record.entity;
    let name = Value::from(names::name_of(&entity.key, &entity.given));
    let text = |text: Option<&str>| Value::from(text.filter(|t| !t.is_empty()).unwrap_or("<none>"));
    let age = Value::from(human(now.since(entity.created)));
    let updated = Value::from(time(entity.updated));
    let template = text(entity.template().map(TemplateId::as_str));
    let (status, message) = match ready(entity) {
        Some(condition) => (text(Some(&condition.reason)), message(&condition)),
        None => (text(None), text(None)),
    };
    match (&entity.key, &entity.facts) {
        (Key::Site(id), _) => vec![
            name,
            id.as_str().into(),
            template,
            status,
            age,
            updated,
            message,
        ],
        (Key::Deployment(_), Facts::Deployment(deployment)) => {
            let yes = |is: bool| Value::from(if is { "True" } else { "False" });
            let placed = deployment.placed.as_ref();
            vec![
                name,
                template,
                text(deployment.site.as_ref().map(SiteId::as_str)),
                yes(deployment.prepared),
                yes(deployment.approved),
                status,
                age,
                text(deployment.parent.as_ref().map(DeploymentId::as_str)),
                text(placed.map(|(site, _)| site.as_str())),
                updated,
                message,
            ]
        }
        (Key::Plugin(id), Facts::Plugin(plugin)) => {
            let triggers: Vec<String> = plugin.triggers.iter().map(ToString::to_string).collect();
            vec![
                name,
                id.plugin_type().as_str().into(),
                id.name().into(),
                plugin.executor.as_str().into(),
                age,
                text(Some(&triggers.join(","))),
                updated,
            ]
        }
        _ => vec![name, entity.key.id().into(), age, updated],
    }
}

/// The message of a condition in one line.
fn message(condition: &Condition) -> Value {
    let line = condition.message.split_whitespace().collect::<Vec<_>>();
    line.join(" ").into()
}

/// A duration as kubectl writes it: `5s`, `3m12s`, `26h`, `9d`.
fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    let two = |large: u64, unit: char, small: u64, small_unit: char| match small {
        0 => format!("{large}{unit}"),
        small => format!("{large}{unit}{small}{small_unit}"),
    };
    if seconds < 120 {
        format!("{seconds}s")
    } else if minutes < 10 {
        two(minutes, 'm', seconds % 60, 's')
    } else if hours < 3 {
        format!("{minutes}m")
    } else if hours < 8 {
        two(hours, 'h', minutes % 60, 'm')
    } else if hours < 48 {
        format!("{hours}h")
    } else if days < 8 {
        two(days, 'd', hours % 24, 'h')
    } else if days < 730 {
        format!("{days}d")
    } else if days < 2_920 {
        two(days / 365, 'y', days % 365, 'd')
    } else {
        format!("{}y", days / 365)
    }
}

/// The metadata of a list: its resource version and, if there is more, the token to continue.
pub(crate) fn list_metadata(version: u64, next: Option<&str>) -> Map<String, Value> {
    let mut metadata = Map::new();
    metadata.insert("resourceVersion".into(), version.to_string().into());
    if let Some(next) = next {
        metadata.insert("continue".into(), next.into());
    }
    metadata
}

/// A list of objects, in the order of the keys, without its items.
#[expect(
    clippy::needless_pass_by_value,
    reason = "calls read like the JSON that they make"
)]
pub(crate) fn list_head(resource: &ResourceType, metadata: Map<String, Value>) -> Value {
    json!({
        "apiVersion": crate::resource::API_VERSION,
        "kind": resource.list_name(),
        "metadata": metadata,
        "items": [],
    })
}

#[cfg(test)]
mod tests {
    use super::human;
    use std::time::Duration;

    #[test]
    fn durations_are_written_as_kubectl_does() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (192, "3m12s"),
            (3_600, "60m"),
            (4 * 3_600 + 60, "4h1m"),
            (30 * 3_600, "30h"),
            (3 * 86_400 + 7_200, "3d2h"),
            (20 * 86_400, "20d"),
            (800 * 86_400, "2y70d"),
        ] {
            assert_eq!(human(Duration::from_secs(seconds)), text);
        }
    }
}
