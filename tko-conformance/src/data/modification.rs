//! Modifications: start, end, cancel.

use super::fixture::{DataFixture, TTL};
use super::sample::{
    all, bad, config, config_of, d, deployment, named, of_template, running_on, t, with,
};
use crate::verdict::refused;
use serde_json::json;
use std::time::Duration;
use tko_core::ErrorKind::{BadArgument, Busy, ClaimExpired, NotFound};
use tko_core::{
    Condition, DeploymentId, Error, Event, Generation, Key, Kind, Modification, NewDeployment,
    Package, Stage, Token,
};

async fn start(fixture: &DataFixture, id: &DeploymentId) -> (Token, Package) {
    let edit = fixture.data.start_modification(id, TTL).await;
    let Modification { token, record, .. } = edit.expect("the entity exists and is free");
    (token, record.package.expect("it is included"))
}

async fn one(fixture: &DataFixture) -> DeploymentId {
    let merge = named([config("a")]);
    fixture.create(NewDeployment::new().merge(merge)).await
}

/// Starting returns the whole package and the deadline. Ending replaces the package and returns the
/// new version.
pub async fn a_modification_replaces_the_package(fixture: DataFixture) {
    let id = one(&fixture).await;
    let now = fixture
        .data
        .feed_position()
        .await
        .expect("the feed position is read")
        .now;
    let edit = fixture
        .data
        .start_modification(&id, TTL)
        .await
        .expect("the key is free");
    let ttl = edit.until.since(now);
    assert!(ttl >= TTL && ttl < TTL + Duration::from_secs(5), "{ttl:?}");
    let package = edit.record.package.expect("it is included");
    assert_eq!(package, fixture.package(&id).await, "whole");
    let changed = with(&package, config_of("a", "changed"));
    let version = fixture
        .data
        .end_modification(&edit.token, changed.clone())
        .await;
    let record = fixture.read(&id).await;
    assert_eq!(record.entity.version, version.expect("the call is valid"));
    assert_eq!(record.entity.generation, Generation(2));
    assert_eq!(record.package, Some(changed));
}

/// A live modification makes others busy: modifying, updating, deleting. Bulk deletion and approval
/// skip the deployment.
pub async fn a_live_modification_makes_others_busy(fixture: DataFixture) {
    let id = fixture.create(NewDeployment::new().prepared(true)).await;
    let (token, package) = start(&fixture, &id).await;
    let version = fixture.row(&id).await.version;
    refused(
        fixture.data.start_modification(&id, TTL).await,
        &[Busy],
        "a second modification",
    );
    let result = fixture
        .data
        .update(&id, version, with(&package, config("b")))
        .await;
    refused(result, &[Busy], "an update");
    let error = refused(
        fixture.data.delete(&Key::from(&id)).await,
        &[Busy],
        "a deletion",
    );
    assert!(
        matches!(&error, Error::Busy(key) if *key == Key::from(&id)),
        "{error:?}"
    );
    let all = super::sample::all(tko_core::Kind::Deployment);
    for bulk in [
        fixture.data.purge(&all).await,
        fixture.data.approve(&all).await,
    ] {
        let bulk = bulk.expect("it is skipped");
        assert_eq!(bulk.done, 0);
        let skipped: Vec<&Key> = bulk.skipped.iter().map(|(key, _)| key).collect();
        assert_eq!(skipped, [&Key::from(&id)], "it is named");
        assert!(!bulk.skipped[0].1.is_empty(), "and why");
    }
    fixture
        .data
        .end_modification(&token, package)
        .await
        .expect("it is live");
}

/// A refused package keeps the modification and changes nothing.
pub async fn a_refused_package_keeps_the_modification(fixture: DataFixture) {
    let id = one(&fixture).await;
    let (token, package) = start(&fixture, &id).await;
    let before = (fixture.row(&id).await.version, fixture.revision().await);
    for _ in 0..2 {
        let result = fixture
            .data
            .end_modification(&token, with(&package, bad("b")))
            .await;
        refused(result, &[BadArgument], "an invalid package");
    }
    assert_eq!(
        (fixture.row(&id).await.version, fixture.revision().await),
        before
    );
    refused(
        fixture.data.start_modification(&id, TTL).await,
        &[Busy],
        "another modification",
    );
    fixture
        .data
        .end_modification(&token, with(&package, config("b")))
        .await
        .expect("it is live");
}

