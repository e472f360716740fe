//! Preconditions of a commit, and the errors of those that fail.

use super::fixture::BackendFixture;
use super::sample::{PutBuilder, changes, condition, d, deployment, s, set, site, t, template};
use crate::verdict::{names, refused};
use tko_core::ErrorKind::{AlreadyExists, Conflict, NotFound};
use tko_core::{Change, Committed, Error, Generation, Key, Put, Require, Result, Subject, Version};

/// Commits a harmless put under these preconditions.
async fn under(
    fixture: &BackendFixture,
    require: impl IntoIterator<Item = Require>,
) -> Result<Committed> {
    fixture
        .try_commit(set([mark()]).requirements(require))
        .await
}

/// A put that changes something each time.
fn mark() -> Put {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    template("mark").with_label("n", &number.to_string())
}

#[track_caller]
fn of_entity(error: &Error, key: &Key) {
    match error {
        Error::AlreadyExists(named) | Error::NotFound(Subject::Entity(named)) => {
            assert_eq!(named, key, "the error names the failing key");
        }
        other => panic!("{other:?} is about an entity"),
    }
}

/// `Absent` fails with `AlreadyExists` for an existing entity, also for one under deletion.
pub async fn absent_fails_for_an_entity_under_deletion(fixture: BackendFixture) {
    fixture.put([site("a"), site("b").being_deleted()]).await;
    for there in ["a", "b"] {
        let result = under(&fixture, [Require::Absent(s(there))]).await;
        of_entity(
            &refused(result, &[AlreadyExists], "an existing entity"),
            &s(there),
        );
    }
    under(&fixture, [Require::Absent(s("c"))])
        .await
        .expect("c is absent");
    fixture.commit(changes([Change::Delete(s("a"))])).await;
    under(&fixture, [Require::Absent(s("a"))])
        .await
        .expect("a is gone");
}

/// `Exists` fails with `NotFound` for an absent entity and for one under deletion.
pub async fn exists_fails_for_an_entity_under_deletion(fixture: BackendFixture) {
    fixture.put([site("a"), site("b").being_deleted()]).await;
    under(&fixture, [Require::Exists(s("a"))])
        .await
        .expect("a is there");
    for missing in ["b", "c"] {
        let result = under(&fixture, [Require::Exists(s(missing))]).await;
        of_entity(
            &refused(result, &[NotFound], "an absent entity"),
            &s(missing),
        );
    }
}

/// `At` requires the exact version, conditions included; otherwise `Conflict`.
pub async fn at_requires_the_exact_version(fixture: BackendFixture) {
    fixture.put([site("s")]).await;
    let read = fixture.version(s("s")).await;
    under(&fixture, [Require::At(s("s"), read)])
        .await
        .expect("the version is unchanged");
    let said = vec![condition("C", true, "R")];
    fixture
        .commit(changes([Change::Conditions(s("s"), said)]))
        .await;
    let result = under(&fixture, [Require::At(s("s"), read)]).await;
    names(&refused(result, &[Conflict], "a new condition"), &[s("s")]);
    fixture.put([site("s").being_deleted()]).await;
    let marked = fixture.version(s("s")).await;
    under(&fixture, [Require::At(s("s"), marked)])
        .await
        .expect("also while it is being deleted");
}

/// `At` fails for an entity that was deleted or created again.
pub async fn at_fails_for_a_recreated_entity(fixture: BackendFixture) {
    fixture.put([site("s")]).await;
    let read = fixture.version(s("s")).await;
    fixture.commit(changes([Change::Delete(s("s"))])).await;
    let result = under(&fixture, [Require::At(s("s"), read)]).await;
    refused(result, &[Conflict, NotFound], "a deleted entity");
    fixture.put([site("s")]).await;
    let result = under(&fixture, [Require::At(s("s"), read)]).await;
    refused(result, &[Conflict], "a recreated entity");
}

/// `Generation` requires the same package and no deletion, whatever else changed.
pub async fn generation_requires_the_same_package(fixture: BackendFixture) {
    let require = |n| [Require::Generation(s("s"), Generation(n))];
    fixture.put([site("s").with_resources(&["a"])]).await;
    fixture
        .put([site("s")
            .with_label("k", "v")
            .with_condition(condition("C", true, "R"))])
        .await;
    under(&fixture, require(1))
        .await
        .expect("the package is the same");
    fixture.put([site("s").with_resources(&["b"])]).await;
    let result = under(&fixture, require(1)).await;
    names(&refused(result, &[Conflict], "another package"), &[s("s")]);
    fixture.put([site("s").being_deleted()]).await;
    let result = under(&fixture, require(2)).await;
    refused(result, &[Conflict, NotFound], "an entity under deletion");
    let missing = [Require::Generation(s("missing"), Generation(1))];
    let result = under(&fixture, missing).await;
    refused(result, &[Conflict, NotFound], "an absent entity");
}

