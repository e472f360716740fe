//! Input beyond the limits.

use std::fmt::Write as _;

use serde_json::Value;

use super::super::{Limit, MAX_DEPTH};
use super::{DecodeError, Dialect, Format, Limits, decode, encode, people, read};

fn limit(result: Result<Vec<Value>, DecodeError>) -> Limit {
    match result {
        Err(DecodeError::LimitExceeded { limit, .. }) => limit,
        other => panic!("expected a limit to be exceeded, got {other:?}"),
    }
}

/// A resource with this many levels of maps and lists, its own map included.
fn nested(levels: usize) -> Value {
    let mut value = Value::from(1);
    for level in 1..levels {
        value = match level % 2 {
            0 => Value::from(vec![value]),
            _ => Value::Object([("k".to_owned(), value)].into_iter().collect()),
        };
    }
    Value::Object([("k".to_owned(), value)].into_iter().collect())
}

#[test]
fn depth_is_counted_alike_in_every_format() {
    let mut limits = Limits::default();
    for (allowed, real) in [(3, 3), (100, 100), (1000, MAX_DEPTH)] {
        limits.depth = allowed;
        for format in Format::ALL {
            let fits = encode([&nested(real)], format);
            assert!(
                decode(&fits, format, Dialect::People, &limits).is_ok(),
                "{format} {real}"
            );
            let exceeds = encode([&nested(real + 1)], format);
            let refused = decode(&exceeds, format, Dialect::People, &limits);
            assert_eq!(limit(refused), Limit::Depth, "{format} {real}");
        }
    }
}

#[test]
fn deep_nesting_is_refused_without_following_it() {
    let times = 100_000;
    for text in ["[", "{a: ", "- ", "{\"a\":"] {
        let yaml = format!("a:\n  {}", text.repeat(times));
        assert_eq!(limit(people(&yaml)), Limit::Depth, "{text}");
    }
    let json = "{\"a\":".to_owned() + &"[".repeat(times);
    assert_eq!(
        limit(read(json.as_bytes(), Format::Json, Dialect::People)),
        Limit::Depth
    );
    for byte in [0x81, 0x9f] {
        let cbor = vec![byte; times];
        assert_eq!(
            limit(read(&cbor, Format::Cbor, Dialect::People)),
            Limit::Depth
        );
    }
    // Keys can be nested too.
    assert!(people(&"? ".repeat(times)).is_err());
    assert!(people(&"{? ".repeat(times)).is_err());
}

#[test]
fn alias_bombs_are_refused() {
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(laughs, "a{level}: &a{level} [{aliases}]").expect("memory");
    }
    assert_eq!(limit(people(&laughs)), Limit::AliasValues);
    let copies = format!(
        "a: &a {}\nb: [{}]",
        "x".repeat(10_000),
        "*a, ".repeat(20_000)
    );
    assert_eq!(limit(people(&copies)), Limit::AliasBytes);
    let keys = format!(
        "a: &a {{{}: 1}}\nb: [{}]",
        "k".repeat(1000),
        "*a, ".repeat(40_000)
    );
    assert_eq!(limit(people(&keys)), Limit::AliasBytes);
    let maps = format!(
        "a: &a {{{}}}\nb:\n{}",
        (0..1000).fold(String::new(), |keys, i| keys + &format!("k{i}: 1, ")),
        "- <<: *a\n".repeat(2000)
    );
    assert_eq!(limit(people(&maps)), Limit::AliasValues);
}

#[test]
fn s7_a_short_input_cannot_copy_as_much_as_a_long_one() {
    let merges = |maps: usize| {
        let keys = (0..300).fold(String::new(), |keys, i| keys + &format!("k{i}: 1, "));
        format!("a: &a {{{keys}}}\nb:\n{}", "- <<: *a\n".repeat(maps))
    };
    assert!(people(&merges(30)).is_ok());
    // 24 KB would otherwise become 600,000 values.
    assert_eq!(limit(people(&merges(2_000))), Limit::AliasValues);
}

