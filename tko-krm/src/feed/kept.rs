//! [`KeptChanges`]: the latest changes, limited by their number and their weight.
//!
//! The weight of a change is an estimate of its memory. It grows when the change is rendered as
//! JSON, and when the state before it is read.

use super::{Batch, FeedChange};
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tko_core::{Metadata, Package, Record, Revision};

/// Maximum number of changes that a watch takes at once.
const BATCH: usize = 256;

/// Weight in bytes after which a watch takes no more changes at once, because it holds what it has
/// not sent yet.
const BATCH_BYTES: usize = 1 << 20;

/// Estimated bytes of an entity without its metadata, messages and package.
const ENTITY: usize = 1_024;

/// Estimated bytes of a value of a package without its texts.
const VALUE: usize = 32;

/// The weight of one change, which is part of a sum until the change leaves it or is dropped.
pub(super) struct ChangeWeight {
    own: AtomicUsize,
    sum: Arc<AtomicUsize>,
}

impl ChangeWeight {
    fn new(bytes: usize, sum: Arc<AtomicUsize>) -> Self {
        let weight = Self {
            own: AtomicUsize::new(0),
            sum,
        };
        weight.add(bytes);
        weight
    }

    /// Adds bytes to the weight.
    pub(super) fn add(&self, bytes: usize) {
        // In this order, so that the sum is never less than its parts.
        self.sum.fetch_add(bytes, Ordering::Relaxed);
        self.own.fetch_add(bytes, Ordering::Relaxed);
    }

    fn bytes(&self) -> usize {
        self.own.load(Ordering::Relaxed)
    }

    /// Leaves the sum. Bytes that are added later are in it until the change is dropped.
    pub(super) fn leave(&self) {
        let own = self.own.swap(0, Ordering::Relaxed);
        self.sum.fetch_sub(own, Ordering::Relaxed);
    }
}

impl Drop for ChangeWeight {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The estimated memory of a record, in bytes.
pub(super) fn weight_of(record: &Record) -> usize {
    let entity = &*record.entity;
    let metadata: usize = [&entity.inherited, &entity.given, &entity.metadata]
        .into_iter()
        .flat_map(Metadata::iter)
        .map(|(key, value)| key.len() + value.len())
        .sum();
    let messages = entity.conditions.iter().map(|one| one.message.len());
    let resources = record.package.iter().flat_map(Package::iter);
    let package = resources.map(|resource| weight_of_value(resource.value()));
    ENTITY + metadata + messages.sum::<usize>() + package.sum::<usize>()
}

/// The estimated memory of a value, in bytes. It is not written as JSON, because the feed weighs
/// each change.
fn weight_of_value(value: &Value) -> usize {
    let content: usize = match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(weight_of_value).sum(),
        Value::Object(map) => map
            .iter()
            .map(|(key, item)| key.len() + weight_of_value(item))
            .sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    };
    VALUE + content
}

/// The changes that are kept.
pub(super) struct KeptChanges {
    /// The changes after this revision are kept.
    after: Revision,
    changes: VecDeque<Arc<FeedChange>>,
    most: usize,
    most_bytes: usize,
    /// The weight of all changes, in bytes.
    sum: Arc<AtomicUsize>,
}

impl KeptChanges {
    /// Keeps this many changes with this weight in bytes, but always the latest change.
    pub(super) fn new(most: usize, most_bytes: usize) -> Self {
        Self {
            after: Revision(0),
            changes: VecDeque::new(),
            most,
            most_bytes,
            sum: Arc::default(),
        }
    }

    /// Drops all changes; the next one is later than this revision.
    pub(super) fn restart(&mut self, after: Revision) {
        for change in self.changes.drain(..) {
            change.leave_sum();
        }
        self.after = after;
    }

    /// Adds a change of this weight, and drops the oldest ones beyond the limits.
    pub(super) fn push(&mut self, mut change: FeedChange, weight: usize) {
        change.weight = Some(ChangeWeight::new(weight, self.sum.clone()));
        self.changes.push_back(Arc::new(change));
        self.trim();
    }

    /// The changes after a revision.
    pub(super) fn after(&mut self, revision: Revision) -> Batch {
        // Watches have made changes heavier since the last one was added.
        self.trim();
        if revision < self.after {
            return Batch::Behind;
        }
        let start = self
            .changes
            .partition_point(|change| change.revision <= revision);
        let mut bytes = 0;
        let mut changes = Vec::new();
        for change in self.changes.range(start..).take(BATCH) {
            changes.push(change.clone());
            bytes += change.weight.as_ref().map_or(0, ChangeWeight::bytes);
            if bytes > BATCH_BYTES {
                break;
            }
        }
        let upto = match changes.last() {
            Some(last) if start + changes.len() < self.changes.len() => last.revision,
            _ => self
                .changes
                .back()
                .map_or(self.after, |last| last.revision)
                .max(revision),
        };
        Batch::Changes(changes, upto)
    }

