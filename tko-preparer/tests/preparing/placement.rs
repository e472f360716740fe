//! Placement: children for every template and site.

use crate::parts::part;
use crate::world::{World, annotated, find, reference, topo, world};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use tko_core::{DataApi, DeploymentId, Key, Kind, Select, annotation};
use tko_preparer::PREPARED;

pub(crate) fn placement(entries: &Value) -> Value {
    topo("Placement", "p", &json!({"templates": entries}))
}

async fn status(w: &World, id: &DeploymentId) -> (u64, Vec<String>) {
    let placement = w.resource(id, "Placement", "p").await.expect("it stays");
    let ids = placement["status"]["deploymentIds"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    (
        placement["status"]["deployments"].as_u64().unwrap_or(0),
        ids.iter()
            .filter_map(|id| id.as_str().map(str::to_owned))
            .collect(),
    )
}

fn named(kind: &str, name: &str) -> Value {
    json!({"apiVersion": "topology.nephio.org/v1alpha1", "kind": kind, "name": name})
}

/// The example of the specification.
fn example() -> Vec<Value> {
    vec![
        topo("Template", "upf", &json!({"templateId": "nf/upf"})),
        topo(
            "Template",
            "smf",
            &json!({"select": {"metadata": {"type": "s*"}}}),
        ),
        placement(&json!([
            {"template": "upf", "sites": ["edge1"], "merge": [reference("Extra", "x"), reference("Marks", "m")]},
            {"template": "smf", "sites": ["edge1", "edge2", "bangalore"]},
        ])),
        topo("Site", "edge1", &json!({"siteId": "edge/1"})),
        topo(
            "Site",
            "edge2",
            &json!({"provisionIfNotFound": true, "merge": [reference("Cluster", "c")]}),
        ),
        topo(
            "Sites",
            "bangalore",
            &json!({"select": {"metadata": {"Site.cloud": "GDC-E", "Site.region": "bangalore"}}}),
        ),
        part("Cluster", "c"),
        part("Marks", "m"),
        annotated(part("Extra", "x"), "prepare", "Postpone"),
    ]
}

pub(crate) async fn prepare_world(w: &World) {
    w.template("nf/upf", vec![part("Upf", "u")]).await;
    w.store
        .register_template(
            tko_core::NewTemplate::new(
                crate::world::template_id("nf/smf"),
                crate::world::package(vec![part("Smf", "s")]),
            )
            .metadata([("type", "smf")])
            .expect(tko_core::Expect::Any),
        )
        .await
        .expect("valid");
    w.site("edge/1", &[]).await;
    for n in 0..3 {
        w.site(
            &format!("b/{n}"),
            &[("Site.cloud", "GDC-E"), ("Site.region", "bangalore")],
        )
        .await;
    }
    w.site(
        "other",
        &[("Site.cloud", "GDC-E"), ("Site.region", "delhi")],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn every_template_is_placed_on_each_of_its_sites_with_merged_resources() {
    let w = world();
    prepare_world(&w).await;
    let _running = w.start();
    let id = w.deploy(example()).await;
    w.until_prepared(&id).await;
    w.until(|| async { w.unprepared().await == 0 }).await;
    let children = w.children(&id).await;
    assert_eq!(children.len(), 6);
    let of = |template: &str| {
        let mut sites: Vec<String> = children
            .iter()
            .filter(|child| {
                child
                    .entity
                    .template()
                    .is_some_and(|t| t.as_str() == template)
            })
            .map(|child| {
                child
                    .entity
                    .deployment()
                    .and_then(|d| d.site.as_ref())
                    .expect("a site")
                    .to_string()
            })
            .collect();
        sites.sort();
        sites
    };
    assert_eq!(of("nf/upf"), ["edge/1"]);
    let smf = of("nf/smf");
    assert_eq!(smf[..4], ["b/0", "b/1", "b/2", "edge/1"]);
    assert!(smf[4].starts_with("provisioned/"));
    let upf = children
        .iter()
        .find(|child| {
            child
                .entity
                .template()
                .is_some_and(|t| t.as_str() == "nf/upf")
        })
        .expect("there is one");
    let extra = find(upf, "Extra", "x").expect("merged");
    assert_eq!(
        extra["metadata"]["annotations"][annotation::PREPARE],
        "Here"
    );
    let merged = find(upf, "Marks", "m").expect("merged");
    assert_eq!(
        merged["metadata"]["annotations"][annotation::PREPARED],
        "true"
    );
    let (count, ids) = status(&w, &id).await;
    let mut expected: Vec<String> = children
        .iter()
        .map(|c| c.entity.key.id().to_owned())
        .collect();
    expected.sort();
    assert_eq!((count, ids), (6, expected));
}

#[tokio::test(start_paused = true)]
async fn a_small_placement_commits_at_once_with_all_its_children() {
    let w = world();
    prepare_world(&w).await;
    let _running = w.start();
    let id = w
        .deploy(vec![
            topo("Template", "t", &json!({"templateId": "nf/upf"})),
            topo(
                "Sites",
                "all",
                &json!({"select": {"metadata": {"Site.cloud": "*"}}}),
            ),
            placement(&json!([{"template": "t", "sites": ["all", "all"]}])),
        ])
        .await;
    w.until_prepared(&id).await;
    // Created; the Placement with its children; finished.
    assert_eq!(w.record(&id).await.entity.generation.0, 3);
    // A site counts once per entry.
    assert_eq!(w.child_sites(&id).await, ["b/0", "b/1", "b/2", "other"]);
    assert_eq!(status(&w, &id).await.0, 4);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_sites_are_placed_in_chunks_and_counted() {
    let w = world();
    w.template("t", vec![part("Other", "o")]).await;
    for n in 0..10_000 {
        w.site(&format!("edge/{n:05}"), &[("role", "edge")]).await;
    }
    let _running = w.start();
    let id = w
        .deploy(vec![
            topo("Template", "t", &json!({"templateId": "t"})),
            topo(
                "Sites",
                "edges",
                &json!({"select": {"metadata": {"role": "edge"}}}),
            ),
            topo("Site", "first", &json!({"siteId": "edge/00000"})),
            placement(&json!([
                {"template": "t", "sites": ["first", "edges"]},
                {"template": "t", "sites": ["first"]},
            ])),
        ])
        .await;
    w.until(|| async { w.unprepared().await == 0 }).await;
    let (count, ids) = status(&w, &id).await;
    assert_eq!((count, ids.len()), (10_001, 1_000));
    let mut sites = w.child_sites(&id).await;
    assert_eq!(sites.len(), 10_001);
    sites.dedup();
    assert_eq!(sites.len(), 10_000);
    assert_eq!(w.record(&id).await.work, []);
}

#[tokio::test(start_paused = true)]
async fn a_selection_without_sites_is_not_waited_for() {
    let w = world();
    prepare_world(&w).await;
    let _running = w.start();
    let id = w
        .deploy(vec![
            topo("Template", "t", &json!({"templateId": "nf/upf"})),
            topo(
                "Sites",
                "none",
                &json!({"select": {"metadata": {"no": "such"}}}),
            ),
            placement(&json!([{"template": "t", "sites": ["none"]}])),
        ])
        .await;
    w.until_prepared(&id).await;
    assert_eq!(status(&w, &id).await, (0, vec![]));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_placed_before_everything_it_needs_exists() {
    let w = world();
    let _running = w.start();
    let mut resources = example();
    resources.push(part("Asks", "a"));
    let merge = resources[2]["spec"]["templates"][0]["merge"]
        .as_array_mut()
        .expect("a list");
    merge.push(reference("Asks", "a"));
    let id = w.deploy(resources).await;
    let message = w.until_says(&id, PREPARED, "Waiting").await;
    for words in [
        "Site edge1: waiting for site edge/1, which is not registered",
        "waiting for the site of Site edge1",
        "waiting until Asks a is prepared",
    ] {
        assert!(message.contains(words), "{words}: {message}");
    }
    prepare_world(&w).await;
    let message = w
        .until(|| async {
            w.condition(&id, PREPARED)
                .await
                .message
                .starts_with("Placement p: waiting until Asks a")
        })
        .await;
    assert!(message.as_secs() < 1, "{message:?}");
    assert!(w.children(&id).await.is_empty());
    w.edit(&id, |package| {
        let answer = tko_core::Resource::new(part("Answer", "a")).expect("valid");
        package.with(std::sync::Arc::new(answer))
    })
    .await;
    w.until_prepared(&id).await;
    assert_eq!(w.children(&id).await.len(), 6);
}

#[tokio::test(start_paused = true)]
async fn what_several_entries_wait_for_is_named_once() {
    let w = world();
    let _running = w.start();
    let entry = json!({"template": "t", "sites": ["one"], "merge": [reference("Asks", "a")]});
    let id = w
        .deploy(vec![
            topo("Template", "t", &json!({"templateId": "nf/upf"})),
            topo("Site", "one", &json!({"siteId": "edge/1"})),
            part("Asks", "a"),
            placement(&json!([entry, entry])),
        ])
        .await;
    let message = w.until_says(&id, PREPARED, "Waiting").await;
    for words in [
        "waiting for the site of Site one",
        "waiting until Asks a is prepared",
    ] {
        assert_eq!(message.matches(words).count(), 1, "{words}: {message}");
    }
}

#[tokio::test(start_paused = true)]
async fn very_many_resources_are_merged_in_reasonable_work() {
    let w = world();
    prepare_world(&w).await;
    let _running = w.start();
    // Each reference with each resource would be 100 million comparisons at every call.
    let names: Vec<String> = (0..10_000).map(|i| format!("p{i}")).collect();
    let merge: Vec<Value> = names.iter().map(|name| reference("Plain", name)).collect();
    let mut resources = vec![
        topo("Template", "t", &json!({"templateId": "nf/upf"})),
        topo("Site", "one", &json!({"siteId": "edge/1"})),
        placement(&json!([{"template": "t", "sites": ["one"], "merge": merge}])),
    ];
    resources.extend(names.iter().map(|name| part("Plain", name)));
    let id = w.deploy(resources).await;
    w.until_prepared(&id).await;
    let children = w.children(&id).await;
    assert_eq!(children.len(), 1);
    assert!(find(&children[0], "Plain", "p9999").is_some());
}

#[tokio::test(start_paused = true)]
async fn the_id_of_a_template_wins_over_its_selection() {
    let w = world();
    prepare_world(&w).await;
    let _running = w.start();
    let both = json!({"templateId": "nf/upf", "select": {"metadata": {"type": "smf"}}});
    let id = w
        .deploy(vec![
            topo("Template", "t", &both),
            topo("Site", "one", &json!({"siteId": "edge/1"})),
            placement(&json!([{"template": "t", "sites": ["one"]}])),
        ])
        .await;
    w.until_prepared(&id).await;
    let children = w.children(&id).await;
    let template = children[0].entity.template();
    assert_eq!(template, Some(&crate::world::template_id("nf/upf")));
}

#[tokio::test(start_paused = true)]
async fn a_template_is_waited_for() {
    let w = world();
    w.site("edge/1", &[]).await;
    let _running = w.start();
    for (template, words) in [
        (
            json!({"templateId": "late/a"}),
            "waiting for template late/a, which is not registered",
        ),
        (
            json!({"select": {"metadata": {"is": "late"}}}),
            "no template matches is=late",
        ),
    ] {
        let id = w
            .deploy(vec![
                topo("Template", "t", &template),
                topo("Site", "one", &json!({"siteId": "edge/1"})),
                placement(&json!([{"template": "t", "sites": ["one"]}])),
            ])
            .await;
        let message = w.until_says(&id, PREPARED, "Waiting").await;
        assert!(message.contains(words), "{message}");
        w.store
            .register_template(
                tko_core::NewTemplate::new(
                    crate::world::template_id("late/a"),
                    tko_core::Package::default(),
                )
                .metadata([("is", "late")])
                .expect(tko_core::Expect::Any),
            )
            .await
            .expect("valid");
        w.until_prepared(&id).await;
        w.store
            .delete(&Key::from(crate::world::template_id("late/a")))
            .await
            .expect("there");
    }
}

#[tokio::test(start_paused = true)]
async fn mistakes_in_a_placement_are_reported_and_create_nothing() {
    let base = || {
        vec![
            topo("Template", "t", &json!({"templateId": "nf/upf"})),
            topo("Template", "none", &json!({})),
            topo("Site", "edge1", &json!({"siteId": "edge/1"})),
            topo("Site", "both", &json!({"siteId": "edge/1"})),
            topo(
                "Sites",
                "both",
                &json!({"select": {"metadata": {"a": "b"}}}),
            ),
            topo("Sites", "open", &json!({})),
            annotated(
                topo("Site", "never", &json!({"siteId": "edge/1"})),
                "prepare",
                "Never",
            ),
        ]
    };
    for (entry, words) in [
        (
            json!([{"template": "x", "sites": []}]),
            "spec.templates[0].template: the package has no Template \"x\"",
        ),
        (
            json!([{"sites": ["edge1"]}]),
            "spec.templates[0].template: is missing",
        ),
        (
            json!([{"template": "none", "sites": []}]),
            "Template none: spec: names no template",
        ),
        (
            json!([{"template": "t", "sites": ["x"]}]),
            "spec.templates[0].sites[0]: the package has no Site or Sites \"x\"",
        ),
        (
            json!([{"template": "t", "sites": ["both"]}]),
            "both a Site and a Sites",
        ),
        (
            json!([{"template": "t", "sites": ["open"]}]),
            "Sites open: spec.select.metadata: is missing",
        ),
        (
            json!([{"template": "t", "sites": ["never"]}]),
            "nephio.org/prepare: Never",
        ),
        (
            json!([{"template": "t", "sites": "edge1"}]),
            "is not a list",
        ),
        (
            json!([{"template": "t", "merge": [reference("No", "such")]}]),
            "spec.templates[0].merge[0]: No such",
        ),
        (
            json!([{"template": "t", "merge": [named("Placement", "p")]}]),
            "cannot refer to itself",
        ),
    ] {
        let w = world();
        prepare_world(&w).await;
        let _running = w.start();
        let mut resources = base();
        resources.push(placement(&entry));
        let id = w.deploy(resources).await;
        let message = w.until_says(&id, PREPARED, "Failed").await;
        assert!(message.contains(words), "{entry}: {message}");
        assert!(w.children(&id).await.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn preparing_again_creates_only_missing_children() {
    let w = world();
    prepare_world(&w).await;
    let _running = w.start();
    let id = w.deploy(example()).await;
    w.until(|| async { w.unprepared().await == 0 }).await;
    let before: Vec<Key> = w
        .children(&id)
        .await
        .iter()
        .map(|c| c.entity.key.clone())
        .collect();
    w.store.delete(&before[1]).await.expect("it is there");
    w.site(
        "b/9",
        &[("Site.cloud", "GDC-E"), ("Site.region", "bangalore")],
    )
    .await;
    w.edit(&id, |package| {
        let unmarked = package.iter().map(|resource| {
            let mut value = resource.value().clone();
            if let Some(annotations) = value["metadata"]["annotations"].as_object_mut() {
                annotations.remove(annotation::PREPARED);
            }
            value
        });
        crate::world::package(unmarked.collect())
    })
    .await;
    w.until(|| async { w.unprepared().await == 0 }).await;
    let after: Vec<Key> = w
        .children(&id)
        .await
        .iter()
        .map(|c| c.entity.key.clone())
        .collect();
    assert_eq!(after.len(), 7);
    assert_eq!(after.iter().filter(|key| before.contains(key)).count(), 5);
    let mut ids: Vec<String> = after.iter().map(|key| key.id().to_owned()).collect();
    ids.sort();
    assert_eq!(status(&w, &id).await, (7, ids));
}

#[tokio::test(start_paused = true)]
async fn topologies_nest() {
    let w = world();
    prepare_world(&w).await;
    w.template("region", example()).await;
    w.template(
        "nation",
        vec![
            topo("Template", "region", &json!({"templateId": "region"})),
            topo(
                "Sites",
                "bangalore",
                &json!({"select": {"metadata": {"Site.region": "bangalore"}}}),
            ),
            placement(&json!([{"template": "region", "sites": ["bangalore"]}])),
        ],
    )
    .await;
    let _running = w.start();
    w.create("nation").await;
    w.until(|| async { w.unprepared().await == 0 }).await;
    // The nation, three regions, and six sites in each.
    assert_eq!(w.all(Select::all(Kind::Deployment)).await.len(), 1 + 3 + 18);
}

#[tokio::test(start_paused = true)]
async fn a_template_that_places_itself_is_refused_with_the_path_to_it() {
    let w = world();
    w.site("edge/1", &[]).await;
    let places = |template: &str| {
        vec![
            topo("Template", "t", &json!({"templateId": template})),
            topo("Site", "s", &json!({"siteId": "edge/1"})),
            placement(&json!([{"template": "t", "sites": ["s"]}])),
        ]
    };
    w.template("b", vec![]).await;
    w.template("a", places("b")).await;
    w.template("b", places("a")).await;
    let _running = w.start();
    let id = w.create("a").await;
    w.until_prepared(&id).await;
    let child = w.children(&id).await.remove(0);
    let child = child.entity.key.deployment().expect("a deployment").clone();
    let message = w.until_says(&child, PREPARED, "Failed").await;
    assert!(message.contains("a > b > a"), "{message}");
    w.until_idle().await;
    assert_eq!(w.all(Select::all(Kind::Deployment)).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn topologies_do_not_nest_deeper_than_the_limit() {
    let w = world();
    w.site("edge/1", &[]).await;
    for level in 0..20 {
        let places = vec![
            topo(
                "Template",
                "t",
                &json!({"templateId": format!("level/{}", level + 1)}),
            ),
            topo("Site", "s", &json!({"siteId": "edge/1"})),
            placement(&json!([{"template": "t", "sites": ["s"]}])),
        ];
        w.template(&format!("level/{level}"), places).await;
    }
    let _running = w.start();
    w.create("level/0").await;
    w.until(|| async { w.all(Select::all(Kind::Deployment)).await.len() == 16 })
        .await;
    w.until_idle().await;
    let all = w.all(Select::all(Kind::Deployment)).await;
    assert_eq!(all.len(), 16);
    let last = all[15].entity.key.deployment().expect("a deployment");
    let message = w.until_says(last, PREPARED, "Failed").await;
    assert!(message.contains("17 levels deep"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn two_placements_in_one_package_count_their_own() {
    let w = world();
    prepare_world(&w).await;
    let _running = w.start();
    let mut other = placement(&json!([{"template": "t", "sites": ["all"]}]));
    other["metadata"]["name"] = json!("q");
    let id = w
        .deploy(vec![
            topo("Template", "t", &json!({"templateId": "nf/upf"})),
            topo(
                "Sites",
                "all",
                &json!({"select": {"metadata": {"Site.cloud": "*"}}}),
            ),
            placement(
                &json!([{"template": "t", "sites": ["all"]}, {"template": "t", "sites": ["all"]}]),
            ),
            other,
        ])
        .await;
    w.until_prepared(&id).await;
    assert_eq!(status(&w, &id).await.0, 8);
    let other = w.resource(&id, "Placement", "q").await.expect("it stays");
    assert_eq!(other["status"]["deployments"], 4);
    assert_eq!(w.children(&id).await.len(), 12);
    assert!(w.backend.lists.load(Ordering::Relaxed) < 200);
}
