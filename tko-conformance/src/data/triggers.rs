//! The work that each kind of change enqueues.

use super::fixture::{DataFixture, TTL};
use super::sample::{
    config, d, deployment_id, facts, head_of, new_site, of_template, running_on, site_id, with,
    with_head,
};
use serde_json::{Value, json};
use tko_core::{
    Condition, DeploymentId, EntityUpdate, Key, Lane, Metadata, NewDeployment, Outcome, Package,
    Stage,
};

const SITES: Stage = Stage::Schedule;

async fn change(fixture: &DataFixture, id: &DeploymentId, change: impl Fn(&Package) -> Package) {
    let record = fixture.read(id).await;
    let package = record.package.expect("it was requested");
    let changed = change(&package);
    let updated = fixture
        .data
        .update(id, record.entity.version, changed)
        .await;
    updated.expect("the call is valid");
}

async fn give_metadata(fixture: &DataFixture, id: &DeploymentId) {
    let version = fixture.row(id).await.version;
    let update = EntityUpdate::new(id, version).metadata(Metadata::from([("k", "v")]));
    let updated = fixture.data.update_entity(update).await;
    assert_ne!(updated.expect("the call is valid"), version);
}

fn annotate(prepared: bool, approved: bool) -> impl Fn(&Package) -> Package {
    move |package| {
        with_head(package, |head| {
            head["metadata"]["annotations"] = json!({
                "nephio.org/prepared": prepared.to_string(),
                "nephio.org/approved": approved.to_string(),
            });
        })
    }
}

fn move_to(site: Value) -> impl Fn(&Package) -> Package {
    move |package| with_head(package, |head| head["spec"]["siteId"] = site.clone())
}

/// A deployment is due for preparation when it is created unprepared, and when its package changes
/// while it is unprepared.
pub async fn unprepared_deployments_are_due(fixture: DataFixture) {
    let raw = fixture.create(NewDeployment::default()).await;
    let ready = fixture.create(NewDeployment::new().prepared(true)).await;
    assert_eq!(fixture.drain(Stage::Prepare).await, [raw.to_string()]);
    change(&fixture, &raw, |p| with(p, config("a"))).await;
    change(&fixture, &ready, |p| with(p, config("a"))).await;
    assert_eq!(fixture.drain(Stage::Prepare).await, [raw.to_string()]);
    change(&fixture, &ready, annotate(false, false)).await;
    assert_eq!(
        fixture.drain(Stage::Prepare).await,
        [ready.to_string()],
        "prepare it again"
    );
    change(&fixture, &raw, annotate(true, false)).await;
    assert!(
        fixture.drain(Stage::Prepare).await.is_empty(),
        "nothing is left to be prepared"
    );
}

/// Changes that leave the package alone make no deployment due: conditions, given metadata, a
/// deleted template or site.
pub async fn other_changes_make_no_deployment_due(fixture: DataFixture) {
    fixture.template("t", []).await;
    fixture.site("s", []).await;
    let new = of_template("t").site(site_id("s"));
    let id = fixture.create(new).await;
    let claim = fixture.claim_of(Stage::Prepare, &id).await;
    let mut step = fixture.step(id.as_str()).await;
    step.conditions = vec![Condition::new(
        "Prepared",
        false,
        "No",
        "not yet",
        step.expect,
    )];
    step.settle = Some(Outcome::Done);
    fixture
        .data
        .commit_prepared(&claim.token, step)
        .await
        .expect("it is live");
    give_metadata(&fixture, &id).await;
    fixture.template("t", [config("new")]).await;
    for key in [super::sample::t("t"), super::sample::s("s")] {
        fixture.data.delete(&key).await.expect("it exists");
    }
    assert!(fixture.drain(Stage::Prepare).await.is_empty());
}

/// A site is due when it is created and when its package or metadata change, but not after an equal
/// registration.
pub async fn a_changed_site_is_due(fixture: DataFixture) {
    fixture.site("s", [config("a")]).await;
    assert_eq!(fixture.drain(SITES).await, ["s"]);
    fixture.site("s", [config("a")]).await;
    assert!(fixture.drain(SITES).await.is_empty(), "it is unchanged");
    fixture.site("s", [config("b")]).await;
    assert_eq!(fixture.drain(SITES).await, ["s"], "another package");
    let new = new_site("s", [config("b")]).metadata([("k", "v")]);
    fixture
        .data
        .register_site(new)
        .await
        .expect("the call is valid");
    assert_eq!(fixture.drain(SITES).await, ["s"], "other metadata");
}