    fn exceeds_limits(&self) -> bool {
        self.changes.len() > self.most || self.sum.load(Ordering::Relaxed) > self.most_bytes
    }

    /// Drops the oldest changes beyond the limits, but not the latest.
    fn trim(&mut self) {
        while self.changes.len() > 1 && self.exceeds_limits() {
            let Some(oldest) = self.changes.pop_front() else {
                break;
            };
            // A watch may hold it a while longer.
            oldest.leave_sum();
            self.after = oldest.revision;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BATCH_BYTES, Batch, FeedChange, KeptChanges, VALUE, weight_of, weight_of_value};
    use serde_json::json;
    use tko_core::{Entity, Facts, Package, Record, Revision, SiteId};

    /// A change with a package of about this many bytes.
    fn change(revision: u64, bytes: usize) -> FeedChange {
        let resource = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"},
            "data": {"k": "v".repeat(bytes)},
        });
        let package = Package::from_values([resource]).expect("a resource");
        let id = SiteId::new("a").expect("an id");
        let record = Record::new(Entity::new(id, Facts::site(None, None))).package(package);
        FeedChange::new(Revision(revision), record, false, true)
    }

    fn filled(mut kept: KeptChanges, count: u64, bytes: usize) -> KeptChanges {
        for revision in 1..=count {
            let change = change(revision, bytes);
            let weight = weight_of(&change.record);
            kept.push(change, weight);
        }
        kept
    }

    /// The revisions of the next changes after a revision; `None` if they are no longer kept.
    fn after(kept: &mut KeptChanges, revision: u64) -> Option<Vec<u64>> {
        match kept.after(Revision(revision)) {
            Batch::Changes(changes, _) => {
                Some(changes.iter().map(|change| change.revision.0).collect())
            }
            Batch::Behind => None,
        }
    }

    #[test]
    fn the_number_of_kept_changes_is_limited() {
        let mut kept = filled(KeptChanges::new(3, usize::MAX), 10, 1);
        assert_eq!(after(&mut kept, 6), None);
        assert_eq!(after(&mut kept, 7), Some(vec![8, 9, 10]));
    }

    #[test]
    fn the_weight_of_kept_changes_is_limited() {
        let mut kept = filled(KeptChanges::new(1_000, 50_000), 10, 10_000);
        assert_eq!(after(&mut kept, 5), None);
        assert_eq!(after(&mut kept, 6), Some(vec![7, 8, 9, 10]));
        kept.restart(Revision(20));
        assert_eq!(after(&mut kept, 19), None);
        assert_eq!(after(&mut kept, 20), Some(vec![]));
    }

    #[test]
    fn every_value_and_every_text_has_a_weight() {
        let value = json!({"key": "text", "list": [null, true, 1, "a"], "empty": {}});
        let texts = "key".len() + "text".len() + "list".len() + "a".len() + "empty".len();
        assert_eq!(weight_of_value(&value), 8 * VALUE + texts);
    }

    #[test]
    fn rendered_changes_weigh_more() {
        let mut kept = filled(KeptChanges::new(1_000, 50_000), 3, 10_000);
        assert_eq!(after(&mut kept, 0), Some(vec![1, 2, 3]));
        let Batch::Changes(changes, _) = kept.after(Revision(0)) else {
            panic!("they are kept");
        };
        for change in changes {
            change.json();
        }
        assert_eq!(after(&mut kept, 0), None);
        assert_eq!(after(&mut kept, 1), Some(vec![2, 3]));
    }

    #[test]
    fn the_latest_change_is_kept_whatever_it_weighs() {
        let mut kept = filled(KeptChanges::new(1_000, 1), 3, 10_000);
        assert_eq!(after(&mut kept, 1), None);
        assert_eq!(after(&mut kept, 2), Some(vec![3]));
    }

    #[test]
    fn a_watch_takes_few_large_changes_at_once() {
        let mut kept = filled(KeptChanges::new(1_000, usize::MAX), 10, BATCH_BYTES / 2);
        assert_eq!(after(&mut kept, 0), Some(vec![1, 2]));
        let Batch::Changes(_, upto) = kept.after(Revision(8)) else {
            panic!("they are kept");
        };
        assert_eq!(upto, Revision(10));
    }
}
