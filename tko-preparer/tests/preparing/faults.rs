//! Crashes, lost replies, several preparers and a person at once: exactly the right children.

use crate::parts::part;
use crate::world::{Running, World, annotated, reference, topo, world};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tko_core::pattern::Pattern;
use tko_core::{DataApi, DeploymentId, Error, Kind, Resource, Select, annotation};

const SITES: usize = 1_203;

/// How many random runs each test makes: 5, or the number in `TKO_TEST_SEEDS` (`.ci/long`).
fn seeds() -> u64 {
    std::env::var("TKO_TEST_SEEDS").map_or(5, |text| text.parse().expect("a number of seeds"))
}

async fn topology(w: &World) -> DeploymentId {
    for n in 0..SITES {
        w.site(&format!("edge/{n:05}"), &[("region", "south")])
            .await;
    }
    w.site("edge1", &[]).await;
    w.template("upf", vec![part("Other", "o")]).await;
    w.template(
        "topology",
        vec![
            topo("Template", "upf", &json!({"templateId": "upf"})),
            topo("Site", "one", &json!({"siteId": "edge1"})),
            topo("Site", "made", &json!({"provisionIfNotFound": true})),
            topo(
                "Sites",
                "south",
                &json!({"select": {"metadata": {"region": "so*"}}}),
            ),
            topo(
                "Placement",
                "p",
                &json!({"templates": [{
                    "template": "upf",
                    "sites": ["one", "made", "south"],
                    "merge": [reference("Extra", "x")],
                }]}),
            ),
            annotated(part("Extra", "x"), "prepare", "Postpone"),
        ],
    )
    .await;
    w.create("topology").await
}

async fn assert_children(w: &World, parent: &DeploymentId, seed: u64) {
    let children = w.children(parent).await;
    let sites: BTreeSet<String> = w.child_sites(parent).await.into_iter().collect();
    assert_eq!(
        (children.len(), sites.len()),
        (SITES + 2, SITES + 2),
        "seed {seed}"
    );
    for child in &children {
        let extra = crate::world::find(child, "Extra", "x").expect("merged");
        let annotations = &extra["metadata"]["annotations"];
        assert_eq!(annotations[annotation::PREPARE], "Here");
        assert_eq!(annotations[annotation::PREPARED], "true");
    }
    let provisioned = Select::all(Kind::Site).id(Pattern::id("provisioned/*").expect("a pattern"));
    assert_eq!(w.all(provisioned).await.len(), 1, "seed {seed}");
    let placement = w
        .resource(parent, "Placement", "p")
        .await
        .expect("it stays");
    assert_eq!(
        placement["status"]["deployments"],
        json!(SITES + 2),
        "seed {seed}"
    );
}

/// Changes a note now and then until the deployment is prepared. Returns the possible notes.
async fn person(w: &World, id: &DeploymentId) -> Vec<Option<u64>> {
    let random = &w.backend.random;
    let mut allowed = vec![None];
    for _ in 0..random.below(40) {
        tokio::time::sleep(Duration::from_millis(random.below(60))).await;
        let record = w.record(id).await;
        if record.entity.deployment().expect("a deployment").prepared {
            break;
        }
        let number = random.below(1_000);
        let note = crate::world::thing("Note", "n", &json!({"n": number}));
        let package = record.package.expect("was asked for");
        let package = package.with(Arc::new(Resource::new(note).expect("valid")));
        match w.store.update(id, record.entity.version, package).await {
            Ok(_) => allowed = vec![Some(number)],
            Err(Error::Unavailable { .. }) => allowed.push(Some(number)),
            Err(_) => {}
        }
    }
    allowed
}

async fn note(w: &World, id: &DeploymentId) -> Option<u64> {
    let note: Value = w.resource(id, "Note", "n").await?;
    note["spec"]["n"].as_u64()
}

#[tokio::test(start_paused = true)]
async fn lost_replies_and_concurrent_preparers_duplicate_and_lose_nothing() {
    for seed in 1..=seeds() {
        let w = world();
        let id = topology(&w).await;
        w.backend.random.seed(seed);
        // From here on every third commit fails, half of them after it happened.
        w.backend.fail_one_in(3);
        let running: Vec<Running> = (0..3).map(|_| w.start()).collect();
        let allowed = person(&w, &id).await;
        w.until(|| async { w.unprepared().await == 0 }).await;
        for one in running {
            one.stop().await;
        }
        // No worker overwrites a confirmed change of a person.
        let note = note(&w, &id).await;
        assert!(
            allowed.contains(&note),
            "seed {seed}: {note:?} is not of {allowed:?}"
        );
        assert_children(&w, &id, seed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn crashes_at_any_point_duplicate_and_lose_nothing() {
    let mut midway: u64 = 0;
    for seed in 1..=seeds() {
        let w = world();
        let id = topology(&w).await;
        w.backend.random.seed(seed);
        w.backend.fail_one_in(1_000);
        // A crash can come between any two commits.
        w.backend.let_others_go_first();
        let mut commits = w.backend.commits.subscribe();
        for _ in 0..10 {
            let running = w.start();
            let died_at = *commits.borrow_and_update() + 1 + w.backend.random.below(4);
            // After the lease of the crashed one and a few commits, between two awaits.
            let reached = commits.wait_for(|commits| *commits >= died_at);
            if tokio::time::timeout(Duration::from_mins(1), reached)
                .await
                .is_err()
            {
                break;
            }
            for _ in 0..w.backend.random.below(20) {
                tokio::task::yield_now().await;
            }
            drop(running);
            let children = w.children(&id).await.len();
            midway += u64::from((1..SITES + 2).contains(&children));
        }
        let last = w.start();
        w.until(|| async { w.unprepared().await == 0 }).await;
        last.stop().await;
        assert_children(&w, &id, seed).await;
    }
    assert!(
        midway >= seeds() / 2,
        "it hardly ever died while it made children: {midway}"
    );
}

#[tokio::test(start_paused = true)]
async fn progress_of_another_package_is_dropped() {
    let w = world();
    let id = topology(&w).await;
    w.backend.let_others_go_first();
    let mut commits = w.backend.commits.subscribe();
    let running = w.start();
    while w.children(&id).await.is_empty() {
        commits.changed().await.expect("the backend is there");
    }
    drop(running);
    tokio::task::yield_now().await;
    assert!(w.children(&id).await.len() < SITES, "it died on the way");
    assert!(w.record(&id).await.work[0].progress.is_some());
    // Insert an entry before the one that is half done.
    w.edit(&id, |package| {
        let edited = package.iter().map(|resource| {
            let mut value = resource.value().clone();
            if let Some(templates) = value["spec"]["templates"].as_array_mut() {
                templates.insert(0, json!({"template": "upf", "sites": ["made", "south"]}));
            }
            value
        });
        crate::world::package(edited.collect())
    })
    .await;
    let last = w.start();
    w.until(|| async { w.unprepared().await == 0 }).await;
    last.stop().await;
    // The first entry is new and has no "one"; the second has all sites. Children that were created
    // for the old first entry count for the new one.
    let children = w.children(&id).await;
    let of = |entry: usize| {
        let key = format!("|{entry}|");
        let once = |child: &&tko_core::Record| {
            let deployment = child.entity.deployment().expect("a deployment");
            deployment
                .idempotency_key
                .as_ref()
                .is_some_and(|once| once.contains(&key))
        };
        children.iter().filter(once).count()
    };
    assert_eq!((of(0), of(1)), (SITES + 2, SITES + 2));
}
