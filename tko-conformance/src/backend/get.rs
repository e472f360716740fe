//! [`Backend::get`](tko_core::Backend::get).

use super::fixture::BackendFixture;
use super::sample::{
    PutBuilder, all, condition, d, deployment, package, plugin, s, set, site, t, template, value_of,
};
use crate::verdict::refused;
use futures_util::StreamExt;
use std::sync::Arc;
use tko_core::{
    Entity, ErrorKind, Facts, Gvk, Key, Kind, List, MAX_CHANGES, Plugin, PluginType, Record,
    Revision, Stage, Want,
};

/// Every field of every kind is read back as it was put.
pub async fn every_field_is_read_back(fixture: BackendFixture) {
    let mut scheduler = plugin(PluginType::Schedule, "p");
    scheduler.facts = Facts::Plugin(Arc::new(
        Plugin::new("command")
            .arguments(vec!["run".to_owned(), "-v".to_owned()])
            .properties(
                [("_image", "example.org/p:1"), ("color", "")]
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .into(),
            )
            .triggers(vec![
                Gvk::new("", "v1", "Pod"),
                Gvk::new("g", "v1", "Thing"),
            ]),
    ));
    let puts = [
        template("t")
            .with_resources(&["a", "b"])
            .with_label("k", "v"),
        site("s").template("t").origin(7).with_resources(&["c"]),
        site("bare"),
        deployment("d1")
            .parent("d0")
            .template("t")
            .origin(8)
            .site("s")
            .placed_as_of("elsewhere", 9)
            .idempotency_key("once")
            .prepared()
            .with_resources(&["e"]),
        deployment("d2").prepared().approved(),
        scheduler,
    ];
    let puts = puts.map(|put| {
        put.with_given("given", "by a user")
            .with_inherited("inherited", "too")
    });
    fixture.put(puts.clone()).await;
    for put in puts {
        let record = fixture.read(&put.key).await;
        let entity = &record.entity;
        assert_eq!(entity.key, put.key);
        assert_eq!(entity.facts, put.facts, "{}", put.key);
        assert_eq!(entity.given, put.given, "{}", put.key);
        assert_eq!(entity.metadata, put.metadata, "{}", put.key);
        assert_eq!(entity.inherited, put.inherited, "{}", put.key);
        assert!(!entity.deleting, "{}", put.key);
        let body = put.body.unwrap_or_default();
        assert_eq!(
            entity.body,
            body.hash(),
            "{}: the hash of its body",
            put.key
        );
        assert_eq!(record.package, Some(body), "{}", put.key);
    }
}

/// Metadata may be any text. They are read back unchanged: alone, in listings, in page streams, and
/// in the feed.
pub async fn metadata_may_be_any_text(fixture: BackendFixture) {
    let texts = [
        "", "\t", "\n", "\\", "\\n", "\0", "\u{1}", "é\r", "a\tb\nc", "\"'{}",
    ];
    let put = |shift: usize| {
        let pairs = texts.iter().zip(texts.iter().cycle().skip(shift));
        let mut put = site("s");
        put.metadata = pairs.collect();
        (put.given, put.inherited) = (put.metadata.clone(), put.metadata.clone());
        put
    };
    let is = |entity: &Arc<Entity>, shift: usize| {
        let expected = put(shift).metadata;
        let found = [&entity.metadata, &entity.given, &entity.inherited];
        assert_eq!(found, [&expected; 3]);
    };
    fixture.put([put(1)]).await;
    is(&fixture.row(s("s")).await, 1);
    fixture.put([put(2)]).await;
    let select = all(Kind::Site);
    for record in fixture.walk(&select, 0).await {
        is(&record.entity, 2);
    }
    let list = List::new(select).limit(0);
    let pages: Vec<_> = fixture.backend.clone().pages(list).collect().await;
    let pages: Vec<_> = pages.into_iter().collect::<Result<_, _>>().expect("pages");
    let read: Vec<_> = pages.iter().flat_map(|page| &page.items).collect();
    assert_eq!(read.len(), 1, "one site");
    is(&read[0].entity, 2);
    let changes = fixture.changes(0).await;
    let state = |record: &Option<Record>, shift| {
        is(&record.as_ref().expect("it was there").entity, shift);
    };
    state(&changes[0].after, 1);
    state(&changes[1].before, 1);
    state(&changes[1].after, 2);
}

