//! What charts become.

use crate::program::helm;
use crate::world::{World, chart, chart_folder, get, has, world};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tko_core::{DataApi, Dialect, Format, Key, Limits, Package, Want};
use tko_helm::HelmSettings;
use tko_helm::manifests::CHART;

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: '{{ .Values.image.name }}:{{ .Values.image.tag }}'}
";

const VALUES: &str = "replicas: 1\nimage: {name: web, tag: v1}\n";

fn namespace() -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "edge"}})
}

fn sizing() -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "sizing"},
        "data": {"replicas": 3},
    })
}

#[tokio::test]
async fn a_chart_is_rendered_with_expressions_and_joins_the_package() {
    let Some(world) = world() else { return };
    let folder = chart_folder(&[
        ("values.yaml", VALUES),
        ("templates/deployment.yaml", DEPLOYMENT),
    ]);
    let spec = json!({
        "namespace": "{{ get('', 'v1', 'Namespace').metadata.name }}",
        "parameters": {
            "replicas": "{{ get('', 'v1', 'ConfigMap', 'sizing').data.replicas }}",
            "image.tag": "v2",
        },
    });
    let id = world
        .deploy(vec![namespace(), sizing(), chart(folder.path(), spec)])
        .await;
    let package = world.prepared(&id).await;
    let deployment = get(&package, "apps/v1", "Deployment", "web");
    assert_eq!(deployment["spec"]["replicas"], 3);
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "web:v2");
    assert_eq!(deployment["metadata"]["namespace"], "edge");
    assert_eq!(deployment["metadata"]["annotations"][CHART], "web");
    world.stop().await;
}

#[tokio::test]
async fn hooks_definitions_and_subcharts_are_rendered_as_documented() {
    let Some(world) = world() else { return };
    let hook = |event: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {event}\n  annotations: {{helm.sh/hook: {event}}}\n"
        )
    };
    let definition = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: pools.example.com}
spec:
  group: example.com
  scope: Cluster
  names: {kind: Pool, plural: pools, singular: pool}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}
";
    let custom = "apiVersion: example.com/v1\nkind: Pool\nmetadata: {name: big}\n";
    let inner = "apiVersion: v1\nkind: Secret\nmetadata: {name: inner}\nstringData: {a: '{{ .Values.a }}', g: '{{ .Values.global.g }}'}\n";
    let list = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: of-list, namespace: own}}\n";
    let folder = chart_folder(&[
        ("crds/pool.yaml", definition),
        ("templates/pool.yaml", custom),
        ("templates/list.yaml", list),
        ("templates/a.yaml", &hook("pre-install")),
        ("templates/b.yaml", &hook("post-upgrade")),
        ("templates/c.yaml", &hook("pre-delete")),
        ("templates/d.yaml", &hook("test")),
        ("templates/NOTES.txt", "not a manifest: {{ .Release.Name }}"),
        (
            "charts/inner/Chart.yaml",
            "apiVersion: v2\nname: inner\nversion: 0.1.0\n",
        ),
        ("charts/inner/values.yaml", "a: no\n"),
        ("charts/inner/templates/secret.yaml", inner),
    ]);
    let parameters = json!({"parameters": {"inner.a": "yes", "global.g": "7"}});
    let id = world.deploy(vec![chart(folder.path(), parameters)]).await;
    let package = world.prepared(&id).await;
    for (kind, name, expected) in [
        ("CustomResourceDefinition", "pools.example.com", true),
        ("ConfigMap", "pre-install", true),
        ("ConfigMap", "post-upgrade", true),
        ("ConfigMap", "pre-delete", false),
        ("ConfigMap", "test", false),
        ("ConfigMap", "of-list", true),
    ] {
        assert_eq!(has(&package, kind, name), expected, "{kind} {name}");
    }
    let data = &get(&package, "v1", "Secret", "inner")["stringData"];
    assert_eq!(*data, json!({"a": "yes", "g": "7"}));
    let of_list = &get(&package, "v1", "ConfigMap", "of-list")["metadata"];
    assert_eq!(of_list["namespace"], "own");
    // The chart itself says that its kind is cluster-scoped.
    let pool = &get(&package, "example.com/v1", "Pool", "big")["metadata"];
    assert_eq!(pool.get("namespace"), None);

    let without = json!({
        "parameters": {"inner.a": "x", "global.g": "7"}, "crds": false, "hooks": false,
    });
    let id = world.deploy(vec![chart(folder.path(), without)]).await;
    let package = world.prepared(&id).await;
    assert!(!has(
        &package,
        "CustomResourceDefinition",
        "pools.example.com"
    ));
    assert!(!has(&package, "ConfigMap", "pre-install"));
    world.stop().await;
}

const SEEN: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: seen}
data:
  kube: '{{ .Capabilities.KubeVersion.Version }}'
  api: '{{ .Capabilities.APIVersions.Has \"example.com/v1/Pool\" }}'
  lookup: '{{ len (lookup \"v1\" \"Secret\" \"\" \"\") }}'
  address: '{{ getHostByName \"localhost\" }}'
";

#[tokio::test]
async fn the_chart_sees_the_given_kubernetes_and_no_cluster() {
    let Some(world) = world() else { return };
    let folder = chart_folder(&[("templates/seen.yaml", SEEN)]);
    let spec = json!({"kubeVersion": "1.31.4", "apiVersions": ["example.com/v1/Pool"]});
    let id = world.deploy(vec![chart(folder.path(), spec)]).await;
    let package = world.prepared(&id).await;
    let data = &get(&package, "v1", "ConfigMap", "seen")["data"];
    let expected = json!({"kube": "v1.31.4", "api": "true", "lookup": "0", "address": ""});
    assert_eq!(*data, expected);
    world.stop().await;
}

