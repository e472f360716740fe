//! Charts that fail, and hostile ones: each ends as a condition, and nothing is stored.

use crate::program::helm;
use crate::world::{World, chart, chart_folder, world};
use serde_json::json;
use std::time::Duration;
use tko_helm::HelmSettings;

#[tokio::test]
async fn faults_of_charts_are_in_the_condition() {
    let Some(world) = world() else { return };
    let schema = r#"{"type": "object", "properties": {"replicas": {"type": "integer"}}}"#;
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
    let own = "apiVersion: deployment.nephio.org/v1alpha1\nkind: Deployment\nmetadata: {name: x}\n";
    for (files, spec, words) in [
        (
            vec![("values.schema.json", schema)],
            json!({"parameters": {"replicas": "many"}}),
            "replicas",
        ),
        (
            vec![("templates/a.yaml", "{{ .Values.a.b.c }}")],
            json!({}),
            "nil pointer",
        ),
        (
            vec![(
                "templates/a.yaml",
                "{{ required \"a is required\" .Values.a }}",
            )],
            json!({}),
            "a is required",
        ),
        (
            vec![("templates/a.yaml", "{{ if }}")],
            json!({}),
            "helm exited with code 1",
        ),
        (
            vec![("templates/a.yaml", "a: 1\n")],
            json!({}),
            "the rendered manifests are invalid",
        ),
        (
            vec![("templates/a.yaml", "apiVersion: v1\nkind: [\n")],
            json!({}),
            "HelmChart web",
        ),
        (
            vec![("templates/a.yaml", map), ("templates/b.yaml", map)],
            json!({}),
            "there twice",
        ),
        (
            vec![("templates/a.yaml", own)],
            json!({}),
            "cannot have resources of kind",
        ),
        (
            vec![("Chart.yaml", "apiVersion: v2\nname: web\n")],
            json!({}),
            "version",
        ),
        (
            vec![],
            json!({"chart": "/nowhere/at/all"}),
            "/nowhere/at/all",
        ),
        (vec![], json!({"chart": "web"}), "web"),
        (vec![], json!({"chart": "--help"}), "hyphen"),
        (
            vec![],
            json!({"chart": "web", "repository": "http://127.0.0.1:9/"}),
            "127.0.0.1:9",
        ),
        (
            vec![],
            json!({"chart": "oci://127.0.0.1:9/web", "version": "1.0.0"}),
            "127.0.0.1:9",
        ),
        (
            vec![],
            json!({"parameters": {"k": "{{ get('', 'v1', 'Secret') }}"}}),
            "spec.parameters.k",
        ),
        (vec![], json!({"when": "resources[5].spec"}), "spec.when"),
    ] {
        let folder = chart_folder(&files);
        let message = world.refused(vec![chart(folder.path(), spec)]).await;
        assert!(message.contains(words), "{words}: {message}");
    }
    let folder = chart_folder(&[("templates/a.yaml", map)]);
    let there = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default"},
    });
    let message = world
        .refused(vec![there, chart(folder.path(), json!({}))])
        .await;
    assert!(
        message.contains("the package has that already"),
        "{message}"
    );
    world.stop().await;
}

#[tokio::test]
async fn a_chart_that_takes_too_long_or_prints_too_much_is_ended() {
    let Some(helm) = helm() else { return };
    let settings = || HelmSettings::default().with_program(helm.display().to_string());
    let folder = chart_folder(&[(
        "templates/a.yaml",
        "{{ range $i := untilStep 0 100000 1 }}# {{ $i }} is a line\n{{ end }}",
    )]);
    let world = World::new(
        settings()
            .with_output(64 << 10)
            .with_timeout(Duration::from_mins(1)),
    );
    let message = world.refused(vec![chart(folder.path(), json!({}))]).await;
    assert!(message.contains("more than 65536 bytes"), "{message}");
    world.stop().await;

    let slow = chart_folder(&[(
        "templates/a.yaml",
        "{{ range $i := untilStep 0 30000 1 }}{{ range $j := untilStep 0 30000 1 }}{{ end }}{{ end }}",
    )]);
    let world = World::new(settings().with_timeout(Duration::from_secs(1)));
    let message = world.refused(vec![chart(slow.path(), json!({}))]).await;
    assert!(message.contains("did not finish within"), "{message}");
    world.stop().await;
}

#[tokio::test]
async fn without_helm_the_condition_says_what_to_do() {
    let world = World::new(HelmSettings::default().with_program("no-such-helm"));
    let folder = chart_folder(&[]);
    let message = world.refused(vec![chart(folder.path(), json!({}))]).await;
    assert!(
        message.contains("no-such-helm") && message.contains("--helm"),
        "{message}"
    );
    world.stop().await;
}
