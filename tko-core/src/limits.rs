//! Limits on what is stored: on metadata, rows and packages.
//!
//! [`Store`](crate::Store) checks them before each commit, so they hold for requests through every
//! interface. An entity within the limits fits into one message of every interface, and a page of
//! rows into the memory of every client.

use crate::approved_package;
use crate::change::Put;
use crate::entity::{Condition, Facts};
use crate::error::{Error, Result};
use crate::metadata::{Metadata, PRIVATE, RESERVED};
use crate::package::Package;
use crate::resource::Resource;
use crate::site_scheduler;
use crate::subscription::is_subscription;
use serde_json::Value;
use std::sync::Arc;

pub use crate::metadata::MAX_METADATA_KEY;

/// Longest metadata value, in bytes.
pub const MAX_METADATA_VALUE: usize = 16 << 10;

/// Maximum number of metadata keys of one entity, not counting those that TKO writes itself.
pub const MAX_METADATA_KEYS: usize = 1_000;

/// Maximum number of bytes of all metadata keys and values of one entity, not counting those that
/// TKO writes itself.
pub const MAX_METADATA: usize = 256 << 10;

/// Maximum number of bytes of the metadata that TKO writes itself, such as subscriptions; and of the
/// [private](PRIVATE) ones of one entity.
pub const MAX_RESERVED_METADATA: usize = 2 << 20;

/// Maximum number of [private](PRIVATE) metadata keys of one entity.
pub const MAX_PRIVATE_METADATA_KEYS: usize = 16;

/// Maximum number of bytes of a package, as compact JSON.
pub const MAX_PACKAGE: usize = 16 << 20;

/// Maximum number of bytes of the facts of one row: the Deployment resource, or a plugin with its
/// arguments, properties and triggers.
pub const MAX_FACTS: usize = 256 << 10;

/// Longest idempotency key, in bytes.
pub const MAX_IDEMPOTENCY_KEY: usize = 1_024;

/// Longest message of a condition, in bytes. Longer messages are truncated.
pub const MAX_CONDITION_MESSAGE: usize = 16 << 10;

/// Longest kind and reason of a condition, in bytes.
pub const MAX_CONDITION_NAME: usize = 256;

/// Maximum number of conditions of one entity in one step.
pub const MAX_CONDITIONS: usize = 64;

/// Maximum number of bytes of the progress of a piece of work, as compact JSON.
pub const MAX_PROGRESS: usize = 1 << 20;

/// Checks the new state of an entity.
///
/// # Errors
/// [`BadArgument`](Error::BadArgument): a limit is exceeded; names the limit and the entity's part.
pub(crate) fn check(put: &Put) -> Result<()> {
    check_given(&put.given)?;
    for metadata in [&put.inherited, &put.metadata] {
        check_metadata(metadata)?;
    }
    if let Some(body) = &put.body {
        // An approved package that the body has besides is within the limit, too.
        check_size(approved_package::visible(body))?;
    }
    match &put.facts {
        Facts::Deployment(deployment) => {
            let size = deployment.resource.skeleton.size();
            within("Deployment resource", "bytes", size, MAX_FACTS)?;
            let key = deployment.idempotency_key.as_deref().unwrap_or_default();
            within("idempotency key", "bytes", key.len(), MAX_IDEMPOTENCY_KEY)
        }
        Facts::Plugin(plugin) => {
            let properties = plugin.properties.iter();
            let gvks = plugin.triggers.iter();
            let size = plugin.executor.len()
                + plugin.arguments.iter().map(String::len).sum::<usize>()
                + properties.map(|(k, v)| k.len() + v.len()).sum::<usize>()
                + gvks.map(|gvk| gvk.to_string().len()).sum::<usize>();
            within("plugin", "bytes", size, MAX_FACTS)
        }
        Facts::Template | Facts::Site { .. } => Ok(()),
    }
}

/// Checks the size of a package.
///
/// # Errors
/// [`BadArgument`](Error::BadArgument): it has more than [`MAX_PACKAGE`] bytes.
pub(crate) fn check_package(package: &Package) -> Result<()> {
    check_size(package.resources())
}

fn check_size(resources: &[Arc<Resource>]) -> Result<()> {
    let size = resources.iter().map(|resource| resource.size()).sum();
    within("package", "bytes of JSON", size, MAX_PACKAGE)
}

