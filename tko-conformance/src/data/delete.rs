//! Deleting, and what becomes of relations.

use super::bench::{Bench, TTL};
use super::sample::{
    all, config, d, deployment_id, head_of, new_plugin, new_site, of_template, running_on, s,
    site_id, t, template_id,
};
use crate::verdict::refused;
use serde_json::json;
use tko_core::ErrorKind::{Busy, NotFound};
use tko_core::{
    Error, Event, Key, Kind, NewDeployment, NewSite, Outcome, Pattern, Placed, Select, Stage,
};

/// Deleting a template, site or parent never deletes deployments: the relation is cleared.
pub async fn relations_are_cleared(bench: Bench) {
    bench.template("t", []).await;
    let site = NewSite {
        template: Some(template_id("t")),
        ..new_site("s", [])
    };
    bench.data.register_site(site).await.expect("it is sound");
    let parent = bench.create(NewDeployment::default()).await;
    let child = NewDeployment {
        id: Some(deployment_id("child")),
        parent: Some(parent.clone()),
        site: Some(site_id("s")),
        ..of_template("t")
    };
    bench.create(child).await;
    let generation = bench.row(d("child")).await.generation;
    for key in [t("t"), s("s"), Key::from(&parent)] {
        bench.data.delete(&key).await.expect("it is there");
        assert!(bench.find(&key).await.is_none(), "{key} is gone");
        let orphan = bench.row(d("child")).await;
        assert!(!orphan.refers_to(&key), "{key}: the relation is cleared");
    }
    let orphan = bench.row(d("child")).await;
    let facts = orphan.deployment().expect("it is a deployment");
    assert!(facts.parent.is_none() && facts.template.is_none() && facts.site.is_none());
    assert_eq!(orphan.generation, generation, "its package is as it was");
    let package = bench.package(d("child")).await;
    assert_eq!(
        head_of(&package).get(&["spec", "templateId"]),
        Some(&json!("t"))
    );
}

/// A site outlives its template.
pub async fn a_site_outlives_its_template(bench: Bench) {
    bench.template("t", [config("a")]).await;
    let site = NewSite {
        template: Some(template_id("t")),
        ..new_site("s", [])
    };
    bench.data.register_site(site).await.expect("it is sound");
    bench.data.delete(&t("t")).await.expect("it is there");
    assert_eq!(bench.row(s("s")).await.template(), None);
    assert_eq!(bench.package(s("s")).await.len(), 1);
}

/// What is not there, or gone already, is not found.
pub async fn what_is_gone_is_not_found(bench: Bench) {
    refused(
        bench.data.delete(&t("none")).await,
        &[NotFound],
        "what never was",
    );
    bench
        .data
        .register_plugin(new_plugin("p"))
        .await
        .expect("it is sound");
    let key = Key::from(&new_plugin("p").id);
    bench.data.delete(&key).await.expect("it is there");
    let error = refused(bench.data.delete(&key).await, &[NotFound], "what is gone");
    let named = matches!(&error, Error::NotFound(tko_core::Subject::Entity(k)) if *k == key);
    assert!(named, "{error:?}");
}

/// What was deleted can be made again.
pub async fn what_was_deleted_can_be_made_again(bench: Bench) {
    for round in 0..3 {
        bench.template("t", [config(&format!("c{round}"))]).await;
        bench.data.delete(&t("t")).await.expect("it is there");
        assert!(bench.find(t("t")).await.is_none());
    }
}

async fn many(bench: &Bench, count: usize) {
    bench.template("t", []).await;
    bench.site("s", []).await;
    let new = NewDeployment {
        site: Some(site_id("s")),
        ..of_template("t")
    };
    let made = bench.data.create_deployments(vec![new; count]).await;
    assert!(made.iter().all(Result::is_ok));
}

async fn is_cleared(bench: &Bench, key: Key, count: usize) {
    let from = bench.revision().await;
    bench.data.delete(&key).await.expect("it is there");
    assert!(!bench.is_seen(&key).await, "hidden at once");
    if bench.find(&key).await.is_some() {
        let gone = |event: &Event| matches!(event, Event::Gone { .. });
        let select = Select {
            deleting: true,
            ..all(key.kind())
        };
        bench.wait_until(select, from, gone).await;
    }
    assert!(bench.find(&key).await.is_none(), "{key} is gone");
    let everything = bench.walk(&all(Kind::Deployment), 0).await;
    assert_eq!(everything.len(), count, "no deployment is deleted with it");
    let left = everything
        .iter()
        .filter(|r| r.entity.refers_to(&key))
        .count();
    assert_eq!(left, 0, "every relation is cleared");
}

