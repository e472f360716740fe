//! Subscriptions of deployments to other entities, stored in metadata and found by index.
//!
//! A preparer that cannot proceed names the entities that it waits for. They are stored in the
//! deployment's metadata under reserved keys. When a site, template or plugin changes, the
//! interested deployments are found by these keys, and people can query which deployments wait for
//! which entities.
//!
//! | subscription to | key | value |
//! |---|---|---|
//! | one entity | `nephio.org/waits-for/KIND/ID` | empty |
//! | a preparer of a kind of resource | `nephio.org/waits-for/preparer/GVK` | empty |
//! | a selection, until the deployment is prepared | `nephio.org/waits-for/KIND` | JSON list of pattern maps |
//! | a selection, persistently | `nephio.org/tracks/KIND` | JSON list of pattern maps |
//!
//! A key that would exceed [`MAX_METADATA_KEY`] has `#` and a digest in the place of its id or GVK.
//!
//! ```
//! use tko_core::{Key, Kind, SiteId, Subscription, subscription};
//!
//! let site = Key::from(SiteId::new("south-100")?);
//! let metadata = subscription::metadata(&[Subscription::Entity(site.clone())]);
//! assert!(metadata.contains_key(&subscription::waits_for_entity(&site)));
//! # Ok::<(), tko_core::Error>(())
//! ```

use crate::hash::ContentHash;
use crate::id::{Key, Kind};
use crate::metadata::{MAX_METADATA_KEY, Metadata};
use crate::pattern::Pattern;
use crate::resource::Gvk;
use crate::select::{MetadataPatterns, metadata_match};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};

const WAITS_FOR: &str = "nephio.org/waits-for/";
const TRACKS: &str = "nephio.org/tracks/";

/// An interest of a deployment: a change of it enqueues the deployment's preparation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subscription {
    /// One entity, which need not exist yet, such as a site that is not registered.
    Entity(Key),
    /// The plugins that prepare this kind of resource: one is registered, replaced or deleted.
    Preparer(Gvk),
    /// Every entity of this kind whose metadata matches.
    Selection {
        /// The kind: sites or templates.
        kind: Kind,
        /// Patterns for the metadata, as in [`Select`](crate::Select).
        metadata: MetadataPatterns,
        /// Whether the subscription outlives the preparation.
        persistent: bool,
    },
}

/// The metadata key of deployments that wait for this entity.
pub fn waits_for_entity(key: &Key) -> String {
    bounded(&format!("{WAITS_FOR}{}/", key.kind()), key.id())
}

/// The metadata key of deployments that wait for a preparer of this kind of resource.
pub fn waits_for_preparer(gvk: &Gvk) -> String {
    bounded(&format!("{WAITS_FOR}preparer/"), &gvk.to_string())
}

/// The metadata key of this name; of its digest if the key would be too long. No id or GVK is equal
/// to a digest.
fn bounded(prefix: &str, name: &str) -> String {
    if prefix.len() + name.len() <= MAX_METADATA_KEY {
        format!("{prefix}{name}")
    } else {
        format!("{prefix}#{}", ContentHash::of(&Value::from(name)))
    }
}

/// The metadata keys of deployments with selections of this kind of entity; [`cares`] evaluates
/// their values.
pub fn selection_keys(kind: Kind) -> [String; 2] {
    [format!("{WAITS_FOR}{kind}"), format!("{TRACKS}{kind}")]
}

/// Whether one of the selections in the value of a [selection key](selection_keys) matches these
/// metadata. A malformed value matches everything: a superfluous preparation is harmless, a missed
/// one is not.
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

/// Whether this metadata key stores a subscription.
pub fn is_subscription(key: &str) -> bool {
    key.starts_with(WAITS_FOR) || key.starts_with(TRACKS)
}

/// Whether this metadata key stores a subscription that outlives the preparation.
pub fn is_persistent(key: &str) -> bool {
    key.starts_with(TRACKS)
}

/// The metadata that store these subscriptions.
pub fn metadata(subscriptions: &[Subscription]) -> Metadata {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    // By key: the texts of the selections, and the selections in order.
    let mut selections: BTreeMap<String, (HashSet<String>, Vec<Value>)> = BTreeMap::new();
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
                let (texts, list) = selections
                    .entry(if *persistent { tracks } else { waits })
                    .or_default();
                let patterns = json!(patterns);
                if texts.insert(patterns.to_string()) {
                    list.push(patterns);
                }
            }
        }
    }
    found.extend(
        selections
            .into_iter()
            .map(|(key, (_, list))| (key, Value::Array(list).to_string())),
    );
    found.into_iter().collect()
}
