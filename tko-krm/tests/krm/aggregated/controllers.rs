//! The cluster's own controllers: garbage collection, and deletion of namespaces.

use super::behind::Behind;

const SITE: &str = "india-002fsouth-002d100";

fn owned(kind: &str, name: &str, uid: &str) -> String {
    format!(
        "{kind}  ownerReferences:\n  - apiVersion: tko.nephio.org/v1alpha1\n    kind: Site\n    name: \
         {name}\n    uid: {uid}\n    blockOwnerDeletion: true\n"
    )
}

fn config_map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  namespace: scratch\n")
}

fn site(name: &str) -> String {
    format!("apiVersion: tko.nephio.org/v1alpha1\nkind: Site\nmetadata:\n  name: {name}\n")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes API server: `bash .ci/long kubernetes`"]
async fn owners_are_collected_and_namespaces_are_deleted() {
    let behind = Behind::start().await;
    assert!(
        behind.cluster.has_controllers(),
        "build kube-controller-manager with `cargo xtask kubernetes`"
    );
    behind.eventually("explain sites.spec").await;
    behind.kubectl("create namespace scratch", "").await.ok();
    let uid = async |name: &str| {
        let words = format!("get site {name} -o jsonpath={{.metadata.uid}}");
        behind.kubectl(&words, "").await.ok()
    };
    let create = async |text: &str| {
        behind.kubectl("create -f -", text).await.ok();
    };
    for name in ["parent", "gone", "kept"] {
        create(&site(name)).await;
    }
    let of_site = uid(SITE).await;
    create(&owned(&config_map("owned"), SITE, &of_site)).await;
    // An owner whose UID is another's has never been there.
    let unknown = "7b0c1a52-3c49-4a5e-9a55-2f6f0a3a1111";
    create(&owned(&config_map("unrelated"), SITE, unknown)).await;
    let parent = uid("parent").await;
    create(&owned(&site("child"), "parent", &parent)).await;
    let (gone, kept) = (uid("gone").await, uid("kept").await);
    create(&owned(&config_map("of-gone"), "gone", &gone)).await;
    create(&owned(&config_map("of-kept"), "kept", &kept)).await;

    let is_gone = async |words: &str| {
        let words = format!("wait {words} --for=delete --timeout=150s");
        let output = behind.kubectl(&words, "").await;
        assert!(output.success, "{words}: {output:?}");
    };
    is_gone("-n scratch configmap unrelated").await;
    behind
        .kubectl("get configmap owned -n scratch", "")
        .await
        .ok();
    let delete = async |words: &str| {
        let words = format!("delete {words} --timeout=150s");
        behind.kubectl(&words, "").await.ok();
    };
    // Background: the owner goes first. It may be among our objects, and so may what it owns.
    delete(&format!("site {SITE}")).await;
    is_gone("-n scratch configmap owned").await;
    delete("site parent").await;
    is_gone("site child").await;
    // Foreground: what it owns goes first. kubectl returns when the owner is gone.
    delete("site gone --cascade=foreground").await;
    let left = behind.kubectl("get configmap of-gone -n scratch", "").await;
    assert!(left.failed().contains("NotFound"));
    // Orphan: what it owns stays, without an owner.
    delete("site kept --cascade=orphan").await;
    let owners = "get configmap of-kept -n scratch -o jsonpath={.metadata.ownerReferences}";
    assert_eq!(behind.kubectl(owners, "").await.ok(), "");

    let gone = behind.kubectl("delete namespace scratch --timeout=150s", "");
    gone.await.ok();
    let left = behind.kubectl("get deployment.tko", "").await.ok();
    assert!(left.contains(&behind.id), "{left}");
    behind.stop().await;
}
