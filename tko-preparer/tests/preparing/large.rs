//! Packages with very many resources to prepare.

use crate::parts::{Counts, gvk, marked, part, registry};
use crate::world::{World, find, site_id, template_id, thing, topo, world};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tko_core::pattern::Pattern;
use tko_core::{
    Answer, DataApi, DeploymentId, Kind, NewTemplate, Package, PrepareCall, Preparer, Record,
    Resource, Result, Select, annotation, deployment_resource,
};
use tko_preparer::{PREPARED, PrepareSettings};

fn done(package: Package) -> Answer {
    Answer::Done {
        package,
        effects: Vec::new(),
    }
}

/// So many resources of a kind.
fn numbered(kind: &str, count: usize) -> Vec<Value> {
    let names = (0..count).map(|number| format!("{}-{number:04}", kind.to_lowercase()));
    names.map(|name| part(kind, &name)).collect()
}

fn is_marked(record: &Record, kind: &str, name: &str) -> bool {
    let resource = find(record, kind, name).expect("it stays");
    resource["metadata"]["annotations"][annotation::PREPARED] == "true"
}

/// The number of resources of this kind that are marked.
fn marks(record: &Record, kind: &str) -> usize {
    let package = record.package.as_ref().expect("was asked for");
    let kind = gvk(kind);
    let marked = package
        .of(&kind)
        .filter(|resource| annotation::is_true(resource, annotation::PREPARED));
    marked.count()
}

/// Calls are counted, and every resource is handled by one; commits are few.
#[tokio::test(start_paused = true)]
async fn commits_grow_with_the_logarithm_of_the_number_of_resources() {
    for (count, expected) in [(1, 1), (8, 4), (64, 7), (512, 10)] {
        let w = world();
        let calls = Arc::new(AtomicUsize::new(0));
        let counts = Arc::new(Counts(calls.clone()));
        let registry = registry().with(gvk("Counts"), "counts", counts);
        let id = w.deploy(numbered("Counts", count)).await;
        let before = *w.backend.commits.borrow();
        let _running = w.start_with(registry, PrepareSettings::default());
        w.until_prepared(&id).await;
        let commits = *w.backend.commits.borrow() - before;
        assert_eq!(commits, expected, "{count}");
        assert_eq!(calls.load(Ordering::Relaxed), count);
        // Created, then one generation for each commit.
        let record = w.record(&id).await;
        assert_eq!(record.entity.generation.0, expected + 1, "{count}");
        assert_eq!(marks(&record, "Counts"), count);
    }
}

/// Marks its resource, and adds `spec.adds` resources `Marks`.
struct Adds;

#[async_trait]
impl Preparer for Adds {
    async fn prepare(&self, call: PrepareCall<'_>) -> Result<Answer> {
        let target = call.package.find(call.target).expect("it is there");
        let count = target.get(&["spec", "adds"]).and_then(Value::as_u64);
        let mut resources = marked(&call).resources().to_vec();
        for number in 0..count.unwrap_or_default() {
            let added = part("Marks", &format!("{}-{number}", call.target.name));
            resources.push(Arc::new(Resource::new(added)?));
        }
        Ok(done(Package::new(resources)?))
    }
}

