//! Modifications: start, end, cancel.

use super::bench::{Bench, TTL};
use super::sample::{bad, config, config_of, d, named, of_template, with};
use crate::verdict::refused;
use std::time::Duration;
use tko_core::ErrorKind::{BadArgument, Busy, NotFound, Timeout};
use tko_core::{
    Condition, DeploymentId, Edit, Error, Generation, Key, NewDeployment, Package, Stage, Token,
};

async fn start(bench: &Bench, id: &DeploymentId) -> (Token, Package) {
    let edit = bench.data.start_modification(id, TTL).await;
    let Edit { token, record, .. } = edit.expect("it is there and free");
    (token, record.package.expect("it comes along"))
}

async fn one(bench: &Bench) -> DeploymentId {
    let merge = named([config("a")]);
    bench
        .create(NewDeployment {
            merge,
            ..NewDeployment::default()
        })
        .await
}

/// Starting answers with the whole package and when the claim lapses; ending replaces the package
/// and answers with the new version.
pub async fn a_modification_replaces_the_package(bench: Bench) {
    let id = one(&bench).await;
    let now = bench.data.head().await.expect("the head is read").now;
    let edit = bench
        .data
        .start_modification(&id, TTL)
        .await
        .expect("it is free");
    let ttl = edit.until.since(now);
    assert!(ttl >= TTL && ttl < TTL + Duration::from_secs(5), "{ttl:?}");
    let package = edit.record.package.expect("it comes along");
    assert_eq!(package, bench.package(&id).await, "whole");
    let changed = with(&package, config_of("a", "changed"));
    let version = bench
        .data
        .end_modification(&edit.token, changed.clone())
        .await;
    let record = bench.read(&id).await;
    assert_eq!(record.entity.version, version.expect("it is sound"));
    assert_eq!(record.entity.generation, Generation(2));
    assert_eq!(record.package, Some(changed));
}

/// While a modification is live, others get busy: modifying, updating, deleting; and deleting in
/// bulk and approving skip it.
pub async fn while_it_is_live_others_are_busy(bench: Bench) {
    let id = bench
        .create(NewDeployment {
            prepared: true,
            ..NewDeployment::default()
        })
        .await;
    let (token, package) = start(&bench, &id).await;
    let version = bench.row(&id).await.version;
    refused(
        bench.data.start_modification(&id, TTL).await,
        &[Busy],
        "a second modification",
    );
    let result = bench
        .data
        .update(&id, version, with(&package, config("b")))
        .await;
    refused(result, &[Busy], "an update");
    let error = refused(
        bench.data.delete(&Key::from(&id)).await,
        &[Busy],
        "a deletion",
    );
    assert!(
        matches!(&error, Error::Busy(key) if *key == Key::from(&id)),
        "{error:?}"
    );
    let all = super::sample::all(tko_core::Kind::Deployment);
    for bulk in [bench.data.purge(&all).await, bench.data.approve(&all).await] {
        let bulk = bulk.expect("it is skipped");
        assert_eq!(bulk.done, 0);
        let skipped: Vec<&Key> = bulk.skipped.iter().map(|(key, _)| key).collect();
        assert_eq!(skipped, [&Key::from(&id)], "it is named");
        assert!(!bulk.skipped[0].1.is_empty(), "and why");
    }
    bench
        .data
        .end_modification(&token, package)
        .await
        .expect("it is live");
}

/// A refused package leaves the claim live and the deployment as it was.
pub async fn a_refused_package_leaves_the_claim_live(bench: Bench) {
    let id = one(&bench).await;
    let (token, package) = start(&bench, &id).await;
    let before = (bench.row(&id).await.version, bench.revision().await);
    for _ in 0..2 {
        let result = bench
            .data
            .end_modification(&token, with(&package, bad("b")))
            .await;
        refused(result, &[BadArgument], "an invalid package");
    }
    assert_eq!(
        (bench.row(&id).await.version, bench.revision().await),
        before
    );
    refused(
        bench.data.start_modification(&id, TTL).await,
        &[Busy],
        "another modification",
    );
    bench
        .data
        .end_modification(&token, with(&package, config("b")))
        .await
        .expect("it is live");
}

/// A token works once: ended or cancelled it is not found.
pub async fn a_token_works_once(bench: Bench) {
    let id = one(&bench).await;
    let of_claim = |error: Error| {
        let claim = matches!(&error, Error::NotFound(tko_core::Subject::Claim(_)));
        assert!(claim, "the claim is not found: {error:?}");
    };
    for cancel in [false, true] {
        let (token, package) = start(&bench, &id).await;
        let package = with(&package, config_of("a", &format!("cancelled: {cancel}")));
        if cancel {
            bench
                .data
                .cancel_modification(&token)
                .await
                .expect("it is live");
        } else {
            bench
                .data
                .end_modification(&token, package.clone())
                .await
                .expect("it is live");
        }
        let before = bench.revision().await;
        of_claim(refused(
            bench.data.end_modification(&token, package).await,
            &[NotFound],
            "again",
        ));
        of_claim(refused(
            bench.data.cancel_modification(&token).await,
            &[NotFound],
            "again",
        ));
        assert_eq!(bench.revision().await, before);
    }
    let package = bench.package(&id).await;
    let says = package.resources()[0].get(&["data", "says"]).cloned();
    assert_eq!(
        says,
        Some("cancelled: false".into()),
        "what was cancelled was not written"
    );
}

