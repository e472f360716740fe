//! Committing steps of preparation.

use super::fixture::{DataFixture, TTL};
use super::sample::{
    all, bad, config, config_of, d, deployment, enqueue, named, need, new_site, of_template,
    running_on, s, site_id, value_of, with, with_head,
};
use crate::verdict::refused;
use serde_json::json;
use std::time::Duration;
use tko_core::ErrorKind::{BadArgument, Busy, ClaimExpired, Conflict, NotFound};
use tko_core::{
    Claim, Condition, DeploymentId, Effect, Generation, Key, Kind, NewDeployment, Outcome, Package,
    Select, Stage,
};

/// Creates a deployment and claims its preparation.
pub(super) async fn claimed(fixture: &DataFixture) -> (DeploymentId, Claim) {
    let merge = named([config("a")]);
    let id = fixture.create(NewDeployment::new().merge(merge)).await;
    let claim = fixture.claim_of(Stage::Prepare, &id).await;
    (id, claim)
}

pub(super) fn child_of(parent: &DeploymentId, once: &str) -> NewDeployment {
    NewDeployment::new()
        .parent(parent.clone())
        .idempotency_key(once)
}

pub(super) fn children(of: &DeploymentId) -> Select {
    all(Kind::Deployment).parent(of.clone())
}

pub(super) fn prepared(package: &Package) -> Package {
    with_head(package, |head| {
        head["metadata"]["annotations"] = json!({"nephio.org/prepared": "true"});
    })
}

/// A step commits package, children, sites, conditions, progress and outcome atomically, and
/// returns the generation.
pub async fn a_step_commits_completely(fixture: DataFixture) {
    fixture.template("t", [config("t")]).await;
    let (id, claim) = claimed(&fixture).await;
    let package = with(&fixture.package(&id).await, config("b"));
    let before = fixture.revision().await;
    let new = new_site("provisioned/1", [config("p")]).metadata([("type", "provisioned")]);
    let step = fixture
        .step(id.as_str())
        .await
        .package(package.clone())
        .effects(vec![
            Effect::Site(new),
            Effect::Deployment(child_of(&id, "one")),
            Effect::Deployment(child_of(&id, "two").template(of_template("t").template)),
        ])
        .conditions(vec![Condition::new(
            "Prepared",
            false,
            "Going",
            "on",
            Generation(1),
        )])
        .progress(json!({"at": 1}));
    let generation = fixture
        .data
        .commit_prepared(&claim.token, step)
        .await
        .expect("it is live");
    assert_eq!(generation, Generation(2));
    let record = fixture.read(&id).await;
    assert_eq!(record.entity.generation, generation);
    assert_eq!(record.package, Some(package));
    assert!(record.entity.condition("Prepared").is_some());
    assert_eq!(record.work[0].progress, Some(json!({"at": 1})));
    assert_eq!(
        value_of(&fixture.read(s("provisioned/1")).await.entity, "type"),
        Some("provisioned")
    );
    assert_eq!(fixture.ids(&children(&id)).await.len(), 2);
    assert_eq!(
        fixture.revision().await,
        before + 4,
        "one change in each set"
    );
    let mut step = fixture.step(id.as_str()).await;
    step.settle = Some(Outcome::Done);
    fixture
        .data
        .commit_prepared(&claim.token, step)
        .await
        .expect("it is still live");
    assert!(
        fixture.read(&id).await.work.is_empty(),
        "its own steps do not enqueue it"
    );
}

/// A refused step changes nothing, and the claim stays live.
pub async fn a_refused_step_changes_nothing(fixture: DataFixture) {
    fixture.template("t", [need("n", None)]).await;
    let (id, claim) = claimed(&fixture).await;
    let package = fixture.package(&id).await;
    let base = fixture.step(id.as_str()).await;
    let child = |new: NewDeployment| {
        base.clone()
            .package(with(&package, config("b")))
            .effects(vec![
                Effect::Site(new_site("new", [])),
                Effect::Deployment(child_of(&id, "fine")),
                Effect::Deployment(new),
            ])
            .progress(json!("further"))
            .settle(Outcome::Done)
    };
    let merging = |resource| child_of(&id, "x").merge(named([resource]));
    let incomplete = prepared(&with(&package, need("n", None)));
    let (before, row) = (fixture.revision().await, fixture.row(&id).await.version);
    for (what, step, kinds) in [
        ("an invalid child", child(merging(bad("b"))), [BadArgument]),
        (
            "a child of no template",
            child(of_template("none")),
            [BadArgument],
        ),
        (
            "a child on a site of the same step",
            child(child_of(&id, "x").site(site_id("new"))),
            [BadArgument],
        ),
        (
            "an invalid package",
            base.clone().package(with(&package, bad("b"))),
            [BadArgument],
        ),
        (
            "prepared, but incomplete",
            base.clone().package(incomplete),
            [BadArgument],
        ),
        (
            "another generation",
            child(child_of(&id, "y")).expect(Generation(7)),
            [Conflict],
        ),
    ] {
        refused(
            fixture.data.commit_prepared(&claim.token, step).await,
            &kinds,
            what,
        );
        assert_eq!(fixture.revision().await, before, "after {what}");
        assert_eq!(fixture.row(&id).await.version, row, "after {what}");
        assert!(fixture.find(s("new")).await.is_none(), "after {what}");
        assert_eq!(
            fixture.read(&id).await.work[0].progress,
            None,
            "after {what}"
        );
    }
    let renewed = fixture
        .data
        .renew(std::slice::from_ref(&claim.token), TTL)
        .await;
    assert_eq!(
        renewed.expect("the call succeeds"),
        [true],
        "the claim stays live"
    );
    fixture
        .data
        .commit_prepared(&claim.token, child(child_of(&id, "z")))
        .await
        .expect("the call is valid");
}

