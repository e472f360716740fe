//! The rule that decides which work a change enqueues.
//!
//! It is a pure function of the row before and after a change. The store applies it to every put
//! and deletion, and enqueues the work in the same change set, so both take effect together.
//!
//! Some work does not come from here. Changes of templates and plugins trigger nothing by
//! themselves, and [subscriptions](crate::subscription) are not evaluated. Work of
//! [`Stage::Delete`] is enqueued by the deletion.

use crate::change::same_package;
use crate::entity::{Entity, Facts};
use crate::id::{Key, SiteId};
use crate::revision::Generation;
use crate::work::{Enqueue, Lane, Stage};
use std::time::Duration;

/// The delay until a parent is prepared after a child was deleted.
///
/// Children are often deleted in large numbers, so that one preparation of the parent handles many
/// of them.
const CHILD_LEFT: Duration = Duration::from_secs(1);

/// Returns the work to enqueue for a change of one entity.
///
/// - Preparing a deployment: it is not prepared, and it is new or its package changed.
/// - Scheduling a site: it is new, its package or metadata changed, or its deletion began.
/// - Scheduling the site of a deployment: the deployment was assigned to it, was removed from it,
///   or has a new package. Also if the site that had it before reported it as removed.
/// - Scheduling the site where a deployment is placed: the deletion of the deployment began; it was
///   approved for another site, or for none; or an edit ended that waited for approval.
/// - Preparing the parent, after a second: the deletion of a child that its preparation created
///   began, or has finished.
///
/// `before` is `None` for a new entity, and `after` for a deleted one. A deployment counts as
/// assigned to a site only while it is [wanted there](Entity::wanted_on): prepared, approved, and
/// not being deleted. Each site is named once. All work is due at once.
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
    // Deleted while still placed: its site must remove it and report so.
    if let (Some(before), Some(entity)) = (before, after)
        && before.deleting != entity.deleting
        && let Some((placed, _)) = placed(entity)
    {
        sites.push(placed);
    }
    // An edit that was approved later moves it, or a later edit withdraws the approval altogether:
    // the site that kept it must remove it.
    if let (Some(before), Some(entity)) = (before, after)
        && (is_approved(entity) && !is_approved(before)
            || before.has_unapproved_edit() && !entity.has_unapproved_edit())
        && let Some((placed, _)) = placed(entity)
        && is != Some(placed)
    {
        sites.push(placed);
    }
    // Removed from its old site, so the new site can place it.
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
    work.extend(before.and_then(|before| left_parent(before, after)));
    work
}

/// The preparation of the parent that lost a child: it may have to create the child again, and it
/// counts its children. Only a child with an idempotency key was created by a preparation.
fn left_parent(before: &Entity, after: Option<&Entity>) -> Option<Enqueue> {
    let child = before.deployment()?;
    child.idempotency_key.as_ref()?;
    let has_left = after.is_none_or(|after| after.deleting && !before.deleting);
    let parent = child.parent.as_ref().filter(|_| has_left)?;
    Some(Enqueue {
        after: CHILD_LEFT,
        ..Enqueue::now(Stage::Prepare, parent, Lane::of(parent.as_str()))
    })
}

/// Whether a deployment is approved; false for other kinds.
fn is_approved(entity: &Entity) -> bool {
    entity.deployment().is_some_and(|facts| facts.approved)
}

/// The site where a deployment is placed, and the generation there; `None` for other kinds.
fn placed(entity: &Entity) -> Option<&(SiteId, Generation)> {
    entity.deployment()?.placed.as_ref()
}

/// Returns the lane for work on an entity: by template, so that claims rotate between templates; by
/// its own id if it has no template.
///
/// Work on a site always goes by the id of the site, so that all scheduling of a site uses one
/// lane, whatever triggered it.
pub fn lane(entity: &Entity) -> Lane {
    match &entity.key {
        Key::Site(id) => Lane::of(id.as_str()),
        key => Lane::of(entity.template().map_or(key.id(), |id| id.as_str())),
    }
}
