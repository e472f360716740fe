//! Steps of scheduling.

use super::bench::{Bench, TTL};
use super::sample::{all, mark, running_on, s, site_id, with_head};
use crate::verdict::refused;
use serde_json::json;
use std::time::Duration;
use tko_core::ErrorKind::{Conflict, Timeout};
use tko_core::{
    Claim, Condition, DeploymentId, Generation, Key, Kind, Outcome, Placed, SiteId, Stage,
};

async fn claimed(bench: &Bench, site: &str) -> Claim {
    let woken = bench
        .data
        .wake(vec![mark(Stage::Schedule, site_id(site))])
        .await;
    woken.expect("the site is there");
    bench.claim_of(Stage::Schedule, site_id(site)).await
}

async fn place_of(bench: &Bench, id: &DeploymentId) -> Option<(SiteId, Generation)> {
    let row = bench.row(id).await;
    row.deployment()
        .and_then(|deployment| deployment.placed.clone())
}

async fn done(bench: &Bench, claim: &Claim, step: Placed) {
    let step = Placed {
        settle: Some(Outcome::Done),
        ..step
    };
    bench
        .data
        .commit_placed(&claim.token, step)
        .await
        .expect("it is sound");
}

/// A step says what is there, as of which generation, and what is gone; conditions of the site and
/// its deployments are merged; the claim is settled.
pub async fn a_step_says_what_is_where(bench: Bench) {
    bench.site("s", []).await;
    let id = bench.create(running_on("s")).await;
    let said = |reason: &str| {
        vec![Condition::new(
            "Scheduled",
            true,
            reason,
            "w",
            Generation(1),
        )]
    };
    let claim = claimed(&bench, "s").await;
    let step = Placed {
        there: vec![(id.clone(), Generation(1))],
        conditions: vec![(s("s"), said("Site")), (Key::from(&id), said("There"))],
        ..Placed::default()
    };
    done(&bench, &claim, step).await;
    assert_eq!(
        place_of(&bench, &id).await,
        Some((site_id("s"), Generation(1)))
    );
    let reason = |row: &tko_core::Entity| row.condition("Scheduled").map(|c| c.reason.clone());
    assert_eq!(reason(&*bench.row(s("s")).await).as_deref(), Some("Site"));
    assert_eq!(reason(&*bench.row(&id).await).as_deref(), Some("There"));
    assert_eq!(
        bench.row(&id).await.generation,
        Generation(1),
        "its package is as it was"
    );
    assert!(
        bench.drain(Stage::Schedule).await.is_empty(),
        "the claim is settled"
    );
    let claim = claimed(&bench, "s").await;
    let before = bench.revision().await;
    let same = Placed {
        there: vec![(id.clone(), Generation(1))],
        conditions: vec![(Key::from(&id), said("There"))],
        ..Placed::default()
    };
    done(&bench, &claim, same).await;
    assert_eq!(
        bench.revision().await,
        before,
        "what says nothing new is no change"
    );
    let claim = claimed(&bench, "s").await;
    done(
        &bench,
        &claim,
        Placed {
            gone: vec![id.clone()],
            ..Placed::default()
        },
    )
    .await;
    assert_eq!(place_of(&bench, &id).await, None);
}

/// Without a settlement the worker goes on under its claim.
pub async fn without_a_settlement_the_claim_stays(bench: Bench) {
    bench.site("s", []).await;
    let id = bench.create(running_on("s")).await;
    let claim = claimed(&bench, "s").await;
    let there = Placed {
        there: vec![(id.clone(), Generation(1))],
        ..Placed::default()
    };
    bench
        .data
        .commit_placed(&claim.token, there)
        .await
        .expect("it is sound");
    assert!(bench.claim(Stage::Schedule, 10).await.is_empty());
    let later = Placed {
        settle: Some(Outcome::Retry {
            after: Duration::ZERO,
            reason: "unreachable".to_owned(),
        }),
        ..Placed::default()
    };
    bench
        .data
        .commit_placed(&claim.token, later)
        .await
        .expect("it is live still");
    let again = bench.claim_of(Stage::Schedule, site_id("s")).await;
    assert_eq!(again.work.error.as_deref(), Some("unreachable"));
    assert!(again.fence > claim.fence);
}

