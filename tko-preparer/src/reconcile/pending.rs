//! The resources of a package that are to be prepared.

#[cfg(test)]
mod tests;

use crate::topology::GROUP;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use tko_core::annotation::{self, PREPARE, PREPARED, When};
use tko_core::metadata::METADATA_GROUP;
use tko_core::registry::{Handler, Table};
use tko_core::{Gvk, Identifier, Package, Preparer, Resource, deployment_resource};

/// The pending resources of a package: not marked prepared, `prepare` absent or `Here`, with a
/// preparer for their kind. Without a preparer, those that say `Here` and those of the topology
/// group are included, to report the mistake: no preparer would handle them.
///
/// The Deployment resource is never pending: its mark says that the whole package is prepared.
///
/// An [update](Self::update) examines only resources that changed. To find them, it compares
/// pointers.
pub(super) struct PendingResources {
    package: Package,
    /// The kind of the Deployment resource.
    own: Gvk,
    /// Whether each resource of the package is pending.
    flags: Vec<bool>,
    /// The pending resources, in package order.
    pending: VecDeque<Identifier>,
    /// The place in the package from which the next resource is searched for.
    cursor: usize,
}

impl PendingResources {
    pub(super) fn new(package: &Package, table: &Table<dyn Preparer>) -> Self {
        let mut all = Self {
            package: Package::default(),
            own: deployment_resource::identifier().gvk,
            flags: Vec::with_capacity(package.len()),
            pending: VecDeque::new(),
            cursor: 0,
        };
        all.update(package, table);
        all
    }

    /// The number of pending resources.
    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// The pending resources, in package order.
    pub(super) fn identifiers(&mut self) -> &[Identifier] {
        self.pending.make_contiguous()
    }

    /// The first pending resource in the package that was not seen. A resource that was seen must
    /// stay seen until the next [`new`](Self::new).
    pub(super) fn next_unseen(&mut self, seen: &HashSet<Identifier>) -> Option<Arc<Resource>> {
        let resources = self.package.resources();
        while let Some(is_pending) = self.flags.get(self.cursor) {
            let resource = &resources[self.cursor];
            if *is_pending && !seen.contains(resource.identifier()) {
                return Some(resource.clone());
            }
            self.cursor += 1;
        }
        None
    }

    /// Continues with a new package. Returns whether something changed that is also in the row of
    /// the deployment: its Deployment resource or its metadata.
    pub(super) fn update(&mut self, package: &Package, table: &Table<dyn Preparer>) -> bool {
        let former = std::mem::replace(&mut self.package, package.clone());
        let (before, after) = (former.resources(), package.resources());
        let mut changes_row = false;
        // The places in both packages, and the number of pending resources before them.
        let (mut old, mut new, mut index) = (0, 0, 0);
        while old < before.len() || new < after.len() {
            if let (Some(known), Some(resource)) = (before.get(old), after.get(new)) {
                let is_same = Arc::ptr_eq(known, resource);
                if is_same || known.identifier() == resource.identifier() {
                    if !is_same {
                        changes_row |= self.is_in_row(resource) && known != resource;
                        self.replace(new, index, resource, table);
                    }
                    index += usize::from(self.flags[new]);
                    old += 1;
                    new += 1;
                    continue;
                }
            }
            let (removed, added) = shift(&before[old..], &after[new..]);
            let (removed, added) = (&before[old..old + removed], &after[new..new + added]);
            let mut moved = removed.iter().chain(added);
            changes_row |= moved.any(|resource| self.is_in_row(resource));
            self.remove(new, index, removed.len());
            index += self.insert(new, index, added, table);
            old += removed.len();
            new += added.len();
        }
        changes_row
    }

    /// Examines the new content of a resource. `index` pending resources precede it.
    fn replace(
        &mut self,
        place: usize,
        index: usize,
        resource: &Resource,
        table: &Table<dyn Preparer>,
    ) {
        let is_pending = self.is_pending(resource, table);
        let was_pending = std::mem::replace(&mut self.flags[place], is_pending);
        if was_pending && !is_pending {
            self.pending.remove(index);
        } else if is_pending && !was_pending {
            self.pending.insert(index, resource.identifier().clone());
            self.cursor = self.cursor.min(place);
        }
    }

    /// Removes so many resources.
    fn remove(&mut self, place: usize, index: usize, count: usize) {
        if count == 0 {
            return;
        }
        let flags = self.flags.drain(place..place + count);
        let pending = flags.filter(|is_pending| *is_pending).count();
        self.pending.drain(index..index + pending);
        self.cursor = self.cursor.min(place);
    }

    /// Inserts resources. Returns the number of pending ones.
    fn insert(
        &mut self,
        place: usize,
        index: usize,
        added: &[Arc<Resource>],
        table: &Table<dyn Preparer>,
    ) -> usize {
        if added.is_empty() {
            return 0;
        }
        let count = self.pending.len();
        let (flags, pending) = (self.flags.split_off(place), self.pending.split_off(index));
        for resource in added {
            let is_pending = self.is_pending(resource, table);
            self.flags.push(is_pending);
            if is_pending {
                self.pending.push_back(resource.identifier().clone());
            }
        }
        self.flags.extend(flags);
        self.pending.extend(pending);
        self.cursor = self.cursor.min(place);
        self.pending.len() - count
    }

    fn is_pending(&self, resource: &Resource, table: &Table<dyn Preparer>) -> bool {
        let gvk = resource.gvk();
        *gvk != self.own
            && !annotation::is_true(resource, PREPARED)
            && is_here(resource)
            && (active(table, resource.identifier()).next().is_some()
                // If the preparer is passive, this is not a mistake, and there is nothing to do.
                || ((annotation::when(resource, PREPARE).is_some() || *gvk.group == *GROUP)
                    && table.of(gvk).is_empty()))
    }

    /// Whether the row of the deployment has a part of this resource.
    fn is_in_row(&self, resource: &Resource) -> bool {
        let gvk = resource.gvk();
        *gvk.group == *METADATA_GROUP || *gvk == self.own
    }
}

/// The numbers of resources that were removed and added at the beginning of these rests of a
/// package: either only removed or only added, if the rests fit together after that; otherwise all.
fn shift(before: &[Arc<Resource>], after: &[Arc<Resource>]) -> (usize, usize) {
    let are_same = |one: Option<&Arc<Resource>>, other: Option<&Arc<Resource>>| match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (one, other) => one.is_none() && other.is_none(),
    };
    let (removed, added) = (
        before.len().saturating_sub(after.len()),
        after.len().saturating_sub(before.len()),
    );
    if removed > 0 && are_same(before.get(removed), after.first()) {
        (removed, 0)
    } else if added > 0 && are_same(before.first(), after.get(added)) {
        (0, added)
    } else {
        (before.len(), after.len())
    }
}

/// Whether a resource is prepared in this package rather than elsewhere or later.
pub(super) fn is_here(resource: &Resource) -> bool {
    matches!(annotation::when(resource, PREPARE), None | Some(When::Here))
}

/// The preparers to call for a resource, including those that cannot run here.
pub(super) fn active<'t>(
    table: &'t Table<dyn Preparer>,
    target: &Identifier,
) -> impl Iterator<Item = &'t Handler<dyn Preparer>> {
    let all = table.of(&target.gvk).iter();
    all.filter(|entry| !entry.handler.as_ref().is_ok_and(|p| p.is_passive()))
}