/// `Current` requires the exact version, conditions included, and no deletion.
pub async fn current_requires_the_version_and_no_deletion(fixture: BackendFixture) {
    let current = |version| [Require::Current(s("s"), version)];
    fixture.put([site("s").with_resources(&["a"])]).await;
    let read = fixture.version(s("s")).await;
    under(&fixture, current(read))
        .await
        .expect("the version is unchanged");
    fixture
        .put([site("s").with_condition(condition("C", true, "R"))])
        .await;
    let result = under(&fixture, current(read)).await;
    names(&refused(result, &[Conflict], "a new condition"), &[s("s")]);
    fixture.put([site("s").with_label("k", "v")]).await;
    let read = fixture.version(s("s")).await;
    under(&fixture, current(read))
        .await
        .expect("the version is unchanged");
    fixture.put([site("s").being_deleted()]).await;
    for version in [read, fixture.version(s("s")).await] {
        let result = under(&fixture, current(version)).await;
        refused(result, &[Conflict, NotFound], "an entity under deletion");
    }
    fixture.commit(changes([Change::Delete(s("s"))])).await;
    let result = under(&fixture, current(read)).await;
    refused(result, &[Conflict, NotFound], "a deleted entity");
    fixture.put([site("s").with_resources(&["a"])]).await;
    let result = under(&fixture, current(read)).await;
    refused(result, &[Conflict], "a recreated entity");
}

/// `Unreferenced` requires that after the set no entity names the key as template, site, parent or
/// placement.
pub async fn unreferenced_is_checked_after_the_changes(fixture: BackendFixture) {
    let referrers = [
        (t("t"), site("r").template("t"), site("r")),
        (t("t"), deployment("r").template("t"), deployment("r")),
        (s("t"), deployment("r").site("t"), deployment("r")),
        (s("t"), deployment("r").placed("t"), deployment("r")),
        (d("t"), deployment("r").parent("t"), deployment("r")),
    ];
    fixture
        .put([template("t"), site("t"), deployment("t")])
        .await;
    for (key, referrer, cleared) in referrers {
        let require = || vec![Require::Unreferenced(key.clone())];
        let sure = async |what: Vec<Change>| {
            fixture
                .try_commit(changes(what).requirements(require()))
                .await
        };
        sure(Vec::new()).await.expect("nothing refers to it");
        let result = sure(vec![Change::Put(referrer.clone())]).await;
        names(
            &refused(result, &[Conflict], "a set that refers to it"),
            std::slice::from_ref(&key),
        );
        fixture.put([referrer.clone()]).await;
        let result = sure(Vec::new()).await;
        names(
            &refused(result, &[Conflict], "a referenced entity"),
            std::slice::from_ref(&key),
        );
        sure(vec![Change::Put(cleared)])
            .await
            .expect("this set clears the relation");
        fixture.put([referrer.clone()]).await;
        fixture.put([referrer.clone().deleting(true)]).await;
        let result = sure(Vec::new()).await;
        refused(
            result,
            &[Conflict],
            "a reference from an entity under deletion",
        );
        sure(vec![Change::Delete(referrer.key)])
            .await
            .expect("this set deletes the referrer");
    }
}

/// A conflict names every failing key and no other.
pub async fn a_conflict_names_every_failing_key(fixture: BackendFixture) {
    fixture.put(["a", "b", "c", "e"].map(site)).await;
    fixture.put([deployment("x").site("e")]).await;
    let fine = fixture.version(s("b")).await;
    let result = under(
        &fixture,
        [
            Require::At(s("a"), Version(u64::MAX)),
            Require::At(s("b"), fine),
            Require::Generation(s("c"), Generation(7)),
            Require::Unreferenced(s("e")),
            Require::Absent(t("none")),
        ],
    )
    .await;
    names(
        &refused(result, &[Conflict], "a set with three failures"),
        &[s("a"), s("c"), s("e")],
    );
}

/// If another kind of precondition fails too, a conflict includes missing and existing keys.
pub async fn a_conflict_includes_missing_and_existing_keys(fixture: BackendFixture) {
    fixture.put([site("a")]).await;
    let result = under(
        &fixture,
        [
            Require::Exists(s("missing")),
            Require::At(s("a"), Version(u64::MAX)),
            Require::Absent(s("a")),
        ],
    )
    .await;
    names(
        &refused(result, &[Conflict], "a set with three failures"),
        &[s("missing"), s("a")],
    );
}

/// Preconditions are checked atomically with the changes: of several writers with the same version,
/// one succeeds.
pub async fn compare_and_swap_loses_no_update(fixture: BackendFixture) {
    const TASKS: u64 = 8;
    const EACH: u64 = 10;
    fixture.put([site("counter").with_label("n", "0")]).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..TASKS {
        let own = fixture.beside().await;
        tasks.spawn(async move {
            let mut done = 0;
            while done < EACH {
                let row = own.row(s("counter")).await;
                let read: u64 = row
                    .metadata
                    .get("n")
                    .expect("the value exists")
                    .parse()
                    .expect("a number");
                tokio::task::yield_now().await;
                let next = site("counter").with_label("n", &(read + 1).to_string());
                let require = vec![Require::At(s("counter"), row.version)];
                match own.try_commit(set([next]).requirements(require)).await {
                    Ok(_) => done += 1,
                    Err(Error::Conflict(_)) => {}
                    Err(other) => panic!("a conflict or none: {other:?}"),
                }
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("the task counts");
    }
    let row = fixture.row(s("counter")).await;
    let expected = (TASKS * EACH).to_string();
    assert_eq!(row.metadata.get("n"), Some(&*expected));
}
