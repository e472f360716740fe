//! Effects and subscriptions of a prepare step.

use super::fixture::DataFixture;
use super::prepare_step::{child_of, children, claimed, prepared};
use super::sample::{
    all, by, config, deployment, deployment_id, head_of, named, of_template, running_on, s, with,
};
use crate::verdict::refused;
use serde_json::json;
use std::collections::BTreeMap;
use tko_core::ErrorKind::BadArgument;
use tko_core::api::MAX_EFFECTS;
use tko_core::{Effect, Event, Generation, Key, Kind, NewDeployment, Pattern, Stage, Subscription};

/// A child with an idempotency key is created once, no matter how often one or several steps
/// request it.
pub async fn a_child_is_created_once(fixture: DataFixture) {
    let (id, claim) = claimed(&fixture).await;
    for round in 0..3 {
        let step = fixture.step(id.as_str()).await.effects(
            (0..=round)
                .flat_map(|n| vec![Effect::Deployment(child_of(&id, &format!("key {n}"))); 2])
                .collect(),
        );
        fixture
            .data
            .commit_prepared(&claim.token, step)
            .await
            .expect("it is live");
        assert_eq!(fixture.ids(&children(&id)).await.len(), round + 1);
    }
}

/// Only a step can create a deployment under a key that begins with an id and a bar. So clients
/// cannot take the keys of children.
pub async fn keys_of_children_are_reserved(fixture: DataFixture) {
    let (id, claim) = claimed(&fixture).await;
    let key = format!("{id}|0|south/1|\"\"|p");
    let new = || NewDeployment::new().idempotency_key(key.as_str());
    let alone = fixture.data.create_deployment(new()).await;
    refused(alone, &[BadArgument], "the key of a child");
    let many = vec![NewDeployment::new(), new()];
    let mut many = fixture.data.create_deployments(many).await.into_iter();
    assert!(matches!(many.next(), Some(Ok(_))), "it has no key");
    let last = many.next().expect("each has an answer");
    refused(last, &[BadArgument], "the key of a child among others");
    let mut step = fixture.step(id.as_str()).await;
    step.effects = vec![Effect::Deployment(child_of(&id, &key))];
    let committed = fixture.data.commit_prepared(&claim.token, step).await;
    committed.expect("it is live");
    assert_eq!(fixture.ids(&children(&id)).await.len(), 1);
    for other in ["ansible.name=a|b", "kubernetes/a", "|", "a/b|c"] {
        let new = NewDeployment::new().idempotency_key(other);
        fixture.create(new).await;
    }
}

/// A step approves no child, does not mark it as prepared, and does not replace the template's
/// `approve: Manual`. A template can mark its children as prepared.
pub async fn a_step_approves_no_child(fixture: DataFixture) {
    let template = async |id: &str, policy: &str, prepared: &str| {
        let annotations = json!({
            "nephio.org/approve": policy,
            "nephio.org/prepared": prepared,
            "nephio.org/approved": prepared,
        });
        let head = deployment(json!({}), annotations);
        fixture.template(id, [head]).await;
    };
    template("manual", "Manual", "false").await;
    template("ready", "Auto", "true").await;
    template("waiting", "Default", "true").await;
    let (id, claim) = claimed(&fixture).await;
    let approved = json!({
        "nephio.org/approve": "Auto",
        "nephio.org/prepared": "true",
        "nephio.org/approved": "true",
    });
    let package = named([deployment(json!({}), approved)]);
    let from = |template: &str| child_of(&id, template).template(of_template(template).template);
    let effects = [
        child_of(&id, "asked").prepared(true).approved(true),
        child_of(&id, "package").merge(package.clone()),
        from("manual").merge(package),
        from("ready"),
        from("waiting"),
    ]
    .map(Effect::Deployment);
    let step = fixture.step(id.as_str()).await.effects(effects.into());
    let committed = fixture.data.commit_prepared(&claim.token, step).await;
    committed.expect("it is live");
    let mut made = BTreeMap::new();
    for child in fixture.walk(&children(&id), 0).await {
        let facts = child.entity.deployment().expect("it is a deployment");
        let key = facts.idempotency_key.clone().expect("each has one");
        let package = child.package.as_ref().expect("it is included");
        let policy = head_of(package).annotation("nephio.org/approve");
        let policy = policy.map(std::borrow::Cow::into_owned).unwrap_or_default();
        made.insert(key.to_string(), (facts.prepared, facts.approved, policy));
    }
    let expected = [
        ("asked", false, false, ""),
        ("manual", false, false, "Manual"),
        ("package", false, false, "Auto"),
        ("ready", true, true, "Auto"),
        ("waiting", true, false, "Default"),
    ];
    let expected = expected.map(|(key, prepared, approved, policy)| {
        (key.to_owned(), (prepared, approved, policy.to_owned()))
    });
    assert_eq!(made, BTreeMap::from(expected));
}

