//! Steps of preparation.

use super::bench::{Bench, TTL};
use super::sample::{
    all, bad, config, config_of, d, named, need, new_site, of_template, s, site_id, value_of, with,
    with_head,
};
use crate::verdict::refused;
use serde_json::json;
use std::time::Duration;
use tko_core::ErrorKind::{BadArgument, Busy, Conflict, NotFound, Timeout};
use tko_core::{
    Claim, Condition, DeploymentId, Effect, Generation, Key, Kind, NewDeployment, NewSite, Outcome,
    Package, Prepared, Select, Stage,
};

/// A deployment of its own with a claim on preparing it.
pub(super) async fn claimed(bench: &Bench) -> (DeploymentId, Claim) {
    let merge = named([config("a")]);
    let id = bench
        .create(NewDeployment {
            merge,
            ..NewDeployment::default()
        })
        .await;
    let claim = bench.claim_of(Stage::Prepare, &id).await;
    (id, claim)
}

pub(super) fn child_of(parent: &DeploymentId, once: &str) -> NewDeployment {
    NewDeployment {
        parent: Some(parent.clone()),
        once: Some(once.into()),
        ..NewDeployment::default()
    }
}

pub(super) fn children(of: &DeploymentId) -> Select {
    Select {
        parent: Some(of.clone()),
        ..all(Kind::Deployment)
    }
}

pub(super) fn prepared(package: &Package) -> Package {
    with_head(package, |head| {
        head["metadata"]["annotations"] = json!({"nephio.org/prepared": "true"});
    })
}

/// A step commits whole: package, children, sites, conditions, progress, and what becomes of the
/// claim; it answers with the generation.
pub async fn a_step_commits_whole(bench: Bench) {
    bench.template("t", [config("t")]).await;
    let (id, claim) = claimed(&bench).await;
    let package = with(&bench.package(&id).await, config("b"));
    let before = bench.revision().await;
    let new = NewSite {
        metadata: [("type", "provisioned")].into_iter().collect(),
        ..new_site("provisioned/1", [config("p")])
    };
    let step = Prepared {
        package: Some(package.clone()),
        effects: vec![
            Effect::Site(new),
            Effect::Deployment(child_of(&id, "one")),
            Effect::Deployment(NewDeployment {
                template: of_template("t").template,
                ..child_of(&id, "two")
            }),
        ],
        conditions: vec![Condition::new(
            "Prepared",
            false,
            "Going",
            "on",
            Generation(1),
        )],
        progress: Some(json!({"at": 1})),
        ..bench.step(id.as_str()).await
    };
    let generation = bench
        .data
        .commit_prepared(&claim.token, step)
        .await
        .expect("it is live");
    assert_eq!(generation, Generation(2));
    let record = bench.read(&id).await;
    assert_eq!(record.entity.generation, generation);
    assert_eq!(record.package, Some(package));
    assert!(record.entity.condition("Prepared").is_some());
    assert_eq!(record.work[0].progress, Some(json!({"at": 1})));
    assert_eq!(
        value_of(&bench.read(s("provisioned/1")).await.entity, "type"),
        Some("provisioned")
    );
    assert_eq!(bench.ids(&children(&id)).await.len(), 2);
    assert_eq!(
        bench.revision().await,
        before + 4,
        "one change each, one set"
    );
    let mut step = bench.step(id.as_str()).await;
    step.settle = Some(Outcome::Done);
    bench
        .data
        .commit_prepared(&claim.token, step)
        .await
        .expect("it is live still");
    assert!(
        bench.read(&id).await.work.is_empty(),
        "its own steps do not make it due again"
    );
}

