//! The rules for edits by people, in addition to those for every new package.
//!
//! - An edit of what a person has approved withdraws the approval, unless the edit itself approves.
//!   The site keeps its current package until the new one is approved.
//! - An edit of a prepared deployment enqueues its preparation if something in it was prepared: a
//!   preparer may depend on the edited content.
//! - An edit cannot name another template, nor leave out the name of one that exists.

use super::draft::{ChangeDraft, observed_again};
use crate::annotation::{self, Approve};
use crate::approved_package::ApprovedPackage;
use crate::change::{Put, same_package};
use crate::entity::{APPROVED, Condition, Deployment, EDITED, Entity, Facts, Record};
use crate::error::{Error, Result};
use crate::id::TemplateId;
use crate::package::Package;
use crate::triggers;
use crate::work::{Enqueue, Stage};

/// Adds the put of a person's edit.
pub(super) fn draft_edit(draft: &mut ChangeDraft, before: &Record, mut put: Put) {
    let entity = &*before.entity;
    let body = put.body.as_ref().map_or(entity.body, Package::hash);
    let changes = body != entity.body || !same_package(&entity.facts, &put.facts);
    if changes && withdraws_approval(entity, &mut put.facts) {
        // Also if it is not placed yet: a scheduler that has read the approved package may do so now.
        put.body = with_approved(before, put.body.as_ref());
        let placed = entity.deployment().and_then(|d| d.placed.as_ref());
        let kept = placed.map_or_else(String::new, |(site, _)| {
            let generation = entity.generation;
            format!("; until then site {site} keeps generation {generation}")
        });
        put.conditions
            .retain(|condition| condition.kind != APPROVED);
        put.conditions.push(Condition::new(
            APPROVED,
            false,
            EDITED,
            format!("edited after its approval; approve it again{kept}"),
            entity.generation.next(),
        ));
    }
    put.conditions.extend(observed_again(entity, &put));
    let is_prepared = matches!(&put.facts, Facts::Deployment(new) if new.prepared);
    let has_prepared = put.body.as_ref().is_some_and(|body| {
        body.iter()
            .any(|resource| annotation::is_true(resource, annotation::PREPARED))
    });
    if body != entity.body && is_prepared && has_prepared {
        let key = entity.key.clone();
        draft.mark(Enqueue::now(Stage::Prepare, key, triggers::lane(entity)));
    }
    draft.put(Some(entity), put);
}

/// The new body together with the package that was approved, which the site keeps. `new` is `None` if
/// the edit leaves the body as it is.
fn with_approved(before: &Record, new: Option<&Package>) -> Option<Package> {
    let old = before.package.clone().unwrap_or_default();
    let approved = ApprovedPackage::new(&before.entity, &old)?;
    Some(approved.added_to(new.unwrap_or(&old)))
}

/// Withdraws the approval in these facts if a person has to repeat it. Returns whether it did.
///
/// A person has to approve a package that says `approve: Manual`, before or after the edit. The
/// same holds for a package that a person approved because the preparer did not.
fn withdraws_approval(entity: &Entity, facts: &mut Facts) -> bool {
    let (Some(old), Facts::Deployment(new)) = (entity.deployment(), facts) else {
        return false;
    };
    let by_person = entity
        .condition(APPROVED)
        .is_some_and(|condition| condition.reason == "Approved");
    let is_manual = match (policy(old), policy(new)) {
        (Approve::Manual, _) | (_, Approve::Manual) => true,
        (_, Approve::Default) => by_person,
        (_, Approve::Auto) => false,
    };
    let withdrawn = is_manual && old.approved && new.approved;
    if withdrawn {
        new.approved = false;
    }
    withdrawn
}

/// The policy by which a deployment is approved.
pub(super) fn policy(deployment: &Deployment) -> Approve {
    annotation::approve(&deployment.resource.skeleton)
}

/// Refuses a change of the template: the content would still be that of the first template.
///
/// A package that names no template is refused, too: the next edit could name another one. If the
/// template was deleted, which cleared the relation, its name can be left out.
///
/// # Errors
/// `BadArgument`: the old package named a template, and the new one names another; or it names
/// none, and the deployment still has the relation.
pub(super) fn check_template(named: Option<&TemplateId>, old: &Deployment) -> Result<()> {
    let why = match (named, &old.resource.template) {
        (Some(named), Some(before)) if named != before => format!(
            "cannot change from {before} to {named}: the package would keep the content of \
             {before}; create a deployment from {named}, then delete this one"
        ),
        (None, Some(before)) if old.template.is_some() => format!(
            "is missing in the Deployment resource: the package keeps the content of {before}; set \
             it to {before}"
        ),
        _ => return Ok(()),
    };
    Err(Error::bad("spec.templateId", why))
}
