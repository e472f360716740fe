//! Committing steps of scheduling.

use super::fixture::{DataFixture, TTL};
use super::sample::{
    all, config, config_of, deployment, enqueue, named, running_on, s, site_id, with, with_head,
};
use crate::verdict::refused;
use serde_json::json;
use std::time::Duration;
use tko_core::ErrorKind::{BadArgument, Busy, ClaimExpired, Conflict};
use tko_core::{
    Claim, Condition, DeploymentId, Event, Generation, Gvk, Identifier, Key, Kind, List,
    NewDeployment, Outcome, Package, ScheduleStep, SiteId, SiteScheduler, Stage, Want,
};

async fn claimed(fixture: &DataFixture, site: &str) -> Claim {
    let woken = fixture
        .data
        .enqueue(vec![enqueue(Stage::Schedule, site_id(site))])
        .await;
    woken.expect("the site is there");
    fixture.claim_of(Stage::Schedule, site_id(site)).await
}

async fn place_of(fixture: &DataFixture, id: &DeploymentId) -> Option<(SiteId, Generation)> {
    let row = fixture.row(id).await;
    row.deployment()
        .and_then(|deployment| deployment.placed.clone())
}

async fn done(fixture: &DataFixture, claim: &Claim, step: ScheduleStep) {
    let step = step.settle(Outcome::Done);
    fixture
        .data
        .commit_placed(&claim.token, step)
        .await
        .expect("the call is valid");
}

/// A step records what is placed, at which generation, and what is removed. It merges conditions of
/// the site and its deployments, and settles the claim.
pub async fn a_step_records_placements(fixture: DataFixture) {
    fixture.site("s", []).await;
    let id = fixture.create(running_on("s")).await;
    let said = |reason: &str| {
        vec![Condition::new(
            "Scheduled",
            true,
            reason,
            "w",
            Generation(1),
        )]
    };
    let claim = claimed(&fixture, "s").await;
    let step = ScheduleStep::new()
        .placed(id.clone(), Generation(1))
        .conditions(s("s"), said("Site"))
        .conditions(Key::from(&id), said("There"));
    done(&fixture, &claim, step).await;
    assert_eq!(
        place_of(&fixture, &id).await,
        Some((site_id("s"), Generation(1)))
    );
    let reason = |row: &tko_core::Entity| row.condition("Scheduled").map(|c| c.reason.clone());
    assert_eq!(reason(&*fixture.row(s("s")).await).as_deref(), Some("Site"));
    assert_eq!(reason(&*fixture.row(&id).await).as_deref(), Some("There"));
    assert_eq!(
        fixture.row(&id).await.generation,
        Generation(1),
        "the package is unchanged"
    );
    assert!(
        fixture.drain(Stage::Schedule).await.is_empty(),
        "the claim is settled"
    );
    let claim = claimed(&fixture, "s").await;
    let before = fixture.revision().await;
    let same = ScheduleStep::new()
        .placed(id.clone(), Generation(1))
        .conditions(Key::from(&id), said("There"));
    done(&fixture, &claim, same).await;
    assert_eq!(
        fixture.revision().await,
        before,
        "equal conditions are no change"
    );
    let claim = claimed(&fixture, "s").await;
    done(&fixture, &claim, ScheduleStep::new().removed(id.clone())).await;
    assert_eq!(place_of(&fixture, &id).await, None);
}

/// A step without an outcome keeps the claim.
pub async fn a_step_without_outcome_keeps_the_claim(fixture: DataFixture) {
    fixture.site("s", []).await;
    let id = fixture.create(running_on("s")).await;
    let claim = claimed(&fixture, "s").await;
    let there = ScheduleStep::new().placed(id.clone(), Generation(1));
    fixture
        .data
        .commit_placed(&claim.token, there)
        .await
        .expect("the call is valid");
    assert!(fixture.claim(Stage::Schedule, 10).await.is_empty());
    let later = ScheduleStep::new().settle(Outcome::Retry {
        after: Duration::ZERO,
        reason: "unreachable".to_owned(),
    });
    fixture
        .data
        .commit_placed(&claim.token, later)
        .await
        .expect("it is still live");
    let again = fixture.claim_of(Stage::Schedule, site_id("s")).await;
    assert_eq!(again.work.error.as_deref(), Some("unreachable"));
    assert!(again.fence > claim.fence);
}

