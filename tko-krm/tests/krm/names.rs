//! The names of objects.

use crate::requests::ApiClient;
use crate::serving::{Serving, config_map, package};
use serde_json::json;
use tko_core::{DataApi, Metadata, NewDeployment};

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
