//! The effect of puts, deletes and conditions on a row, and changes without effect.

use super::fixture::{BackendFixture, TTL};
use super::sample::{
    PutBuilder, changes, condition, d, deployment, package, plugin, s, set, site, t, template,
};
use std::time::Duration;
use tko_core::{Change, ChangeSet, Facts, Generation, PluginType, Put, Stage};

const STEP: Duration = Duration::from_secs(5);

/// A new row has generation 1, an empty body unless it brings one, and the store's time.
pub async fn a_new_row_starts_at_generation_one(fixture: BackendFixture) {
    let now = fixture.feed_position().await.now;
    fixture.put([template("t")]).await;
    let record = fixture.read(t("t")).await;
    assert_eq!(record.entity.generation, Generation(1));
    assert_eq!(record.package, Some(package(&[])));
    assert_eq!(record.entity.created, record.entity.updated);
    let age = record.entity.created.since(now);
    assert!(
        record.entity.created >= now && age < STEP,
        "created now: {age:?} later"
    );
}

/// A change keeps `created` and sets `updated`.
pub async fn a_change_keeps_created_and_sets_updated(fixture: BackendFixture) {
    fixture.put([template("t")]).await;
    let first = fixture.row(t("t")).await;
    fixture.advance(STEP).await;
    fixture.put([template("t").with_label("k", "v")]).await;
    let second = fixture.row(t("t")).await;
    assert_eq!(second.created, first.created);
    assert!(second.updated.since(first.updated) >= STEP);
    assert_ne!(second.version, first.version);
}

/// The generation counts package changes: a new body, a plugin's facts, a deployment's `prepared`
/// and `approved`. Conditions, metadata, relations and a deletion mark do not count.
pub async fn the_generation_counts_package_changes(fixture: BackendFixture) {
    let base = || deployment("d").with_resources(&["a"]);
    let steps: [(&str, Put, u64); 8] = [
        ("a body", base(), 1),
        (
            "metadata",
            base().with_label("k", "v").with_given("k", "v"),
            1,
        ),
        ("a relation", base().site("s").parent("p").placed("s"), 1),
        ("another body", base().with_resources(&["b"]), 2),
        ("prepared", base().with_resources(&["b"]).prepared(), 3),
        (
            "approved",
            base().with_resources(&["b"]).prepared().approved(),
            4,
        ),
        (
            "a mark",
            base()
                .with_resources(&["b"])
                .prepared()
                .approved()
                .being_deleted(),
            4,
        ),
        ("the first body", base(), 5),
    ];
    for (what, put, generation) in steps {
        fixture.put([put]).await;
        let row = fixture.row(d("d")).await;
        assert_eq!(row.generation, Generation(generation), "after {what}");
    }
    fixture.put([plugin(PluginType::Prepare, "p")]).await;
    let mut put = plugin(PluginType::Prepare, "p");
    if let Facts::Plugin(facts) = &mut put.facts {
        "other".clone_into(&mut std::sync::Arc::make_mut(facts).executor);
    }
    let key = put.key.clone();
    fixture.put([put]).await;
    assert_eq!(fixture.row(key).await.generation, Generation(2));
}

/// A put without a body keeps the existing body.
pub async fn a_put_without_body_keeps_the_body(fixture: BackendFixture) {
    fixture.put([site("s").with_resources(&["a", "b"])]).await;
    fixture.put([site("s").with_label("k", "v")]).await;
    let record = fixture.read(s("s")).await;
    assert_eq!(record.package, Some(package(&["a", "b"])));
    assert_eq!(record.entity.generation, Generation(1));
}

/// A put replaces metadata, given metadata and relations; it does not merge them.
pub async fn a_put_replaces_the_row(fixture: BackendFixture) {
    fixture
        .put([site("s")
            .with_label("a", "1")
            .with_given("b", "2")
            .template("t")])
        .await;
    fixture.put([site("s").with_label("c", "3")]).await;
    let row = fixture.row(s("s")).await;
    assert_eq!(row.metadata, site("s").with_label("c", "3").metadata);
    assert!(row.given.is_empty() && row.template().is_none());
}

