//! Deleting entities by selection.

use super::fixture::{DataFixture, TTL};
use super::sample::{all, by, config, new_plugin, of_template, running_on};
use tko_core::{Bulk, Event, Key, Kind, NewDeployment, Select};

/// All matches of any kind are deleted and counted; others stay.
pub async fn all_matches_are_deleted(fixture: DataFixture) {
    let word = |word: &str| NewDeployment::new().metadata([("word", word)]);
    fixture.create(word("yes")).await;
    let stays = fixture.create(word("no")).await;
    fixture.create(word("yes")).await;
    let bulk = fixture
        .data
        .purge(&by(Kind::Deployment, "word", "yes"))
        .await;
    assert_eq!(bulk.expect("it is done"), Bulk::new(2));
    assert_eq!(
        fixture.ids(&all(Kind::Deployment)).await,
        [stays.to_string()]
    );
    fixture.site("s", []).await;
    fixture
        .data
        .register_plugin(new_plugin("p"))
        .await
        .expect("the call is valid");
    for kind in [Kind::Site, Kind::Plugin, Kind::Deployment, Kind::Template] {
        let there = fixture.ids(&all(kind)).await.len() as u64;
        let bulk = fixture.data.purge(&all(kind)).await.expect("it is done");
        assert_eq!(bulk.done, there, "{kind}");
        assert!(fixture.ids(&all(kind)).await.is_empty(), "{kind}");
    }
}

/// Referenced entities are deleted too: parents, children and templates. Relations are cleared.
pub async fn referenced_entities_are_deleted_too(fixture: DataFixture) {
    for id in ["t1", "t2"] {
        fixture.template(id, [config("a")]).await;
    }
    let parent = fixture.create(of_template("t1")).await;
    let child = of_template("t2").parent(parent);
    fixture.create(child).await;
    let bulk = fixture
        .data
        .purge(&all(Kind::Template))
        .await
        .expect("it is done");
    assert_eq!(bulk.done, 2, "{bulk:?}");
    for record in fixture.walk(&all(Kind::Deployment), 0).await {
        assert_eq!(record.entity.template(), None);
    }
    let bulk = fixture
        .data
        .purge(&all(Kind::Deployment))
        .await
        .expect("it is done");
    assert_eq!(bulk.done, 2, "{bulk:?}");
    assert!(fixture.ids(&all(Kind::Deployment)).await.is_empty());
}

/// Entities under modification are skipped and named; placed ones are hidden.
pub async fn entities_under_modification_are_skipped(fixture: DataFixture) {
    fixture.site("s", []).await;
    let edited = fixture.create(NewDeployment::default()).await;
    let placed = fixture.create(running_on("s")).await;
    fixture.create(NewDeployment::default()).await;
    fixture.place("s", &[&placed]).await;
    fixture
        .data
        .start_modification(&edited, TTL)
        .await
        .expect("the key is free");
    let bulk = fixture
        .data
        .purge(&all(Kind::Deployment))
        .await
        .expect("it is done");
    assert_eq!(bulk.done, 2, "{bulk:?}");
    let skipped: Vec<&Key> = bulk.skipped.iter().map(|(key, _)| key).collect();
    assert_eq!(skipped, [&Key::from(&edited)]);
    assert_eq!(
        fixture.ids(&all(Kind::Deployment)).await,
        [edited.to_string()]
    );
    let entity = fixture.read(&placed).await.entity;
    assert!(entity.deleting, "until its site reports the removal");
    let since = entity.condition(tko_core::entity::DELETING);
    assert!(since.is_some(), "the time of the request is kept");
}

/// Any number of matches is deleted.
pub async fn any_number_is_deleted(fixture: DataFixture) {
    let count = 1_105;
    fixture.template("t", []).await;
    let made = fixture
        .data
        .create_deployments(vec![of_template("t"); count])
        .await;
    assert!(made.iter().all(Result::is_ok));
    let from = fixture.revision().await;
    let bulk = fixture
        .data
        .purge(&all(Kind::Deployment))
        .await
        .expect("it is done");
    assert_eq!(bulk.done, count as u64);
    assert!(fixture.ids(&all(Kind::Deployment)).await.is_empty());
    let last = fixture.create(NewDeployment::default()).await;
    let select = Select::all(Kind::Deployment);
    let told = fixture.told(&select, from, last.as_str()).await;
    let gone = told
        .iter()
        .filter(|event| matches!(event, Event::Gone { .. }));
    assert_eq!(gone.count(), count, "each request is answered");
}
