//! Permissions that a write needs in addition to its verb, behind a cluster.

use crate::requests::ApiClient;
use crate::serving::{Serving, config_map, package};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::Arc;
use tko_core::{DataApi, NewDeployment, Result};
use tko_krm::{AccessReview, ClusterReviews, ClusterUser, FrontProxySettings, KrmSettings};
use tko_serve::Access;

/// A cluster whose tokens are the names of users.
struct StubCluster;

#[async_trait]
impl ClusterReviews for StubCluster {
    async fn token(&self, token: &str) -> Result<Option<ClusterUser>> {
        Ok(Some(ClusterUser::new(token, Vec::new())))
    }

    async fn access(&self, review: &AccessReview) -> Result<Option<String>> {
        let is_allowed = match review.user.name.as_str() {
            "admin" => true,
            // As the ClusterRole `tko-edit`.
            "edit" => review.subresource.is_empty(),
            "patch" => review.verb == "patch" && review.subresource.is_empty(),
            _ => false,
        };
        Ok((!is_allowed).then(|| "no role permits it".to_owned()))
    }

    async fn front_proxy(&self) -> Result<FrontProxySettings> {
        Ok(FrontProxySettings::default())
    }
}

async fn serving() -> Serving {
    let (settings, access) = (KrmSettings::default(), Access::new());
    Serving::behind(settings, access, Some(Arc::new(StubCluster))).await
}

