//! The resources of a package that are to be prepared.

use crate::topology::GROUP;
use tko_core::annotation::{self, PREPARE, PREPARED, When};
use tko_core::registry::{Handler, Table};
use tko_core::{Identifier, Package, Preparer, Resource, deployment_resource};

/// The pending resources of a package, in order: not marked prepared, `prepare` absent or `Here`,
/// with a preparer for their kind. Without a preparer, those that say `Here` and those of the
/// topology group are included, to report the mistake: no preparer would handle them.
///
/// The Deployment resource is never pending: its mark says that the whole package is prepared.
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
                    // If the preparer is passive, this is not a mistake, and there is nothing to
                    // do.
                    || ((annotation::when(resource, PREPARE).is_some()
                        || *resource.gvk().group == *GROUP)
                        && table.of(resource.gvk()).is_empty()))
        })
        .map(|resource| resource.identifier().clone())
        .collect()
}

/// Whether a resource is to be prepared in this package rather than elsewhere or later.
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
