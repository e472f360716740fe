//! Kptfiles with pipelines.

use crate::world::{World, config_map, package, program, workload};
use serde_json::{Value, json};
use std::path::Path;
use tko_core::{Gvk, Identifier, Package, SharedLimits};
use tko_kpt::ContainerRuntime;
use tko_kpt::executor::KptSettings;
use tko_source::{Source, SourceReader};

fn get<'a>(package: &'a Package, api_version: &str, kind: &str, name: &str) -> &'a Value {
    let reference = Identifier::new(Gvk::of(api_version, kind), name);
    let found = package.resolve(&reference).expect("not ambiguous");
    found.unwrap_or_else(|| panic!("no {kind} {name}")).value()
}

#[tokio::test]
async fn the_example_is_prepared_as_kpt_renders_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/kpt/gateway");
    let source: Source = folder.display().to_string().parse().expect("a source");
    let read = SourceReader::new()
        .package(&source)
        .await
        .expect("a package");
    let world = World::new(KptSettings::default());
    let resources = read
        .iter()
        .map(|resource| resource.value().clone())
        .collect();
    let id = world.deploy(resources).await;
    let package = world.prepared(&id).await;
    let deployment = get(&package, "apps/v1", "Deployment", "gateway");
    assert_eq!(deployment["spec"]["replicas"], json!(3));
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(
        pod["containers"][0]["image"],
        "registry.example.com/gateway:v2.1.0"
    );
    assert_eq!(pod["serviceAccountName"], "gateway-reader");
    assert_eq!(deployment["metadata"]["namespace"], "edge");
    let labels = json!({"app.kubernetes.io/part-of": "core"});
    assert_eq!(deployment["metadata"]["labels"], labels);
    assert_eq!(
        get(&package, "v1", "Service", "gateway")["metadata"]["labels"],
        labels
    );
    assert_eq!(
        get(&package, "v1", "Service", "gateway-debug")["metadata"].get("labels"),
        None
    );
    // The setters are still there, for the next time.
    let setters = &deployment["metadata"]["annotations"]["kpt.nephio.org/setters"];
    assert!(setters.as_str().expect("text").contains("${replicas}"));
    let order: Vec<&str> = package
        .iter()
        .map(|resource| &*resource.gvk().kind)
        .collect();
    let before: Vec<&str> = read.iter().map(|resource| &*resource.gvk().kind).collect();
    assert_eq!(order[..before.len()], before[..]);
    world.stop().await;
}

const KPTFILE: &str = "apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata: {name: NAME}\n";

fn kptfile(name: &str, pipeline: &str) -> String {
    format!("{}{pipeline}", KPTFILE.replace("NAME", name))
}

fn map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n")
}

#[tokio::test]
async fn inner_packages_are_rendered_first() {
    let annotate = |text: &str| {
        format!(
            "pipeline:\n  mutators:\n  - image: set-annotations:v0.1.4\n    configMap: {{by: {text}, {text}: 'yes'}}\n"
        )
    };
    let resources = package(&[
        ("p/Kptfile", &kptfile("outer", &annotate("outer"))),
        ("p/a.yaml", &map("a")),
        ("p/sub/Kptfile", &kptfile("inner", &annotate("inner"))),
        ("p/sub/b.yaml", &map("b")),
    ]);
    let world = World::new(KptSettings::default());
    let id = world.deploy(resources).await;
    let package = world.prepared(&id).await;
    let annotations =
        |name| get(&package, "v1", "ConfigMap", name)["metadata"]["annotations"].clone();
    let (a, b) = (annotations("a"), annotations("b"));
    assert_eq!((&a["by"], a.get("inner")), (&json!("outer"), None));
    assert_eq!((&b["by"], &b["inner"]), (&json!("outer"), &json!("yes")));
    world.stop().await;
}

#[tokio::test]
async fn validators_check_and_change_nothing() {
    let pipeline =
        "pipeline:\n  validators:\n  - image: set-annotations:v0.1.4\n    configMap: {a: b}\n";
    let resources = package(&[("Kptfile", &kptfile("p", pipeline)), ("a.yaml", &map("a"))]);
    let world = World::new(KptSettings::default());
    let id = world.deploy(resources).await;
    let prepared = world.prepared(&id).await;
    let annotations = &get(&prepared, "v1", "ConfigMap", "a")["metadata"]["annotations"];
    assert_eq!(annotations.get("a"), None);
    world.stop().await;

    let world = World::new(KptSettings::default().with_kptfile_exec(true));
    let pipeline = format!(
        "pipeline:\n  validators:\n  - exec: {}\n",
        &program("report.sh")["exec:".len()..]
    );
    let resources = package(&[("Kptfile", &kptfile("p", &pipeline)), ("a.yaml", &map("a"))]);
    let message = world.refused(resources).await;
    assert!(
        message.contains("validator 1") && message.contains("too short"),
        "{message}"
    );
    world.stop().await;
}

