//! Deleting entities, and the effect on relations.

use super::fixture::{DataFixture, TTL};
use super::sample::{
    all, config, d, deployment_id, head_of, named, new_plugin, new_site, of_template, running_on,
    s, site_id, t, template_id,
};
use crate::verdict::{names, refused};
use serde_json::json;
use tko_core::ErrorKind::{Busy, Conflict, NotFound};
use tko_core::{
    EntityUpdate, Error, Event, Key, Kind, Metadata, NewDeployment, Outcome, Pattern, ScheduleStep,
    Stage,
};

/// Deleting a template, site or parent clears the relation and never deletes deployments.
pub async fn relations_are_cleared(fixture: DataFixture) {
    fixture.template("t", []).await;
    let site = new_site("s", []).template(template_id("t"));
    fixture
        .data
        .register_site(site)
        .await
        .expect("the call is valid");
    let parent = fixture.create(NewDeployment::default()).await;
    let child = of_template("t")
        .id(deployment_id("child"))
        .parent(parent.clone())
        .site(site_id("s"));
    fixture.create(child).await;
    let generation = fixture.row(d("child")).await.generation;
    for key in [t("t"), s("s"), Key::from(&parent)] {
        fixture.data.delete(&key).await.expect("it exists");
        assert!(fixture.find(&key).await.is_none(), "{key} is gone");
        let orphan = fixture.row(d("child")).await;
        assert!(!orphan.refers_to(&key), "{key}: the relation is cleared");
    }
    let orphan = fixture.row(d("child")).await;
    let facts = orphan.deployment().expect("it is a deployment");
    assert!(facts.parent.is_none() && facts.template.is_none() && facts.site.is_none());
    assert_eq!(orphan.generation, generation, "the package is unchanged");
    let package = fixture.package(d("child")).await;
    assert_eq!(
        head_of(&package).get(&["spec", "templateId"]),
        Some(&json!("t"))
    );
}

/// A site outlives its template.
pub async fn a_site_outlives_its_template(fixture: DataFixture) {
    fixture.template("t", [config("a")]).await;
    let site = new_site("s", []).template(template_id("t"));
    fixture
        .data
        .register_site(site)
        .await
        .expect("the call is valid");
    fixture.data.delete(&t("t")).await.expect("it exists");
    assert_eq!(fixture.row(s("s")).await.template(), None);
    assert_eq!(fixture.package(s("s")).await.len(), 1);
}

/// An entity that is absent or already deleted is not found.
pub async fn a_deleted_entity_is_not_found(fixture: DataFixture) {
    refused(
        fixture.data.delete(&t("none")).await,
        &[NotFound],
        "an id that never existed",
    );
    fixture
        .data
        .register_plugin(new_plugin("p"))
        .await
        .expect("the call is valid");
    let key = Key::from(&new_plugin("p").id);
    fixture.data.delete(&key).await.expect("it exists");
    let error = refused(
        fixture.data.delete(&key).await,
        &[NotFound],
        "a deleted entity",
    );
    let named = matches!(&error, Error::NotFound(tko_core::Subject::Entity(k)) if *k == key);
    assert!(named, "{error:?}");
}

/// A deleted entity can be created again.
pub async fn a_deleted_entity_can_be_created_again(fixture: DataFixture) {
    for round in 0..3 {
        fixture.template("t", [config(&format!("c{round}"))]).await;
        fixture.site("s", []).await;
        let new = NewDeployment::new().id(deployment_id("d"));
        fixture.create(new).await;
        for key in [t("t"), s("s"), d("d")] {
            fixture.data.delete(&key).await.expect("it exists");
            assert!(fixture.find(key).await.is_none());
        }
    }
}

async fn many(fixture: &DataFixture, count: usize) {
    fixture.template("t", []).await;
    fixture.site("s", []).await;
    let new = of_template("t").site(site_id("s"));
    let made = fixture.data.create_deployments(vec![new; count]).await;
    assert!(made.iter().all(Result::is_ok));
}

async fn is_cleared(fixture: &DataFixture, key: Key, count: usize) {
    let from = fixture.revision().await;
    fixture.data.delete(&key).await.expect("it exists");
    is_left_by_all(fixture, key, count, from).await;
}

