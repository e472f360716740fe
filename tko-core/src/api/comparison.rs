//! Compares the package of a deployment with an earlier one, for the person who approves it.

use super::DataApi;
use crate::annotation::{APPROVED, PREPARED};
use crate::change::ChangeRecord;
use crate::deployment_resource;
use crate::entity::{Record, Want};
use crate::error::{Error, Result};
use crate::id::{DeploymentId, Key, SiteId};
use crate::package::{Package, ResourceDifference};
use crate::resource::{Identifier, Resource};
use crate::revision::Revision;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// The parts of the current state that are read.
const CURRENT: Want = Want::PACKAGE.with_revision();

/// How often two states are read until nothing changed between the reads.
const TRIES: usize = 5;

/// Bytes of packages in one page of history, if all are as large as the current one.
const PAGE_BYTES: usize = 64 << 20;

/// Maximum number of changes in one page of history.
const PAGE_CHANGES: usize = 16;

/// The current state of a deployment, and an earlier one to compare it with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeploymentComparison {
    /// The earlier state.
    pub before: EarlierState,
    /// The current state, with its package.
    pub after: Record,
}

/// An earlier state of a deployment, with its package.
#[derive(Clone, Debug)]
pub enum EarlierState {
    /// The state that a site keeps until an edit is approved; see [`Want::kept`].
    Kept {
        /// The site.
        site: SiteId,
        /// The state.
        record: Record,
    },
    /// The state before the last change of the package.
    BeforeChange {
        /// The revision of that change.
        revision: Revision,
        /// The state.
        record: Record,
    },
    /// The state at a revision that the caller chose.
    At {
        /// The revision of the last change up to then; the chosen one if history no longer has that
        /// change.
        revision: Revision,
        /// The state.
        record: Record,
    },
    /// There is none: the package has not changed since the deployment was created.
    NeverChanged,
    /// It is unknown: the package has not changed in the part of history that is kept.
    Forgotten,
}

impl EarlierState {
    /// The state, if there is one.
    pub fn record(&self) -> Option<&Record> {
        match self {
            Self::Kept { record, .. }
            | Self::BeforeChange { record, .. }
            | Self::At { record, .. } => Some(record),
            Self::NeverChanged | Self::Forgotten => None,
        }
    }
}

impl DeploymentComparison {
    /// The resources that differ, in package order; none without an earlier state.
    ///
    /// Whether the deployment is prepared and approved is not compared. This is a part of its
    /// Deployment resource, but an approval changes nothing for the site.
    pub fn differences(&self) -> Vec<ResourceDifference> {
        let Some(before) = self.before.record() else {
            return Vec::new();
        };
        compared(before).differences(&compared(&self.after))
    }

    /// Whether resources that both packages have are in another order.
    pub fn is_reordered(&self) -> bool {
        let before = self.before.record();
        before.is_some_and(|before| is_reordered(&compared(before), &compared(&self.after)))
    }
}

/// Reads the package of a deployment, and an earlier one to compare it with.
///
/// If an edit [waits for approval](crate::Entity::has_unapproved_edit), the earlier one is the
/// package that the site keeps. Otherwise it is the one before the last change of the package. With
/// `at`, it is the one at that revision.
///
/// # Errors
/// - `NotFound`: the deployment does not exist, or is being deleted.
/// - `BadArgument`: history does not reach back to the revision `at`, or the deployment did not
///   exist then; the message names a revision from which on it works.
/// - `Conflict`: the deployment kept changing while it was read.
pub async fn compare_deployment(
    api: &dyn DataApi,
    id: &DeploymentId,
    at: Option<Revision>,
) -> Result<DeploymentComparison> {
    let key = Key::from(id);
    if let Some(revision) = at {
        return since_revision(api, &key, revision).await;
    }
    for _ in 0..TRIES {
        let after = api.get(&key, CURRENT).await?;
        let placed = after.entity.deployment().and_then(|d| d.placed.clone());
        let Some((site, _)) = placed.filter(|_| after.entity.has_unapproved_edit()) else {
            return since_last_change(api, &key, after).await;
        };
        let record = api.get(&key, Want::PACKAGE.with_kept()).await?;
        if record.entity.version != after.entity.version {
            continue;
        }
        // The server is older than `kept`, or stored the edit when it was.
        if record.entity.generation >= after.entity.generation {
            return since_last_change(api, &key, after).await;
        }
        let before = EarlierState::Kept { site, record };
        return Ok(DeploymentComparison { before, after });
    }
    Err(Error::Conflict(vec![key]))
}

/// Compares with the state before the last change of the package.
async fn since_last_change(
    api: &dyn DataApi,
    key: &Key,
    after: Record,
) -> Result<DeploymentComparison> {
    let mut history = HistoryReader::new(api, key, &after);
    let before = loop {
        let changes = history.older().await?;
        if changes.is_empty() {
            break EarlierState::Forgotten;
        }
        if let Some(found) = changes.into_iter().find_map(change_of_package) {
            break found;
        }
    };
    Ok(DeploymentComparison { before, after })
}