#[tokio::test]
async fn setters_travel_to_programs_and_back_as_comments() {
    let world = World::new(KptSettings::default().with_kptfile_exec(true));
    let pipeline = format!(
        "pipeline:\n  mutators:\n  - exec: {}\n  - image: apply-setters:v0.2\n    configMap: {{v: new}}\n",
        &program("comments.sh")["exec:".len()..]
    );
    let value =
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  x: old # kpt-set: ${v}\n";
    let resources = package(&[("Kptfile", &kptfile("p", &pipeline)), ("a.yaml", value)]);
    let id = world.deploy(resources).await;
    let prepared = world.prepared(&id).await;
    assert_eq!(
        get(&prepared, "v1", "ConfigMap", "a")["data"]["x"],
        "new-suffix"
    );
    world.stop().await;
}

#[tokio::test]
async fn a_resource_that_a_function_generates_is_kept_whatever_its_position() {
    let function = program("generate.sh");
    let pipeline = format!(
        "pipeline:\n  mutators:\n  - exec: {}\n    selectors: [{{kind: Workload}}]\n",
        &function["exec:".len()..]
    );
    let target = "apiVersion: example.com/v1\nkind: Workload\nmetadata: {name: gateway}\n";
    let resources = package(&[
        ("Kptfile", &kptfile("p", &pipeline)),
        ("a.yaml", &map("a")),
        ("b.yaml", &map("b")),
        ("workload.yaml", target),
    ]);
    let world = World::new(KptSettings::default().with_kptfile_exec(true));
    let id = world.deploy(resources).await;
    let prepared = world.prepared(&id).await;
    let annotations = &get(&prepared, "v1", "ConfigMap", "generated")["metadata"]["annotations"];
    let path = json!({"internal.config.kubernetes.io/path": "generated.yaml"});
    assert_eq!(*annotations, path);
    get(&prepared, "example.com/v1", "Workload", "gateway");
    for name in ["a", "b"] {
        get(&prepared, "v1", "ConfigMap", name);
    }
    world.stop().await;

    // The resource that triggers the plugin is the first of its package.
    let world = World::new(KptSettings::default());
    world.plugin(&function, &[]).await;
    let id = world.deploy(vec![workload()]).await;
    let prepared = world.prepared(&id).await;
    get(&prepared, "v1", "ConfigMap", "generated");
    get(&prepared, "example.com/v1", "Workload", "gateway");
    world.stop().await;
}

#[tokio::test]
async fn faults_of_a_pipeline_are_in_the_condition() {
    let world = World::new(KptSettings::default());
    for (pipeline, words) in [
        ("pipeline: []\n", "Kptfile pipeline: it is not a map"),
        (
            "pipeline: {mutators: [{exec: /bin/true}]}\n",
            "--kptfile-exec",
        ),
        (
            "pipeline: {mutators: [{image: set-labels, configPath: gone.yaml}]}\n",
            "no resource of the package is from the file gone.yaml",
        ),
        (
            "pipeline: {mutators: [{image: set-namespace}]}\n",
            "mutator 1 (set-namespace)",
        ),
        (
            "pipeline: {mutators: [{image: search-replace, configMap: {by-path: metadata.name, by-value: p, put-value: q}}]}\n",
            "renamed the resource that triggered it",
        ),
    ] {
        let resources = package(&[("Kptfile", &kptfile("p", pipeline)), ("a.yaml", &map("a"))]);
        let message = world.refused(resources).await;
        assert!(message.contains(words), "{pipeline}: {message}");
    }
    world.stop().await;
}

#[tokio::test]
async fn equal_input_runs_a_function_once() {
    let world = World::new(KptSettings::default());
    world
        .plugin("set-namespace:v0.4.1", &[("namespace", "spec.namespace")])
        .await;
    let mut ids = Vec::new();
    for _ in 0..100 {
        ids.push(world.deploy(vec![config_map("a"), workload()]).await);
    }
    for id in &ids {
        assert_eq!(world.prepared(id).await.len(), 3);
    }
    let counts = world.results.counts();
    assert_eq!((counts.misses, counts.hits), (1, 99), "{counts:?}");
    // Other input runs.
    let id = world.deploy(vec![config_map("b"), workload()]).await;
    world.prepared(&id).await;
    assert_eq!(world.results.counts().misses, 2);
    world.stop().await;
}