/// A step may have 500 effects; one more is refused.
pub async fn a_step_has_at_most_500_effects(fixture: DataFixture) {
    fixture.template("t", [config("t")]).await;
    let (id, claim) = claimed(&fixture).await;
    let step = async |count: usize| {
        fixture.step(id.as_str()).await.effects(
            (0..count)
                .map(|n| child_of(&id, &format!("key {n}")).template(of_template("t").template))
                .map(Effect::Deployment)
                .collect(),
        )
    };
    let result = fixture
        .data
        .commit_prepared(&claim.token, step(MAX_EFFECTS + 1).await)
        .await;
    refused(result, &[BadArgument], "501 effects");
    let whole = step(MAX_EFFECTS).await;
    fixture
        .data
        .commit_prepared(&claim.token, whole)
        .await
        .expect("500 are allowed");
    assert_eq!(fixture.ids(&children(&id)).await.len(), MAX_EFFECTS);
}

/// A step can delete children: they are hidden at once. Absent ones are ignored, and placed ones
/// stay until they are reported removed.
pub async fn a_step_can_delete_children(fixture: DataFixture) {
    fixture.site("s", []).await;
    let (id, claim) = claimed(&fixture).await;
    let plain = fixture.create(child_of(&id, "plain")).await;
    let running = running_on("s").parent(id.clone());
    let placed = fixture.create(running).await;
    fixture.place("s", &[&placed]).await;
    let from = fixture.revision().await;
    let gone = [plain.clone(), placed.clone(), deployment_id("none")];
    let step = fixture
        .step(id.as_str())
        .await
        .effects(gone.into_iter().map(Effect::Delete).collect());
    fixture
        .data
        .commit_prepared(&claim.token, step)
        .await
        .expect("it is live");
    assert!(
        fixture.ids(&children(&id)).await.is_empty(),
        "hidden at once"
    );
    if fixture.find(&plain).await.is_some() {
        let select = all(Kind::Deployment).deleting(true);
        let is_plain = |event: &Event| matches!(event, Event::Gone { before, .. } if before.entity.key == Key::from(&plain));
        fixture.wait_until(select, from, is_plain).await;
    }
    assert!(fixture.find(&plain).await.is_none());
    let entity = fixture.read(&placed).await.entity;
    assert!(entity.deleting, "until its site reports the removal");
    let since = entity.condition(tko_core::entity::DELETING);
    assert!(since.is_some(), "the time of the request is kept");
}

/// Subscriptions are selectable metadata. New ones replace the old ones; a step without any keeps
/// them.
pub async fn subscriptions_are_selectable(fixture: DataFixture) {
    let (id, claim) = claimed(&fixture).await;
    let waits_for = |site: &str| format!("nephio.org/waits-for/site/{site}");
    let waiting = async |site: &str| {
        fixture
            .ids(&by(Kind::Deployment, &waits_for(site), "*"))
            .await
    };
    let step = async |interests: Option<Vec<Subscription>>| {
        let step = fixture.step(id.as_str()).await.subscriptions(interests);
        fixture
            .data
            .commit_prepared(&claim.token, step)
            .await
            .expect("it is live")
    };
    let first = step(Some(vec![Subscription::Entity(s("one"))])).await;
    assert_eq!(
        first,
        Generation(1),
        "subscriptions do not change the package"
    );
    assert_eq!(waiting("one").await, [id.to_string()]);
    step(None).await;
    assert_eq!(waiting("one").await, [id.to_string()], "as before");
    step(Some(vec![Subscription::Entity(s("two"))])).await;
    assert!(waiting("one").await.is_empty());
    assert_eq!(waiting("two").await, [id.to_string()]);
    let changed = fixture
        .step(id.as_str())
        .await
        .package(with(&fixture.package(&id).await, config("b")));
    fixture
        .data
        .commit_prepared(&claim.token, changed)
        .await
        .expect("it is live");
    assert_eq!(
        waiting("two").await,
        [id.to_string()],
        "a new package keeps them"
    );
    step(Some(Vec::new())).await;
    assert!(waiting("two").await.is_empty());
}