/// A step that is refused leaves nothing behind, and the claim lives.
pub async fn a_refused_step_leaves_nothing_behind(bench: Bench) {
    bench.template("t", [need("n", None)]).await;
    let (id, claim) = claimed(&bench).await;
    let package = bench.package(&id).await;
    let base = bench.step(id.as_str()).await;
    let child = |new: NewDeployment| Prepared {
        package: Some(with(&package, config("b"))),
        effects: vec![
            Effect::Site(new_site("new", [])),
            Effect::Deployment(child_of(&id, "fine")),
            Effect::Deployment(new),
        ],
        progress: Some(json!("further")),
        settle: Some(Outcome::Done),
        ..base.clone()
    };
    let merging = |resource| NewDeployment {
        merge: named([resource]),
        ..child_of(&id, "x")
    };
    let incomplete = prepared(&with(&package, need("n", None)));
    let (before, row) = (bench.revision().await, bench.row(&id).await.version);
    for (what, step, kinds) in [
        ("an invalid child", child(merging(bad("b"))), [BadArgument]),
        (
            "a child of no template",
            child(of_template("none")),
            [BadArgument],
        ),
        (
            "a child on a site of the same step",
            child(NewDeployment {
                site: Some(site_id("new")),
                ..child_of(&id, "x")
            }),
            [BadArgument],
        ),
        (
            "an invalid package",
            Prepared {
                package: Some(with(&package, bad("b"))),
                ..base.clone()
            },
            [BadArgument],
        ),
        (
            "prepared, but incomplete",
            Prepared {
                package: Some(incomplete),
                ..base.clone()
            },
            [BadArgument],
        ),
        (
            "another generation",
            Prepared {
                expect: Generation(7),
                ..child(child_of(&id, "y"))
            },
            [Conflict],
        ),
    ] {
        refused(
            bench.data.commit_prepared(&claim.token, step).await,
            &kinds,
            what,
        );
        assert_eq!(bench.revision().await, before, "after {what}");
        assert_eq!(bench.row(&id).await.version, row, "after {what}");
        assert!(bench.find(s("new")).await.is_none(), "after {what}");
        assert_eq!(bench.read(&id).await.work[0].progress, None, "after {what}");
    }
    let renewed = bench
        .data
        .renew(std::slice::from_ref(&claim.token), TTL)
        .await;
    assert_eq!(renewed.expect("an answer"), [true], "the claim lives");
    bench
        .data
        .commit_prepared(&claim.token, child(child_of(&id, "z")))
        .await
        .expect("it is sound");
}

/// Under a claim that was lost a step is a timeout.
pub async fn a_lost_claim_is_a_timeout(bench: Bench) {
    let (id, claim) = claimed(&bench).await;
    let step = Prepared {
        effects: vec![Effect::Deployment(child_of(&id, "one"))],
        ..bench.step(id.as_str()).await
    };
    bench.advance(TTL + Duration::from_secs(1)).await;
    let result = bench.data.commit_prepared(&claim.token, step.clone()).await;
    refused(result, &[Timeout], "a lapsed claim");
    let next = bench.claim_of(Stage::Prepare, &id).await;
    let result = bench.data.commit_prepared(&claim.token, step.clone()).await;
    refused(result, &[Timeout], "a claim that another took over");
    assert!(bench.ids(&children(&id)).await.is_empty());
    let step = Prepared {
        settle: Some(Outcome::Done),
        ..step
    };
    bench
        .data
        .commit_prepared(&next.token, step.clone())
        .await
        .expect("it is live");
    refused(
        bench.data.commit_prepared(&next.token, step).await,
        &[Timeout],
        "a settled claim",
    );
}

/// People's changes go through; the step that was worked out before them conflicts.
pub async fn people_are_not_kept_out(bench: Bench) {
    let (id, claim) = claimed(&bench).await;
    let step = Prepared {
        package: Some(with(&bench.package(&id).await, config_of("a", "worker's"))),
        ..bench.step(id.as_str()).await
    };
    let record = bench.read(&id).await;
    let package = record.package.expect("it was asked for");
    let changed = with(&package, config_of("a", "person's"));
    bench
        .data
        .update(&id, record.entity.version, changed.clone())
        .await
        .expect("nobody modifies it");
    refused(
        bench.data.commit_prepared(&claim.token, step).await,
        &[Conflict],
        "what it read moved",
    );
    assert_eq!(bench.package(&id).await, changed);
    let again = Prepared {
        package: Some(with(&changed, config("b"))),
        ..bench.step(id.as_str()).await
    };
    bench
        .data
        .commit_prepared(&claim.token, again)
        .await
        .expect("under the same claim");
}