/// A step under a lost claim is `ClaimExpired` and changes nothing.
pub async fn a_lost_claim_is_expired(fixture: DataFixture) {
    fixture.site("s", []).await;
    let id = fixture.create(running_on("s")).await;
    let claim = claimed(&fixture, "s").await;
    fixture.advance(TTL + Duration::from_secs(1)).await;
    let there = || ScheduleStep::new().placed(id.clone(), Generation(1));
    refused(
        fixture.data.commit_placed(&claim.token, there()).await,
        &[ClaimExpired],
        "an expired claim",
    );
    let next = fixture.claim_of(Stage::Schedule, site_id("s")).await;
    refused(
        fixture.data.commit_placed(&claim.token, there()).await,
        &[ClaimExpired],
        "a lost claim",
    );
    assert_eq!(place_of(&fixture, &id).await, None);
    done(&fixture, &next, there()).await;
}

/// A large step is committed in chunks, and the last one settles the claim.
pub async fn a_large_step_is_committed_completely(fixture: DataFixture) {
    let count = 1_150;
    fixture.site("s", []).await;
    let made = fixture
        .data
        .create_deployments(vec![running_on("s"); count])
        .await;
    let ids: Vec<DeploymentId> = made
        .into_iter()
        .collect::<Result<_, _>>()
        .expect("all are made");
    let claim = claimed(&fixture, "s").await;
    let said = |id: &DeploymentId| {
        let said = Condition::new("Scheduled", true, "There", "it runs", Generation(1));
        (Key::from(id), vec![said])
    };
    let step = ScheduleStep::new()
        .all_placed(ids.iter().map(|id| (id.clone(), Generation(1))))
        .all_conditions(ids.iter().map(said));
    done(&fixture, &claim, step).await;
    let all = fixture.walk(&all(Kind::Deployment), 0).await;
    let placed = all.iter().filter(|record| {
        let there = record
            .entity
            .deployment()
            .is_some_and(|d| d.placed.is_some());
        there && record.entity.condition("Scheduled").is_some()
    });
    assert_eq!(placed.count(), count);
    assert!(
        fixture.drain(Stage::Schedule).await.is_empty(),
        "the claim is settled"
    );
}

/// A deployment under a modification is placed like the others of its site, and the modification
/// can still end.
pub async fn a_deployment_under_modification_is_placed(fixture: DataFixture) {
    fixture.site("s", []).await;
    let edited = fixture.create(running_on("s")).await;
    let other = fixture.create(running_on("s")).await;
    let edit = fixture.data.start_modification(&edited, TTL).await;
    let edit = edit.expect("it is free");
    let claim = claimed(&fixture, "s").await;
    let ids = [edited.clone(), other];
    let there = ids.iter().map(|id| (id.clone(), Generation(1)));
    done(&fixture, &claim, ScheduleStep::new().all_placed(there)).await;
    let placed = Some((site_id("s"), Generation(1)));
    for id in &ids {
        assert_eq!(place_of(&fixture, id).await, placed, "{id}");
    }
    let busy = fixture.data.start_modification(&edited, TTL).await;
    refused(busy, &[Busy], "the modification is still live");
    let package = edit.record.package.expect("it is included");
    let changed = with(&package, config("b"));
    let ended = fixture.data.end_modification(&edit.token, changed).await;
    ended.expect("it is live");
    assert_eq!(fixture.row(&edited).await.generation, Generation(2));
    assert_eq!(place_of(&fixture, &edited).await, placed);
}

