//! Change sets that are written together: each is judged alone, and revisions are dense.

mod harness;

use futures_util::StreamExt;
use futures_util::future::join_all;
use harness::Harness;
use std::sync::Arc;
use std::time::Duration;
use tko_conformance::BackendHarness;
use tko_core::{
    Ack, Backend, ChangeSet, ClaimRequest, Deployment, DeploymentId, Enqueue, Error, Facts, Key,
    Lane, Put, Require, Revision, Stage, Want,
};

/// Deployments that are deleted at once.
const MANY: usize = 60;

fn id(name: &str, number: usize) -> DeploymentId {
    DeploymentId::new(&format!("{name}{number:03}")).expect("an id")
}

fn child(own: &DeploymentId, parent: Option<&DeploymentId>) -> Put {
    let deployment = Deployment::default().parent(parent.cloned());
    Put::new(own).facts(Facts::Deployment(Box::new(deployment)))
}

fn created(own: &DeploymentId, parent: Option<&DeploymentId>) -> ChangeSet {
    let set = ChangeSet::new().require(Require::Absent(own.into()));
    let set = set.requirements(parent.map(|parent| Require::Exists(parent.into())));
    set.put(child(own, parent))
}

fn deletion(own: &DeploymentId) -> ChangeSet {
    ChangeSet::new()
        .require(Require::Unreferenced(own.into()))
        .delete(own)
}

/// Every revision up to the last one, each once and in order.
async fn expect_dense(backend: &Arc<dyn Backend>, last: Revision) {
    let mut changes = backend.tail(Revision(0), Want::ROW);
    for revision in 1..=last.0 {
        let change = tokio::time::timeout(Duration::from_mins(1), changes.next()).await;
        let change = change
            .expect("in time")
            .expect("no end")
            .expect("it goes on");
        assert_eq!(change.revision, Revision(revision));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_that_arrive_together_are_judged_alone() {
    let harness = Harness::default();
    let backend = harness.fresh(100_000).await;
    for number in 0..MANY {
        let own = id("top", number);
        let done = backend.commit(created(&own, None), Ack::Durable).await;
        done.expect("created");
        if number % 3 == 0 {
            let under = created(&id("leaf", number), Some(&own));
            let done = backend.commit(under, Ack::Durable).await;
            done.expect("created");
        }
    }
    // While they are deleted, every third one gets a child that it may get before it is gone.
    let deletions = join_all((0..MANY).map(|number| {
        let backend = backend.clone();
        async move {
            let done = backend.commit(deletion(&id("top", number)), Ack::Numbered);
            done.await.map(|done| done.revision)
        }
    }));
    let late = join_all((0..MANY).filter(|number| number % 3 == 1).map(|number| {
        let backend = backend.clone();
        async move {
            let under = created(&id("leaf", number), Some(&id("top", number)));
            backend.commit(under, Ack::Numbered).await.map(drop)
        }
    }));
    let (deletions, late) = tokio::join!(deletions, late);
    let mut late = late.into_iter();
    for (number, deleted) in deletions.into_iter().enumerate() {
        let key = Key::from(&id("top", number));
        let found = backend
            .get(std::slice::from_ref(&key), Want::ROW)
            .await
            .expect("read");
        match number % 3 {
            0 => {
                assert!(matches!(&deleted, Err(Error::Conflict(keys)) if *keys == [key]));
                assert!(found[0].is_some());
            }
            1 => {
                let has_child = late.next().expect("as many").is_ok();
                assert_ne!(deleted.is_ok(), has_child, "{number}: {deleted:?}");
                assert_eq!(found[0].is_some(), has_child);
            }
            _ => {
                let revision = deleted.expect("nothing refers to it");
                assert!(revision.is_some(), "its revision is known");
                assert!(found[0].is_none());
            }
        }
    }
    let last = backend.feed_position().await.expect("read").revision;
    expect_dense(&backend, last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_several_sets_concern_is_due_once_and_revisions_are_dense() {
    let harness = Harness::default();
    let backend = harness.fresh(100_000).await;
    let shared = id("shared", 0);
    let done = backend.commit(created(&shared, None), Ack::Numbered).await;
    done.expect("created");
    // Every set enqueues work of its own deployment, of the shared one, and of its neighbour.
    let work = |of: &DeploymentId| Enqueue::now(Stage::Prepare, of, Lane::of(of.as_str()));
    let sets = (0..MANY).map(|number| {
        let (own, next) = (id("own", number), id("own", (number + 1) % MANY));
        created(&own, None).enqueued([work(&own), work(&shared), work(&next)])
    });
    let all = join_all(sets.map(|set| {
        let backend = backend.clone();
        async move { backend.commit(set, Ack::Numbered).await }
    }));
    let mut revisions: Vec<Revision> = Vec::new();
    for committed in all.await {
        revisions.extend(committed.expect("committed").revision);
    }
    revisions.sort();
    let expected: Vec<Revision> = (2..).map(Revision).take(MANY).collect();
    assert_eq!(revisions, expected);
    expect_dense(&backend, *expected.last().expect("some")).await;
    let request = ClaimRequest::new(Stage::Prepare, "test").max(MANY * 2);
    let claims = backend.claim(&request).await.expect("claimed");
    assert_eq!(claims.len(), MANY + 1, "each piece once");
}