/// A site is due exactly when prepared and approved deployments are added to it or removed from it,
/// or when their packages change.
pub async fn a_site_is_due_when_its_deployments_change(fixture: DataFixture) {
    for site in ["one", "two"] {
        fixture.site(site, []).await;
    }
    fixture.drain(SITES).await;
    let due = async |what: &str, expected: &[&str]| {
        assert_eq!(fixture.drain(SITES).await, expected, "{what}");
    };
    let raw = NewDeployment::new().site(site_id("one"));
    let id = fixture.create(raw).await;
    due("created, unprepared", &[]).await;
    change(&fixture, &id, |p| with(p, config("a"))).await;
    due("changed, unprepared", &[]).await;
    change(&fixture, &id, annotate(true, false)).await;
    due("prepared, unapproved", &[]).await;
    change(&fixture, &id, |p| with(p, config("b"))).await;
    due("changed, unapproved", &[]).await;
    let all = super::sample::all(tko_core::Kind::Deployment);
    fixture.data.approve(&all).await.expect("it is prepared");
    due("approved", &["one"]).await;
    change(&fixture, &id, |p| with(p, config("c"))).await;
    due("another package", &["one"]).await;
    change(&fixture, &id, move_to(json!("two"))).await;
    due("moved", &["one", "two"]).await;
    change(&fixture, &id, annotate(true, false)).await;
    due("unapproved", &["two"]).await;
    change(&fixture, &id, annotate(true, true)).await;
    due("approved again", &["two"]).await;
    change(&fixture, &id, annotate(false, false)).await;
    due("unprepared", &["two"]).await;
    change(&fixture, &id, annotate(true, true)).await;
    due("prepared and approved at once", &["two"]).await;
    change(&fixture, &id, move_to(Value::Null)).await;
    due("removed", &["two"]).await;
    change(&fixture, &id, move_to(json!("one"))).await;
    due("put back", &["one"]).await;
    fixture
        .data
        .delete(&Key::from(&id))
        .await
        .expect("it exists");
    due("deleted", &["one"]).await;
    let made = fixture.create(running_on("two")).await;
    due("created, approved", &["two"]).await;
    fixture.data.purge(&all).await.expect("it is done");
    due("purged", &["two"]).await;
    assert!(fixture.find(&made).await.is_none());
}

/// Conditions and metadata of a deployment, and changes of unprepared ones, make no site due.
pub async fn other_changes_make_no_site_due(fixture: DataFixture) {
    fixture.template("t", []).await;
    fixture.site("s", []).await;
    let running = running_on("s").template(of_template("t").template);
    let id = fixture.create(running).await;
    fixture.drain(SITES).await;
    fixture
        .data
        .enqueue(vec![super::sample::enqueue(SITES, site_id("s"))])
        .await
        .expect("it exists");
    let claim = fixture.claim_of(SITES, site_id("s")).await;
    let said = Condition::new(
        "Scheduled",
        true,
        "Applied",
        "it runs",
        fixture.row(&id).await.generation,
    );
    let step = tko_core::ScheduleStep::new()
        .placed(id.clone(), fixture.row(&id).await.generation)
        .conditions(&id, vec![said.clone()])
        .conditions(site_id("s"), vec![said])
        .settle(Outcome::Done);
    fixture
        .data
        .commit_placed(&claim.token, step)
        .await
        .expect("it is live");
    assert!(
        fixture.drain(SITES).await.is_empty(),
        "its own report does not enqueue it"
    );
    fixture
        .data
        .delete(&super::sample::t("t"))
        .await
        .expect("it exists");
    assert!(
        fixture.drain(SITES).await.is_empty(),
        "a relation that goes is no change of a package"
    );
    let edit = fixture
        .data
        .start_modification(&id, TTL)
        .await
        .expect("the key is free");
    fixture
        .data
        .cancel_modification(&edit.token)
        .await
        .expect("it is live");
    give_metadata(&fixture, &id).await;
    let raw = NewDeployment::new().site(site_id("s"));
    let raw = fixture.create(raw).await;
    change(&fixture, &raw, |p| with(p, config("a"))).await;
    assert!(fixture.drain(SITES).await.is_empty());
}

/// A site that is deleted while deployments are placed on it is due once more, to remove them.
pub async fn a_deleted_site_is_due_once_more(fixture: DataFixture) {
    fixture.site("s", [facts("S", json!({"k": "v"}))]).await;
    let id = fixture.create(running_on("s")).await;
    fixture.place("s", &[&id]).await;
    fixture.drain(SITES).await;
    fixture
        .data
        .delete(&super::sample::s("s"))
        .await
        .expect("it exists");
    let claim = fixture.claim_of(SITES, site_id("s")).await;
    let record = fixture.read(site_id("s")).await;
    assert!(record.entity.deleting);
    assert_eq!(
        record.package.map(|p| p.len()),
        Some(1),
        "its last package is there"
    );
    let step = tko_core::ScheduleStep::new()
        .removed(id.clone())
        .settle(Outcome::Done);
    fixture
        .data
        .commit_placed(&claim.token, step)
        .await
        .expect("it is live");
    if fixture.find(site_id("s")).await.is_some() {
        // The site may be due once more for its own change.
        let from = 0;
        let select = super::sample::all(tko_core::Kind::Site).deleting(true);
        fixture
            .wait_until(select, from, |event| {
                matches!(event, tko_core::Event::Gone { .. })
            })
            .await;
    }
    let row = fixture.row(&id).await;
    assert!(
        !row.deleting
            && row
                .deployment()
                .is_some_and(|d| d.site.is_none() && d.placed.is_none())
    );
}

/// Work on deployments of one template shares a lane, so that templates take turns.
pub async fn templates_take_turns(fixture: DataFixture) {
    let names = ["many", "few"];
    let lanes = names.map(Lane::of);
    assert_ne!(lanes[0], lanes[1], "chosen so");
    for name in names {
        fixture.template(name, []).await;
    }
    let made = fixture
        .data
        .create_deployments(vec![of_template("many"); 20])
        .await;
    assert!(made.iter().all(Result::is_ok));
    let few = fixture.create(of_template("few")).await;
    let mut turn = None;
    for claim in 0..3 {
        let claims = fixture.claim(Stage::Prepare, 1).await;
        if claims[0].work.key == Key::from(&few) {
            turn = Some(claim);
        }
    }
    assert!(turn.is_some(), "few deployments do not wait for many");
    let package = fixture.package(&few).await;
    head_of(&package);
    assert!(
        fixture
            .find(d(deployment_id("none").as_str()))
            .await
            .is_none()
    );
}