/// A moving deployment must be removed from its old site before it is placed on the new one. Until
/// then that conflicts; the removal makes the new site due.
pub async fn a_deployment_is_on_one_site_at_a_time(fixture: DataFixture) {
    for site in ["old", "new"] {
        fixture.site(site, []).await;
    }
    let id = fixture.create(running_on("old")).await;
    fixture.place("old", &[&id]).await;
    let record = fixture.read(&id).await;
    let package = record.package.expect("it was requested");
    let moved = with_head(&package, |head| head["spec"]["siteId"] = json!("new"));
    fixture
        .data
        .update(&id, record.entity.version, moved)
        .await
        .expect("the call is valid");
    assert_eq!(fixture.drain(Stage::Schedule).await, ["new", "old"]);
    let claim = claimed(&fixture, "new").await;
    let there = || ScheduleStep::new().placed(id.clone(), Generation(2));
    let result = fixture.data.commit_placed(&claim.token, there()).await;
    refused(result, &[Conflict], "a deployment placed elsewhere");
    let back = [(claim.token, Outcome::Done)];
    fixture.data.settle(&back).await.expect("the call succeeds");
    let claim = claimed(&fixture, "old").await;
    done(&fixture, &claim, ScheduleStep::new().removed(id.clone())).await;
    assert_eq!(
        fixture.drain(Stage::Schedule).await,
        ["new"],
        "its turn has come"
    );
    let claim = claimed(&fixture, "new").await;
    done(&fixture, &claim, there()).await;
    assert_eq!(
        place_of(&fixture, &id).await,
        Some((site_id("new"), Generation(2)))
    );
}

/// A site cannot remove a deployment that is placed on another site.
pub async fn another_site_cannot_remove_a_placement(fixture: DataFixture) {
    for site in ["one", "two"] {
        fixture.site(site, []).await;
    }
    let id = fixture.create(running_on("one")).await;
    fixture.place("one", &[&id]).await;
    let claim = claimed(&fixture, "two").await;
    done(&fixture, &claim, ScheduleStep::new().removed(id.clone())).await;
    assert_eq!(
        place_of(&fixture, &id).await.map(|(site, _)| site),
        Some(site_id("one"))
    );
}