/// A change without effect is skipped: no version, no revision, no new `updated`.
pub async fn a_change_without_effect_is_skipped(fixture: BackendFixture) {
    let same = || {
        site("s")
            .with_resources(&["a"])
            .with_label("k", "v")
            .with_condition(condition("C", true, "R"))
    };
    fixture.put([same()]).await;
    let before = fixture.read(s("s")).await;
    fixture.advance(STEP).await;
    let without_body = same().body(None);
    let without_conditions = same().conditions(Vec::new());
    let nothing = [
        set([same()]),
        set([without_body]),
        set([without_conditions]),
        changes([Change::Conditions(s("s"), vec![condition("C", true, "R")])]),
        changes([Change::Conditions(s("s"), Vec::new())]),
        changes([Change::Conditions(
            s("none"),
            vec![condition("C", true, "R")],
        )]),
        changes([Change::Delete(s("none"))]),
        ChangeSet::default(),
    ];
    for (number, nothing) in nothing.into_iter().enumerate() {
        let done = fixture.commit(nothing).await;
        assert_eq!(done.revision, None, "case {number}: {done:?}");
        assert!(done.versions.is_empty(), "case {number}: {done:?}");
    }
    assert_eq!(fixture.revision().await, 1);
    let after = fixture.read(s("s")).await;
    assert_eq!(after.entity.version, before.entity.version);
    assert_eq!(after.entity.updated, before.entity.updated);
    assert_eq!(after.revision, before.revision);
}

/// In a set, only effective changes take revisions.
pub async fn only_effective_changes_take_revisions(fixture: BackendFixture) {
    fixture.put([site("b")]).await;
    let done = fixture.put([site("a"), site("b"), site("c")]).await;
    assert_eq!(fixture.revision().await, 3);
    let mut keys: Vec<&str> = done.versions.iter().map(|(key, _)| key.id()).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["a", "c"]);
}

/// Conditions are merged by kind, in puts and on their own; new ones come last.
pub async fn conditions_are_merged_by_kind(fixture: BackendFixture) {
    let one = site("s")
        .with_condition(condition("A", true, "One"))
        .with_condition(condition("B", true, "One"));
    fixture.put([one]).await;
    let two = vec![condition("B", false, "Two"), condition("C", true, "Two")];
    fixture
        .commit(changes([Change::Conditions(s("s"), two)]))
        .await;
    fixture
        .put([site("s").with_condition(condition("A", false, "Three"))])
        .await;
    let row = fixture.row(s("s")).await;
    let said: Vec<(&str, Option<bool>, &str)> = row
        .conditions
        .iter()
        .map(|c| (c.kind.as_str(), c.status, c.reason.as_str()))
        .collect();
    let expected = [
        ("A", Some(false), "Three"),
        ("B", Some(false), "Two"),
        ("C", Some(true), "Two"),
    ];
    assert_eq!(said, expected);
}

/// `since` is the store's time of the last change of status, whatever value was passed.
pub async fn a_condition_keeps_the_time_of_its_status(fixture: BackendFixture) {
    let say = async |status: bool, reason: &str| {
        let said =
            condition("C", status, reason).since(fixture.feed_position().await.now.plus(TTL));
        fixture
            .commit(changes([Change::Conditions(s("s"), vec![said])]))
            .await;
        let row = fixture.row(s("s")).await;
        row.condition("C").expect("the condition exists").since
    };
    fixture.put([site("s")]).await;
    let start = fixture.feed_position().await.now;
    let first = say(true, "One").await;
    assert!(
        first.since(start) < STEP && first >= start,
        "by the store's clock"
    );
    fixture.advance(STEP).await;
    assert_eq!(say(true, "Two").await, first, "the status is the same");
    fixture.advance(STEP).await;
    assert!(say(false, "Three").await.since(first) >= STEP + STEP);
}