/// A step under a lost claim is `ClaimExpired`.
pub async fn a_lost_claim_is_expired(fixture: DataFixture) {
    let (id, claim) = claimed(&fixture).await;
    let step = fixture
        .step(id.as_str())
        .await
        .effects(vec![Effect::Deployment(child_of(&id, "one"))]);
    fixture.advance(TTL + Duration::from_secs(1)).await;
    let result = fixture
        .data
        .commit_prepared(&claim.token, step.clone())
        .await;
    refused(result, &[ClaimExpired], "an expired claim");
    let next = fixture.claim_of(Stage::Prepare, &id).await;
    let result = fixture
        .data
        .commit_prepared(&claim.token, step.clone())
        .await;
    refused(result, &[ClaimExpired], "a claim that another took over");
    assert!(fixture.ids(&children(&id)).await.is_empty());
    let step = step.settle(Outcome::Done);
    fixture
        .data
        .commit_prepared(&next.token, step.clone())
        .await
        .expect("it is live");
    refused(
        fixture.data.commit_prepared(&next.token, step).await,
        &[ClaimExpired],
        "a settled claim",
    );
}

/// User changes win over a step: a step computed before them conflicts.
pub async fn user_changes_win_over_a_step(fixture: DataFixture) {
    let (id, claim) = claimed(&fixture).await;
    let step = fixture.step(id.as_str()).await.package(with(
        &fixture.package(&id).await,
        config_of("a", "worker's"),
    ));
    let record = fixture.read(&id).await;
    let package = record.package.expect("it was requested");
    let changed = with(&package, config_of("a", "person's"));
    fixture
        .data
        .update(&id, record.entity.version, changed.clone())
        .await
        .expect("nobody modifies it");
    refused(
        fixture.data.commit_prepared(&claim.token, step).await,
        &[Conflict],
        "the version that it read has changed",
    );
    assert_eq!(fixture.package(&id).await, changed);
    let again = fixture
        .step(id.as_str())
        .await
        .package(with(&changed, config("b")));
    fixture
        .data
        .commit_prepared(&claim.token, again)
        .await
        .expect("under the same claim");
}

/// A modification blocks a step that changes the package, but not one with conditions only.
pub async fn a_modification_blocks_a_step(fixture: DataFixture) {
    let (id, claim) = claimed(&fixture).await;
    let edit = fixture
        .data
        .start_modification(&id, TTL)
        .await
        .expect("leases do not block users");
    let base = fixture.step(id.as_str()).await;
    let changing = base
        .clone()
        .package(with(&fixture.package(&id).await, config("b")))
        .effects(vec![Effect::Deployment(child_of(&id, "one"))]);
    let result = fixture
        .data
        .commit_prepared(&claim.token, changing.clone())
        .await;
    refused(result, &[Busy], "a step");
    assert!(fixture.ids(&children(&id)).await.is_empty());
    let expect = base.expect;
    let saying = base.condition(Condition::new(
        "Prepared",
        false,
        "Busy",
        "another client modifies it",
        expect,
    ));
    fixture
        .data
        .commit_prepared(&claim.token, saying)
        .await
        .expect("conditions are allowed");
    fixture
        .data
        .cancel_modification(&edit.token)
        .await
        .expect("it is live");
    fixture
        .data
        .commit_prepared(&claim.token, changing)
        .await
        .expect("the key is free");
}