/// After its time a token is dead: timeout, nothing is written, and others may start.
pub async fn a_late_end_is_a_timeout(bench: Bench) {
    let id = one(&bench).await;
    let (token, package) = start(&bench, &id).await;
    bench.advance(TTL + Duration::from_secs(1)).await;
    let before = bench.revision().await;
    let late = with(&package, config("late"));
    let error = refused(
        bench.data.end_modification(&token, late.clone()).await,
        &[Timeout],
        "late",
    );
    assert!(
        matches!(&error, Error::Timeout(key) if *key == Key::from(&id)),
        "{error:?}"
    );
    refused(
        bench.data.cancel_modification(&token).await,
        &[Timeout],
        "late",
    );
    let (next, _) = start(&bench, &id).await;
    refused(
        bench.data.end_modification(&token, late).await,
        &[Timeout],
        "late still",
    );
    assert_eq!(bench.revision().await, before);
    bench
        .data
        .end_modification(&next, with(&package, config("b")))
        .await
        .expect("it is live");
}

/// What is not there, or no deployment any more, and tokens that were never given are not found.
pub async fn unknown_tokens_and_deployments_are_not_found(bench: Bench) {
    let missing = super::sample::deployment_id("missing");
    refused(
        bench.data.start_modification(&missing, TTL).await,
        &[NotFound],
        "what is missing",
    );
    let id = one(&bench).await;
    let (token, package) = start(&bench, &id).await;
    let made_up = Token {
        secret: format!("{}x", token.secret).into(),
        ..token.clone()
    };
    let elsewhere = Token {
        key: d("missing"),
        ..token.clone()
    };
    for unknown in [made_up, elsewhere] {
        let result = bench.data.end_modification(&unknown, package.clone()).await;
        refused(result, &[NotFound], "an unknown token");
        refused(
            bench.data.cancel_modification(&unknown).await,
            &[NotFound],
            "an unknown token",
        );
    }
    bench
        .data
        .end_modification(&token, package)
        .await
        .expect("it is live still");
}

/// A token comes through its text unchanged.
pub async fn a_token_may_be_passed_on_as_text(bench: Bench) {
    let id = one(&bench).await;
    let (token, package) = start(&bench, &id).await;
    let passed = Token::decode(&token.encode()).expect("it was encoded");
    bench
        .data
        .end_modification(&passed, package)
        .await
        .expect("it is the same token");
}

/// Conditions and relations that change meanwhile neither break a modification nor are broken by
/// it.
pub async fn a_modification_keeps_what_others_changed(bench: Bench) {
    bench.template("t", []).await;
    let id = bench.create(of_template("t")).await;
    let (token, package) = start(&bench, &id).await;
    let claim = bench.claim_of(Stage::Prepare, &id).await;
    let mut step = bench.step(id.as_str()).await;
    step.conditions = vec![Condition::new(
        "Prepared",
        false,
        "Waits",
        "for a site",
        step.expect,
    )];
    bench
        .data
        .commit_prepared(&claim.token, step)
        .await
        .expect("conditions are let through");
    bench
        .data
        .end_modification(&token, with(&package, config("b")))
        .await
        .expect("it is live");
    let row = bench.row(&id).await;
    assert!(row.condition("Prepared").is_some());
    assert_eq!(row.generation, Generation(2));
}

/// A modification that changes nothing makes no revision, and ends; also of what was approved
/// meanwhile.
pub async fn ending_without_a_change_is_no_change(bench: Bench) {
    let merge = named([config("a")]);
    let new = NewDeployment {
        merge,
        prepared: true,
        ..NewDeployment::default()
    };
    let id = bench.create(new).await;
    for approve in [false, true] {
        if approve {
            let all = super::sample::all(tko_core::Kind::Deployment);
            bench.data.approve(&all).await.expect("it is prepared");
        }
        let before = (bench.row(&id).await.version, bench.revision().await);
        let (token, package) = start(&bench, &id).await;
        let version = bench.data.end_modification(&token, package).await;
        let version = version.expect("it is live");
        assert_eq!(
            (version, bench.revision().await),
            before,
            "approved: {approve}"
        );
    }
    start(&bench, &id).await;
}

/// Of many who modify at once, one after the other gets through, and no change is lost.
pub async fn modifications_at_once_lose_nothing(bench: Bench) {
    let id = one(&bench).await;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..6 {
        let (own, id) = (bench.beside(), id.clone());
        tasks.spawn(async move {
            for round in 0..5 {
                let edit = loop {
                    match own.data.start_modification(&id, TTL).await {
                        Ok(edit) => break edit,
                        Err(Error::Busy(_)) => tokio::task::yield_now().await,
                        Err(other) => panic!("busy or free: {other:?}"),
                    }
                };
                let package = edit.record.package.expect("it comes along");
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
    assert_eq!(bench.package(&id).await.len(), 2 + 30);
}