/// A step records schedulers with the site, and forgets others. Neither makes the site due or shows in
/// its metadata, and both outlast a registration. A target that leaves the package is kept.
pub async fn schedulers_of_a_site_are_recorded(fixture: DataFixture) {
    fixture.site("s", [config("a")]).await;
    let target = Identifier::new(Gvk::of("v1", "ConfigMap"), "a");
    let one = || SiteScheduler::new("one").target(target.clone());
    let recorded = async || SiteScheduler::all_of(&*fixture.row(s("s")).await);
    let shown = async || {
        let all = recorded().await;
        all.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let claim = claimed(&fixture, "s").await;
    let step = ScheduleStep::new()
        .all_called([one(), SiteScheduler::new("every")])
        .expect(Generation(1));
    done(&fixture, &claim, step).await;
    assert!(
        fixture.drain(Stage::Schedule).await.is_empty(),
        "its own record does not enqueue it"
    );
    assert_eq!(shown().await, ["every", "one (for ConfigMap a)"]);
    assert!(fixture.row(s("s")).await.metadata.is_empty());
    fixture.site("s", []).await;
    let all = recorded().await;
    let kept = all[1].resource.as_ref().expect("its target left");
    assert_eq!(*kept.value(), config("a"));
    let claim = claimed(&fixture, "s").await;
    let late = ScheduleStep::new()
        .all_called([SiteScheduler::new("late")])
        .expect(Generation(1));
    refused(
        fixture.data.commit_placed(&claim.token, late).await,
        &[Conflict],
        "a record for an earlier package",
    );
    done(&fixture, &claim, ScheduleStep::new().all_forgotten([one()])).await;
    assert_eq!(shown().await, ["every"]);
}

/// A deployment that is being deleted disappears when its removal is reported, even if others refer
/// to it. A repeated report finishes an interrupted deletion (O1).
pub async fn a_removed_parent_is_deleted(fixture: DataFixture) {
    fixture.site("s", []).await;
    let id = fixture.create(running_on("s")).await;
    let child = || NewDeployment::new().parent(id.clone());
    let first = fixture.create(child()).await;
    fixture.place("s", &[&id]).await;
    // The relation cannot be cleared while someone modifies the child.
    let edit = fixture.data.start_modification(&first, TTL).await;
    let edit = edit.expect("it is free");
    fixture
        .data
        .delete(&Key::from(&id))
        .await
        .expect("it exists");
    refused(
        fixture.data.create_deployment(child()).await,
        &[BadArgument],
        "a child of it",
    );
    let from = fixture.revision().await;
    for _ in 0..2 {
        let claim = claimed(&fixture, "s").await;
        let step = ScheduleStep::new().removed(id.clone());
        done(&fixture, &claim, step).await;
    }
    let cancelled = fixture.data.cancel_modification(&edit.token).await;
    cancelled.expect("it is live");
    if fixture.find(&id).await.is_some() {
        let select = all(Kind::Deployment).deleting(true);
        let is_gone = |event: &Event| matches!(event, Event::Gone { before, .. } if before.entity.key == Key::from(&id));
        fixture.wait_until(select, from, is_gone).await;
    }
    assert!(fixture.find(&id).await.is_none());
    let row = fixture.row(&first).await;
    assert!(!row.deleting && !row.refers_to(&Key::from(&id)));
}

/// Until an edit of an approved deployment is approved, its site reads it as it was approved, also if
/// the edit is edited again. Everybody else reads the edit.
pub async fn a_site_reads_what_was_approved(fixture: DataFixture) {
    for site in ["s", "other"] {
        fixture.site(site, []).await;
    }
    let manual = deployment(json!({}), json!({"nephio.org/approve": "Manual"}));
    let id = fixture
        .create(running_on("s").merge(named([manual, config_of("c", "one")])))
        .await;
    fixture.place("s", &[&id]).await;
    let approved = fixture.package(&id).await;
    for says in ["two", "three"] {
        let edited = with(&fixture.package(&id).await, config_of("c", says));
        let edited = with_head(&edited, |head| head["spec"]["siteId"] = json!("other"));
        let version = fixture.row(&id).await.version;
        let update = fixture.data.update(&id, version, edited).await;
        update.expect("the call is valid");
    }
    let select = all(Kind::Deployment).concerning(site_id("s"));
    let read = async |want: Want| {
        let list = List::new(select.clone()).want(want);
        let page = fixture.data.list(&list).await.expect("it is read");
        let got = fixture.data.get(&Key::from(&id), want).await;
        let got = got.expect("it exists");
        let [listed] = &page.items[..] else {
            panic!("one deployment concerns the site: {page:?}");
        };
        assert_eq!(listed.package, got.package);
        assert_eq!(listed.entity.generation, got.entity.generation);
        got
    };
    let edited = read(Want::PACKAGE).await;
    assert_eq!(edited.entity.wanted_on(), None);
    assert_eq!(edited.entity.generation, Generation(3));
    let three = with(&approved, config_of("c", "three"));
    let says = |package: &Option<Package>| {
        let package = package.as_ref().expect("it was requested");
        package.iter().skip(1).cloned().collect::<Vec<_>>()
    };
    assert_eq!(says(&edited.package), says(&Some(three)));
    let kept = read(Want::PACKAGE.with_kept()).await;
    assert_eq!(kept.package, Some(approved));
    assert_eq!(kept.entity.generation, Generation(1));
    assert_eq!(kept.entity.wanted_on(), Some(&site_id("s")));
    let bulk = fixture.data.approve(&all(Kind::Deployment)).await;
    assert_eq!(bulk.expect("the call is valid").done, 1);
    let moved = read(Want::PACKAGE.with_kept()).await;
    assert_eq!(moved.entity.wanted_on(), Some(&site_id("other")));
    assert_eq!(says(&moved.package), says(&kept.package), "to be removed");
    let claim = claimed(&fixture, "s").await;
    done(&fixture, &claim, ScheduleStep::new().removed(id.clone())).await;
    let got = fixture
        .data
        .get(&Key::from(&id), Want::PACKAGE.with_kept())
        .await;
    assert_eq!(
        says(&got.expect("it exists").package),
        says(&edited.package)
    );
}