/// With more than 500 referrers, relations are cleared in chunks; in the end it is gone, and they
/// are all there.
pub async fn more_than_500_relations_are_cleared(bench: Bench) {
    many(&bench, 620).await;
    is_cleared(&bench, t("t"), 620).await;
}

/// With more than a thousand referrers, too; each change of theirs is in the feed.
pub async fn more_than_1000_relations_are_cleared(bench: Bench) {
    let count = 1_234;
    many(&bench, count).await;
    let from = bench.revision().await;
    is_cleared(&bench, s("s"), count).await;
    let last = bench.create(NewDeployment::default()).await;
    let told = bench
        .told(&all(Kind::Deployment), from, last.as_str())
        .await;
    assert_eq!(told.len(), count, "each is told once");
}

/// New references to what is being deleted lose: whatever is created at the same time, nothing
/// refers to it once it is gone.
pub async fn creations_lose_against_a_deletion(bench: Bench) {
    bench.template("t", []).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let own = bench.beside();
        tasks.spawn(async move {
            for _ in 0..20 {
                match own.data.create_deployment(of_template("t")).await {
                    Ok(_) => {}
                    Err(error) => {
                        assert_eq!(error.kind(), tko_core::ErrorKind::BadArgument, "{error:?}");
                        return;
                    }
                }
                tokio::task::yield_now().await;
            }
        });
    }
    tokio::task::yield_now().await;
    let from = bench.revision().await;
    bench.data.delete(&t("t")).await.expect("it is there");
    while let Some(ended) = tasks.join_next().await {
        ended.expect("the task creates until it is refused");
    }
    if bench.find(t("t")).await.is_some() {
        let gone = |event: &Event| matches!(event, Event::Gone { .. });
        let select = Select {
            deleting: true,
            ..all(Kind::Template)
        };
        bench.wait_until(select, from, gone).await;
    }
    let pattern = Pattern::literal("t");
    let select = Select {
        template_ids: vec![pattern],
        deleting: true,
        ..all(Kind::Deployment)
    };
    assert!(bench.ids(&select).await.is_empty(), "nothing refers to it");
}

/// A deployment under someone's modification is busy; a template, site or parent of one is not in
/// the end.
pub async fn a_modification_holds_up_its_own_deletion_only(bench: Bench) {
    bench.template("t", []).await;
    let id = bench.create(of_template("t")).await;
    let edit = bench
        .data
        .start_modification(&id, TTL)
        .await
        .expect("it is free");
    refused(
        bench.data.delete(&Key::from(&id)).await,
        &[Busy],
        "the deployment",
    );
    let from = bench.revision().await;
    bench.data.delete(&t("t")).await.expect("it is there");
    assert!(!bench.is_seen(t("t")).await);
    bench
        .data
        .cancel_modification(&edit.token)
        .await
        .expect("it is live");
    if bench.find(t("t")).await.is_some() {
        let gone = |event: &Event| matches!(event, Event::Gone { .. });
        let select = Select {
            deleting: true,
            ..all(Kind::Template)
        };
        bench.wait_until(select, from, gone).await;
    }
    assert_eq!(bench.row(&id).await.template(), None);
}

/// What a scheduler has placed is hidden at once, stays for it to see, makes its site due, and
/// goes when that reports it off.
pub async fn what_is_placed_goes_when_it_is_reported_off(bench: Bench) {
    bench.site("s", []).await;
    let id = bench.create(running_on("s")).await;
    bench.place("s", &[&id]).await;
    bench.drain(Stage::Schedule).await;
    bench
        .data
        .delete(&Key::from(&id))
        .await
        .expect("it is there");
    assert!(!bench.is_seen(&id).await);
    refused(
        bench.data.delete(&Key::from(&id)).await,
        &[NotFound],
        "again",
    );
    let claim = bench.claim_of(Stage::Schedule, site_id("s")).await;
    let select = Select {
        concerning: Some(site_id("s")),
        deleting: true,
        ..all(Kind::Deployment)
    };
    assert_eq!(
        bench.ids(&select).await,
        [id.to_string()],
        "its scheduler sees it"
    );
    let step = Placed {
        gone: vec![id.clone()],
        settle: Some(Outcome::Done),
        ..Placed::default()
    };
    bench
        .data
        .commit_placed(&claim.token, step)
        .await
        .expect("it is live");
    assert!(bench.find(&id).await.is_none(), "now it is gone");
}

/// What is not placed anywhere goes at once, whatever its state.
pub async fn what_is_not_placed_goes_at_once(bench: Bench) {
    bench.site("s", []).await;
    let id = bench.create(running_on("s")).await;
    bench
        .data
        .delete(&Key::from(&id))
        .await
        .expect("it is there");
    assert!(bench.find(&id).await.is_none());
}
