//! Conditions merge by kind; interests are found again; backoff grows to its bound.

use std::time::Duration;
use tko_core::id::MAX_ID;
use tko_core::limits::MAX_METADATA_KEY;
use tko_core::subscription::{self, Subscription};
use tko_core::work::{MAX_BACKOFF, backoff};
use tko_core::{Condition, Generation, Gvk, Key, Kind, Lane, Metadata, Pattern, Timestamp, Token};

fn condition(kind: &str, status: bool, message: &str) -> Condition {
    Condition::new(kind, status, "Reason", message, Generation(1))
}

#[test]
fn a_condition_that_says_nothing_new_is_no_change() {
    let at = Timestamp;
    let first =
        Condition::merge(&[], vec![condition("Prepared", false, "waits")], at(1)).expect("new");
    assert_eq!(first[0].since, at(1));
    assert!(Condition::merge(&first, vec![condition("Prepared", false, "waits")], at(2)).is_none());
    // Other words, same status: since when does not move.
    let second = Condition::merge(
        &first,
        vec![condition("Prepared", false, "still waits")],
        at(3),
    )
    .expect("words");
    assert_eq!((second.len(), second[0].since), (1, at(1)));
    // Another status: since now.
    let third = Condition::merge(
        &second,
        vec![
            condition("Prepared", true, ""),
            condition("Valid", true, ""),
        ],
        at(4),
    )
    .expect("status");
    assert_eq!(
        (third.len(), third[0].since, third[1].since),
        (2, at(4), at(4))
    );
}

#[test]
fn interests_are_found_by_what_they_are_for() {
    let site = Key::new(Kind::Site, "edge/1").expect("an id");
    let gvk = Gvk::new("g", "v", "K");
    let patterns = [(
        "Site.region".to_owned(),
        Pattern::value("so*").expect("a pattern"),
    )];
    let metadata = subscription::metadata(&[
        Subscription::Entity(site.clone()),
        Subscription::Preparer(gvk.clone()),
        Subscription::Selection {
            kind: Kind::Site,
            metadata: patterns.into(),
            persistent: true,
        },
    ]);
    assert!(metadata.contains_key(&subscription::waits_for_entity(&site)));
    assert!(metadata.contains_key(&subscription::waits_for_preparer(&gvk)));
    assert!(metadata.keys().all(subscription::is_subscription));
    let [waits, tracks] = subscription::selection_keys(Kind::Site);
    assert!(!metadata.contains_key(&waits));
    let value = metadata.get(&tracks).expect("it tracks");
    let of = |region: &str| Metadata::from_iter([("Site.region", region)]);
    assert!(subscription::cares(value, &of("south")));
    assert!(!subscription::cares(value, &of("north")));
    assert!(!subscription::cares(value, &Metadata::default()));
    assert!(
        subscription::cares("not JSON", &of("north")),
        "better once too often"
    );
}

#[test]
fn keys_of_subscriptions_are_no_longer_than_metadata_keys() {
    let site = |length: usize| Key::new(Kind::Site, &"s".repeat(length)).expect("an id");
    let longest = MAX_METADATA_KEY - "nephio.org/waits-for/site/".len();
    let key = subscription::waits_for_entity(&site(longest));
    assert_eq!(key.len(), MAX_METADATA_KEY);
    assert!(key.ends_with(site(longest).id()));
    let mut keys: Vec<String> = [longest + 1, MAX_ID]
        .map(|length| subscription::waits_for_entity(&site(length)))
        .into();
    for kind in ["K", "L"] {
        let gvk = Gvk::new("g", "v", &kind.repeat(2_000));
        keys.push(subscription::waits_for_preparer(&gvk));
    }
    for key in &keys {
        assert!(key.len() <= MAX_METADATA_KEY, "{key}");
        assert!(subscription::is_subscription(key), "{key}");
    }
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 4, "each has its own");
}

#[test]
fn backoff_doubles_up_to_five_minutes() {
    let seconds: Vec<u64> = (1..=10).map(|n| backoff(n, 0.0).as_secs()).collect();
    assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
    assert_eq!(backoff(u32::MAX, 0.0), MAX_BACKOFF);
    assert_eq!(backoff(1, 1.0), Duration::from_millis(500));
    assert_eq!(backoff(0, 0.0), Duration::from_secs(1));
}

#[test]
fn a_token_survives_as_text_and_its_debug_is_no_secret() {
    for (kind, id) in [
        (Kind::Site, "a/b:c"),
        (Kind::Plugin, "prepare|x"),
        (Kind::Deployment, "01ab"),
    ] {
        let token = Token::new(Key::new(kind, id).expect("an id"), "s3cr.et-1");
        assert_eq!(Token::decode(&token.encode()).expect("encoded"), token);
        assert!(!format!("{token:?}").contains("s3cr"));
    }
    for bad in ["", "x", "site|a", "other|a|b", "deployment|a b|s", "||"] {
        assert!(Token::decode(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn lanes_are_the_same_everywhere_and_never_the_failing_one() {
    assert_eq!(Lane::of("nf/upf:v1"), Lane::of("nf/upf:v1"));
    for i in 0..1_000 {
        assert!(Lane::of(&format!("t{i}")) < Lane::FAILING);
    }
}
