//! What the site of a deployment keeps, while the deployment itself has another package.

use crate::approved_package::ApprovedPackage;
use crate::entity::{Entity, Facts, Record};
use crate::feed::whole;
use crate::package::Package;

impl ApprovedPackage {
    /// The package of a deployment that is approved. `body` is its body.
    pub(super) fn new(entity: &Entity, body: &Package) -> Option<Self> {
        let deployment = entity.deployment().filter(|facts| facts.approved)?;
        Some(Self {
            generation: entity.generation,
            package: deployment.whole(body),
        })
    }

    /// The package that is on the site where a deployment is placed, while the deployment itself has
    /// another one that is not for this site, or not approved; `None` if that is not known.
    pub(super) fn kept(entity: &Entity, body: &Package) -> Option<Self> {
        entity.deployment()?.placed.as_ref()?;
        Self::needed(entity, body)
    }

    /// The approved package that a new body of a deployment needs as well. It may be placed later, by a
    /// scheduler that has already read it.
    ///
    /// It has no effect any more once a later package is approved for the site, or placed.
    pub(super) fn needed(entity: &Entity, body: &Package) -> Option<Self> {
        let deployment = entity.deployment()?;
        let is_replaced = |stored: &Self| match &deployment.placed {
            None => deployment.approved,
            Some((site, placed)) => {
                let is_for_site = deployment.site.as_ref() == Some(site);
                (deployment.approved && is_for_site) || *placed > stored.generation
            }
        };
        Self::stored(body).filter(|stored| !is_replaced(stored))
    }
}

/// The record of a deployment, read with its body, as its site keeps it; with its whole package.
///
/// A deployment with an unapproved edit is shown as it was approved: the package, its generation,
/// and the site where it is placed. One that leaves its site is shown with the package that is
/// there, also if another one is approved for another site. All others are as they are.
pub(super) fn as_kept(record: Record) -> Record {
    let body = record.package.as_ref();
    let Some(kept) = body.and_then(|body| ApprovedPackage::kept(&record.entity, body)) else {
        return whole(record);
    };
    if !record.entity.has_unapproved_edit() {
        return record.package(kept.package);
    }
    let mut entity = Entity::clone(&record.entity);
    entity.generation = kept.generation;
    if let Facts::Deployment(deployment) = &mut entity.facts {
        deployment.approved = true;
        deployment.site = deployment.placed.as_ref().map(|(site, _)| site.clone());
    }
    record.entity(entity).package(kept.package)
}

#[cfg(test)]
mod tests {
    use super::{ApprovedPackage, as_kept};
    use crate::approved_package::visible;
    use crate::deployment_resource::{asked, split};
    use crate::entity::{APPROVED, Condition, Deployment, EDITED, Entity, Facts, Record};
    use crate::id::{DeploymentId, Key, SiteId};
    use crate::package::Package;
    use crate::revision::Generation;
    use serde_json::json;

    fn config(text: &str) -> serde_json::Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "text": text})
    }

    fn body(text: &str) -> Package {
        Package::from_values([config(text)]).expect("one resource")
    }

    /// A deployment on site `a`, placed at generation 4.
    fn entity(approved: bool, generation: u64) -> Entity {
        let site = SiteId::new("a").expect("a valid id");
        let resource = asked(None, Some(&site), true, approved);
        let package = Package::new(vec![resource.into()]).expect("one resource");
        let facts = Deployment::new(split(&package).expect("it is one").resource)
            .site(SiteId::new("b").expect("a valid id"))
            .prepared(true)
            .approved(approved)
            .placed((site, Generation(4)));
        let id = DeploymentId::new("d").expect("a valid id");
        Entity::new(Key::from(id), facts).generation(Generation(generation))
    }

    fn edited(generation: u64) -> Entity {
        let waits = Condition::new(APPROVED, false, EDITED, "", Generation(generation));
        entity(false, generation).conditions(vec![waits])
    }

    fn text(record: &Record) -> &str {
        let package = record.package.as_ref().expect("read");
        let config = package.iter().find(|r| &*r.gvk().kind == "ConfigMap");
        let text = config.expect("there").get(&["text"]);
        text.and_then(|text| text.as_str()).expect("there")
    }

    #[test]
    fn an_unapproved_edit_is_shown_as_it_was_approved() {
        let approved = ApprovedPackage::new(&entity(true, 4), &body("old")).expect("approved");
        let stored = approved.added_to(&body("new"));
        let kept = as_kept(Record::new(edited(6)).package(stored.clone()));
        assert_eq!(text(&kept), "old");
        assert_eq!(kept.entity.generation, Generation(4));
        assert_eq!(kept.entity.wanted_on().map(SiteId::as_str), Some("a"));
        // Clients see the edit alone.
        let seen = crate::feed::whole(Record::new(edited(6)).package(stored.clone()));
        assert_eq!(text(&seen), "new");
        assert_eq!(seen.package.map(|package| package.len()), Some(2));
        // A second approved package replaces the first.
        let again = approved.added_to(&stored);
        assert_eq!((again.len(), visible(&again).len()), (2, 1));
    }

    #[test]
    fn a_deployment_that_leaves_is_shown_with_what_is_on_its_site() {
        let approved = ApprovedPackage::new(&entity(true, 4), &body("old")).expect("approved");
        let stored = approved.added_to(&body("new"));
        let leaving = as_kept(Record::new(edited(6).deleting(true)).package(stored));
        assert_eq!(text(&leaving), "old");
        assert_eq!(leaving.entity.generation, Generation(6));
        assert_eq!(leaving.entity.wanted_on(), None);
        // It was approved for site b.
        let stored = approved.added_to(&body("new"));
        let moving = as_kept(Record::new(entity(true, 6)).package(stored));
        assert_eq!(text(&moving), "old");
        assert_eq!(moving.entity.wanted_on().map(SiteId::as_str), Some("b"));
    }

    #[test]
    fn an_approved_package_ends_with_the_approval_of_another() {
        let approved = ApprovedPackage::new(&entity(true, 3), &body("old")).expect("approved");
        let stored = approved.added_to(&body("new"));
        // Generation 4 is placed, so it was approved.
        for entity in [entity(true, 7), edited(7)] {
            assert!(ApprovedPackage::needed(&entity, &stored).is_none());
            let seen = as_kept(Record::new(entity).package(stored.clone()));
            assert_eq!(text(&seen), "new");
            assert_eq!(seen.entity.generation, Generation(7));
        }
    }

    /// A scheduler has read the approved package, and records its placement after the edit.
    #[test]
    fn an_approved_package_is_kept_before_it_is_placed() {
        let approved = ApprovedPackage::new(&entity(true, 4), &body("old")).expect("approved");
        let stored = approved.added_to(&body("new"));
        let mut early = edited(5);
        if let Facts::Deployment(deployment) = &mut early.facts {
            deployment.placed = None;
        }
        assert!(ApprovedPackage::kept(&early, &stored).is_none());
        assert!(ApprovedPackage::needed(&early, &stored).is_some());
        assert!(ApprovedPackage::kept(&edited(5), &stored).is_some());
    }

    #[test]
    fn clients_cannot_write_an_approved_package() {
        let approved = ApprovedPackage::new(&entity(true, 4), &body("old")).expect("approved");
        let mut resources = approved.added_to(&body("new")).resources().to_vec();
        resources.push(asked(None, None, false, false).into());
        let package = Package::new(resources).expect("distinct");
        let error = split(&package).expect_err("refused").to_string();
        assert!(error.contains("ApprovedPackage approved"), "{error}");
    }
}