/// One round without progress is allowed, so 100 answers without progress. By default, there may be
/// 100 times as many.
#[tokio::test(start_paused = true)]
async fn a_package_with_more_resources_than_the_limit_is_not_endless() {
    let adds = |name: &str, count: u64| thing("Adds", name, &json!({"adds": count}));
    let many_add_one = (0..150).map(|number| adds(&format!("a{number}"), 1));
    for (resources, expected) in [
        (numbered("Marks", 250), 250),
        (vec![adds("a", 250)], 250),
        (many_add_one.collect(), 150),
    ] {
        let w = world();
        let registry = registry().with(gvk("Adds"), "adds", Arc::new(Adds));
        let settings = PrepareSettings::default().with_max_rounds(1);
        let _running = w.start_with(registry, settings);
        let id = w.deploy(resources).await;
        w.until_prepared(&id).await;
        assert_eq!(marks(&w.record(&id).await, "Marks"), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn many_resources_that_wait_are_not_endless() {
    let w = world();
    let settings = PrepareSettings::default().with_max_rounds(1);
    let _running = w.start_with(registry(), settings);
    let mut resources = numbered("Waits", 150);
    resources.push(part("Marks", "m"));
    let id = w.deploy(resources).await;
    let message = w.until_says(&id, PREPARED, "Waiting").await;
    assert!(message.contains("and 130 more"), "{message}");
    assert!(is_marked(&w.record(&id).await, "Marks", "m"));
    for number in 0..150 {
        w.site(&format!("waits-{number:04}"), &[]).await;
    }
    w.until_prepared(&id).await;
}

/// Waits until the resource of the name `spec.after` is prepared.
struct After;

#[async_trait]
impl Preparer for After {
    async fn prepare(&self, call: PrepareCall<'_>) -> Result<Answer> {
        let target = call.package.find(call.target).expect("it is there");
        let after = target.get(&["spec", "after"]).and_then(Value::as_str);
        let waits = call.pending.iter().any(|other| Some(&*other.name) == after);
        Ok(if waits {
            Answer::NotYet {
                reason: "waiting for another resource".to_owned(),
                waits_for: Vec::new(),
            }
        } else {
            done(marked(&call))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn resources_that_wait_for_each_other_in_many_rounds_are_not_endless() {
    let w = world();
    let registry = registry().with(gvk("After"), "after", Arc::new(After));
    let settings = PrepareSettings::default().with_max_rounds(3);
    let _running = w.start_with(registry, settings);
    // Each round prepares one: the last that is not prepared.
    let resources = (0..12).map(|number| {
        let after = format!("a{}", number + 1);
        thing("After", &format!("a{number}"), &json!({"after": after}))
    });
    let id = w.deploy(resources.collect()).await;
    w.until_prepared(&id).await;
}

/// Marks its resource, and adds two of its kind.
struct Doubles;

#[async_trait]
impl Preparer for Doubles {
    async fn prepare(&self, call: PrepareCall<'_>) -> Result<Answer> {
        let mut package = marked(&call);
        for end in ["l", "r"] {
            let added = part("Doubles", &format!("{}{end}", call.target.name));
            package = package.with(Arc::new(Resource::new(added)?));
        }
        Ok(done(package))
    }
}

#[tokio::test(start_paused = true)]
async fn endless_growth_is_reported_after_the_other_resources_are_prepared() {
    for (kind, most) in [("Forever", 405), ("Doubles", 805)] {
        let w = world();
        let registry = registry().with(gvk("Doubles"), "doubles", Arc::new(Doubles));
        let settings = PrepareSettings::default().with_max_rounds(2);
        let _running = w.start_with(registry, settings);
        let mut resources = vec![part(kind, "f")];
        resources.extend(numbered("Marks", 200));
        let id = w.deploy(resources).await;
        let message = w.until_says(&id, PREPARED, "Endless").await;
        assert!(message.contains("keep adding resources"), "{message}");
        let record = w.record(&id).await;
        assert_eq!(marks(&record, "Marks"), 200);
        let count = record.package.as_ref().expect("was asked for").len();
        assert!(count <= 200 + most, "{kind}: {count}");
        assert!(record.work[0].due.since(w.clock.now()) > Duration::from_mins(2));
    }
}

fn placed_on(sites: &[String]) -> Vec<Value> {
    let templates = json!([{"template": "t", "sites": sites}]);
    vec![
        topo("Template", "t", &json!({"templateId": "t"})),
        topo("Placement", "p", &json!({"templates": templates})),
    ]
}

async fn provisioned(w: &World) -> Vec<Record> {
    let id = Pattern::id("provisioned/*").expect("a pattern");
    w.all(Select::all(Kind::Site).id(id)).await
}

#[tokio::test(start_paused = true)]
async fn many_sites_are_provisioned_in_few_commits() {
    let w = world();
    w.template("t", vec![part("Other", "o")]).await;
    let names: Vec<String> = (0..64).map(|number| format!("s{number:02}")).collect();
    let spec = json!({"provisionIfNotFound": true});
    let mut resources: Vec<Value> = names.iter().map(|name| topo("Site", name, &spec)).collect();
    resources.extend(placed_on(&names));
    let _running = w.start();
    let id = w.deploy(resources).await;
    w.until(|| async { w.unprepared().await == 0 }).await;
    // Created; the sites in seven steps; the Placement with its children; finished.
    assert_eq!(w.record(&id).await.entity.generation.0, 10);
    let mut sites: Vec<String> = provisioned(&w)
        .await
        .iter()
        .map(|site| site.entity.key.id().to_owned())
        .collect();
    sites.sort();
    assert_eq!(sites.len(), 64);
    assert_eq!(w.child_sites(&id).await, sites);
}

async fn site_of(w: &World, id: &DeploymentId, name: &str) -> Value {
    let site = w.resource(id, "Site", name).await.expect("it stays");
    site["status"]["siteId"].clone()
}

/// The preparer of the second site finds the first one, although several answers can be committed
/// together.
#[tokio::test(start_paused = true)]
async fn a_selection_finds_a_site_that_was_provisioned_just_before() {
    let w = world();
    let template = NewTemplate::new(template_id("edge"), Package::default());
    let template = template.metadata([("region", "south")]);
    w.store.register_template(template).await.expect("valid");
    let mut resources = numbered("Marks", 3);
    for name in ["one", "two"] {
        let spec = json!({
            "select": {"metadata": {"region": "south"}},
            "provisionIfNotFound": true,
            "provisionTemplateId": "edge",
        });
        resources.push(topo("Site", name, &spec));
    }
    let _running = w.start();
    let id = w.deploy(resources).await;
    w.until_prepared(&id).await;
    assert_eq!(provisioned(&w).await.len(), 1);
    assert_eq!(site_of(&w, &id, "one").await, site_of(&w, &id, "two").await);
}

#[tokio::test(start_paused = true)]
async fn one_invalid_answer_among_many_is_found_and_blocks_no_other() {
    let w = world();
    let _running = w.start();
    let mut resources = numbered("Marks", 40);
    resources.insert(20, part("Bad", "b"));
    let id = w.deploy(resources).await;
    let message = w.until_says(&id, PREPARED, "Invalid").await;
    for words in [
        "Bad b: the result of preparer bad is not valid",
        "Any bad: spec.bad: ",
    ] {
        assert!(message.contains(words), "{message}");
    }
    let record = w.record(&id).await;
    assert_eq!(marks(&record, "Marks"), 40);
    assert!(!is_marked(&record, "Bad", "b"));
}

/// Assigns the deployment to the site `s`.
struct Assigns;

#[async_trait]
impl Preparer for Assigns {
    async fn prepare(&self, call: PrepareCall<'_>) -> Result<Answer> {
        let package = marked(&call);
        let own = package.resolve(&deployment_resource::identifier())?;
        let mut own = own.expect("every deployment has one").value().clone();
        own["spec"]["siteId"] = json!("s");
        Ok(done(package.with(Arc::new(Resource::new(own)?))))
    }
}

/// Writes the site of the deployment's row to `spec.site`.
struct Looks;

#[async_trait]
impl Preparer for Looks {
    async fn prepare(&self, call: PrepareCall<'_>) -> Result<Answer> {
        let package = marked(&call);
        let target = package.find(call.target).expect("it is there");
        let mut target = target.value().clone();
        let deployment = call.deployment.entity.deployment();
        let site = deployment.and_then(|deployment| deployment.site.as_ref());
        target["spec"]["site"] = json!(site.map(ToString::to_string));
        Ok(done(package.with(Arc::new(Resource::new(target)?))))
    }
}

#[tokio::test(start_paused = true)]
async fn a_preparer_sees_the_row_that_belongs_to_its_package() {
    let w = world();
    let registry = registry()
        .with(gvk("Assigns"), "assigns", Arc::new(Assigns))
        .with(gvk("Looks"), "looks", Arc::new(Looks));
    let _running = w.start_with(registry, PrepareSettings::default());
    w.site("s", &[]).await;
    // More than one answer can be committed together after the first three.
    let mut resources = numbered("Marks", 3);
    resources.extend([part("Assigns", "a"), part("Looks", "l")]);
    let id = w.deploy(resources).await;
    w.until_prepared(&id).await;
    assert_eq!(w.deployment(&id).await.site, Some(site_id("s")));
    let looked = w.resource(&id, "Looks", "l").await.expect("it stays");
    assert_eq!(looked["spec"]["site"], "s");
}

#[tokio::test(start_paused = true)]
async fn a_crash_loses_only_answers_that_were_not_committed() {
    let w = world();
    let calls = Arc::new(AtomicUsize::new(0));
    let start = || {
        let counts = Arc::new(Counts(calls.clone()));
        let registry = registry().with(gvk("Counts"), "counts", counts);
        w.start_with(registry, PrepareSettings::default())
    };
    let id = w.deploy(numbered("Counts", 100)).await;
    w.backend.let_others_go_first();
    let mut commits = w.backend.commits.subscribe();
    let third = *commits.borrow_and_update() + 3;
    let crashing = start();
    let reached = commits.wait_for(|commits| *commits >= third).await;
    drop(reached.expect("the backend is there"));
    drop(crashing);
    tokio::task::yield_now().await;
    // One, two and four.
    let committed = marks(&w.record(&id).await, "Counts");
    assert!((7..100).contains(&committed), "{committed}");
    let before = calls.load(Ordering::Relaxed);
    let _running = start();
    w.until_prepared(&id).await;
    assert_eq!(calls.load(Ordering::Relaxed) - before, 100 - committed);
    assert_eq!(marks(&w.record(&id).await, "Counts"), 100);
}

/// Each takes 100 s.
#[tokio::test(start_paused = true)]
async fn the_answers_of_slow_preparers_are_committed_one_by_one() {
    let w = world();
    let settings = PrepareSettings::default().with_timeout(Duration::from_mins(10));
    let _running = w.start_with(registry(), settings);
    let id = w.deploy(numbered("Slow", 5)).await;
    for finished in 0..5 {
        tokio::time::sleep(Duration::from_secs(50)).await;
        assert_eq!(marks(&w.record(&id).await, "Slow"), finished);
        tokio::time::sleep(Duration::from_secs(50)).await;
    }
    w.until_prepared(&id).await;
}