/// Checks the metadata that a client gives: keys, values, their number and their sum.
///
/// A reserved key counts as any other, because TKO did not write it. Subscriptions are refused: the
/// deployment would be prepared again at every change that they name. [Private](PRIVATE) keys have
/// their own limits, because no index has them.
fn check_given(metadata: &Metadata) -> Result<()> {
    let is_reserved = |key: &str| key.starts_with(RESERVED);
    if is_small(metadata) && !metadata.keys().any(is_reserved) {
        return Ok(());
    }
    let mut sums = MetadataSums::default();
    let (mut private_keys, mut private_bytes) = (0, 0);
    for (key, value) in metadata {
        within("metadata key", "bytes", key.len(), MAX_METADATA_KEY)?;
        if is_subscription(key) {
            let message = format!("{key:?} is written by TKO itself; leave it out");
            return Err(Error::bad("metadata", message));
        }
        if site_scheduler::is_recorded(key) {
            // TKO itself writes it: a client could not make it smaller.
        } else if key.starts_with(PRIVATE) {
            private_keys += 1;
            private_bytes += key.len() + value.len();
        } else {
            sums.add(key, value)?;
        }
    }
    sums.check()?;
    let max = MAX_PRIVATE_METADATA_KEYS;
    within("private metadata", "keys", private_keys, max)?;
    let max = MAX_RESERVED_METADATA;
    within("private metadata", "bytes", private_bytes, max)
}

/// Checks metadata that TKO has put together: keys, values, their number and their sum.
fn check_metadata(metadata: &Metadata) -> Result<()> {
    if is_small(metadata) {
        return Ok(());
    }
    let (mut sums, mut reserved) = (MetadataSums::default(), 0);
    for (key, value) in metadata {
        within("metadata key", "bytes", key.len(), MAX_METADATA_KEY)?;
        if key.starts_with(RESERVED) {
            reserved += key.len() + value.len();
        } else {
            sums.add(key, value)?;
        }
    }
    sums.check()?;
    within("subscriptions", "bytes", reserved, MAX_RESERVED_METADATA)
}

/// Whether metadata are far below every limit, as most are. An upper bound of their size is found in
/// constant time.
fn is_small(metadata: &Metadata) -> bool {
    metadata.size() <= MAX_METADATA_KEY && metadata.len() <= MAX_METADATA_KEYS
}

/// The number and size of the metadata that count towards the limits of an entity.
#[derive(Default)]
struct MetadataSums {
    keys: usize,
    bytes: usize,
}

impl MetadataSums {
    /// Counts one pair, and checks its value.
    fn add(&mut self, key: &str, value: &str) -> Result<()> {
        if value.len() > MAX_METADATA_VALUE {
            return Err(Error::bad(
                "metadata",
                format!(
                    "the value of {key:?} has {} bytes; at most {MAX_METADATA_VALUE} are allowed: \
                     keep it in a resource of the package",
                    value.len()
                ),
            ));
        }
        self.keys += 1;
        self.bytes += key.len() + value.len();
        Ok(())
    }

    fn check(&self) -> Result<()> {
        within("metadata", "keys", self.keys, MAX_METADATA_KEYS)?;
        within("metadata", "bytes", self.bytes, MAX_METADATA)
    }
}

/// Checks a key that was gathered from a package, and the number of keys that were gathered so far.
///
/// Their values are not checked here, because each has its own text in the package.
///
/// # Errors
/// [`BadArgument`](Error::BadArgument): the key is too long or reserved, or there are too many.
pub(crate) fn check_gathered(key: &str, keys: usize) -> Result<()> {
    within("metadata key", "bytes", key.len(), MAX_METADATA_KEY)?;
    if key.starts_with(RESERVED) {
        return Err(Error::bad(
            "metadata",
            format!(
                "keys that begin with {RESERVED:?} are reserved: give the resource another kind"
            ),
        ));
    }
    if keys > MAX_METADATA_KEYS {
        return Err(Error::bad(
            "metadata",
            format!(
                "the package has more than {MAX_METADATA_KEYS} keys: keep some in resources of \
                 another group"
            ),
        ));
    }
    Ok(())
}

/// Truncates the messages of conditions, and checks the number and names of conditions.
///
/// # Errors
/// [`BadArgument`](Error::BadArgument): there are too many, or a kind or reason is too long.
pub(crate) fn bounded(conditions: &mut [Condition]) -> Result<()> {
    within("conditions", "entries", conditions.len(), MAX_CONDITIONS)?;
    for condition in conditions {
        for name in [&condition.kind, &condition.reason] {
            within(
                "condition",
                "bytes in a name",
                name.len(),
                MAX_CONDITION_NAME,
            )?;
        }
        let message = &mut condition.message;
        if message.len() > MAX_CONDITION_MESSAGE {
            let end = message.floor_char_boundary(MAX_CONDITION_MESSAGE);
            message.truncate(end);
            message.push('…');
        }
    }
    Ok(())
}

/// Checks the size of the progress of a piece of work.
///
/// # Errors
/// [`BadArgument`](Error::BadArgument): it has more than [`MAX_PROGRESS`] bytes.
pub(crate) fn check_progress(progress: Option<&Value>) -> Result<()> {
    let size = progress.map_or(0, crate::hash::size_of_value);
    within("progress", "bytes of JSON", size, MAX_PROGRESS)
}