#[tokio::test]
async fn a_property_and_an_annotation_switch_the_cache_off() {
    let kptfile = |annotations: &str| {
        let text = kptfile(
            "p",
            "pipeline: {mutators: [{image: set-labels:v0.2.0, configMap: {a: b}}]}\n",
        );
        text.replace("name: p", &format!("name: p{annotations}"))
    };
    let off = kptfile(", annotations: {kpt.nephio.org/cache: 'false'}");
    for (properties, kptfile, expected) in [
        (&[("_cache", "true")][..], kptfile(""), (2, 4)),
        (&[("_cache", "false")][..], off, (0, 0)),
    ] {
        let world = World::new(KptSettings::default());
        let properties = [properties, &[("namespace", "spec.namespace")]].concat();
        world.plugin("set-namespace:v0.4.1", &properties).await;
        for _ in 0..3 {
            let id = world.deploy(vec![config_map("a"), workload()]).await;
            world.prepared(&id).await;
            let id = world.deploy(package(&[("Kptfile", &kptfile)])).await;
            world.prepared(&id).await;
        }
        let counts = world.results.counts();
        assert_eq!((counts.misses, counts.hits), expected, "{counts:?}");
        world.stop().await;
    }
}

#[tokio::test]
async fn a_script_after_its_interpreter_runs_every_time() {
    let folder = tempfile::tempdir().expect("a directory");
    let script = folder.path().join("rename");
    let pipeline = format!(
        "pipeline:\n  mutators:\n  - exec: /bin/sh {}\n",
        script.display()
    );
    let (kptfile, map) = (kptfile("p", &pipeline), map("a"));
    let files = [("Kptfile", kptfile.as_str()), ("a.yaml", map.as_str())];
    let world = World::new(KptSettings::default().with_kptfile_exec(true));
    for name in ["b", "c"] {
        std::fs::write(&script, format!("exec sed 's/name: a$/name: {name}/'\n")).expect("writes");
        let id = world.deploy(package(&files)).await;
        get(&world.prepared(&id).await, "v1", "ConfigMap", name);
    }
    world.stop().await;
}

#[tokio::test]
async fn another_preparer_uses_what_one_has_made() {
    let settings = KptSettings::default;
    let limits = SharedLimits::new();
    let first = World::new(settings()).replaced(settings(), limits).await;
    first
        .plugin("set-namespace:v0.4.1", &[("namespace", "spec.namespace")])
        .await;
    let id = first.deploy(vec![config_map("a"), workload()]).await;
    let made = first.prepared(&id).await;
    assert_eq!(first.results.counts().shared_misses, 1);
    let second = first.replaced(settings(), limits).await;
    let id = second.deploy(vec![config_map("a"), workload()]).await;
    assert_eq!(second.prepared(&id).await, made);
    let counts = second.results.counts();
    let found = (counts.misses, counts.shared_hits, counts.shared_refused);
    assert_eq!(found, (0, 1, 0), "{counts:?}");
    second.stop().await;
}

#[tokio::test]
async fn an_image_without_a_runtime_says_what_to_do_and_a_substitute_runs_in_its_place() {
    let kptfile = "apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata: {name: p}\npipeline:\n  \
                   mutators:\n  - image: gcr.io/kpt-fn/starlark:v0.4.3\n    configMap: {source: 'x = 1'}\n";
    let files = [
        ("Kptfile", kptfile),
        (
            "a.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n",
        ),
    ];
    let off = KptSettings::default().with_containers(ContainerRuntime::Off);
    let world = World::new(off.clone());
    let message = world.refused(package(&files)).await;
    assert!(
        message.contains("--function gcr.io/kpt-fn/starlark=wasm:PATH")
            && message.contains("examples/kpt/starlark"),
        "{message}"
    );
    world.stop().await;
    let function = "exec:/bin/cat".parse().expect("a function");
    let substituted = off.with_substitute("starlark", function);
    let world = World::new(substituted.expect("an image"));
    let id = world.deploy(package(&files)).await;
    world.prepared(&id).await;
    world.stop().await;
    for wrong in ["a/b@sha256:01", "starlark:v0.4.3", "exec:/a", "a b"] {
        let function = program("pass.sh").parse().expect("a function");
        let refused = KptSettings::default().with_substitute(wrong, function);
        assert!(refused.is_err(), "{wrong}");
    }
}
