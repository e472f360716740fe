//! Deletions of many objects, and of objects that others depend on.

use crate::requests::ApiClient;
use crate::serving::{Serving, package};
use tko_core::{DataApi, NewTemplate, TemplateId};

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_of_a_collection_stops_at_its_limit() {
    let serving = Serving::start().await;
    for number in 0..700 {
        let id = TemplateId::new(&format!("t{number}")).expect("an id");
        let new = NewTemplate::new(id, package("a"));
        serving.data.register_template(new).await.expect("valid");
    }
    let client = ApiClient::new(&serving);
    let deleted = client.delete("templates?limit=600").await;
    assert_eq!(deleted.status, 200);
    assert_eq!(deleted.body["items"].as_array().map(Vec::len), Some(600));
    let left = client.get("templates").await;
    assert_eq!(left.body["items"].as_array().map(Vec::len), Some(100));
    serving.stop().await;
}