/// The Deployment resource of a package, with its approval, and its position.
fn approved(object: &Value) -> (usize, Value) {
    let resources = object["spec"]["package"]["resources"].as_array();
    let resources = resources.expect("a package");
    let at = resources
        .iter()
        .position(|resource| resource["kind"] == "Deployment")
        .expect("a Deployment resource");
    let mut resource = resources[at].clone();
    resource["metadata"]["annotations"]["nephio.org/approved"] = "true".into();
    (at, resource)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_by_a_write_of_the_object_needs_the_permission_to_approve() {
    let serving = serving().await;
    let new = NewDeployment::new().merge(package("a")).prepared(true);
    let id = serving.data.create_deployment(new).await.expect("valid");
    let edit = ApiClient::new(&serving).with_token("edit");
    let admin = ApiClient::new(&serving).with_token("admin");
    let path = format!("deployments/{id}");
    let read = edit.get(&path).await;
    assert_eq!(read.status, 200, "{read:?}");
    let (at, resource) = approved(&read.body);
    let mut object = read.body.clone();
    object["spec"]["package"]["resources"][at] = resource.clone();

    let refused = edit.put(&path, &object).await;
    assert_eq!(refused.status, 403, "{refused:?}");
    let message = refused.message();
    assert!(message.contains("deployments/approval"), "{message}");
    let spec = json!({"spec": {"package": {"resources": [config_map("a"), resource]}}});
    let refused = edit.patch(&path, "merge-patch+json", &spec).await;
    assert_eq!(refused.status, 403, "{refused:?}");
    let applied = format!("{path}?fieldManager=edit&force=true");
    let refused = edit.patch(&applied, "apply-patch+yaml", &spec).await;
    assert_eq!(refused.status, 403, "{refused:?}");
    let annotation = format!("/spec/package/resources/{at}/metadata/annotations");
    let one = json!([{
        "op": "add", "path": format!("{annotation}/nephio.org~1approved"), "value": "true",
    }]);
    let refused = edit.patch(&path, "json-patch+json", &one).await;
    assert_eq!(refused.status, 403, "{refused:?}");

    let mut new = spec.clone();
    new["metadata"] = json!({"name": "new-one"});
    let refused = edit.post("deployments", &new).await;
    assert_eq!(refused.status, 403, "{refused:?}");
    // The package of a template does not bypass the check.
    new["metadata"] = json!({"name": "approved"});
    let created = edit.post("templates", &new).await;
    assert_eq!(created.status, 201, "{created:?}");
    let from_template =
        json!({"metadata": {"name": "new-one"}, "spec": {"templateId": "approved"}});
    let refused = edit.post("deployments", &from_template).await;
    assert_eq!(refused.status, 403, "{refused:?}");
    let read = edit.get(&path).await;
    assert_eq!(read.body["status"]["approved"], false);

    let done = admin.put(&path, &object).await;
    assert_eq!(done.status, 200, "{done:?}");
    assert_eq!(done.body["status"]["approved"], true);
    let created = admin.post("deployments", &from_template).await;
    assert_eq!(created.status, 201, "{created:?}");
    // A write that keeps the approval needs no permission to approve.
    let label = json!({"metadata": {"labels": {"tier": "front"}}});
    let labelled = edit.patch(&path, "merge-patch+json", &label).await;
    assert_eq!(labelled.status, 200, "{labelled:?}");
    assert_eq!(labelled.body["status"]["approved"], true);
    serving.stop().await;
}

/// The Deployment resource of a package that the preparer approves.
fn automatic() -> Value {
    json!({
        "apiVersion": "deployment.nephio.org/v1alpha1",
        "kind": "Deployment",
        "metadata": {"name": "deployment", "annotations": {"nephio.org/approve": "Auto"}},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_automatic_approval_needs_the_permission_to_approve() {
    let serving = serving().await;
    let new = NewDeployment::new().merge(package("a"));
    let id = serving.data.create_deployment(new).await.expect("valid");
    let new = NewDeployment::new().merge(package("a"));
    let new = new.prepared(true).approved(true);
    let approved = serving.data.create_deployment(new).await.expect("valid");
    let edit = ApiClient::new(&serving).with_token("edit");
    let admin = ApiClient::new(&serving).with_token("admin");
    let spec = json!({"spec": {"package": {"resources": [config_map("a"), automatic()]}}});
    for id in [&id, &approved] {
        let path = format!("deployments/{id}");
        let refused = edit.patch(&path, "merge-patch+json", &spec).await;
        assert_eq!(refused.status, 403, "{refused:?}");
        let message = refused.message();
        assert!(message.contains("deployments/approval"), "{message}");
        let applied = format!("{path}?fieldManager=edit&force=true");
        let refused = edit.patch(&applied, "apply-patch+yaml", &spec).await;
        assert_eq!(refused.status, 403, "{refused:?}");
    }
    let mut new = spec.clone();
    new["metadata"] = json!({"name": "automatic"});
    for resource in ["deployments", "templates"] {
        let refused = edit.post(resource, &new).await;
        assert_eq!(refused.status, 403, "{refused:?}");
    }

    // The annotation of a template is the decision of those who may write it there.
    let created = admin.post("templates", &new).await;
    assert_eq!(created.status, 201, "{created:?}");
    let from_template =
        json!({"metadata": {"name": "new-one"}, "spec": {"templateId": "automatic"}});
    let created = edit.post("deployments", &from_template).await;
    assert_eq!(created.status, 201, "{created:?}");
    // A write that keeps the annotation does not need the permission.
    let path = format!("deployments/{id}");
    let done = admin.patch(&path, "merge-patch+json", &spec).await;
    assert_eq!(done.status, 200, "{done:?}");
    let more = json!([config_map("a"), config_map("b"), automatic()]);
    let more = json!({"spec": {"package": {"resources": more}}});
    let done = edit.patch(&path, "merge-patch+json", &more).await;
    assert_eq!(done.status, 200, "{done:?}");
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_that_creates_needs_the_permission_to_create() {
    let serving = serving().await;
    let site = json!({"metadata": {"name": "a", "labels": {"tier": "front"}}});
    let path = "sites/a?fieldManager=test";
    let patch = ApiClient::new(&serving).with_token("patch");
    let refused = patch.patch(path, "apply-patch+yaml", &site).await;
    assert_eq!(refused.status, 403, "{refused:?}");
    let message = refused.message();
    assert!(message.contains("cannot create"), "{message}");
    let edit = ApiClient::new(&serving).with_token("edit");
    let created = edit.patch(path, "apply-patch+yaml", &site).await;
    assert_eq!(created.status, 201, "{created:?}");
    let applied = patch.patch(path, "apply-patch+yaml", &site).await;
    assert_eq!(applied.status, 200, "{applied:?}");
    serving.stop().await;
}
