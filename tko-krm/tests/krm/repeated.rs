//! Writes of what was read or written before, and patches of it.

use crate::requests::ApiClient;
use crate::serving::{Serving, package};
use serde_json::json;
use tko_core::{
    DataApi, Metadata, NewDeployment, NewPlugin, NewSite, NewTemplate, PluginId, PluginType,
    SiteId, TemplateId,
};

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