/// A step for a deployment that is deleted or under deletion fails: not found, or the claim has
/// ended.
pub async fn a_step_for_a_deleted_deployment_fails(fixture: DataFixture) {
    let (id, claim) = claimed(&fixture).await;
    let step = fixture.step(id.as_str()).await;
    fixture
        .data
        .delete(&Key::from(&id))
        .await
        .expect("it exists");
    let result = fixture.data.commit_prepared(&claim.token, step).await;
    refused(result, &[NotFound, ClaimExpired], "a deleted entity");
    fixture.site("s", []).await;
    let placed = fixture.create(running_on("s")).await;
    fixture.place("s", &[&placed]).await;
    let due = vec![enqueue(Stage::Prepare, &placed)];
    fixture.data.enqueue(due).await.expect("it exists");
    let claim = fixture.claim_of(Stage::Prepare, &placed).await;
    let step = fixture.step(placed.as_str()).await;
    let said = Condition::new("Prepared", false, "Late", "in words", step.expect);
    fixture
        .data
        .delete(&Key::from(&placed))
        .await
        .expect("it exists");
    let before = fixture.revision().await;
    let result = fixture
        .data
        .commit_prepared(&claim.token, step.condition(said))
        .await;
    refused(
        result,
        &[NotFound, ClaimExpired],
        "an entity under deletion",
    );
    assert_eq!(fixture.revision().await, before, "nothing is written");
}

/// Conditions alone change the version, not the generation. They are merged by kind, and equal ones
/// change nothing.
pub async fn conditions_alone_are_committed(fixture: DataFixture) {
    let (id, claim) = claimed(&fixture).await;
    let say = async |kind: &str, reason: &str| {
        let base = fixture.step(id.as_str()).await;
        let said = Condition::new(kind, false, reason, "in words", base.expect);
        let step = base.conditions(vec![said]);
        fixture
            .data
            .commit_prepared(&claim.token, step)
            .await
            .expect("it is live")
    };
    assert_eq!(say("A", "One").await, Generation(1));
    let first = fixture.row(&id).await.version;
    let before = fixture.revision().await;
    assert_eq!(say("A", "One").await, Generation(1));
    assert_eq!(
        (fixture.row(&id).await.version, fixture.revision().await),
        (first, before)
    );
    say("B", "Two").await;
    let row = fixture.row(&id).await;
    assert_ne!(row.version, first);
    assert_eq!((row.conditions.len(), row.generation), (2, Generation(1)));
}

/// A deployment that becomes prepared and approved makes its site due and needs no more
/// preparation.
pub async fn a_prepared_deployment_moves_to_scheduling(fixture: DataFixture) {
    fixture.site("s", []).await;
    fixture.drain(Stage::Schedule).await;
    let new = NewDeployment::new().site(site_id("s"));
    let id = fixture.create(new).await;
    let claim = fixture.claim_of(Stage::Prepare, &id).await;
    let package = with_head(&fixture.package(&id).await, |head| {
        head["metadata"]["annotations"] = json!({
            "nephio.org/prepared": "true",
            "nephio.org/approved": "true",
        });
    });
    let step = fixture
        .step(id.as_str())
        .await
        .package(package)
        .settle(Outcome::Done);
    fixture
        .data
        .commit_prepared(&claim.token, step)
        .await
        .expect("it is live");
    assert_eq!(fixture.drain(Stage::Schedule).await, ["s"]);
    assert!(fixture.drain(Stage::Prepare).await.is_empty());
    assert!(fixture.find(d("none")).await.is_none());
}

/// A step approves no deployment that a person has to approve, and keeps the approval of a person.
pub async fn a_step_does_not_approve_for_a_person(fixture: DataFixture) {
    let manual = deployment(json!({}), json!({"nephio.org/approve": "Manual"}));
    let new = NewDeployment::new().merge(named([manual]));
    let id = fixture.create(new).await;
    let claim = fixture.claim_of(Stage::Prepare, &id).await;
    let commit = async |policy: &str, other: &str| {
        let package = with_head(&fixture.package(&id).await, |head| {
            head["metadata"]["annotations"] = json!({
                "nephio.org/approve": policy,
                "nephio.org/prepared": "true",
                "nephio.org/approved": "true",
            });
        });
        let step = fixture.step(id.as_str()).await;
        let step = step.package(with(&package, config(other)));
        let committed = fixture.data.commit_prepared(&claim.token, step).await;
        committed.expect("it is live");
        let row = fixture.row(&id).await;
        let deployment = row.deployment().expect("a deployment");
        assert!(deployment.prepared);
        deployment.approved
    };
    assert!(!commit("Auto", "a").await, "it was Manual");
    assert!(!commit("Manual", "b").await, "it is Manual");
    let approved = fixture.data.approve(&all(Kind::Deployment)).await;
    assert_eq!(approved.expect("it is prepared").done, 1);
    assert!(commit("Manual", "c").await, "a person has approved it");
}
