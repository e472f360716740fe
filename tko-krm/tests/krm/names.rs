//! The names of objects.

use crate::requests::ApiClient;
use crate::serving::{Serving, config_map, package};
use serde_json::json;
use tko_core::{DataApi, Metadata, NewDeployment, NewSite, SiteId};

#[tokio::test(flavor = "multi_thread")]
async fn the_id_of_a_deployment_with_another_name_is_not_its_name() {
    let serving = Serving::start().await;
    let client = ApiClient::new(&serving);
    let spec = json!({"package": {"resources": [config_map("a")]}});
    let new = json!({"metadata": {"name": "al-ias"}, "spec": spec});
    let created = client.post("deployments", &new).await;
    assert_eq!(created.status, 201, "{created:?}");
    let id = created.body["spec"]["deploymentId"]
        .as_str()
        .expect("an id");
    let by_id = json!({"metadata": {"name": id}, "spec": spec});
    let label = json!({"metadata": {"labels": {"tier": "front"}}});
    let approval = json!({"status": {"approved": true}});
    let (path, none) = (format!("deployments/{id}"), json!([]));
    let (status, approve) = (format!("{path}/status"), format!("{path}/approval"));
    let merge = "merge-patch+json";
    for answer in [
        client.get(&path).await,
        client.get(&status).await,
        client.put(&path, &by_id).await,
        client.put(&approve, &by_id).await,
        client.patch(&path, merge, &label).await,
        client.patch(&path, "json-patch+json", &none).await,
        client.patch(&status, merge, &approval).await,
        client.delete(&path).await,
    ] {
        assert_eq!(answer.status, 404, "{answer:?}");
        assert_eq!(answer.body["details"]["name"], id, "{answer:?}");
    }
    // Both create an object of this name, which would get the id of the present deployment.
    let applied = format!("{path}?fieldManager=test");
    for answer in [
        client.post("deployments", &by_id).await,
        client.patch(&applied, "apply-patch+yaml", &by_id).await,
    ] {
        assert_eq!(answer.status, 409, "{answer:?}");
        assert_eq!(answer.body["reason"], "AlreadyExists", "{answer:?}");
    }
    let read = client.get("deployments/al-ias").await;
    assert_eq!(read.body, created.body, "nothing changed");
    let deleted = client.delete("deployments/al-ias").await;
    assert_eq!(deleted.status, 200, "{deleted:?}");
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_has_its_id_as_its_name_if_the_stored_one_is_not_possible() {
    let serving = Serving::start().await;
    let client = ApiClient::new(&serving);
    // The second could be the id of another deployment.
    for stored in ["Not a name", "other1"] {
        let given = Metadata::from([("nephio.org/kubernetes-name", stored)]);
        let new = NewDeployment::new().merge(package("a")).metadata(given);
        let id = serving.data.create_deployment(new).await.expect("valid");
        let read = client.get(&format!("deployments/{id}")).await;
        assert_eq!(read.status, 200, "{read:?}");
        assert_eq!(read.body["metadata"]["name"], id.to_string());
    }
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_objects_have_names_of_at_most_253_characters() {
    let serving = Serving::start().await;
    let client = ApiClient::new(&serving);
    let spec = json!({"package": {"resources": [config_map("a")]}});
    for plural in ["sites", "templates", "deployments"] {
        for (letters, created, applied) in [(253, 201, 200), (254, 422, 422)] {
            let name = "a".repeat(letters);
            let new = json!({"metadata": {"name": name}, "spec": spec});
            let answer = client.post(plural, &new).await;
            assert_eq!(answer.status, created, "{plural}: {answer:?}");
            let path = format!("{plural}/{name}?fieldManager=test&force=true");
            let answer = client.patch(&path, "apply-patch+yaml", &new).await;
            assert_eq!(answer.status, applied, "{plural}: {answer:?}");
            if applied == 422 {
                let field = &answer.body["details"]["causes"][0]["field"];
                assert_eq!(*field, "metadata.name", "{answer:?}");
            }
        }
        let metadata = json!({"generateName": "b".repeat(253)});
        let new = json!({"metadata": metadata, "spec": spec});
        let answer = client.post(plural, &new).await;
        assert_eq!(answer.status, 201, "{plural}: {answer:?}");
        let name = answer.body["metadata"]["name"].as_str().expect("a name");
        assert_eq!(name.len(), 253, "{name}");
        assert!(name.starts_with(&"b".repeat(248)), "{name}");
    }
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn longer_names_of_other_interfaces_are_read_changed_and_deleted() {
    let serving = Serving::start().await;
    let client = ApiClient::new(&serving);
    let id = SiteId::new(&"a/".repeat(100)).expect("an id");
    let new = NewSite::new(id, package("place"));
    serving.data.register_site(new).await.expect("valid");
    let path = format!("sites/{}", "a-002f".repeat(100));
    let read = client.get(&path).await;
    assert_eq!(read.status, 200, "{read:?}");
    let replaced = client.put(&path, &read.body).await;
    assert_eq!(replaced.status, 200, "{replaced:?}");
    let config = json!({"metadata": {"labels": {"tier": "front"}}});
    for (kind, query) in [
        ("merge-patch+json", ""),
        ("apply-patch+yaml", "?fieldManager=test&force=true"),
    ] {
        let changed = format!("{path}{query}");
        let changed = client.patch(&changed, kind, &config).await;
        assert_eq!(changed.status, 200, "{kind}: {changed:?}");
    }
    let deleted = client.delete(&path).await;
    assert_eq!(deleted.status, 200, "{deleted:?}");
    serving.stop().await;
}
