//! Sites that Cluster API provisions. Its controllers do not run here: the test plays their part.

use crate::world::{World, definition, deleting, deployment, map, site_of};
use serde_json::{Value, json};
use tko_core::Record;
use tko_kubernetes::{FoundKubeconfig, Kubeconfigs};

fn cluster_definition() -> Value {
    let mut definition = definition("Cluster");
    definition["metadata"]["name"] = json!("clusters.cluster.x-k8s.io");
    definition["spec"]["group"] = json!("cluster.x-k8s.io");
    definition["spec"]["versions"][0]["name"] = json!("v1beta2");
    definition["spec"]["versions"][0]["subresources"] = json!({"status": {}});
    definition
}

/// A site whose Cluster has these annotations.
fn provisioned_site(annotations: &Value) -> Record {
    let cluster = json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster",
        "metadata": {"name": "c1", "namespace": "fleet", "annotations": annotations},
        "spec": {"size": 3},
    });
    site_of(
        "a",
        vec![
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "fleet"}}),
            cluster,
            map(Some("fleet"), "machines", "3"),
            json!({"apiVersion": "infra.nephio.org/v1", "kind": "Never", "metadata": {"name": "x"}}),
        ],
    )
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes API server: `cargo xtask kubernetes`, then `bash .ci/long kubernetes`"]
async fn a_provisioned_site_is_made_used_and_removed() {
    let world = World::start().await;
    let scheduler = world.scheduler();
    let site = provisioned_site(&json!({}));
    let wanted = [deployment("smf", vec![map(None, "settings", "1")])];
    world
        .refused(
            &scheduler,
            &site,
            &wanted,
            "the cluster has no kind Cluster",
        )
        .await;
    world
        .kubectl("apply -f -", &cluster_definition().to_string())
        .await;
    world
        .kubectl(
            "wait crd clusters.cluster.x-k8s.io --for=condition=Established --timeout=60s",
            "",
        )
        .await;
    world
        .refused(&scheduler, &site, &wanted, "is being provisioned")
        .await;
    assert!(world.object("configmap machines -n fleet").await.is_some());
    let patch = "patch clusters.cluster.x-k8s.io c1 -n fleet --subresource=status --type=merge -p";
    world.kubectl(&format!("{patch} {{\"status\":{{\"phase\":\"Provisioned\",\"conditions\":[{{\"type\":\"ControlPlaneAvailable\",\"status\":\"False\",\"reason\":\"NoMachine\"}}]}}}}"), "").await;
    world
        .refused(
            &scheduler,
            &site,
            &wanted,
            "ControlPlaneAvailable (NoMachine",
        )
        .await;
    world
        .kubectl(
            &format!(
                "{patch} {{\"status\":{{\"initialization\":{{\"controlPlaneInitialized\":true}}}}}}"
            ),
            "",
        )
        .await;
    world
        .refused(
            &scheduler,
            &site,
            &wanted,
            "has no Secret fleet/c1-kubeconfig",
        )
        .await;

    let admin = std::fs::read_to_string(world.folder.path().join("admin.yaml")).expect("a file");
    let authority = admin
        .lines()
        .find_map(|line| line.trim().strip_prefix("certificate-authority: "));
    let authority = authority.expect("it has one");
    let data = crate::world::base64(&std::fs::read(authority).expect("a file"));
    let text = admin.replace(
        &format!("certificate-authority: {authority}"),
        &format!("certificate-authority-data: {data}"),
    );
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "c1-kubeconfig", "namespace": "fleet"}, "stringData": {"value": &text},
    });
    let kubeconfigs = Kubeconfigs::new(world.settings());
    let package = site.package.clone().expect("it has a package");
    let found = kubeconfigs.find(&package).await;
    assert_eq!(found.expect("asked"), FoundKubeconfig::NotProvisioned);
    world.kubectl("apply -f -", &secret.to_string()).await;
    let found = kubeconfigs.find(&package).await.expect("it is there");
    let context = None;
    assert_eq!(found, FoundKubeconfig::Secret { text, context });
    world
        .schedule(&scheduler, &site, &wanted, &[])
        .await
        .expect("applied");
    assert!(world.object("configmap settings").await.is_some());

    // The annotation of the Cluster takes fields of its infrastructure over, too.
    let theirs = map(Some("fleet"), "machines", "theirs").to_string();
    world
        .kubectl(
            "apply --server-side --force-conflicts --field-manager=rival -f -",
            &theirs,
        )
        .await;
    world
        .refused(&scheduler, &site, &wanted, "of \"rival\"")
        .await;
    let forced = provisioned_site(&json!({"nephio.org/force-conflicts": "true"}));
    world
        .schedule(&scheduler, &forced, &wanted, &[])
        .await
        .expect("forced");
    let machines = world.object("configmap machines -n fleet").await;
    assert_eq!(machines.expect("it is there")["data"]["value"], "3");

    world
        .schedule(&scheduler, &deleting(&site), &[], &wanted)
        .await
        .expect("removed");
    assert!(world.object("configmap settings").await.is_none());
    assert!(
        world.object("namespace fleet").await.is_none(),
        "with the cluster in it"
    );
    world
        .schedule(&scheduler, &deleting(&site), &[], &wanted)
        .await
        .expect("idempotent");
}