/// While someone modifies the deployment, a step that changes its package is busy; one with
/// conditions only is not.
pub async fn a_modification_comes_first(bench: Bench) {
    let (id, claim) = claimed(&bench).await;
    let edit = bench
        .data
        .start_modification(&id, TTL)
        .await
        .expect("leases keep no person out");
    let base = bench.step(id.as_str()).await;
    let changing = Prepared {
        package: Some(with(&bench.package(&id).await, config("b"))),
        effects: vec![Effect::Deployment(child_of(&id, "one"))],
        ..base.clone()
    };
    let result = bench
        .data
        .commit_prepared(&claim.token, changing.clone())
        .await;
    refused(result, &[Busy], "a step");
    assert!(bench.ids(&children(&id)).await.is_empty());
    let saying = Prepared {
        conditions: vec![Condition::new(
            "Prepared",
            false,
            "Busy",
            "someone is at it",
            base.expect,
        )],
        ..base
    };
    bench
        .data
        .commit_prepared(&claim.token, saying)
        .await
        .expect("conditions are let through");
    bench
        .data
        .cancel_modification(&edit.token)
        .await
        .expect("it is live");
    bench
        .data
        .commit_prepared(&claim.token, changing)
        .await
        .expect("it is free");
}

/// What is gone, or being deleted, is not found, or the claim went with it.
pub async fn what_is_gone_is_over(bench: Bench) {
    let (id, claim) = claimed(&bench).await;
    let step = bench.step(id.as_str()).await;
    bench
        .data
        .delete(&Key::from(&id))
        .await
        .expect("it is there");
    let result = bench.data.commit_prepared(&claim.token, step).await;
    refused(result, &[NotFound, Timeout], "what is gone");
}

/// Conditions alone change the version, not the generation, and are merged by kind; one that says
/// nothing new is no change.
pub async fn conditions_alone_are_let_through(bench: Bench) {
    let (id, claim) = claimed(&bench).await;
    let say = async |kind: &str, reason: &str| {
        let base = bench.step(id.as_str()).await;
        let said = Condition::new(kind, false, reason, "in words", base.expect);
        let step = Prepared {
            conditions: vec![said],
            ..base
        };
        bench
            .data
            .commit_prepared(&claim.token, step)
            .await
            .expect("it is live")
    };
    assert_eq!(say("A", "One").await, Generation(1));
    let first = bench.row(&id).await.version;
    let before = bench.revision().await;
    assert_eq!(say("A", "One").await, Generation(1));
    assert_eq!(
        (bench.row(&id).await.version, bench.revision().await),
        (first, before)
    );
    say("B", "Two").await;
    let row = bench.row(&id).await;
    assert_ne!(row.version, first);
    assert_eq!((row.conditions.len(), row.generation), (2, Generation(1)));
}

/// What comes out prepared and approved is at once due at its site, and not to be prepared.
pub async fn what_comes_out_prepared_goes_on(bench: Bench) {
    bench.site("s", []).await;
    bench.drain(Stage::Schedule).await;
    let new = NewDeployment {
        site: Some(site_id("s")),
        ..NewDeployment::default()
    };
    let id = bench.create(new).await;
    let claim = bench.claim_of(Stage::Prepare, &id).await;
    let package = with_head(&bench.package(&id).await, |head| {
        head["metadata"]["annotations"] = json!({
            "nephio.org/prepared": "true",
            "nephio.org/approved": "true",
        });
    });
    let step = Prepared {
        package: Some(package),
        settle: Some(Outcome::Done),
        ..bench.step(id.as_str()).await
    };
    bench
        .data
        .commit_prepared(&claim.token, step)
        .await
        .expect("it is live");
    assert_eq!(bench.drain(Stage::Schedule).await, ["s"]);
    assert!(bench.drain(Stage::Prepare).await.is_empty());
    assert!(bench.find(d("none")).await.is_none());
}
