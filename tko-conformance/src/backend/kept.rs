//! [`Backend::keep`](tko_core::Backend::keep) and [`Backend::kept`](tko_core::Backend::kept).
//!
//! A backend can forget every value at any time, so these checks never require that one is found.

use super::fixture::BackendFixture;
use std::time::Duration;
use tko_core::{ContentHash, KeepLimits};

const STEP: Duration = Duration::from_secs(5);

fn key(number: u8) -> ContentHash {
    ContentHash([number; 32])
}

async fn keep(fixture: &BackendFixture, number: u8, value: &[u8], limits: KeepLimits) {
    let kept = fixture.backend.keep(key(number), value, limits).await;
    kept.expect("the value is taken");
}

async fn find(fixture: &BackendFixture, number: u8) -> Option<Vec<u8>> {
    let age = KeepLimits::new().age;
    let found = fixture.backend.kept(key(number), age).await;
    found.expect("the value is looked up")
}

/// A value is found in every process as it was last kept under its key, or not at all. It makes no
/// revision.
pub async fn a_kept_value_is_the_last_of_its_key(fixture: BackendFixture) {
    let limits = KeepLimits::new();
    let other = fixture.beside().await;
    let before = fixture.feed_position().await.revision;
    let all: Vec<u8> = (0..=255).collect();
    keep(&fixture, 1, b"first", limits).await;
    keep(&fixture, 2, &all, limits).await;
    keep(&other, 1, b"last", limits).await;
    keep(&fixture, 3, b"", limits).await;
    for (number, expected) in [(1, &b"last"[..]), (2, &all), (3, b"")] {
        for fixture in [&fixture, &other] {
            if let Some(found) = find(fixture, number).await {
                assert_eq!(found, expected, "key {number}");
            }
        }
    }
    assert_eq!(find(&fixture, 4).await, None, "it was never kept");
    assert_eq!(fixture.feed_position().await.revision, before);
}

/// The values kept earliest are forgotten so that number, bytes and age stay within limits.
pub async fn kept_values_stay_within_limits(fixture: BackendFixture) {
    let limits = KeepLimits::new();
    for number in 1..=4 {
        keep(&fixture, number, &[number; 100], limits.values(2)).await;
        fixture.advance(STEP).await;
    }
    for number in [1, 2] {
        assert_eq!(find(&fixture, number).await, None, "beyond two values");
    }
    keep(&fixture, 5, &[5; 100], limits.bytes(250)).await;
    assert_eq!(find(&fixture, 3).await, None, "beyond 250 bytes");
    keep(&fixture, 6, &[6; 100], limits.bytes(99)).await;
    assert_eq!(find(&fixture, 6).await, None, "larger than all may be");
    fixture.advance(STEP).await;
    let young = fixture.backend.kept(key(5), STEP).await;
    assert_eq!(
        young.expect("it is looked up"),
        None,
        "older than asked for"
    );
    keep(&fixture, 7, b"", limits.age(STEP)).await;
    assert_eq!(find(&fixture, 5).await, None, "beyond the age");
}