/// A prepared deployment waits for nothing; it keeps its persistent subscriptions.
pub async fn a_prepared_deployment_waits_for_nothing(fixture: DataFixture) {
    let (id, claim) = claimed(&fixture).await;
    let pattern = Pattern::value("in").expect("the pattern is valid");
    let tracking = Subscription::Selection {
        kind: Kind::Site,
        metadata: [("region".to_owned(), pattern)].into(),
        persistent: true,
    };
    let step = fixture
        .step(id.as_str())
        .await
        .subscriptions(vec![Subscription::Entity(s("one")), tracking]);
    fixture
        .data
        .commit_prepared(&claim.token, step)
        .await
        .expect("it is live");
    let step = fixture
        .step(id.as_str())
        .await
        .package(prepared(&fixture.package(&id).await));
    fixture
        .data
        .commit_prepared(&claim.token, step)
        .await
        .expect("it is live");
    let having = async |key: &str| fixture.ids(&by(Kind::Deployment, key, "*")).await;
    assert!(having("nephio.org/waits-for/site/one").await.is_empty());
    assert_eq!(having("nephio.org/tracks/site").await, [id.to_string()]);
}

/// Children are created again after they were deleted, no matter how many there are. The key of
/// each is free once the child is gone, and the deletion enqueues the preparation of the parent
/// (O1, O6).
pub async fn deleted_children_are_created_again(fixture: DataFixture) {
    const COUNT: usize = MAX_EFFECTS + 110;
    fixture.template("t", [config("t")]).await;
    fixture.site("s", []).await;
    let (id, claim) = claimed(&fixture).await;
    let step = async |from: usize, to: usize| {
        fixture.step(id.as_str()).await.effects(
            (from..to)
                .map(|n| child_of(&id, &format!("key {n}")).template(of_template("t").template))
                .map(Effect::Deployment)
                .collect(),
        )
    };
    let create = async |claim: &tko_core::Claim| {
        for (from, to) in [(0, MAX_EFFECTS), (MAX_EFFECTS, COUNT)] {
            let step = step(from, to).await;
            let committed = fixture.data.commit_prepared(&claim.token, step).await;
            committed.expect("it is live");
        }
    };
    create(&claim).await;
    let placed = child_of(&id, "placed")
        .site(running_on("s").site)
        .prepared(true)
        .approved(true);
    let placed = fixture.create(placed).await;
    fixture.place("s", &[&placed]).await;
    let done = (claim.token.clone(), tko_core::Outcome::Done);
    fixture.data.settle(&[done]).await.expect("it is live");
    fixture
        .data
        .purge(&children(&id))
        .await
        .expect("it is done");
    assert!(fixture.ids(&children(&id)).await.is_empty());
    fixture.advance(std::time::Duration::from_secs(2)).await;
    let claim = fixture.claim_of(Stage::Prepare, &id).await;
    create(&claim).await;
    assert_eq!(fixture.ids(&children(&id)).await.len(), COUNT);
    // The placed child has its key until its site reports the removal.
    let mut step = fixture.step(id.as_str()).await;
    step.effects = vec![Effect::Deployment(child_of(&id, "placed"))];
    let committed = fixture
        .data
        .commit_prepared(&claim.token, step.clone())
        .await;
    committed.expect("it is live");
    assert_eq!(fixture.ids(&children(&id)).await.len(), COUNT);
    let site = fixture.claim_of(Stage::Schedule, s("s")).await;
    let removed = tko_core::ScheduleStep::new()
        .removed(placed.clone())
        .settle(tko_core::Outcome::Done);
    let committed = fixture.data.commit_placed(&site.token, removed).await;
    committed.expect("it is live");
    assert!(fixture.find(&placed).await.is_none());
    let committed = fixture.data.commit_prepared(&claim.token, step).await;
    committed.expect("it is live");
    assert_eq!(fixture.ids(&children(&id)).await.len(), COUNT + 1);
}
