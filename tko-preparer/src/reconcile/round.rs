//! A round: each resource that is still to be prepared comes up once.

use super::target::Called;
use super::{Halt, Pass, package_of};
use crate::blocker::Blocker;
use std::collections::HashSet;
use tko_core::annotation::{self, PREPARE, PREPARED, When};
use tko_core::deployment_resource;
use tko_core::registry::{Handler, Table};
use tko_core::{Identifier, Package, Preparer, Record, Resource};

/// What a round came to.
pub(super) struct Round {
    /// As it was read last.
    pub(super) record: Record,
    /// Something was committed, or has to be read again.
    pub(super) changed: bool,
    /// It ended early, because something moved.
    pub(super) moved: bool,
    /// What could not be prepared.
    pub(super) open: Vec<Blocker>,
}

impl Pass<'_> {
    /// One round. What `failed` in the last one is not called again: it was on this package.
    pub(super) async fn round(
        &mut self,
        mut record: Record,
        mut failed: Vec<Blocker>,
    ) -> Result<Round, Halt> {
        let mut seen: HashSet<Identifier> = HashSet::new();
        let mut open = Vec::new();
        let mut changed = false;
        loop {
            let pending = pending(&package_of(&record), &self.table);
            let next = pending.iter().find(|target| !seen.contains(*target));
            let Some(target) = next.filter(|_| !self.is_endless()) else {
                return Ok(Round {
                    record,
                    changed: changed || self.is_endless(),
                    moved: false,
                    open,
                });
            };
            seen.insert(target.clone());
            let known = failed
                .iter()
                .position(|open| open.target.as_ref() == Some(target));
            if let Some(at) = known {
                open.push(failed.swap_remove(at));
                continue;
            }
            match self.prepare(&record, &pending, target).await? {
                Called::Blocker(why) => open.push(why),
                Called::Nothing => {}
                called => {
                    let moved = matches!(called, Called::Moved);
                    changed = true;
                    let again = self.read().await?;
                    let Some(again) = again.filter(|again| !moved && !super::is_prepared(again))
                    else {
                        return Ok(Round {
                            record,
                            changed,
                            moved,
                            open,
                        });
                    };
                    record = again;
                }
            }
        }
    }

    /// The first resource of the call that is not prepared by whoever is told to be passive.
    async fn prepare(
        &mut self,
        record: &Record,
        pending: &[Identifier],
        target: &Identifier,
    ) -> Result<Called, Halt> {
        let parts: Vec<Handler<dyn Preparer>> = active(&self.table, target).cloned().collect();
        if parts.is_empty() {
            return Ok(Called::Blocker(Blocker::no_preparer(target)));
        }
        self.call(record, pending, target, &parts).await
    }
}

/// Resources that are to be prepared in this package and are not, in order: not marked prepared,
/// `prepare` absent or `Here`, and someone prepares their kind; and, by mistake, those that say
/// `Here` although nobody does.
///
/// The Deployment resource is none of them, for its mark says that all of the package is prepared.
pub(super) fn pending(package: &Package, table: &Table<dyn Preparer>) -> Vec<Identifier> {
    let own = deployment_resource::identifier();
    package
        .iter()
        .filter(|resource| {
            let identifier = resource.identifier();
            *resource.gvk() != own.gvk
                && !annotation::is_true(resource, PREPARED)
                && is_here(resource)
                && (active(table, identifier).next().is_some()
                    // A passive preparer makes it no mistake, and nothing to do.
                    || (annotation::when(resource, PREPARE).is_some()
                        && table.of(resource.gvk()).is_empty()))
        })
        .map(|resource| resource.identifier().clone())
        .collect()
}

/// Whether a resource is for this package's preparers at all.
pub(super) fn is_here(resource: &Resource) -> bool {
    matches!(annotation::when(resource, PREPARE), None | Some(When::Here))
}

/// Who is to be called for this resource: also parts that cannot be.
fn active<'t>(
    table: &'t Table<dyn Preparer>,
    target: &Identifier,
) -> impl Iterator<Item = &'t Handler<dyn Preparer>> {
    table
        .of(&target.gvk)
        .iter()
        .filter(|part| !part.handler.as_ref().is_ok_and(|part| part.is_passive()))
}