/// Waits until a deletion is finished that began after the revision `from`.
async fn is_left_by_all(fixture: &DataFixture, key: Key, count: usize, from: u64) {
    assert!(!fixture.is_seen(&key).await, "hidden at once");
    if fixture.find(&key).await.is_some() {
        let gone = |event: &Event| matches!(event, Event::Gone { .. });
        let select = all(key.kind()).deleting(true);
        fixture.wait_until(select, from, gone).await;
    }
    assert!(fixture.find(&key).await.is_none(), "{key} is gone");
    let everything = fixture.walk(&all(Kind::Deployment), 0).await;
    assert_eq!(
        everything.len(),
        count,
        "deployments are not deleted with it"
    );
    let left = everything
        .iter()
        .filter(|r| r.entity.refers_to(&key))
        .count();
    assert_eq!(left, 0, "every relation is cleared");
}

/// With more than 500 referrers, relations are cleared in chunks. In the end the entity is gone and
/// all referrers remain.
pub async fn more_than_500_relations_are_cleared(fixture: DataFixture) {
    many(&fixture, 620).await;
    is_cleared(&fixture, t("t"), 620).await;
}

/// The same holds with more than a thousand referrers, and each change of a referrer is in the
/// feed.
pub async fn more_than_1000_relations_are_cleared(fixture: DataFixture) {
    let count = 1_234;
    many(&fixture, count).await;
    let from = fixture.revision().await;
    is_cleared(&fixture, s("s"), count).await;
    let last = fixture.create(NewDeployment::default()).await;
    let told = fixture
        .told(&all(Kind::Deployment), from, last.as_str())
        .await;
    assert_eq!(told.len(), count, "each change comes once");
}

/// Concurrent creations lose to a deletion: nothing references the entity once it is gone.
pub async fn concurrent_creations_lose_to_a_deletion(fixture: DataFixture) {
    fixture.template("t", []).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let own = fixture.beside();
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
    let from = fixture.revision().await;
    fixture.data.delete(&t("t")).await.expect("it exists");
    while let Some(ended) = tasks.join_next().await {
        ended.expect("the task creates until it is refused");
    }
    if fixture.find(t("t")).await.is_some() {
        let gone = |event: &Event| matches!(event, Event::Gone { .. });
        let select = all(Kind::Template).deleting(true);
        fixture.wait_until(select, from, gone).await;
    }
    let pattern = Pattern::literal("t");
    let select = all(Kind::Deployment).template_id(pattern).deleting(true);
    assert!(
        fixture.ids(&select).await.is_empty(),
        "nothing refers to it"
    );
}

/// A modification blocks the deletion of its own deployment, but not that of its template, site or
/// parent.
pub async fn a_modification_blocks_only_its_own_deletion(fixture: DataFixture) {
    fixture.template("t", []).await;
    fixture.site("s", []).await;
    let parent = fixture.create(NewDeployment::default()).await;
    let new = of_template("t").site(site_id("s")).parent(parent.clone());
    let id = fixture.create(new).await;
    let edit = fixture
        .data
        .start_modification(&id, TTL)
        .await
        .expect("the key is free");
    refused(
        fixture.data.delete(&Key::from(&id)).await,
        &[Busy],
        "the deployment",
    );
    let from = fixture.revision().await;
    let keys = [t("t"), s("s"), Key::from(&parent)];
    for key in &keys {
        fixture.data.delete(key).await.expect("it exists");
        assert!(!fixture.is_seen(key).await, "{key} is hidden");
    }
    fixture
        .data
        .cancel_modification(&edit.token)
        .await
        .expect("it is live");
    for key in &keys {
        if fixture.find(key).await.is_some() {
            let gone = |event: &Event| matches!(event, Event::Gone { before, .. } if before.entity.key == *key);
            let select = all(key.kind()).deleting(true);
            fixture.wait_until(select, from, gone).await;
        }
        assert!(!fixture.row(&id).await.refers_to(key), "{key} is gone");
    }
}

/// A placed deployment is hidden at once, makes its site due, and disappears when its scheduler
/// reports it as removed.
pub async fn a_placed_deployment_goes_when_it_is_reported_removed(fixture: DataFixture) {
    fixture.site("s", []).await;
    let id = fixture.create(running_on("s")).await;
    fixture.place("s", &[&id]).await;
    fixture.drain(Stage::Schedule).await;
    fixture
        .data
        .delete(&Key::from(&id))
        .await
        .expect("it exists");
    assert!(!fixture.is_seen(&id).await);
    refused(
        fixture.data.delete(&Key::from(&id)).await,
        &[NotFound],
        "again",
    );
    let claim = fixture.claim_of(Stage::Schedule, site_id("s")).await;
    let select = all(Kind::Deployment)
        .concerning(site_id("s"))
        .deleting(true);
    assert_eq!(
        fixture.ids(&select).await,
        [id.to_string()],
        "the scheduler sees it"
    );
    let step = ScheduleStep::new()
        .removed(id.clone())
        .settle(Outcome::Done);
    fixture
        .data
        .commit_placed(&claim.token, step)
        .await
        .expect("it is live");
    assert!(fixture.find(&id).await.is_none(), "now it is gone");
}

