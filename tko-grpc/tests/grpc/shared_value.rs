//! Values that workers share.

use crate::serving::Serving;
use tko_core::{ContentHash, MAX_SHARED, SharedLimits, WorkerApi};
use tko_grpc::proto::v1alpha2 as wire;
use tko_grpc::proto::v1alpha2::controller_client::ControllerClient;

#[tokio::test]
async fn another_client_finds_what_one_keeps() {
    let serving = Serving::start().await;
    let (one, other) = (serving.client(), serving.client());
    let (key, limits) = (ContentHash([7; 32]), SharedLimits::new());
    let none = other.get_shared(key, limits.age).await.expect("looked up");
    assert_eq!(none, None);
    for value in [&b"\0\xff"[..], b""] {
        one.put_shared(key, value, limits).await.expect("shared");
        let found = other.get_shared(key, limits.age).await.expect("looked up");
        assert_eq!(found.as_deref(), Some(value));
    }
    let largest = vec![2; MAX_SHARED];
    let other_key = ContentHash([8; 32]);
    one.put_shared(other_key, &largest, limits)
        .await
        .expect("shared");
    let found = other
        .get_shared(other_key, limits.age)
        .await
        .expect("looked up");
    assert!(found == Some(largest), "a message takes the largest value");
    let large = vec![1; MAX_SHARED + 1];
    one.put_shared(key, &large, limits)
        .await
        .expect("it is left out");
    let found = other.get_shared(key, limits.age).await.expect("looked up");
    assert_eq!(found, Some(Vec::new()), "the earlier value stays");
}

#[tokio::test]
async fn a_key_that_is_no_hash_is_refused() {
    let serving = Serving::start().await;
    let mut client = ControllerClient::new(serving.channel());
    let request = wire::GetSharedRequest {
        key: vec![1; 31].into(),
        max_age: None,
    };
    let refused = client.get_shared(request).await.expect_err("a refusal");
    assert!(refused.message().contains("31 bytes"), "{refused}");
}