/// Under a claim that was lost a step is a timeout, and changes nothing.
pub async fn a_lost_claim_is_a_timeout(bench: Bench) {
    bench.site("s", []).await;
    let id = bench.create(running_on("s")).await;
    let claim = claimed(&bench, "s").await;
    bench.advance(TTL + Duration::from_secs(1)).await;
    let there = || Placed {
        there: vec![(id.clone(), Generation(1))],
        ..Placed::default()
    };
    refused(
        bench.data.commit_placed(&claim.token, there()).await,
        &[Timeout],
        "a lapsed claim",
    );
    let next = bench.claim_of(Stage::Schedule, site_id("s")).await;
    refused(
        bench.data.commit_placed(&claim.token, there()).await,
        &[Timeout],
        "a lost claim",
    );
    assert_eq!(place_of(&bench, &id).await, None);
    done(&bench, &next, there()).await;
}

/// A large step commits in chunks; the claim is settled with the last.
pub async fn a_large_step_is_committed_whole(bench: Bench) {
    let count = 1_150;
    bench.site("s", []).await;
    let made = bench
        .data
        .create_deployments(vec![running_on("s"); count])
        .await;
    let ids: Vec<DeploymentId> = made
        .into_iter()
        .collect::<Result<_, _>>()
        .expect("all are made");
    let claim = claimed(&bench, "s").await;
    let said = |id: &DeploymentId| {
        let said = Condition::new("Scheduled", true, "There", "it runs", Generation(1));
        (Key::from(id), vec![said])
    };
    let step = Placed {
        there: ids.iter().map(|id| (id.clone(), Generation(1))).collect(),
        conditions: ids.iter().map(said).collect(),
        ..Placed::default()
    };
    done(&bench, &claim, step).await;
    let all = bench.walk(&all(Kind::Deployment), 0).await;
    let placed = all.iter().filter(|record| {
        let there = record
            .entity
            .deployment()
            .is_some_and(|d| d.placed.is_some());
        there && record.entity.condition("Scheduled").is_some()
    });
    assert_eq!(placed.count(), count);
    assert!(
        bench.drain(Stage::Schedule).await.is_empty(),
        "the claim is settled"
    );
}

/// A deployment that moves is off its old site before it is placed on its new one: until then
/// that conflicts, and the new site is due when the old one reports it off.
pub async fn a_deployment_is_on_one_site_at_a_time(bench: Bench) {
    for site in ["old", "new"] {
        bench.site(site, []).await;
    }
    let id = bench.create(running_on("old")).await;
    bench.place("old", &[&id]).await;
    let record = bench.read(&id).await;
    let package = record.package.expect("it was asked for");
    let moved = with_head(&package, |head| head["spec"]["siteId"] = json!("new"));
    bench
        .data
        .update(&id, record.entity.version, moved)
        .await
        .expect("it is sound");
    assert_eq!(bench.drain(Stage::Schedule).await, ["new", "old"]);
    let claim = claimed(&bench, "new").await;
    let there = || Placed {
        there: vec![(id.clone(), Generation(2))],
        ..Placed::default()
    };
    let result = bench.data.commit_placed(&claim.token, there()).await;
    refused(result, &[Conflict], "what is placed elsewhere");
    let back = [(claim.token, Outcome::Done)];
    bench.data.settle(&back).await.expect("an answer");
    let claim = claimed(&bench, "old").await;
    done(
        &bench,
        &claim,
        Placed {
            gone: vec![id.clone()],
            ..Placed::default()
        },
    )
    .await;
    assert_eq!(
        bench.drain(Stage::Schedule).await,
        ["new"],
        "its turn has come"
    );
    let claim = claimed(&bench, "new").await;
    done(&bench, &claim, there()).await;
    assert_eq!(
        place_of(&bench, &id).await,
        Some((site_id("new"), Generation(2)))
    );
}

/// What another site has is not gone from here.
pub async fn another_site_cannot_take_it_off(bench: Bench) {
    for site in ["one", "two"] {
        bench.site(site, []).await;
    }
    let id = bench.create(running_on("one")).await;
    bench.place("one", &[&id]).await;
    let claim = claimed(&bench, "two").await;
    done(
        &bench,
        &claim,
        Placed {
            gone: vec![id.clone()],
            ..Placed::default()
        },
    )
    .await;
    assert_eq!(
        place_of(&bench, &id).await.map(|(site, _)| site),
        Some(site_id("one"))
    );
}