/// The state before this change, if it changes the package or creates the deployment.
fn change_of_package(change: ChangeRecord) -> Option<EarlierState> {
    let Some(record) = change.before else {
        return Some(EarlierState::NeverChanged);
    };
    let after = change.after?;
    if record.entity.generation == after.entity.generation {
        return None;
    }
    let (old, new) = (compared(&record), compared(&after));
    let is_changed = !old.differences(&new).is_empty() || is_reordered(&old, &new);
    let revision = change.revision;
    is_changed.then_some(EarlierState::BeforeChange { revision, record })
}

/// Compares with the state at a revision.
///
/// # Errors
/// As [`compare_deployment`].
async fn since_revision(
    api: &dyn DataApi,
    key: &Key,
    revision: Revision,
) -> Result<DeploymentComparison> {
    let after = api.get(key, CURRENT).await?;
    let next = Revision(revision.0.saturating_add(1));
    let last = api.history(key, Some(next), 1).await?.pop();
    if let Some(ChangeRecord {
        revision,
        after: Some(record),
        ..
    }) = last
    {
        let before = EarlierState::At { revision, record };
        return Ok(DeploymentComparison { before, after });
    }
    // The last change up to the revision is no longer kept, or there is none. The first change
    // after it has the state as well.
    let mut history = HistoryReader::new(api, key, &after);
    let mut first = None;
    while let Some(change) = history.older().await?.pop() {
        first = Some(change);
    }
    let record = match first {
        None => after.clone(),
        Some(ChangeRecord {
            before: Some(record),
            ..
        }) => record,
        Some(created) => {
            let created = created.revision;
            let why = format!(
                "{key} did not exist at revision {revision}; it was created at revision {created}"
            );
            return Err(Error::bad("revision", why));
        }
    };
    // Read last: history may have lost changes while it was read.
    let oldest = api.feed_position().await?.oldest;
    if revision < oldest {
        let why = format!(
            "history no longer reaches back to revision {revision}; give {oldest} or a later one"
        );
        return Err(Error::bad("revision", why));
    }
    let before = EarlierState::At { revision, record };
    Ok(DeploymentComparison { before, after })
}

/// Reads the history of one entity page by page, newest first.
struct HistoryReader<'a> {
    api: &'a dyn DataApi,
    key: &'a Key,
    before: Option<Revision>,
    limit: usize,
}

impl<'a> HistoryReader<'a> {
    /// Reads the changes up to the current state.
    fn new(api: &'a dyn DataApi, key: &'a Key, current: &Record) -> Self {
        let revision = current.revision;
        let size = current.package.as_ref().map_or(0, Package::size);
        Self {
            api,
            key,
            before: revision.map(|revision| Revision(revision.0.saturating_add(1))),
            // A change has two packages.
            limit: (PAGE_BYTES / (2 * size).max(1)).clamp(1, PAGE_CHANGES),
        }
    }

    /// The next older changes; empty at the end.
    async fn older(&mut self) -> Result<Vec<ChangeRecord>> {
        let changes = self.api.history(self.key, self.before, self.limit).await?;
        if let Some(last) = changes.last() {
            self.before = Some(last.revision);
        }
        Ok(changes)
    }
}

/// The package as it is compared: without the marks of the Deployment resource that say whether the
/// deployment is prepared and approved.
fn compared(record: &Record) -> Package {
    let package = record.package.clone().unwrap_or_default();
    let own = deployment_resource::identifier();
    let is_own = |found: &Identifier| found.gvk == own.gvk && found.name == own.name;
    let resources = package.iter().map(|resource| {
        if is_own(resource.identifier()) {
            Arc::new(without_marks(resource))
        } else {
            resource.clone()
        }
    });
    Package::unchecked(resources.collect())
}

fn without_marks(resource: &Resource) -> Resource {
    let unmarked = resource.edited_shallowly(|content| {
        let metadata = content.get_mut("metadata").and_then(Value::as_object_mut);
        let Some(metadata) = metadata else { return };
        let annotations = metadata.get_mut("annotations");
        let Some(annotations) = annotations.and_then(Value::as_object_mut) else {
            return;
        };
        for mark in [PREPARED, APPROVED] {
            annotations.shift_remove(mark);
        }
        if annotations.is_empty() {
            metadata.shift_remove("annotations");
        }
    });
    unmarked.expect("annotations do not identify a resource")
}

/// Whether the resources that both packages have are in another order.
fn is_reordered(before: &Package, after: &Package) -> bool {
    let places: HashMap<&Identifier, usize> = before
        .iter()
        .enumerate()
        .map(|(at, one)| (one.identifier(), at))
        .collect();
    let common = after.iter().filter_map(|one| places.get(one.identifier()));
    !common.is_sorted()
}