/// Answers follow the order of the keys, with `None` for absent ones.
pub async fn answers_follow_the_order_of_the_keys(fixture: BackendFixture) {
    fixture
        .put([template("a"), site("b"), deployment("c")])
        .await;
    let keys = [d("c"), s("missing"), t("a"), s("a"), s("b"), t("a")];
    let found = fixture
        .backend
        .get(&keys, Want::ROW)
        .await
        .expect("the keys are read");
    let ids: Vec<Option<&Key>> = found
        .iter()
        .map(|record| record.as_ref().map(|r| &r.entity.key))
        .collect();
    let expected = [
        Some(&keys[0]),
        None,
        Some(&keys[2]),
        None,
        Some(&keys[4]),
        Some(&keys[2]),
    ];
    assert_eq!(ids, expected);
}

/// Ids are compared by bytes: case matters, and nothing is trimmed or folded.
pub async fn ids_are_compared_by_bytes(fixture: BackendFixture) {
    fixture.put([template("A/b"), template("a/b")]).await;
    fixture
        .commit(set([template("a/b").with_label("k", "v")]))
        .await;
    let (changed, other) = (fixture.row(t("a/b")).await, fixture.row(t("A/b")).await);
    assert_eq!(value_of(&changed, "k"), Some("v"));
    assert_eq!(value_of(&other, "k"), None);
    assert!(fixture.find(t("a/B")).await.is_none());
}

/// Entities under deletion are read like any other.
pub async fn entities_under_deletion_are_included(fixture: BackendFixture) {
    fixture.put([site("s").being_deleted()]).await;
    assert!(fixture.row(s("s")).await.deleting);
}

/// A call may read a thousand keys; one more is a bad argument.
pub async fn too_many_keys_are_refused(fixture: BackendFixture) {
    fixture.put([template("t")]).await;
    let most = vec![t("t"); MAX_CHANGES];
    let found = fixture.backend.get(&most, Want::ROW).await;
    let found = found.expect("a thousand keys are allowed");
    assert!(found.len() == MAX_CHANGES && found.iter().all(Option::is_some));
    let more = vec![t("t"); MAX_CHANGES + 1];
    let result = fixture.backend.get(&more, Want::ROW).await;
    refused(result, &[ErrorKind::BadArgument], "reading 1,001 keys");
}

/// Package, revision and work are included on request, and the package only then.
pub async fn requested_parts_are_included(fixture: BackendFixture) {
    fixture.put([deployment("d").with_resources(&["a"])]).await;
    fixture.enqueue(Stage::Prepare, [d("d")]).await;
    let read = async |want| {
        let found = fixture
            .backend
            .get(&[d("d")], want)
            .await
            .expect("the key is read");
        found.into_iter().flatten().next().expect("it exists")
    };
    let plain = read(Want::ROW).await;
    assert!(
        plain.package.is_none() && plain.work.is_empty(),
        "{plain:?}"
    );
    let full = fixture.read(d("d")).await;
    assert_eq!(full.package, Some(package(&["a"])));
    assert_eq!(full.revision, Some(Revision(1)));
    assert_eq!(full.work.len(), 1, "its work: {:?}", full.work);
    assert_eq!(
        (full.work[0].stage, &full.work[0].key),
        (Stage::Prepare, &d("d"))
    );
    // A key that is named twice has the same parts twice.
    let twice = fixture
        .backend
        .get(&[d("d"), d("d")], Want::ROW.with_work())
        .await;
    for record in twice.expect("the keys are read") {
        assert_eq!(record.expect("it exists").work, full.work);
    }
}

/// The revision of an entity is that of its last change in the feed.
pub async fn the_revision_is_that_of_the_last_change(fixture: BackendFixture) {
    fixture.put([template("a"), template("b")]).await;
    fixture.put([template("a").with_label("k", "v")]).await;
    fixture.put([template("c")]).await;
    for (id, revision) in [("a", 3), ("b", 2), ("c", 4)] {
        let record = fixture.read(t(id)).await;
        assert_eq!(record.revision, Some(Revision(revision)), "{id}");
    }
}

/// Every answered write is visible to every later call, in any process.
pub async fn another_process_sees_every_answered_write(fixture: BackendFixture) {
    let other = fixture.beside().await;
    for round in 0..5 {
        let id = format!("t{round}");
        fixture.put([template(&id)]).await;
        assert!(other.find(t(&id)).await.is_some(), "{id} is seen elsewhere");
        let put = template(&id).with_condition(condition("Ready", true, "Sure"));
        other.put([put]).await;
        let row = fixture.row(t(&id)).await;
        assert!(row.condition("Ready").is_some(), "{id} is seen here");
        assert_eq!(fixture.revision().await, other.revision().await);
    }
}
