//! Entities as JSON, with the keys that users of the API know: for command lines, HTTP, terminal
//! dashboards and Python.
//!
//! [`summary`] is one row of a listing, [`detail`] adds conditions and due work. Packages are not
//! part of either; [`package`] shows one. The keys are those of the gRPC messages, in this order:
//!
//! | key | of | value |
//! |---|---|---|
//! | [`TEMPLATE_ID`](keys::TEMPLATE_ID) | template, site, deployment | text; `""` if there is none |
//! | [`SITE_ID`](keys::SITE_ID) | site, deployment | text; `""` if there is none |
//! | [`DEPLOYMENT_ID`](keys::DEPLOYMENT_ID), [`PARENT_DEPLOYMENT_ID`](keys::PARENT_DEPLOYMENT_ID) | deployment | text; the parent `""` if there is none |
//! | [`TYPE`](keys::TYPE), [`NAME`](keys::NAME), [`EXECUTOR`](keys::EXECUTOR) | plugin | text |
//! | [`ARGUMENTS`](keys::ARGUMENTS), [`PROPERTIES`](keys::PROPERTIES) | plugin | list of text; map of text |
//! | [`TRIGGERS`](keys::TRIGGERS) | plugin | list of maps: `group`, `version`, `kind` |
//! | [`METADATA`](keys::METADATA) | all but plugins | map of text, without TKO's own keys ([`RESERVED`]) |
//! | [`CREATED`](keys::CREATED) | deployment | time |
//! | [`UPDATED`](keys::UPDATED) | all but plugins | time |
//! | [`PREPARED`](keys::PREPARED), [`APPROVED`](keys::APPROVED) | deployment | boolean |
//! | [`DEPLOYMENT_IDS`](keys::DEPLOYMENT_IDS) | template, site | list of text, if it was read |
//! | [`DELETING`](keys::DELETING) | all | `true` while it is being deleted, else absent |
//!
//! A row of a listing shows no metadata of TKO's own ([`RESERVED`]).
//!
//! Only in [`detail`]:
//!
//! | key | of | value |
//! |---|---|---|
//! | [`VERSION`](keys::VERSION), [`GENERATION`](keys::GENERATION) | all | number |
//! | [`REVISION`](keys::REVISION) | all | number, if it was read |
//! | [`PLACED_ON`](keys::PLACED_ON) | deployment | the id of the site that runs it; absent if none does |
//! | [`CONDITIONS`](keys::CONDITIONS) | all | list, see [`condition`] |
//! | [`WORK`](keys::WORK) | all | list, see [`work`]; absent if there is none |
//!
//! Times are text, see [`rfc3339`].

mod filter_line;
mod state;

pub use filter_line::{FilterLine, MAX_FILTER_LINE, quoted_filter};
pub use state::{DeploymentState, fault, obstacle};

use crate::entity::{Condition, Entity, Facts, Record};
use crate::id::{DeploymentId, Key, Kind, SiteId, TemplateId};
use crate::metadata::{Metadata, RESERVED};
use crate::package::Package;
use crate::pattern::Pattern;
use crate::resource::Identifier;
use crate::revision::Timestamp;
use crate::select::Select;
use crate::work::{Stage, Work};
use serde_json::{Map, Value, json};