#[tokio::test]
async fn the_chart_sees_the_kubernetes_of_its_site() {
    let Some(world) = world() else { return };
    let folder = chart_folder(&[("templates/seen.yaml", SEEN)]);
    let cluster = |version: &str, apis: &[&str]| {
        json!({
            "apiVersion": "cluster.nephio.org/v1alpha1", "kind": "KubernetesCluster",
            "metadata": {"name": "cluster"},
            "spec": {"kubernetesVersion": version, "apiVersions": apis},
        })
    };
    // Equal deployments of different sites do not share a rendering.
    for (site, spec, expected) in [
        (
            cluster("1.33.2", &["example.com/v1/Pool"]),
            json!({}),
            ("v1.33.2", "true"),
        ),
        (cluster("1.32.0", &[]), json!({}), ("v1.32.0", "false")),
        (
            cluster("1.32.0", &["example.com/v1/Pool"]),
            json!({"kubeVersion": "1.31.4"}),
            ("v1.31.4", "true"),
        ),
    ] {
        let chart = chart(folder.path(), spec);
        let id = world.deploy_at(vec![site], vec![chart]).await;
        let package = world.prepared(&id).await;
        let data = &get(&package, "v1", "ConfigMap", "seen")["data"];
        assert_eq!(
            (&data["kube"], &data["api"]),
            (&json!(expected.0), &json!(expected.1))
        );
    }
    world.stop().await;
}

#[tokio::test]
async fn charts_that_are_not_rendered_or_whose_condition_does_not_hold_add_nothing() {
    let Some(world) = world() else { return };
    let folder = chart_folder(&[("values.yaml", VALUES), ("templates/a.yaml", DEPLOYMENT)]);
    let condition = |text: &str| chart(folder.path(), json!({"when": text}));
    for (resource, expected) in [
        (chart(folder.path(), json!({"render": false})), false),
        (condition("resources.exists(r, r.kind == 'Secret')"), false),
        (
            condition("resources.exists(r, r.kind == 'HelmChart')"),
            true,
        ),
    ] {
        let id = world.deploy(vec![resource.clone()]).await;
        let package = world.prepared(&id).await;
        assert_eq!(has(&package, "Deployment", "web"), expected, "{resource}");
        let chart = get(&package, "workload.nephio.org/v1alpha1", "HelmChart", "web");
        assert_eq!(
            chart["metadata"]["annotations"]["nephio.org/prepared"],
            "true"
        );
    }
    world.stop().await;
}

#[tokio::test]
async fn equal_input_is_rendered_once_until_the_chart_changes() {
    let Some(world) = world() else { return };
    let folder = chart_folder(&[("values.yaml", VALUES), ("templates/a.yaml", DEPLOYMENT)]);
    let deploy = async |world: &World| world.deploy(vec![chart(folder.path(), json!({}))]).await;
    let mut ids = Vec::new();
    for _ in 0..50 {
        ids.push(deploy(&world).await);
    }
    for id in &ids {
        assert!(has(&world.prepared(id).await, "Deployment", "web"));
    }
    let counts = world.results.counts();
    assert_eq!((counts.misses, counts.hits), (1, 49), "{counts:?}");

    std::fs::write(folder.path().join("values.yaml"), VALUES.replace('1', "22")).expect("a file");
    let id = deploy(&world).await;
    let package = world.prepared(&id).await;
    assert_eq!(
        get(&package, "apps/v1", "Deployment", "web")["spec"]["replicas"],
        22
    );
    assert_eq!(world.results.counts().misses, 2);
    // Every version is kept as it was delivered.
    let first = world.store.get(&Key::from(&ids[0]), Want::PACKAGE).await;
    let first = first.expect("is there").package.expect("was wanted");
    assert_eq!(
        get(&first, "apps/v1", "Deployment", "web")["spec"]["replicas"],
        1
    );
    world.stop().await;
}

#[tokio::test]
async fn the_example_is_rendered_with_the_values_of_its_package() {
    let Some(program) = helm() else { return };
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/charts");
    let settings = HelmSettings::default()
        .with_timeout(Duration::from_mins(1))
        .with_program(program.display().to_string())
        .with_charts(examples.clone());
    let world = World::new(settings);
    let text = std::fs::read(examples.join("package.yaml")).expect("the example");
    let package = Package::decode(&text, Format::Yaml, Dialect::People, &Limits::default());
    let package = package.expect("a package");
    let resources: Vec<Value> = package.iter().map(|r| r.value().clone()).collect();
    let id = world.deploy(resources.clone()).await;
    let prepared = world.prepared(&id).await;
    let settings = get(&prepared, "v1", "ConfigMap", "front-settings");
    assert_eq!(
        settings["data"],
        json!({"region": "pune", "greeting": "hello"})
    );
    assert_eq!(settings["metadata"]["namespace"], "edge");
    let web = get(&prepared, "apps/v1", "Deployment", "front");
    assert_eq!(web["spec"]["replicas"], 6);
    // Without the namespace the condition does not hold.
    let id = world.deploy(resources[1..].to_vec()).await;
    let prepared = world.prepared(&id).await;
    assert!(!has(&prepared, "Deployment", "front"));
    world.stop().await;
}