/// A token works once: after the end or a cancellation it is not found.
pub async fn a_token_works_once(fixture: DataFixture) {
    let id = one(&fixture).await;
    let of_claim = |error: Error| {
        let claim = matches!(&error, Error::NotFound(tko_core::Subject::Claim(_)));
        assert!(claim, "the claim is not found: {error:?}");
    };
    for cancel in [false, true] {
        let (token, package) = start(&fixture, &id).await;
        let package = with(&package, config_of("a", &format!("cancelled: {cancel}")));
        if cancel {
            fixture
                .data
                .cancel_modification(&token)
                .await
                .expect("it is live");
        } else {
            fixture
                .data
                .end_modification(&token, package.clone())
                .await
                .expect("it is live");
        }
        let before = fixture.revision().await;
        of_claim(refused(
            fixture.data.end_modification(&token, package).await,
            &[NotFound],
            "again",
        ));
        of_claim(refused(
            fixture.data.cancel_modification(&token).await,
            &[NotFound],
            "again",
        ));
        assert_eq!(fixture.revision().await, before);
    }
    let package = fixture.package(&id).await;
    let says = package.resources()[0].get(&["data", "says"]).cloned();
    assert_eq!(
        says,
        Some("cancelled: false".into()),
        "a cancelled change was not written"
    );
}

/// An expired modification cannot end: `ClaimExpired`, nothing is written, and others may start.
pub async fn an_expired_modification_cannot_end(fixture: DataFixture) {
    let id = one(&fixture).await;
    let (token, package) = start(&fixture, &id).await;
    fixture.advance(TTL + Duration::from_secs(1)).await;
    let before = fixture.revision().await;
    let late = with(&package, config("late"));
    let error = refused(
        fixture.data.end_modification(&token, late.clone()).await,
        &[ClaimExpired],
        "late",
    );
    assert!(
        matches!(&error, Error::ClaimExpired(key) if *key == Key::from(&id)),
        "{error:?}"
    );
    refused(
        fixture.data.cancel_modification(&token).await,
        &[ClaimExpired],
        "late",
    );
    let (next, _) = start(&fixture, &id).await;
    refused(
        fixture.data.end_modification(&token, late).await,
        &[ClaimExpired],
        "still expired",
    );
    assert_eq!(fixture.revision().await, before);
    fixture
        .data
        .end_modification(&next, with(&package, config("b")))
        .await
        .expect("it is live");
}

/// Absent or deleted deployments and unknown tokens are not found.
pub async fn unknown_tokens_and_deployments_are_not_found(fixture: DataFixture) {
    let missing = super::sample::deployment_id("missing");
    refused(
        fixture.data.start_modification(&missing, TTL).await,
        &[NotFound],
        "an absent entity",
    );
    let id = one(&fixture).await;
    let (token, package) = start(&fixture, &id).await;
    let made_up = Token::new(token.key.clone(), format!("{}x", token.secret));
    let elsewhere = Token::new(d("missing"), token.secret.clone());
    for unknown in [made_up, elsewhere] {
        let result = fixture
            .data
            .end_modification(&unknown, package.clone())
            .await;
        refused(result, &[NotFound], "an unknown token");
        refused(
            fixture.data.cancel_modification(&unknown).await,
            &[NotFound],
            "an unknown token",
        );
    }
    fixture
        .data
        .end_modification(&token, package)
        .await
        .expect("it is still live");
}

/// A token survives encoding as text.
pub async fn a_token_survives_encoding(fixture: DataFixture) {
    let id = one(&fixture).await;
    let (token, package) = start(&fixture, &id).await;
    let passed = Token::decode(&token.encode()).expect("it was encoded");
    fixture
        .data
        .end_modification(&passed, package)
        .await
        .expect("it is the same token");
}

