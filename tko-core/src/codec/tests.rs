//! The codec on values of every kind.

mod hostile;
mod round_trip;

use super::{CodecError, VERSION, decode, encode, key_of, sort_key};
use crate::encoding::Limits;
use crate::entity::{Condition, Entity, Facts};
use crate::hash::ContentHash;
use crate::id::{Key, Kind};
use crate::metadata::Metadata;
use crate::revision::{Generation, Timestamp, Version};
use std::fmt::Write as _;

/// A site with one of everything that needs no long text.
fn site() -> Entity {
    Entity {
        key: Key::new(Kind::Site, "lab").expect("a site's id"),
        version: Version(300),
        generation: Generation(2),
        created: Timestamp(-1),
        updated: Timestamp(1_000_000),
        deleting: true,
        inherited: Metadata::default(),
        given: Metadata::from_iter([("a", "1"), ("b", "")]),
        metadata: Metadata::default(),
        conditions: vec![Condition {
            since: Timestamp(7),
            ..Condition::new("Ready", None, "New", "wait", Generation(1))
        }],
        facts: Facts::Site {
            template: Some("t".parse().expect("a template's id")),
            origin: None,
        },
        body: ContentHash([0xab; 32]),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("memory");
        text
    })
}

#[test]
fn the_format_is_as_documented() {
    let expected = [
        "01",                   // version 1
        "8d00",                 // a list of 13 items; an entity
        "8201636c6162",         // key: kind 1, "lab"
        "19012c02",             // version 300, generation 2
        "201a000f4240",         // created -1, updated 1,000,000
        "f5",                   // deleting
        "a0",                   // inherited
        "a261616131616260",     // given: a = 1, b = ""
        "a0",                   // metadata
        "8186655265616479f6",   // one condition: "Ready", unknown
        "634e6577647761697401", // "New", "wait", generation 1
        "07",                   // since 7
        "83016174f6",           // facts: a site, template "t", no origin
        "5820",                 // body: 32 bytes
    ];
    let expected = expected.concat() + &"ab".repeat(32);
    assert_eq!(hex(&encode(&site())), expected);
}

#[test]
fn keys_sort_as_bytes() {
    let mut keys: Vec<Key> = [
        (Kind::Plugin, "prepare|a"),
        (Kind::Site, "b"),
        (Kind::Template, "a/b"),
        (Kind::Template, "a"),
        (Kind::Deployment, "Z"),
        (Kind::Deployment, "a"),
        (Kind::Template, "a-b"),
    ]
    .into_iter()
    .map(|(kind, id)| Key::new(kind, id).expect("an id of its kind"))
    .collect();
    for key in &keys {
        assert_eq!(key_of(&sort_key(key)).as_ref(), Ok(key));
    }
    let mut by_bytes = keys.clone();
    keys.sort();
    by_bytes.sort_by_key(sort_key);
    assert_eq!(keys, by_bytes);
    for wrong in [&b""[..], b"\x04a", b"\x00", b"\x02a-b", b"\x00\xff"] {
        assert!(key_of(wrong).is_err(), "{wrong:x?}");
    }
}

#[test]
fn errors_name_the_value_the_problem_and_the_remedy() {
    let bytes = encode(&site());
    let text = |bytes: &[u8], limits: &Limits| {
        let error = decode::<Entity>(bytes, limits).expect_err("refused");
        error.to_string()
    };
    let limits = Limits::default();
    let mut later = bytes.clone();
    later[0] = VERSION + 1;
    assert_eq!(
        text(&later, &limits),
        "the stored entity has format version 2; this program reads version 1: upgrade it"
    );
    assert_eq!(
        text(&bytes[..bytes.len() - 1], &limits),
        format!(
            "the stored entity is damaged at byte {}: the bytes end too early",
            bytes.len() - 34
        )
    );
    let small = Limits {
        bytes: 10,
        ..Limits::default()
    };
    assert_eq!(
        text(&bytes, &small),
        format!(
            "the stored entity has {} bytes; the limit is 10: raise it",
            bytes.len()
        )
    );
    let package = decode::<crate::Package>(&bytes, &limits).expect_err("it is an entity");
    assert!(matches!(
        package,
        CodecError::Damaged {
            what: "package",
            ..
        }
    ));
}
