//! Writes of what was read or written before, and patches of it.

use crate::requests::{ApiAnswer, ApiClient};
use crate::serving::{AdmitMost, Serving, config_map, package, store};
use async_trait::async_trait;
use reqwest::Method;
use serde_json::json;
use std::sync::Arc;
use tko_backend_memory::{Memory, MemorySettings};
use tko_core::system::{SystemClock, TimeOrderedIds};
use tko_core::{
    Admission, DataApi, DeploymentId, Error, Guarded, Ids, Metadata, NewDeployment, NewPlugin,
    NewSite, NewTemplate, Package, PluginId, PluginType, Result, RoleGuard, SiteId, Store,
    TemplateId, Violation,
};
use tko_krm::KrmSettings;
use tko_serve::Access;

#[tokio::test(flavor = "multi_thread")]
async fn every_object_with_metadata_is_replaced_by_what_was_read() {
    let serving = Serving::start().await;
    let data = &*serving.data;
    let metadata = || Metadata::from([("region", "south"), ("Catalog.revision", "a b")]);
    let id = TemplateId::new("a").expect("an id");
    let new = NewTemplate::new(id, package("a")).metadata(metadata());
    data.register_template(new).await.expect("valid");
    let id = SiteId::new("a").expect("an id");
    let new = NewSite::new(id, package("a")).metadata(metadata());
    data.register_site(new).await.expect("valid");
    let id = PluginId::new(PluginType::Catalog, "a").expect("an id");
    let new = NewPlugin::new(id, "git").metadata(metadata());
    data.register_plugin(new).await.expect("valid");
    let new = NewDeployment::new()
        .merge(package("a"))
        .metadata(metadata());
    data.create_deployment(new).await.expect("valid");
    let client = ApiClient::new(&serving);
    for plural in ["templates", "sites", "plugins", "deployments"] {
        let listed = client.get(plural).await;
        let read = &listed.body["items"][0];
        let metadata = &read["status"]["metadata"];
        assert_eq!(metadata["Catalog.revision"], "a b", "{plural}: {read}");
        let name = read["metadata"]["name"].as_str().expect("a name");
        let path = format!("{plural}/{name}?fieldValidation=Strict");
        let replaced = client.put(&path, read).await;
        assert_eq!(replaced.status, 200, "{plural}: {replaced:?}");
        assert_eq!(replaced.body["status"], read["status"], "{plural}");
    }
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_that_does_not_fit_has_a_cause_that_kubectl_can_show() {
    let serving = Serving::start().await;
    let client = ApiClient::new(&serving);
    let created = client
        .post("sites", &json!({"metadata": {"name": "a"}}))
        .await;
    assert_eq!(created.status, 201, "{created:?}");
    let patch = json!([{"op": "remove", "path": "/spec/none"}]);
    let refused = client.patch("sites/a", "json-patch+json", &patch).await;
    assert_eq!(refused.status, 422, "{refused:?}");
    assert_eq!(refused.body["details"]["causes"][0]["field"], "patch");
    let message = refused.message();
    assert!(message.contains("is invalid: patch: the path"), "{message}");
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_whose_template_is_created_again_is_applied_again() {
    let serving = Serving::start().await;
    let client = ApiClient::new(&serving);
    let resources = json!({"package": {"resources": [config_map("base")]}});
    let template = json!({"metadata": {"name": "web"}, "spec": resources});
    let created = client.post("templates", &template).await;
    assert_eq!(created.status, 201, "{created:?}");
    let own = json!({"resources": [config_map("own")]});
    let manifest = json!({"spec": {"templateId": "web", "package": own}});
    let path = "deployments/web-a?fieldManager=gitops";
    let apply = async || client.patch(path, "apply-patch+yaml", &manifest).await;
    let created = apply().await;
    assert_eq!(created.status, 201, "{created:?}");

    let deleted = client.delete("templates/web").await;
    assert_eq!(deleted.status, 200, "{deleted:?}");
    let refused = apply().await;
    assert_eq!(refused.status, 422, "{refused:?}");
    let message = refused.message();
    assert!(message.contains("create the template again"), "{message}");

    client.post("templates", &template).await;
    let applied = apply().await;
    assert_eq!(applied.status, 200, "{applied:?}");
    assert_eq!(applied.body["spec"]["templateId"], "web");
    assert_eq!(
        applied.body["spec"]["package"],
        created.body["spec"]["package"]
    );
    let again = apply().await;
    assert_eq!(again.status, 200, "{again:?}");
    let version = |object: &ApiAnswer| object.body["metadata"]["resourceVersion"].clone();
    assert_eq!(version(&again), version(&applied), "nothing changed");
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_deployment_keeps_its_template() {
    let serving = Serving::start().await;
    let client = ApiClient::new(&serving);
    for name in ["a", "b"] {
        let site = json!({"metadata": {"name": name}});
        let created = client.post("sites", &site).await;
        assert_eq!(created.status, 201, "{created:?}");
    }
    let resources = json!({"package": {"resources": [config_map("base")]}});
    let template = json!({"metadata": {"name": "web"}, "spec": resources});
    let created = client.post("templates", &template).await;
    assert_eq!(created.status, 201, "{created:?}");
    let new = json!({"metadata": {"name": "web1"}, "spec": {"templateId": "web", "siteId": "a"}});
    let created = client.post("deployments", &new).await;
    assert_eq!(created.status, 201, "{created:?}");
    let change = async |spec: serde_json::Value| {
        let patch = json!({"spec": spec});
        client
            .patch("deployments/web1", "merge-patch+json", &patch)
            .await
    };

    // Without the Deployment resource, and on another site.
    let package = json!({"resources": [config_map("own")]});
    let moved = change(json!({"siteId": "b", "package": package})).await;
    assert_eq!(moved.status, 200, "{moved:?}");
    assert_eq!(moved.body["spec"]["templateId"], "web");
    assert_eq!(moved.body["spec"]["siteId"], "b");

    let unnamed = json!({
        "apiVersion": "deployment.nephio.org/v1alpha1",
        "kind": "Deployment",
        "metadata": {"name": "deployment"},
    });
    let package = json!({"resources": [config_map("own"), unnamed]});
    let refused = change(json!({"package": package})).await;
    assert_eq!(refused.status, 422, "{refused:?}");
    let message = refused.message();
    assert!(message.contains("spec.templateId: is missing"), "{message}");
    serving.stop().await;
}

/// Admits every package, and plugins of the executor `git` only if they name a revision.
struct AdmitRevisions;

#[async_trait]
impl Admission for AdmitRevisions {
    async fn admit(&self, _: &Package, _: bool) -> Result<Vec<Violation>> {
        Ok(Vec::new())
    }

    async fn admit_plugin(&self, plugin: &NewPlugin) -> Result<()> {
        if plugin.executor == "git" && !plugin.properties.contains_key("revision") {
            return Err(Error::bad("revision", "is missing"));
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metadata_of_a_plugin_that_is_no_longer_admitted_can_change() {
    let clock = Arc::new(SystemClock::new());
    let memory = Arc::new(Memory::new(clock, MemorySettings::default()));
    let stored = |admission: Arc<dyn Admission>| {
        Arc::new(Store::new(
            memory.clone(),
            admission,
            Arc::new(TimeOrderedIds),
        ))
    };
    let id = PluginId::new(PluginType::Catalog, "a").expect("an id");
    let new = NewPlugin::new(id, "git");
    let before = stored(Arc::new(AdmitMost));
    before.register_plugin(new).await.expect("valid");
    let data = stored(Arc::new(AdmitRevisions));
    let settings = KrmSettings::default();
    let serving = Serving::over(data, 0, settings, Access::new(), None).await;
    let client = ApiClient::new(&serving);
    let listed = client.get("plugins").await;
    let name = listed.body["items"][0]["metadata"]["name"].as_str();
    let path = format!("plugins/{}", name.expect("a name"));
    let metadata = json!({"metadata": {
        "labels": {"tier": "front"},
        "finalizers": ["example.com/keep"],
    }});
    let changed = client.patch(&path, "merge-patch+json", &metadata).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!(changed.body["metadata"]["labels"]["tier"], "front");
    let content = json!({"spec": {"arguments": ["other"]}});
    let refused = client.patch(&path, "merge-patch+json", &content).await;
    assert_eq!(refused.status, 422, "{refused:?}");
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_a_json_patch_has_twice_is_refused_or_warned_about() {
    let serving = Serving::start().await;
    let client = ApiClient::new(&serving);
    let site = json!({"metadata": {"name": "a"}});
    let created = client.post("sites", &site).await;
    assert_eq!(created.status, 201, "{created:?}");
    let patch = r#"[{"op": "add", "path": "/metadata/labels", "value": {"a": "1", "a": "2"}}]"#;
    let send = async |validation: &str| {
        let path = format!("sites/a?fieldValidation={validation}");
        let media = "application/json-patch+json";
        client
            .send(Method::PATCH, &path, media, patch.to_owned())
            .await
    };
    let refused = send("Strict").await;
    assert_eq!(refused.status, 400, "{refused:?}");
    let message = refused.message();
    assert!(message.contains("strict decoding error"), "{message}");
    let patched = send("Warn").await;
    assert_eq!(patched.status, 200, "{patched:?}");
    assert_eq!(patched.body["metadata"]["labels"], json!({"a": "2"}));
    assert_eq!(patched.warnings.len(), 1, "{patched:?}");
    let ignored = send("Ignore").await;
    assert!(ignored.warnings.is_empty(), "{ignored:?}");
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_of_a_creation_shows_only_what_would_be_stored() {
    let serving = Serving::start().await;
    let client = ApiClient::new(&serving);
    let new = json!({
        "metadata": {
            "name": "web",
            "deletionTimestamp": "2026-01-01T00:00:00Z",
            "deletionGracePeriodSeconds": 5,
            "selfLink": "/web",
        },
        "spec": {"package": {"resources": [config_map("a")]}},
        "status": {"approved": true},
    });
    let shown = client.post("deployments?dryRun=All", &new).await;
    assert_eq!(shown.status, 201, "{shown:?}");
    assert!(shown.body["metadata"]["uid"].is_string(), "{shown:?}");
    for field in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
    ] {
        assert!(
            shown.body["metadata"][field].is_null(),
            "{field}: {shown:?}"
        );
    }
    assert!(shown.body["status"]["approved"].is_null(), "{shown:?}");
    serving.stop().await;
}

/// Makes the same id each time.
struct SameId;

impl Ids for SameId {
    fn next(&self) -> DeploymentId {
        DeploymentId::new("same1").expect("an id")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_whose_generated_name_is_taken_can_be_repeated() {
    let data = store(MemorySettings::default());
    let api = Arc::new(Guarded::new(data.clone(), RoleGuard::new()));
    let (settings, access) = (KrmSettings::default(), Access::new());
    let serving = Serving::naming(Arc::new(SameId), api, data, 0, settings, access, None).await;
    let client = ApiClient::new(&serving);
    let generated = json!({"metadata": {"generateName": "edge"}});
    let created = client.post("sites", &generated).await;
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(created.body["metadata"]["name"], "edgesame1");
    let named = json!({"metadata": {"name": "edgesame1"}});
    for (new, seconds) in [(generated, json!(1)), (named, json!(null))] {
        let refused = client.post("sites", &new).await;
        assert_eq!(refused.status, 409, "{refused:?}");
        assert_eq!(refused.body["reason"], "AlreadyExists");
        assert_eq!(refused.body["details"]["retryAfterSeconds"], seconds);
    }
    serving.stop().await;
}
