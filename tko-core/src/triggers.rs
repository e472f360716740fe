//! What a change makes due: the one rule of when work is marked.

use crate::change::same_package;
use crate::entity::{Entity, Facts};
use crate::id::{Key, SiteId};
use crate::revision::Generation;
use crate::work::{Enqueue, Lane, Stage};

/// The work that a change of one entity makes due.
///
/// - A deployment that is not prepared, when it is new or its package changed: to be prepared.
/// - A site, when it is new, or its package or metadata changed, or it is being deleted: to be
///   scheduled.
/// - The site of a deployment, when what it is to run changed: the deployment came, went, or has
///   another package; and when the site that had it before has reported it off.
pub fn triggered(before: Option<&Entity>, after: Option<&Entity>) -> Vec<Enqueue> {
    let mut work = Vec::new();
    let changed = match (before, after) {
        (Some(before), Some(after)) => {
            before.body != after.body || !same_package(&before.facts, &after.facts)
        }
        _ => true,
    };
    if let Some(entity) = after {
        match &entity.facts {
            Facts::Deployment(d) if !d.prepared && !entity.deleting && changed => {
                work.push(Enqueue::now(
                    Stage::Prepare,
                    entity.key.clone(),
                    lane(entity),
                ));
            }
            Facts::Site { .. } => {
                let moved = before.is_none_or(|before| {
                    before.metadata != entity.metadata || before.deleting != entity.deleting
                });
                if changed || moved {
                    work.push(Enqueue::now(
                        Stage::Schedule,
                        entity.key.clone(),
                        lane(entity),
                    ));
                }
            }
            _ => {}
        }
    }
    let (was, is) = (
        before.and_then(Entity::wanted_on),
        after.and_then(Entity::wanted_on),
    );
    let mut sites: Vec<&SiteId> = Vec::new();
    if was != is {
        sites.extend(was.into_iter().chain(is));
    } else if changed {
        sites.extend(is);
    }
    // Being deleted while it is still placed: its site must report it off.
    if let (Some(before), Some(entity)) = (before, after)
        && before.deleting != entity.deleting
        && let Some((placed, _)) = placed(entity)
    {
        sites.push(placed);
    }
    // Off its old site, so free to go to the one that wants it.
    if let (Some((left, _)), Some(entity), Some(site)) = (before.and_then(placed), after, is)
        && placed(entity).is_none()
        && left != site
    {
        sites.push(site);
    }
    sites.sort();
    sites.dedup();
    for site in sites {
        work.push(Enqueue::now(Stage::Schedule, site, Lane::of(site.as_str())));
    }
    work
}

fn placed(entity: &Entity) -> Option<&(SiteId, Generation)> {
    entity.deployment()?.placed.as_ref()
}

/// By template, so that claims take turns between templates; what has none, by itself.
pub fn lane(entity: &Entity) -> Lane {
    match &entity.key {
        Key::Site(id) => Lane::of(id.as_str()),
        key => Lane::of(entity.template().map_or(key.id(), |id| id.as_str())),
    }
}