/// Conditions and relations that change concurrently are kept, and do not disturb the modification.
/// A relation that a deletion clears is cleared after the modification.
pub async fn a_modification_keeps_concurrent_changes(fixture: DataFixture) {
    fixture.template("t", []).await;
    let id = fixture.create(of_template("t")).await;
    let (token, package) = start(&fixture, &id).await;
    let claim = fixture.claim_of(Stage::Prepare, &id).await;
    let mut step = fixture.step(id.as_str()).await;
    step.conditions = vec![Condition::new(
        "Prepared",
        false,
        "Waits",
        "for a site",
        step.expect,
    )];
    fixture
        .data
        .commit_prepared(&claim.token, step)
        .await
        .expect("conditions are allowed");
    let from = fixture.revision().await;
    fixture.data.delete(&t("t")).await.expect("it exists");
    fixture
        .data
        .end_modification(&token, with(&package, config("b")))
        .await
        .expect("it is live");
    if fixture.find(t("t")).await.is_some() {
        let gone = |event: &Event| matches!(event, Event::Gone { .. });
        let select = all(Kind::Template).deleting(true);
        fixture.wait_until(select, from, gone).await;
    }
    let row = fixture.row(&id).await;
    assert!(row.condition("Prepared").is_some());
    assert_eq!(row.template(), None, "it is deleted");
    assert_eq!(row.generation, Generation(2));
}

/// A modification that changes nothing ends without a revision, also after a concurrent approval.
pub async fn ending_without_a_change_makes_no_revision(fixture: DataFixture) {
    let merge = named([config("a")]);
    let new = NewDeployment::new().merge(merge).prepared(true);
    let id = fixture.create(new).await;
    for approve in [false, true] {
        if approve {
            let all = super::sample::all(tko_core::Kind::Deployment);
            fixture.data.approve(&all).await.expect("it is prepared");
        }
        let before = (fixture.row(&id).await.version, fixture.revision().await);
        let (token, package) = start(&fixture, &id).await;
        let version = fixture.data.end_modification(&token, package).await;
        let version = version.expect("it is live");
        assert_eq!(
            (version, fixture.revision().await),
            before,
            "approved: {approve}"
        );
    }
    start(&fixture, &id).await;
}

/// Concurrent modifications succeed one after the other, and no change is lost.
pub async fn concurrent_modifications_lose_nothing(fixture: DataFixture) {
    let id = one(&fixture).await;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..6 {
        let (own, id) = (fixture.beside(), id.clone());
        tasks.spawn(async move {
            for round in 0..5 {
                let edit = loop {
                    match own.data.start_modification(&id, TTL).await {
                        Ok(edit) => break edit,
                        Err(Error::Busy(_)) => tokio::task::yield_now().await,
                        Err(other) => panic!("busy or free: {other:?}"),
                    }
                };
                let package = edit.record.package.expect("it is included");
                let package = with(&package, config(&format!("c{task}x{round}")));
                tokio::task::yield_now().await;
                own.data
                    .end_modification(&edit.token, package)
                    .await
                    .expect("it is live");
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("the task modifies");
    }
    assert_eq!(fixture.package(&id).await.len(), 2 + 30);
}

/// If a package that a person approved is modified, it has to be approved again before it may be
/// placed on its site (O10).
pub async fn an_edit_needs_a_new_approval(fixture: DataFixture) {
    fixture.site("s", []).await;
    let manual = deployment(json!({}), json!({"nephio.org/approve": "Manual"}));
    let new = running_on("s").merge(named([config("a"), manual]));
    let id = fixture.create(new).await;
    fixture.place("s", &[&id]).await;
    let edit = async |change: &dyn Fn(&Package) -> Package| {
        let edit = fixture.data.start_modification(&id, TTL).await;
        let edit = edit.expect("it is free");
        let package = change(edit.record.package.as_ref().expect("it comes along"));
        let ended = fixture.data.end_modification(&edit.token, package).await;
        ended.expect("it is valid");
        fixture.row(&id).await
    };
    edit(&|package| package.clone()).await;
    assert!(fixture.row(&id).await.wanted_on().is_some(), "no change");
    let row = edit(&|package| with(package, config("b"))).await;
    assert_eq!(row.wanted_on(), None);
    let condition = row.condition("Approved").expect("it is said");
    assert_eq!(
        (condition.status, &*condition.reason),
        (Some(false), "Edited")
    );
    let placed = row.deployment().and_then(|d| d.placed.clone());
    assert_eq!(placed.map(|(_, at)| at), Some(tko_core::Generation(1)));
    let bulk = fixture.data.approve(&all(Kind::Deployment)).await;
    assert_eq!(bulk.expect("it is done").done, 1);
    assert!(fixture.row(&id).await.wanted_on().is_some());
}