/// A deletion at a version deletes exactly what was read; otherwise it conflicts and changes nothing.
pub async fn a_deletion_requires_the_version_read(fixture: DataFixture) {
    let read = fixture.site("s", [config("a")]).await;
    let second = fixture.site("s", [config("b")]).await;
    let before = fixture.revision().await;
    let error = refused(
        fixture.data.delete_at(&s("s"), read).await,
        &[Conflict],
        "a stale version",
    );
    names(&error, &[s("s")]);
    assert_eq!(fixture.revision().await, before);
    assert_eq!(fixture.package(s("s")).await, named([config("b")]));
    let deleted = fixture.data.delete_at(&s("s"), second).await;
    deleted.expect("the version is unchanged");
    assert!(fixture.find(s("s")).await.is_none());
    refused(
        fixture.data.delete_at(&s("s"), second).await,
        &[NotFound],
        "a deleted entity",
    );
    fixture.site("s", []).await;
    let id = fixture.create(running_on("s")).await;
    let read = fixture.row(&id).await.version;
    fixture.place("s", &[&id]).await;
    let key = Key::from(&id);
    refused(
        fixture.data.delete_at(&key, read).await,
        &[Conflict],
        "a version before the placement",
    );
    assert!(fixture.is_seen(&id).await);
    let placed = fixture.row(&id).await.version;
    let deleted = fixture.data.delete_at(&key, placed).await;
    deleted.expect("the version is unchanged");
    assert!(!fixture.is_seen(&id).await);
    let kept = fixture.find(&id).await;
    assert!(kept.is_some(), "its scheduler must remove it first");
}

/// A deletion at a version that takes several commits requires the version in the first one only,
/// even if a modification delays the rest.
pub async fn a_large_deletion_requires_the_version_once(fixture: DataFixture) {
    many(&fixture, 620).await;
    let read = fixture.row(t("t")).await.version;
    let from = fixture.revision().await;
    let deleted = fixture.data.delete_at(&t("t"), read).await;
    deleted.expect("the version is unchanged");
    is_left_by_all(&fixture, t("t"), 620, from).await;
    let first = fixture.walk(&all(Kind::Deployment), 0).await.remove(0);
    let id = first.entity.key.deployment().expect("it is one").clone();
    let edit = fixture.data.start_modification(&id, TTL).await;
    let edit = edit.expect("the key is free");
    let read = fixture.row(s("s")).await.version;
    let from = fixture.revision().await;
    let deleted = fixture.data.delete_at(&s("s"), read).await;
    deleted.expect("the version is unchanged");
    let cancelled = fixture.data.cancel_modification(&edit.token).await;
    cancelled.expect("it is live");
    is_left_by_all(&fixture, s("s"), 620, from).await;
}

/// If a deletion and a change at the same version are concurrent, exactly one succeeds.
pub async fn a_deletion_and_a_change_exclude_each_other(fixture: DataFixture) {
    for round in 0..50 {
        let read = fixture.site("s", []).await;
        let given = Metadata::from([("round", round.to_string())]);
        let update = EntityUpdate::new(s("s"), read).metadata(given.clone());
        let own = fixture.beside();
        let changing = tokio::spawn(async move { own.data.update_entity(update).await });
        if round % 2 == 1 {
            tokio::task::yield_now().await;
        }
        let deleted = fixture.data.delete_at(&s("s"), read).await;
        let changed = changing.await.expect("the task does not panic");
        if changed.is_ok() {
            refused(deleted, &[Conflict], "the deletion of a changed entity");
            assert_eq!(fixture.row(s("s")).await.given, given);
        } else {
            deleted.expect("the version is unchanged");
            refused(
                changed,
                &[Conflict, NotFound],
                "the change of a deleted one",
            );
            assert!(fixture.find(s("s")).await.is_none());
        }
    }
}

/// A deployment that is placed nowhere disappears at once, whatever its state.
pub async fn an_unplaced_deployment_goes_at_once(fixture: DataFixture) {
    fixture.site("s", []).await;
    let id = fixture.create(running_on("s")).await;
    fixture
        .data
        .delete(&Key::from(&id))
        .await
        .expect("it exists");
    assert!(fixture.find(&id).await.is_none());
}
