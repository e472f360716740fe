//! The cluster's own discovery and OpenAPI contain the API.

use super::behind::Behind;
use serde_json::Value;

const KINDS: [&str; 4] = ["deployments", "plugins", "sites", "templates"];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes API server: `bash .ci/long kubernetes`"]
async fn discovery_and_openapi_of_the_cluster_contain_the_api() {
    let behind = Behind::start().await;
    behind
        .until(
            "api-resources --api-group=tko.nephio.org -o name",
            |names| KINDS.iter().all(|kind| names.contains(kind)),
        )
        .await;
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let groups = behind.document("/apis", accept).await;
    let group = groups["items"].as_array().and_then(|items| {
        let name = |item: &&Value| item["metadata"]["name"] == "tko.nephio.org";
        items.iter().find(name)
    });
    let version = &group.expect("the group is listed")["versions"][0];
    assert_eq!(version["freshness"], "Current", "{version}");
    let names: Vec<&str> = version["resources"]
        .as_array()
        .expect("resources")
        .iter()
        .filter_map(|resource| resource["resource"].as_str())
        .collect();
    assert!(KINDS.iter().all(|kind| names.contains(kind)), "{names:?}");

    // The cluster reads OpenAPI some time after the service is available.
    let explained = behind.eventually("explain sites.spec.templateId").await;
    assert!(
        explained.contains("template into whose package"),
        "{explained}"
    );
    let index = behind.document("/openapi/v3", "application/json").await;
    let path = &index["paths"]["apis/tko.nephio.org/v1alpha1"]["serverRelativeURL"];
    let path = path.as_str().expect("the group has a document");
    let third = behind.document(path, "application/json").await;
    let sites = &third["paths"]["/apis/tko.nephio.org/v1alpha1/sites"];
    assert!(sites["post"].is_object(), "{sites}");
    behind
        .until("get --raw /openapi/v2", |text| {
            text.contains("/apis/tko.nephio.org/v1alpha1/sites/{name}")
                && text.contains("/api/v1/namespaces/{namespace}/configmaps/{name}")
        })
        .await;
    let versions = behind.kubectl("api-versions", "").await.ok();
    assert!(versions.contains("tko.nephio.org/v1alpha1"), "{versions}");
    behind.stop().await;
}
