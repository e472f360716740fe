//! Plugins of the executor `kpt`.

use crate::world::{World, config_map, program, workload};
use serde_json::json;
use tko_core::{Gvk, Identifier};
use tko_kpt::executor::KptSettings;

#[tokio::test]
async fn a_native_function_gets_its_inputs_from_the_triggering_resource() {
    let world = World::new(KptSettings::default());
    world
        .plugin(
            "gcr.io/kpt-fn/set-namespace:v0.4.1",
            &[("namespace", "spec.namespace")],
        )
        .await;
    let id = world.deploy(vec![config_map("a"), workload()]).await;
    let package = world.prepared(&id).await;
    let kinds: Vec<String> = package.iter().map(|r| r.identifier().to_string()).collect();
    assert_eq!(
        kinds,
        [
            "ConfigMap edge/a",
            "Workload edge/gateway",
            "Deployment deployment"
        ]
    );
    world.stop().await;
}

#[tokio::test]
async fn a_program_gets_the_package_and_its_configuration() {
    let world = World::new(KptSettings::default());
    world
        .plugin(&program("pass.sh"), &[("count", "spec.replicas")])
        .await;
    let id = world.deploy(vec![config_map("a"), workload()]).await;
    let package = world.prepared(&id).await;
    let gvk = Gvk::of("v1", "ConfigMap");
    let found = package.find(&Identifier::new(gvk, "a")).expect("is there");
    // The marks of the call are gone.
    assert_eq!(*found.value(), config_map("a"));
    assert_eq!(package.len(), 3);
    world.stop().await;
}

#[tokio::test]
async fn an_input_that_the_resource_does_not_have_is_an_error_that_names_it() {
    let world = World::new(KptSettings::default());
    world
        .plugin("set-namespace:v0.4.1", &[("namespace", "spec.elsewhere")])
        .await;
    let message = world.refused(vec![workload()]).await;
    assert!(
        message.contains("has no scalar at spec.elsewhere"),
        "{message}"
    );
    world.stop().await;
}

#[tokio::test]
async fn results_of_severity_error_are_the_condition() {
    for name in ["report.sh", "report-fails.sh"] {
        let world = World::new(KptSettings::default());
        world.plugin(&program(name), &[]).await;
        let message = world.refused(vec![workload()]).await;
        assert!(
            message.contains("reported: ConfigMap prod/a: data.key: too short"),
            "{name}: {message}"
        );
        assert!(!message.contains("only a warning"), "{name}: {message}");
        world.stop().await;
    }
}

#[tokio::test]
async fn a_plugin_that_names_no_function_says_so_in_the_condition() {
    for (function, properties, words) in [
        ("native:nothing", &[][..], "is not a native function"),
        (
            "set-namespace",
            &[("_unknown", "1")][..],
            "unknown property",
        ),
        (
            "set-namespace",
            &[("a", "spec..b")][..],
            "expected a dotted path",
        ),
    ] {
        let world = World::new(KptSettings::default());
        world.plugin(function, properties).await;
        let message = world
            .refused(vec![
                workload(),
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}),
            ])
            .await;
        assert!(message.contains(words), "{message}");
        world.stop().await;
    }
}
