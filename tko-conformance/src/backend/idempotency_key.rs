//! Idempotency keys: a retried creation finds the deployment that it created.

use super::fixture::BackendFixture;
use super::sample::{PutBuilder, changes, d, deployment, deployment_id, s, set, site};
use tko_core::{Change, Require};

/// A second creation under one idempotency key is skipped, and names the holder of the key.
pub async fn a_second_creation_is_skipped(fixture: BackendFixture) {
    fixture.put([deployment("a").idempotency_key("k")]).await;
    let done = fixture.put([deployment("b").idempotency_key("k")]).await;
    assert_eq!(done.existing, [(d("b"), deployment_id("a"))]);
    assert_eq!(done.revision, None);
    assert!(done.versions.is_empty(), "{done:?}");
    assert!(fixture.find(d("b")).await.is_none());
    assert_eq!(fixture.revision().await, 1);
}

/// The rest of the set is committed although one creation is skipped.
pub async fn the_rest_of_the_set_is_committed(fixture: BackendFixture) {
    fixture.put([deployment("a").idempotency_key("k")]).await;
    let require = ["b", "c"].map(|id| Require::Absent(d(id))).to_vec();
    let puts = [
        deployment("b").idempotency_key("k"),
        deployment("c").idempotency_key("l"),
        deployment("e"),
    ];
    let done = fixture.commit(set(puts).requirements(require)).await;
    assert_eq!(done.existing, [(d("b"), deployment_id("a"))]);
    assert_eq!(fixture.revision().await, 3);
    assert!(fixture.find(d("c")).await.is_some() && fixture.find(d("e")).await.is_some());
}

/// A skipped creation references nothing.
pub async fn a_skipped_creation_references_nothing(fixture: BackendFixture) {
    fixture
        .put([deployment("a").idempotency_key("k"), site("s")])
        .await;
    let put = deployment("b").idempotency_key("k").site("s");
    let require = vec![Require::Unreferenced(s("s"))];
    let done = fixture.try_commit(set([put]).requirements(require)).await;
    let done = done.expect("nothing refers to the site after this set");
    assert_eq!(done.existing, [(d("b"), deployment_id("a"))]);
}

/// If one set creates two deployments under one key, the first is created.
pub async fn one_set_creates_one_deployment_per_key(fixture: BackendFixture) {
    let done = fixture
        .put([
            deployment("b").idempotency_key("k"),
            deployment("a").idempotency_key("k"),
        ])
        .await;
    assert_eq!(done.existing, [(d("a"), deployment_id("b"))]);
    assert!(fixture.find(d("a")).await.is_none());
}

/// A key is free again after its deployment is deleted, also within one set.
pub async fn a_key_is_free_after_its_deployment_is_deleted(fixture: BackendFixture) {
    fixture.put([deployment("a").idempotency_key("k")]).await;
    let anew = [
        Change::Delete(d("a")),
        Change::Put(deployment("b").idempotency_key("k")),
    ];
    let done = fixture.commit(changes(anew)).await;
    assert!(done.existing.is_empty(), "{done:?}");
    fixture.commit(changes([Change::Delete(d("b"))])).await;
    let done = fixture.put([deployment("c").idempotency_key("k")]).await;
    assert!(done.existing.is_empty(), "{done:?}");
    assert!(fixture.find(d("c")).await.is_some());
}

/// A put of the deployment that holds the key is not a creation.
pub async fn a_deployment_can_be_put_under_its_own_key(fixture: BackendFixture) {
    fixture.put([deployment("a").idempotency_key("k")]).await;
    let done = fixture
        .put([deployment("a").idempotency_key("k").with_label("m", "v")])
        .await;
    assert!(
        done.existing.is_empty() && done.revision.is_some(),
        "{done:?}"
    );
    let done = fixture.put([deployment("b").idempotency_key("k")]).await;
    assert_eq!(done.existing, [(d("b"), deployment_id("a"))]);
}

/// Concurrent creations under one key make one deployment.
pub async fn concurrent_creations_make_one_deployment(fixture: BackendFixture) {
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..8 {
        let own = fixture.beside().await;
        tasks.spawn(async move {
            let mut answers = Vec::new();
            for key in 0..10 {
                let id = format!("d{key}x{n}");
                let put = deployment(&id).idempotency_key(&format!("k{key}"));
                let done = own.put([put]).await;
                let existing = done.existing.into_iter().next();
                answers.push(existing.map_or(deployment_id(&id), |(_, existing)| existing));
                tokio::task::yield_now().await;
            }
            answers
        });
    }
    let mut all = Vec::new();
    while let Some(answers) = tasks.join_next().await {
        all.push(answers.expect("the task creates"));
    }
    assert!(
        all.windows(2).all(|pair| pair[0] == pair[1]),
        "all creations return the same id"
    );
    let there = fixture
        .ids(&super::sample::all(tko_core::Kind::Deployment))
        .await;
    let told: Vec<String> = all[0].iter().map(ToString::to_string).collect();
    assert_eq!(there, told);
}

/// A deployment under deletion keeps its key until it is gone.
pub async fn a_deployment_under_deletion_keeps_its_key(fixture: BackendFixture) {
    fixture
        .put([deployment("a").idempotency_key("k").being_deleted()])
        .await;
    let done = fixture.put([deployment("b").idempotency_key("k")]).await;
    assert_eq!(done.existing, [(d("b"), deployment_id("a"))]);
    assert!(fixture.find(d("b")).await.is_none());
    fixture.commit(changes([Change::Delete(d("a"))])).await;
    let done = fixture.put([deployment("b").idempotency_key("k")]).await;
    assert!(done.existing.is_empty(), "{done:?}");
}
