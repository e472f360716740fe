use super::{MAX_MESSAGES, Tally};
use tko_core::deployment_resource::DeploymentResource;
use tko_core::view::DeploymentState;
use tko_core::{
    Condition, Deployment, DeploymentId, Entity, Facts, Generation, Kind, Metadata, Revision,
    SiteId, TemplateId,
};

fn deployment(id: &str, change: impl FnOnce(Deployment) -> Deployment) -> Entity {
    let id = DeploymentId::new(id).expect("an id");
    let template = TemplateId::new("nf/upf:v1").expect("an id");
    let site = SiteId::new("lab/1").expect("an id");
    let facts = Deployment::new(DeploymentResource::default())
        .template(template)
        .site(site);
    Entity::new(id, change(facts))
}

#[test]
fn a_change_moves_a_deployment_from_state_to_state() {
    let mut tally = Tally::default();
    let unprepared = deployment("a", |d| d);
    // Counting twice counts once.
    tally.put(&unprepared, false);
    tally.put(&unprepared, true);
    tally.put(&deployment("b", |d| d.prepared(true)), true);
    assert_eq!(tally.states().of(DeploymentState::Unprepared), 1);
    assert_eq!(tally.of_template("nf/upf:v1").total(), 2);
    tally.put(&deployment("a", |d| d.prepared(true).approved(true)), true);
    assert_eq!(tally.states().of(DeploymentState::Unprepared), 0);
    assert_eq!(tally.of_site("lab/1").of(DeploymentState::Approved), 1);
    tally.remove(&unprepared);
    assert_eq!(
        (tally.states().total(), tally.total(Kind::Deployment)),
        (1, 1)
    );
}

#[test]
fn equal_reasons_are_counted_together() {
    let failing = |id: &str, why: &str| {
        let condition = Condition::new("Prepared", false, "Failed", why, Generation(1));
        deployment(id, |d| d).conditions(vec![condition])
    };
    let mut tally = Tally::default();
    tally.put(&failing("a", "no pool"), true);
    tally.put(&failing("b", "no pool"), true);
    tally.put(&failing("c", "no image"), true);
    let reasons = tally.reasons(10);
    assert_eq!((&*reasons[0].0, reasons[0].1.count), ("no pool", 2));
    tally.remove(&failing("c", "no image"));
    assert_eq!(tally.reasons(10).len(), 1);
}

#[test]
fn deployments_are_counted_by_metadata_of_their_sites() {
    let mut tally = Tally::default();
    let metadata: Metadata = [("region", "south")].into_iter().collect();
    let site = Entity::new(
        SiteId::new("lab/1").expect("an id"),
        Facts::site(None, None),
    );
    tally.put(&site.metadata(metadata), true);
    tally.put(&deployment("a", |d| d), true);
    assert_eq!(tally.by_site_metadata("region")["south"].total(), 1);
    assert!(tally.by_site_metadata("tier").is_empty());
}

#[test]
fn every_site_with_trouble_is_counted_even_without_its_message() {
    let site = |number: usize| {
        let id = SiteId::new(&format!("lab/{number:05}")).expect("an id");
        Entity::new(id, Facts::site(None, None))
    };
    let failing = |number: usize| {
        let condition = Condition::new("Scheduled", false, "Failed", "no route", Generation(1));
        site(number).conditions(vec![condition])
    };
    let mut tally = Tally::default();
    for number in 0..MAX_MESSAGES + 2 {
        tally.put(&failing(number), true);
    }
    let (count, first) = tally.troubled(1);
    assert_eq!(count, MAX_MESSAGES + 2);
    assert_eq!(first[0].1.message.as_deref(), Some("no route"));
    // Those with a message are repaired; the others still need attention.
    for number in 0..MAX_MESSAGES {
        tally.put(&site(number), true);
    }
    let (count, shown) = tally.troubled(8);
    assert_eq!((count, shown.len()), (2, 2));
    assert!(shown.iter().all(|(_, trouble)| trouble.message.is_none()));
    // There is room for messages again.
    tally.put(&failing(MAX_MESSAGES), true);
    let (_, shown) = tally.troubled(8);
    assert_eq!(shown[0].1.message.as_deref(), Some("no route"));
    tally.remove(&site(MAX_MESSAGES));
    assert_eq!((tally.troubled(8).0, tally.messages), (1, 0));
}

#[test]
fn the_counts_have_a_revision_once_they_are_complete() {
    let mut tally = Tally::default();
    tally.advance(Kind::Site, Revision(9));
    assert_eq!(tally.revision(), None);
    for kind in [Kind::Template, Kind::Site, Kind::Deployment, Kind::Plugin] {
        tally.complete(kind, Revision(3));
    }
    tally.advance(Kind::Deployment, Revision(5));
    assert_eq!(tally.revision(), Some(Revision(5)));
}

#[test]
fn templates_and_sites_without_deployments_are_forgotten() {
    let at = |number: usize| {
        let template = TemplateId::new(&format!("nf/upf:v{number}")).expect("an id");
        let site = SiteId::new(&format!("lab/{number}")).expect("an id");
        deployment("a", |d| d.template(template).site(site))
    };
    let mut tally = Tally::default();
    tally.put(&deployment("b", |d| d), true);
    for number in 2..100 {
        tally.put(&at(number), true);
    }
    assert_eq!(tally.of_site("lab/1").total(), 1);
    assert_eq!(tally.of_site("lab/98").total(), 0);
    assert_eq!(tally.of_site("lab/99").total(), 1);
    assert_eq!(tally.of_template("nf/upf:v99").total(), 1);
    tally.remove(&at(99));
    for counts in [&tally.by_template, &tally.by_site] {
        assert_eq!((counts.numbers.len(), counts.slots.len()), (1, 2));
        assert_eq!(counts.free.len(), 1);
    }
    assert_eq!(tally.templates().len(), 1);
}
