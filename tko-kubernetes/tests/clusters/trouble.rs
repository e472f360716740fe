//! What ends as an error that says what to do.

use crate::world::{World, custom, definition, deployment, map, site, site_with, workload};
use serde_json::json;
use tko_kubernetes::KubernetesScheduler;
use tko_kubernetes_server::{ApiServer, Authority};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes API server: `cargo xtask kubernetes`, then `bash .ci/long kubernetes`"]
async fn a_conflict_names_the_other_manager_and_can_be_forced() {
    let world = World::start().await;
    let scheduler = world.scheduler();
    let calm = site("a", "admin.yaml");
    let wanted = [deployment(
        "smf",
        vec![map(None, "settings", "1"), map(None, "free", "1")],
    )];
    world
        .schedule(&scheduler, &calm, &wanted, &[])
        .await
        .expect("applied");
    let theirs = map(None, "settings", "theirs").to_string();
    let words = "apply --server-side --force-conflicts --field-manager=rival -f -";
    world.kubectl(words, &theirs).await;
    world
        .refused(&scheduler, &calm, &wanted, ".data.value of \"rival\"")
        .await;
    // The rest is applied, and nothing is removed meanwhile.
    let changed = [deployment(
        "smf",
        vec![map(None, "settings", "1"), map(None, "new", "1")],
    )];
    world
        .refused(&scheduler, &calm, &changed, "nephio.org/force-conflicts")
        .await;
    assert!(world.object("configmap new").await.is_some());
    assert!(
        world.object("configmap free").await.is_some(),
        "kept until all is applied"
    );

    let force = json!({"nephio.org/force-conflicts": "true"});
    let forced = site_with("a", &json!({"kubeconfig": {"file": "admin.yaml"}}), &force);
    world
        .schedule(&scheduler, &forced, &changed, &[])
        .await
        .expect("forced");
    let found = world
        .object("configmap settings")
        .await
        .expect("it is there");
    assert_eq!(found["data"]["value"], "1");
    assert!(world.object("configmap free").await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes API server: `cargo xtask kubernetes`, then `bash .ci/long kubernetes`"]
async fn a_definition_may_come_late() {
    let world = World::start().await;
    let scheduler = world.scheduler();
    let site = site("a", "admin.yaml");
    let wanted = [deployment(
        "smf",
        vec![custom("Slice", "a"), map(None, "settings", "1")],
    )];
    world
        .refused(
            &scheduler,
            &site,
            &wanted,
            "the cluster has no kind Slice in x.example/v1",
        )
        .await;
    assert!(
        world.object("configmap settings").await.is_some(),
        "the rest does not wait"
    );
    world
        .kubectl("apply -f -", &definition("Slice").to_string())
        .await;
    world
        .kubectl(
            "wait crd slices.x.example --for=condition=Established --timeout=60s",
            "",
        )
        .await;
    world
        .schedule(&scheduler, &site, &wanted, &[])
        .await
        .expect("applied");
    assert!(world.object("slices.x.example a").await.is_some());
    // The definition goes, and takes the object along: it is no one's any more.
    world.kubectl("delete crd slices.x.example", "").await;
    let rest = [deployment("smf", vec![map(None, "settings", "1")])];
    world
        .schedule(&scheduler, &site, &rest, &[])
        .await
        .expect("applied");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes API server: `cargo xtask kubernetes`, then `bash .ci/long kubernetes`"]
async fn an_exceeded_quota_says_so() {
    let world = World::start().await;
    let scheduler = world.scheduler();
    world.tenant("edge").await;
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota",
        "metadata": {"name": "small", "namespace": "edge"},
        "spec": {"hard": {"count/configmaps": "3"}},
    });
    world.kubectl("apply -f -", &quota.to_string()).await;
    // No controller computes the use here: a test plays its part.
    world
        .kubectl(
            "patch resourcequota small -n edge --subresource=status --type=merge -p {\"status\":{\"hard\":{\"count/configmaps\":\"3\"},\"used\":{\"count/configmaps\":\"2\"}}}",
            "",
        )
        .await;
    let site = site("edge", "edge.yaml");
    let wanted = [deployment(
        "smf",
        (0..4).map(|n| map(None, &format!("m{n}"), "1")).collect(),
    )];
    world
        .refused(&scheduler, &site, &wanted, "raise the ResourceQuota")
        .await;
    world
        .kubectl("delete resourcequota small -n edge", "")
        .await;
    // The API server forgets a quota a moment later.
    let mut last = String::new();
    for _ in 0..120 {
        match world.schedule(&scheduler, &site, &wanted, &[]).await {
            Ok(_) => return,
            Err(error) => last = error.chain(),
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    panic!("{last}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes API server: `cargo xtask kubernetes`, then `bash .ci/long kubernetes`"]
async fn what_rbac_forbids_is_named_with_the_right() {
    let world = World::start().await;
    let scheduler = world.scheduler();
    world.tenant("edge").await;
    let site = site("edge", "edge.yaml");
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "edge"}});
    let wanted = [deployment(
        "smf",
        vec![namespace, map(None, "settings", "1")],
    )];
    // The users of tenants cannot write namespaces, nor list them.
    world.refused(&scheduler, &site, &wanted, "by RBAC").await;
    let elsewhere = [deployment(
        "smf",
        vec![map(Some("kube-system"), "settings", "1")],
    )];
    world
        .refused(&scheduler, &site, &elsewhere, "by RBAC")
        .await;
    let no_namespace = [deployment(
        "smf",
        vec![map(Some("nowhere"), "settings", "1")],
    )];
    let all = crate::world::site("b", "admin.yaml");
    world
        .refused(
            &scheduler,
            &all,
            &no_namespace,
            "add the Namespace to the package",
        )
        .await;
    let own = [deployment(
        "smf",
        vec![map(None, "settings", "1"), workload("smf")],
    )];
    world
        .schedule(&scheduler, &site, &own, &[])
        .await
        .expect("its own namespace");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes API server: `cargo xtask kubernetes`, then `bash .ci/long kubernetes`"]
async fn a_cluster_may_go_away_and_come_back() {
    let mut world = World::start().await;
    let settings = world
        .settings()
        .with_request_timeout(std::time::Duration::from_secs(5));
    let scheduler = KubernetesScheduler::new(settings);
    let site = site("a", "admin.yaml");
    let wanted = [deployment("smf", vec![map(None, "settings", "1")])];
    world
        .schedule(&scheduler, &site, &wanted, &[])
        .await
        .expect("applied");
    world.stop_api();
    let more = [deployment(
        "smf",
        vec![map(None, "settings", "2"), map(None, "more", "1")],
    )];
    world
        .refused(&scheduler, &site, &more, "the cluster does not answer")
        .await;
    world.start_api();
    world
        .schedule(&scheduler, &site, &more, &[])
        .await
        .expect("applied");
    assert!(world.object("configmap more").await.is_some());
    // New credentials in the same file are used at once.
    let admin = world.folder.path().join("admin.yaml");
    let good = std::fs::read_to_string(&admin).expect("a file");
    std::fs::write(&admin, good.replace("token: ", "token: no-")).expect("a folder");
    world
        .refused(&scheduler, &site, &more, "refuses the credentials")
        .await;
    std::fs::write(&admin, good).expect("a folder");
    world
        .schedule(&scheduler, &site, &more, &[])
        .await
        .expect("applied");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes API server: `cargo xtask kubernetes`, then `bash .ci/long kubernetes`"]
async fn kubeconfigs_are_read_from_where_the_operator_said() {
    let world = World::start().await;
    let wanted = [deployment("smf", vec![map(None, "settings", "1")])];
    let scheduler = world.scheduler();
    for (file, expected) in [
        ("../admin.yaml", "not a path below"),
        ("/etc/passwd", "not a path below"),
        ("none.yaml", "cannot be read"),
    ] {
        world
            .refused(&scheduler, &site("a", file), &wanted, expected)
            .await;
    }
    let nowhere = KubernetesScheduler::new(tko_kubernetes::KubernetesSettings::default());
    world
        .refused(&nowhere, &site("a", "admin.yaml"), &wanted, "--kubeconfigs")
        .await;

    // A Secret of the management cluster, with a kubeconfig that names a file, then one that does not.
    let admin = std::fs::read_to_string(world.folder.path().join("admin.yaml")).expect("a file");
    let secret = |text: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "edge", "namespace": "default"},
            "stringData": {"kubeconfig": text},
        })
        .to_string()
    };
    let spec = json!({"kubeconfig": {"secretRef": {"name": "edge", "namespace": "default", "key": "kubeconfig"}}});
    let by_secret = site_with("a", &spec, &json!({}));
    world
        .refused(
            &scheduler,
            &by_secret,
            &wanted,
            "has no Secret default/edge",
        )
        .await;
    world.kubectl("apply -f -", &secret(&admin)).await;
    world
        .refused(&scheduler, &by_secret, &wanted, "certificate-authority")
        .await;
    let authority = admin
        .lines()
        .find_map(|line| line.trim().strip_prefix("certificate-authority: "));
    let embedded = std::fs::read(authority.expect("it has one")).expect("a file");
    let line = format!("certificate-authority: {}", authority.expect("it has one"));
    let data = format!(
        "certificate-authority-data: {}",
        crate::world::base64(&embedded)
    );
    world
        .kubectl("apply -f -", &secret(&admin.replace(&line, &data)))
        .await;
    world
        .schedule(&scheduler, &by_secret, &wanted, &[])
        .await
        .expect("applied");
    assert!(world.object("configmap settings").await.is_some());

    // A client certificate in a file of its own, which is replaced while the kubeconfig stays.
    let write = |name: &str, text: &str| {
        std::fs::write(world.folder.path().join(name), text).expect("a folder");
    };
    let issue = |authority: &Authority| {
        let issued = authority.client("admin", &["system:masters"]);
        write("edge.crt", &issued.certificate);
        write("edge.key", &issued.key);
    };
    let token = format!("token: {}", ApiServer::token("admin"));
    let certificate = "client-certificate: edge.crt\n    client-key: edge.key";
    write("edge.yaml", &admin.replace(&token, certificate));
    let by_file = site("b", "edge.yaml");
    let own = [deployment("upf", vec![map(None, "own", "1")])];
    let applied = async || world.schedule(&scheduler, &by_file, &own, &[]).await;
    issue(world.server.authority());
    applied().await.expect("applied");
    issue(&Authority::new("another-ca"));
    world
        .refused(&scheduler, &by_file, &own, "refuses the credentials")
        .await;
    issue(world.server.authority());
    applied().await.expect("applied");
}
