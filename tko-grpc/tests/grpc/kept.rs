//! Values that workers keep for one another.

use crate::serving::Serving;
use tko_core::{ContentHash, KeepLimits, MAX_KEPT, WorkerApi};
use tko_grpc::proto::v1alpha2 as wire;
use tko_grpc::proto::v1alpha2::controller_client::ControllerClient;

#[tokio::test]
async fn another_client_finds_what_one_keeps() {
    let serving = Serving::start().await;
    let (one, other) = (serving.client(), serving.client());
    let (key, limits) = (ContentHash([7; 32]), KeepLimits::new());
    let none = other.kept(key, limits.age).await.expect("looked up");
    assert_eq!(none, None);
    for value in [&b"\0\xff"[..], b""] {
        one.keep(key, value, limits).await.expect("kept");
        let found = other.kept(key, limits.age).await.expect("looked up");
        assert_eq!(found.as_deref(), Some(value));
    }
    let large = vec![1; MAX_KEPT + 1];
    one.keep(key, &large, limits).await.expect("it is left out");
    let found = other.kept(key, limits.age).await.expect("looked up");
    assert_eq!(found, Some(Vec::new()), "the earlier value stays");
}

#[tokio::test]
async fn a_key_that_is_no_hash_is_refused() {
    let serving = Serving::start().await;
    let mut client = ControllerClient::new(serving.channel());
    let request = wire::GetKeptRequest {
        key: vec![1; 31].into(),
        max_age: None,
    };
    let refused = client.get_kept(request).await.expect_err("a refusal");
    assert!(refused.message().contains("31 bytes"), "{refused}");
}