fn within(argument: &'static str, unit: &str, found: usize, max: usize) -> Result<()> {
    if found <= max {
        return Ok(());
    }
    Err(Error::bad(
        argument,
        format!("has {found} {unit}; at most {max} are allowed: make it smaller, or split it"),
    ))
}

#[cfg(test)]
mod tests {
    use super::{
        MAX_CONDITION_MESSAGE, MAX_METADATA_KEYS, MAX_METADATA_VALUE, MAX_PACKAGE,
        MAX_PRIVATE_METADATA_KEYS, bounded, check,
    };
    use crate::change::Put;
    use crate::entity::Condition;
    use crate::id::SiteId;
    use crate::metadata::Metadata;
    use crate::package::Package;
    use crate::revision::Generation;
    use serde_json::json;

    fn site(metadata: Metadata) -> Put {
        let mut put = Put::new(SiteId::new("a").expect("an id"));
        put.given = metadata;
        put
    }

    #[test]
    fn s1_s15_metadata_are_limited_by_value_number_and_sum() {
        // Clients get no other limits by keys that TKO reserves for itself.
        for prefix in ["", "nephio.org/"] {
            let many = |count: usize, value: &str| -> Metadata {
                let key = |n: usize| format!("{prefix}k{n}");
                (0..count).map(|n| (key(n), value)).collect()
            };
            let one =
                |key: &str, value: &str| Metadata::from_iter([(format!("{prefix}{key}"), value)]);
            let value = |length: usize| one("k", &"v".repeat(length));
            let long = format!("the value of \"{prefix}k\" has 35651584 bytes");
            for (metadata, reason) in [
                (value(MAX_METADATA_VALUE), None),
                (value(34 << 20), Some(long.as_str())),
                (many(MAX_METADATA_KEYS, "v"), None),
                (many(200_000, "v"), Some("200000 keys")),
                (
                    many(100, &"v".repeat(10_000)),
                    Some("bytes; at most 262144"),
                ),
                (one(&"k".repeat(2_000), "v"), Some("metadata key")),
            ] {
                assert_checked(&site(metadata), reason);
            }
        }
    }

    fn assert_checked(put: &Put, reason: Option<&str>) {
        match (check(put), reason) {
            (Ok(()), None) => {}
            (Err(error), Some(reason)) => {
                assert!(error.to_string().contains(reason), "{error}");
            }
            (result, reason) => panic!("{result:?} in place of {reason:?}"),
        }
    }

    #[test]
    fn clients_give_no_subscriptions_and_few_private_keys() {
        let private = |count: usize, length: usize| -> Metadata {
            let value = "v".repeat(length);
            let key = |n: usize| format!("nephio.org/_{n}");
            (0..count).map(|n| (key(n), value.as_str())).collect()
        };
        let subscription = Metadata::from_iter([("nephio.org/waits-for/site/a", "")]);
        let tracks = Metadata::from_iter([("nephio.org/tracks/site", "x")]);
        for (metadata, reason) in [
            (private(MAX_PRIVATE_METADATA_KEYS, 100_000), None),
            (private(MAX_PRIVATE_METADATA_KEYS + 1, 1), Some("17 keys")),
            (private(1, 3 << 20), Some("private metadata")),
            (subscription.clone(), Some("written by TKO itself")),
            (tracks, Some("written by TKO itself")),
        ] {
            assert_checked(&site(metadata), reason);
        }
        let mut put = site(Metadata::default());
        put.metadata = subscription;
        assert_checked(&put, None);
    }

    #[test]
    fn s2_packages_are_limited_by_their_json() {
        let package = |length: usize| {
            let value = json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"},
                "data": {"k": "v".repeat(length)},
            });
            Package::from_values([value]).expect("a resource")
        };
        let mut put = site(Metadata::default());
        put.body = Some(package(MAX_PACKAGE - 1_000));
        assert!(check(&put).is_ok());
        put.body = Some(package(MAX_PACKAGE));
        let error = check(&put).expect_err("too large");
        assert!(error.to_string().contains("package: has"), "{error}");
    }

    #[test]
    fn long_messages_of_conditions_are_cut_between_characters() {
        let message = "é".repeat(MAX_CONDITION_MESSAGE);
        let condition = |message: &str| {
            Condition::new("Prepared", false, "Failed", message, Generation::default())
        };
        let mut conditions = [condition(&message), condition("short")];
        bounded(&mut conditions).expect("few");
        assert!(conditions[0].message.len() <= MAX_CONDITION_MESSAGE + 3);
        assert!(conditions[0].message.ends_with("é…"));
        assert_eq!(conditions[1].message, "short");
        assert!(bounded(&mut vec![condition(""); 100]).is_err());
    }
}
