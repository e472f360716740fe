//! Users and their permissions behind a cluster.

use crate::requests::{ApiClient, tls_client};
use crate::serving::{Serving, config_map, package};
use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use tko_core::{DataApi, Error, NewDeployment, Result};
use tko_krm::{AccessReview, ClusterReviews, ClusterUser, FrontProxySettings, KrmSettings};
use tko_kubernetes_server::Authority;
use tko_serve::{Access, ServerTls};

/// A cluster whose tokens are the names of users.
#[derive(Default)]
struct StubCluster {
    front_proxy: FrontProxySettings,
}

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
            "lost" => return Err(Error::unavailable("review the access", "no answer")),
            _ => false,
        };
        Ok((!is_allowed).then(|| "no role permits it".to_owned()))
    }

    async fn front_proxy(&self) -> Result<FrontProxySettings> {
        Ok(self.front_proxy.clone())
    }
}

async fn serving() -> Serving {
    let (settings, access) = (KrmSettings::default(), Access::new());
    Serving::behind(settings, access, Some(Arc::new(StubCluster::default()))).await
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

#[tokio::test(flavor = "multi_thread")]
async fn without_an_answer_of_the_cluster_nothing_is_permitted() {
    let serving = serving().await;
    let lost = ApiClient::new(&serving).with_token("lost");
    for path in ["sites", "sites/a"] {
        let refused = lost.get(path).await;
        assert_eq!(refused.status, 503, "{refused:?}");
        assert_eq!(refused.body["details"]["retryAfterSeconds"], 1);
    }
    serving.stop().await;
}

/// The user names in the header of requests through the front proxy.
const USER_HEADER: &str = "X-Remote-User";

#[tokio::test(flavor = "multi_thread")]
async fn only_the_front_proxy_names_users_by_headers() {
    let (ca, proxies, clients) = (
        Authority::new("ca"),
        Authority::new("proxies"),
        Authority::new("clients"),
    );
    let cluster = StubCluster {
        front_proxy: FrontProxySettings {
            proxy_ca: proxies.pem(),
            allowed_names: vec!["proxy".to_owned()],
            user_headers: vec![USER_HEADER.to_owned()],
            client_ca: clients.pem(),
            ..FrontProxySettings::default()
        },
    };
    let own = ca.server(&["127.0.0.1"]);
    let tls = ServerTls::new(own.certificate.as_bytes(), own.key.as_bytes(), None);
    let (settings, access) = (KrmSettings::default(), Access::new().tls(tls));
    let serving = Serving::behind(settings, access, Some(Arc::new(cluster))).await;
    let url = format!(
        "https://{}/apis/tko.nephio.org/v1alpha1/sites",
        serving.address
    );
    let of_clients = |name: &str| Some(clients.client(name, &[]));
    for (what, issued, header, expected) in [
        (
            "proxy",
            Some(proxies.client("proxy", &[])),
            "admin",
            200_u16,
        ),
        ("no role", Some(proxies.client("proxy", &[])), "bob", 403),
        (
            "another name",
            Some(proxies.client("other", &[])),
            "admin",
            403,
        ),
        (
            "another authority",
            Some(ca.client("proxy", &[])),
            "admin",
            403,
        ),
        ("no certificate", None, "admin", 403),
        // A client of the cluster is the user that its certificate names.
        ("client", of_clients("admin"), "bob", 200),
        ("unknown client", of_clients("proxy"), "admin", 403),
    ] {
        let client = tls_client(&ca.pem(), issued.as_ref());
        let request = client.get(&url).header(USER_HEADER, header);
        let answer = request.send().await.expect("it answers");
        assert_eq!(answer.status(), expected, "{what}");
    }
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn options_of_deletions_are_read_from_body_and_query_or_refused() {
    let serving = serving().await;
    let client = ApiClient::new(&serving).with_token("edit");
    let site = json!({"metadata": {"name": "a"}});
    let created = client.post("sites", &site).await;
    assert_eq!(created.status, 201, "{created:?}");
    let delete = async |options: Value| {
        let body = options.to_string();
        let media = "application/json";
        client.send(Method::DELETE, "sites/a", media, body).await
    };
    for malformed in [
        json!({"dryRun": "All"}),
        json!({"dryRun": [true]}),
        json!({"preconditions": {"uid": 5}}),
        json!({"preconditions": "uid"}),
        json!({"propagationPolicy": 1}),
        json!({"orphanDependents": "true"}),
        json!({"gracePeriodSeconds": "0"}),
        json!([{}, {"dryRun": ["All"]}]),
    ] {
        let refused = delete(malformed.clone()).await;
        assert_eq!(refused.status, 400, "{malformed}: {refused:?}");
    }
    let tried = delete(json!({"dryRun": ["All"], "preconditions": null})).await;
    assert_eq!(tried.status, 200, "{tried:?}");
    assert_eq!(client.get("sites/a").await.status, 200, "it is still there");
    // As the client for Python sends it.
    let orphaned = client.delete("sites/a?orphanDependents=True").await;
    assert_eq!(orphaned.status, 200, "{orphaned:?}");
    let finalizers = &orphaned.body["metadata"]["finalizers"];
    assert_eq!(*finalizers, json!(["orphan"]), "{orphaned:?}");
    serving.stop().await;
}