/// Conditions change the version, but neither the generation nor the package.
pub async fn conditions_change_the_version_only(fixture: BackendFixture) {
    fixture.put([site("s").with_resources(&["a"])]).await;
    let before = fixture.row(s("s")).await;
    fixture.advance(STEP).await;
    let said = vec![condition("C", true, "R")];
    let done = fixture
        .commit(changes([Change::Conditions(s("s"), said)]))
        .await;
    let after = fixture.read(s("s")).await;
    assert_eq!(after.entity.generation, before.generation);
    assert_ne!(after.entity.version, before.version);
    assert!(after.entity.updated > before.updated);
    assert_eq!(after.package, Some(package(&["a"])));
    assert_eq!(done.versions, [(s("s"), after.entity.version)]);
    assert_eq!(done.revision, after.revision);
}

/// A delete removes the row, its body and its work.
pub async fn a_delete_removes_row_body_and_work(fixture: BackendFixture) {
    fixture.put([deployment("d").with_resources(&["a"])]).await;
    fixture.enqueue(Stage::Prepare, [d("d")]).await;
    let done = fixture.commit(changes([Change::Delete(d("d"))])).await;
    assert!(
        done.revision.is_some() && done.versions.is_empty(),
        "{done:?}"
    );
    assert!(fixture.find(d("d")).await.is_none());
    assert!(
        fixture.claim(Stage::Prepare, 10).await.is_empty(),
        "its work is gone"
    );
    fixture.put([deployment("d")]).await;
    let again = fixture.read(d("d")).await;
    assert_eq!(again.package, Some(package(&[])), "its body is gone");
    assert!(again.work.is_empty(), "its work stays gone");
}

/// A delete removes the work of every stage, leased work included.
pub async fn a_delete_removes_the_work_of_every_stage(fixture: BackendFixture) {
    for leased in [false, true] {
        fixture.put([deployment("d")]).await;
        for stage in Stage::ALL {
            fixture.enqueue(stage, [d("d")]).await;
            if leased {
                fixture.claim_one(stage).await;
            }
        }
        fixture.commit(changes([Change::Delete(d("d"))])).await;
        for stage in Stage::ALL {
            let claims = fixture.claim(stage, 10).await;
            assert!(claims.is_empty(), "after the delete: {claims:?}");
        }
        fixture.put([deployment("d")]).await;
        let work = fixture.read(d("d")).await.work;
        assert!(
            work.is_empty(),
            "after the entity is created again: {work:?}"
        );
        fixture.commit(changes([Change::Delete(d("d"))])).await;
    }
}

/// A recreated entity is new: generation 1, a new creation time and an unused version.
pub async fn a_recreated_entity_is_new(fixture: BackendFixture) {
    let mut versions = Vec::new();
    let mut created = Vec::new();
    for _ in 0..3 {
        fixture.put([site("s").with_resources(&["a"])]).await;
        fixture
            .put([site("s")
                .with_resources(&["b"])
                .with_condition(condition("C", true, "R"))])
            .await;
        let row = fixture.row(s("s")).await;
        assert_eq!(row.generation, Generation(2));
        assert_eq!(row.conditions.len(), 1);
        versions.push(row.version);
        created.push(row.created);
        fixture.commit(changes([Change::Delete(s("s"))])).await;
        fixture.advance(STEP).await;
    }
    assert!(versions[0] != versions[1] && versions[1] != versions[2] && versions[0] != versions[2]);
    assert!(
        created.is_sorted() && created[0] != created[2],
        "{created:?}"
    );
}

/// No version of an entity is ever reused.
pub async fn a_version_is_never_reused(fixture: BackendFixture) {
    let mut seen = std::collections::HashSet::new();
    for round in 0..30 {
        let word = format!("{}", round % 2);
        let done = match round % 3 {
            0 => fixture.put([site("s").with_label("k", &word)]).await,
            1 => fixture.put([site("s").with_resources(&[&word])]).await,
            _ => {
                let said = vec![condition("C", round % 2 == 0, &word)];
                fixture
                    .commit(changes([Change::Conditions(s("s"), said)]))
                    .await
            }
        };
        for (_, version) in done.versions {
            assert!(seen.insert(version), "{version} was given before");
            assert_eq!(fixture.version(s("s")).await, version);
        }
        if round % 10 == 9 {
            fixture.commit(changes([Change::Delete(s("s"))])).await;
        }
    }
}