/// The names of the keys.
pub mod keys {
    macro_rules! keys {
        ($($(#[$doc:meta])* $name:ident = $text:literal;)+) => {
            $($(#[$doc])* pub const $name: &str = $text;)+
        };
    }
    keys! {
        /// The id of a template, or of the template that a site or deployment was made from.
        TEMPLATE_ID = "templateId";
        /// The id of a site, or of the site of a deployment.
        SITE_ID = "siteId";
        /// The id of a deployment.
        DEPLOYMENT_ID = "deploymentId";
        /// The id of a deployment's parent.
        PARENT_DEPLOYMENT_ID = "parentDeploymentId";
        /// The type of a plugin (`validate`, `prepare`, `schedule`), or of a condition.
        TYPE = "type";
        /// The name of a plugin.
        NAME = "name";
        /// The executor that runs a plugin.
        EXECUTOR = "executor";
        /// The arguments that a plugin's executor gets.
        ARGUMENTS = "arguments";
        /// The properties of a plugin.
        PROPERTIES = "properties";
        /// The kinds of resources that a plugin is called for.
        TRIGGERS = "triggers";
        /// The metadata that selections see.
        METADATA = "metadata";
        /// When a deployment was created.
        CREATED = "created";
        /// When an entity last changed.
        UPDATED = "updated";
        /// Whether a deployment is prepared.
        PREPARED = "prepared";
        /// Whether a deployment is approved.
        APPROVED = "approved";
        /// The ids of a template's or site's deployments.
        DEPLOYMENT_IDS = "deploymentIds";
        /// The version, which differs after every change.
        VERSION = "version";
        /// The number of changes of the package.
        GENERATION = "generation";
        /// The revision of the last change.
        REVISION = "revision";
        /// Whether an entity is being deleted.
        DELETING = "deleting";
        /// The site that runs a deployment now.
        PLACED_ON = "placedOn";
        /// The conditions.
        CONDITIONS = "conditions";
        /// The due work.
        WORK = "work";
    }
}

/// One row of a listing.
///
/// `deployment_ids` are those of a template or site; `None` leaves the key out. They need a
/// separate listing, which [`deployments_of`] selects.
pub fn summary(record: &Record, deployment_ids: Option<&[String]>) -> Value {
    let mut columns = columns(&record.entity, deployment_ids);
    // TKO's own keys are for programs, and in `detail` for people who look for a reason.
    if let Some(Value::Object(metadata)) = columns.get_mut(keys::METADATA) {
        metadata.retain(|key, _| !key.starts_with(RESERVED));
    }
    Value::Object(columns)
}

/// Everything about an entity but its package.
///
/// `deployment_ids` as for [`summary`].
pub fn detail(record: &Record, deployment_ids: Option<&[String]>) -> Value {
    let entity = &record.entity;
    let mut map = columns(entity, deployment_ids);
    map.insert(keys::VERSION.into(), entity.version.0.into());
    map.insert(keys::GENERATION.into(), entity.generation.0.into());
    if let Some(revision) = record.revision {
        map.insert(keys::REVISION.into(), revision.0.into());
    }
    if entity.deleting {
        map.insert(keys::DELETING.into(), true.into());
    }
    if let Some((site, _)) = entity.deployment().and_then(|d| d.placed.as_ref()) {
        map.insert(keys::PLACED_ON.into(), site.as_str().into());
    }
    let conditions = entity.conditions.iter().map(condition);
    map.insert(keys::CONDITIONS.into(), conditions.collect());
    if !record.work.is_empty() {
        let pieces = record.work.iter().map(work);
        map.insert(keys::WORK.into(), pieces.collect());
    }
    Value::Object(map)
}

/// A condition with the keys of Kubernetes: `type`, `status` (`True`, `False` or `Unknown`),
/// `reason`, `message`, `observedGeneration`, `lastTransitionTime`.
pub fn condition(condition: &Condition) -> Value {
    json!({
        "type": condition.kind,
        "status": match condition.status {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        },
        "reason": condition.reason,
        "message": condition.message,
        "observedGeneration": condition.observed.0,
        "lastTransitionTime": rfc3339(condition.since),
    })
}

/// A piece of due work: `stage` (`prepare`, `schedule` or `delete`), `attempts`, `due`;
/// `workedOnUntil` while a worker has it; `lastError` if the last attempt failed.
pub fn work(work: &Work) -> Value {
    let stage = match work.stage {
        Stage::Prepare => "prepare",
        Stage::Schedule => "schedule",
        Stage::Delete => "delete",
    };
    let mut map = Map::new();
    map.insert("stage".into(), stage.into());
    map.insert("attempts".into(), work.attempts.into());
    map.insert("due".into(), rfc3339(work.due).into());
    if let Some(until) = work.leased {
        map.insert("workedOnUntil".into(), rfc3339(until).into());
    }
    if let Some(error) = &work.error {
        map.insert("lastError".into(), error.as_str().into());
    }
    Value::Object(map)
}

/// The identity of a resource: `apiVersion`, `kind`, `name` and, if it has one, `namespace`.
pub fn reference(identifier: &Identifier) -> Value {
    let mut reference = json!({
        "apiVersion": identifier.gvk.api_version(),
        "kind": *identifier.gvk.kind,
        "name": *identifier.name,
    });
    if let Some(namespace) = &identifier.namespace {
        reference["namespace"] = json!(**namespace);
    }
    reference
}

/// A package: the list of its resources, in order.
pub fn package(package: &Package) -> Value {
    package
        .iter()
        .map(|resource| resource.value().clone())
        .collect()
}

/// Selects the deployments of a template or site; `None` for other kinds.
pub fn deployments_of(key: &Key) -> Option<Select> {
    let mut select = Select::all(Kind::Deployment);
    match key {
        Key::Template(id) => select.template_ids.push(Pattern::literal(id.as_str())),
        Key::Site(id) => select.site_ids.push(Pattern::literal(id.as_str())),
        Key::Deployment(_) | Key::Plugin(_) => return None,
    }
    Some(select)
}

/// Removes the keys of a row whose values are empty: text, lists and maps. This is for people, who
/// read them as absent.
pub fn without_empty(row: Value) -> Value {
    let Value::Object(mut map) = row else {
        return row;
    };
    map.retain(|_, value| match value {
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    });
    Value::Object(map)
}

fn columns(entity: &Entity, deployment_ids: Option<&[String]>) -> Map<String, Value> {
    let mut map = Map::new();
    let optional = |id: Option<&str>| Value::from(id.unwrap_or_default());
    let template = optional(entity.template().map(TemplateId::as_str));
    match (&entity.key, &entity.facts) {
        (Key::Template(id), _) => {
            map.insert(keys::TEMPLATE_ID.into(), id.as_str().into());
        }
        (Key::Site(id), _) => {
            map.insert(keys::SITE_ID.into(), id.as_str().into());
            map.insert(keys::TEMPLATE_ID.into(), template);
        }
        (Key::Deployment(id), Facts::Deployment(deployment)) => {
            map.insert(keys::DEPLOYMENT_ID.into(), id.as_str().into());
            let parent = deployment.parent.as_ref().map(DeploymentId::as_str);
            map.insert(keys::PARENT_DEPLOYMENT_ID.into(), optional(parent));
            map.insert(keys::TEMPLATE_ID.into(), template);
            let site = deployment.site.as_ref().map(SiteId::as_str);
            map.insert(keys::SITE_ID.into(), optional(site));
        }
        (Key::Plugin(id), Facts::Plugin(plugin)) => {
            map.insert(keys::TYPE.into(), id.plugin_type().as_str().into());
            map.insert(keys::NAME.into(), id.name().into());
            map.insert(keys::EXECUTOR.into(), plugin.executor.as_str().into());
            map.insert(keys::ARGUMENTS.into(), json!(plugin.arguments));
            map.insert(keys::PROPERTIES.into(), json!(plugin.properties));
            let triggers = plugin.triggers.iter().map(
                |gvk| json!({"group": *gvk.group, "version": *gvk.version, "kind": *gvk.kind}),
            );
            map.insert(keys::TRIGGERS.into(), triggers.collect());
            return map;
        }
        _ => {}
    }
    map.insert(keys::METADATA.into(), metadata(&entity.metadata));
    let deployment = entity.deployment();
    if deployment.is_some() {
        map.insert(keys::CREATED.into(), rfc3339(entity.created).into());
    }
    map.insert(keys::UPDATED.into(), rfc3339(entity.updated).into());
    if let Some(deployment) = deployment {
        map.insert(keys::PREPARED.into(), deployment.prepared.into());
        map.insert(keys::APPROVED.into(), deployment.approved.into());
    }
    if let Some(ids) = deployment_ids {
        map.insert(keys::DEPLOYMENT_IDS.into(), json!(ids));
    }
    map
}

fn metadata(metadata: &Metadata) -> Value {
    metadata
        .iter()
        .filter(|(key, _)| !key.starts_with(RESERVED))
        .map(|(key, value)| (key.to_owned(), Value::from(value)))
        .collect::<Map<_, _>>()
        .into()
}

/// The first and the last microsecond that RFC 3339 can write: those of the years 0 and 9999.
const RFC3339_RANGE: (i64, i64) = (-62_167_219_200_000_000, 253_402_300_799_999_999);

/// A time in RFC 3339 format, in UTC, with microseconds: `2026-11-28T16:25:11.000042Z`.
///
/// A time before the year 0 or after the year 9999 is written as the nearest one within.
pub fn rfc3339(at: Timestamp) -> String {
    let micros = at.0.clamp(RFC3339_RANGE.0, RFC3339_RANGE.1);
    let (seconds, micros) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// The year, month and day of a number of days since 1970-01-01, in the Gregorian calendar.
fn date(days: i64) -> (i64, i64, i64) {
    // Years that begin in March have the leap day at their end, so months need no table. Counting
    // begins on 0000-03-01; an era is the 400 years after which the calendar repeats.
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let january_or_later = month >= 10;
    (
        era * 400 + year + i64::from(january_or_later),
        if january_or_later {
            month - 9
        } else {
            month + 3
        },
        day,
    )
}

#[cfg(test)]
mod tests;