#[test]
fn what_a_list_implies_for_its_items_counts_as_copies() {
    let list = |version: &str, kind: &str, items: usize| {
        let items = vec!["{}"; items].join(",");
        format!(r#"{{"apiVersion":"{version}","kind":"{kind}List","items":[{items}]}}"#)
    };
    let people = |text: &str| read(text.as_bytes(), Format::Json, Dialect::People);
    // 0.5 MB would otherwise become 500 MB.
    let long = "v".repeat(500_000);
    assert_eq!(limit(people(&list(&long, "Foo", 1_000))), Limit::AliasBytes);
    assert_eq!(limit(people(&list("v1", &long, 1_000))), Limit::AliasBytes);
    // A list of lists copies from the outer one and from each inner one.
    let inner = format!(r#"{{"items":[{}{{}}]}}"#, "{},".repeat(999));
    let nested = format!(r#"{{"apiVersion":"{long}","kind":"FooListList","items":[{inner}]}}"#);
    assert_eq!(limit(people(&nested)), Limit::AliasBytes);

    let usual = people(&list("apps/v1", "Deployment", 50_000)).expect("within the limits");
    assert_eq!(usual.len(), 50_000);
    assert_eq!(usual[49_999]["apiVersion"], "apps/v1");
    // A version that is not text is not copied.
    let text = r#"{"apiVersion":["v1"],"kind":"FooList","items":[{}]}"#;
    assert_eq!(people(text), Ok(vec![serde_json::json!({})]));
}

#[test]
fn aliases_cannot_add_up_to_depth() {
    let brackets = |inner: &str| "[".repeat(60) + inner + &"]".repeat(60);
    let mut text = format!("a0: &a0 {}\n", brackets(""));
    for level in 1..1000 {
        let alias = brackets(&format!("*a{}", level - 1));
        writeln!(text, "a{level}: &a{level} {alias}").expect("memory");
    }
    assert_eq!(limit(people(&text)), Limit::Depth);
}

#[test]
fn size_and_counts_are_limited_in_every_format() {
    let package: Vec<_> = (0..10).map(|_| serde_json::json!({"a": [1, 2]})).collect();
    for format in Format::ALL {
        let bytes = encode(&package, format);
        let with = |set: fn(&mut Limits, usize), most: usize| {
            let mut limits = Limits::default();
            set(&mut limits, most);
            decode(&bytes, format, Dialect::Programs, &limits)
        };
        assert!(with(|limits, most| limits.bytes = most, bytes.len()).is_ok());
        let refused = with(|limits, most| limits.bytes = most, bytes.len() - 1);
        assert_eq!(limit(refused), Limit::Bytes);
        assert!(with(|limits, most| limits.documents = most, 10).is_ok());
        let refused = with(|limits, most| limits.documents = most, 9);
        assert_eq!(limit(refused), Limit::Documents);
        // Each resource has a map, a list and two numbers; JSON and CBOR add the list around them.
        assert!(with(|limits, most| limits.values = most, 41).is_ok());
        let refused = with(|limits, most| limits.values = most, 39);
        assert_eq!(limit(refused), Limit::Values);
    }
}

#[test]
fn lengths_that_lie_cost_nothing() {
    for head in [
        &b"\x9b"[..],
        b"\xbb",
        b"\x7b",
        b"\x5b",
        b"\xa1\x61a\x9b",
        b"\xa1\x61a\x7b",
    ] {
        for length in [u64::MAX, u64::from(u32::MAX), 1 << 40] {
            let mut bytes = head.to_vec();
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(b"\x01\x02");
            assert!(
                read(&bytes, Format::Cbor, Dialect::People).is_err(),
                "{bytes:x?}"
            );
        }
    }
}

#[test]
fn long_keys_are_cut_in_messages() {
    let key = "é".repeat(5000);
    let message = people(&format!("{{? {key} : 1, ? {key} : 2}}"))
        .expect_err("twice")
        .to_string();
    assert!(message.len() < 300, "{message}");
}
