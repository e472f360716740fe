//! What a deployment waits for, or follows: kept in its metadata, found by index.
//!
//! A preparer that cannot go on says what it waits for. That is written into the deployment's
//! metadata under reserved keys, so that whoever sees a site, template or plugin change finds the
//! deployments that care without looking at the others, and people can ask what waits for what.
//!
//! | interest | key | value |
//! |---|---|---|
//! | one entity | `nephio.org/waits-for/KIND/ID` | empty |
//! | someone who prepares a kind of resource | `nephio.org/waits-for/preparer/GVK` | empty |
//! | a selection, until it is prepared | `nephio.org/waits-for/KIND` | JSON list of pattern maps |
//! | a selection, for good | `nephio.org/tracks/KIND` | JSON list of pattern maps |

use crate::id::{Key, Kind};
use crate::metadata::Metadata;
use crate::pattern::Pattern;
use crate::resource::Gvk;
use crate::select::{MetadataPatterns, metadata_match};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const WAITS_FOR: &str = "nephio.org/waits-for/";
const TRACKS: &str = "nephio.org/tracks/";

/// Something whose change makes a deployment due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subscription {
    /// This entity, such as a site that is not registered yet.
    Entity(Key),
    /// A preparer of this kind of resource: one that comes, goes, or is replaced.
    Preparer(Gvk),
    /// Any entity of this kind whose metadata match.
    Selection {
        /// Sites or templates.
        kind: Kind,
        /// As in [`Select`](crate::Select).
        metadata: MetadataPatterns,
        /// Also once the deployment is prepared.
        persistent: bool,
    },
}

/// The metadata key under which deployments are found that wait for this entity.
pub fn waits_for_entity(key: &Key) -> String {
    format!("{WAITS_FOR}{}/{}", key.kind(), key.id())
}

/// The metadata key under which deployments are found that wait for such a preparer.
pub fn waits_for_preparer(gvk: &Gvk) -> String {
    format!("{WAITS_FOR}preparer/{gvk}")
}

/// The metadata keys under which deployments are found that may care for entities of this kind:
/// their values must be judged with [`cares`].
pub fn selection_keys(kind: Kind) -> [String; 2] {
    [format!("{WAITS_FOR}{kind}"), format!("{TRACKS}{kind}")]
}

/// Whether one of the selections in the value of such a key matches these metadata. A value that
/// is no such list cares for everything: better woken once too often.
pub fn cares(value: &str, metadata: &Metadata) -> bool {
    let Ok(Value::Array(selections)) = serde_json::from_str(value) else {
        return true;
    };
    selections.iter().any(|selection| {
        let Value::Object(selection) = selection else {
            return true;
        };
        let patterns: Option<MetadataPatterns> = selection
            .iter()
            .map(|(key, text)| Some((key.clone(), Pattern::value(text.as_str()?).ok()?)))
            .collect();
        patterns.is_none_or(|patterns| metadata_match(&patterns, metadata))
    })
}

/// Whether this metadata key keeps an interest.
pub fn is_subscription(key: &str) -> bool {
    key.starts_with(WAITS_FOR) || key.starts_with(TRACKS)
}

/// Whether this metadata key keeps an interest that lasts beyond preparation.
pub fn is_persistent(key: &str) -> bool {
    key.starts_with(TRACKS)
}

/// The metadata that keep these subscriptions.
pub fn metadata(subscriptions: &[Subscription]) -> Metadata {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let mut selections: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for subscription in subscriptions {
        match subscription {
            Subscription::Entity(key) => {
                found.insert(waits_for_entity(key), String::new());
            }
            Subscription::Preparer(gvk) => {
                found.insert(waits_for_preparer(gvk), String::new());
            }
            Subscription::Selection {
                kind,
                metadata,
                persistent,
            } => {
                let [waits, tracks] = selection_keys(*kind);
                let patterns: BTreeMap<&String, &str> = metadata
                    .iter()
                    .map(|(key, pattern)| (key, pattern.as_str()))
                    .collect();
                let list = selections
                    .entry(if *persistent { tracks } else { waits })
                    .or_default();
                let patterns = json!(patterns);
                if !list.contains(&patterns) {
                    list.push(patterns);
                }
            }
        }
    }
    found.extend(
        selections
            .into_iter()
            .map(|(key, list)| (key, Value::Array(list).to_string())),
    );
    found.into_iter().collect()
}
