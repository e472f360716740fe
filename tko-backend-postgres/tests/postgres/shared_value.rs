//! Shared values are found by every process that uses the database.

use crate::harness::Harness;
use std::time::Duration;
use tko_conformance::BackendHarness;
use tko_core::{Backend, ContentHash, SharedLimits};

async fn find(store: &dyn Backend, number: u8) -> Option<Vec<u8>> {
    let age = SharedLimits::new().age;
    let found = store.get_shared(ContentHash([number; 32]), age).await;
    found.expect("it is looked up")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_value_is_found_by_other_processes() {
    let harness = Harness::default();
    let one = harness.fresh(100).await;
    let other = harness.beside(&one).await;
    let limits = SharedLimits::new().bytes(2_000);
    for number in 1..=3 {
        let value = [number; 900];
        let shared = one.put_shared(ContentHash([number; 32]), &value, limits);
        shared.await.expect("it is shared");
        harness.advance(Duration::from_secs(1)).await;
    }
    let mut found = Vec::new();
    for number in 1..=3 {
        found.push(find(&*other, number).await);
    }
    assert_eq!(found, [None, Some(vec![2; 900]), Some(vec![3; 900])]);
    // Several processes share values at the same time.
    let put = |number: u8| {
        let store = if number.is_multiple_of(2) {
            &one
        } else {
            &other
        };
        async move {
            let key = ContentHash([number % 7; 32]);
            store.put_shared(key, &[number; 900], limits).await
        }
    };
    let all = futures_util::future::join_all((0..32).map(put)).await;
    for shared in all {
        shared.expect("none is in the way of another");
    }
}
