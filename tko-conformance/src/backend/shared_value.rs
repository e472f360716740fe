//! [`Backend::put_shared`](tko_core::Backend::put_shared) and [`Backend::get_shared`](tko_core::Backend::get_shared).
//!
//! A backend can forget every value at any time, so these checks never require that one is found.

use super::fixture::BackendFixture;
use std::time::Duration;
use tko_core::{ContentHash, SharedLimits};

const STEP: Duration = Duration::from_secs(5);

fn key(number: u8) -> ContentHash {
    ContentHash([number; 32])
}

async fn put(fixture: &BackendFixture, number: u8, value: &[u8], limits: SharedLimits) {
    let shared = fixture.backend.put_shared(key(number), value, limits).await;
    shared.expect("the value is taken");
}

async fn find(fixture: &BackendFixture, number: u8) -> Option<Vec<u8>> {
    let age = SharedLimits::new().age;
    let found = fixture.backend.get_shared(key(number), age).await;
    found.expect("the value is looked up")
}

/// A value is found in every process as it was last shared under its key, or not at all. It makes no
/// revision.
pub async fn a_shared_value_is_the_last_of_its_key(fixture: BackendFixture) {
    let limits = SharedLimits::new();
    let other = fixture.beside().await;
    let before = fixture.feed_position().await.revision;
    let all: Vec<u8> = (0..=255).collect();
    put(&fixture, 1, b"first", limits).await;
    put(&fixture, 2, &all, limits).await;
    put(&other, 1, b"last", limits).await;
    put(&fixture, 3, b"", limits).await;
    for (number, expected) in [(1, &b"last"[..]), (2, &all), (3, b"")] {
        for fixture in [&fixture, &other] {
            if let Some(found) = find(fixture, number).await {
                assert_eq!(found, expected, "key {number}");
            }
        }
    }
    assert_eq!(find(&fixture, 4).await, None, "it was never shared");
    assert_eq!(fixture.feed_position().await.revision, before);
}

/// The values shared earliest are forgotten so that number, bytes and age stay within limits.
pub async fn shared_values_stay_within_limits(fixture: BackendFixture) {
    let limits = SharedLimits::new();
    for number in 1..=4 {
        put(&fixture, number, &[number; 100], limits.values(2)).await;
        fixture.advance(STEP).await;
    }
    for number in [1, 2] {
        assert_eq!(find(&fixture, number).await, None, "beyond two values");
    }
    put(&fixture, 5, &[5; 100], limits.bytes(250)).await;
    assert_eq!(find(&fixture, 3).await, None, "beyond 250 bytes");
    put(&fixture, 6, &[6; 100], limits.bytes(99)).await;
    assert_eq!(find(&fixture, 6).await, None, "larger than all may be");
    fixture.advance(STEP).await;
    let young = fixture.backend.get_shared(key(5), STEP).await;
    assert_eq!(
        young.expect("it is looked up"),
        None,
        "older than asked for"
    );
    put(&fixture, 7, b"", limits.age(STEP)).await;
    assert_eq!(find(&fixture, 5).await, None, "beyond the age");
}
