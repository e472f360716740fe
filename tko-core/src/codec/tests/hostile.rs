//! Bytes that nobody wrote.

use super::super::{CodecError, Stored, VERSION, decode, encode};
use super::site;
use crate::change::ChangeRecord;
use crate::commit::WorkItem;
use crate::encoding::Limits;
use crate::entity::Entity;
use crate::package::Package;
use crate::revision::Timestamp;
use crate::work::{Enqueue, Lane, Stage, Work};
use proptest::collection::vec;
use proptest::prelude::{any, proptest};
use serde_json::{Value, json};

fn item() -> WorkItem {
    let enqueue = Enqueue::now(Stage::Prepare, site().key, Lane::new(3));
    let mut item = WorkItem::new(&enqueue, Timestamp(1));
    item.lease("secret".into(), Timestamp(9));
    item.set_progress(json!({"pass": 1}));
    item
}

fn refused<T: Stored>(bytes: &[u8]) -> CodecError {
    match decode::<T>(bytes, &Limits::default()) {
        Err(error) => error,
        Ok(_) => panic!("it is not refused: {bytes:x?}"),
    }
}

/// Decodes bytes of unknown origin. Whatever is read must be stored and read back.
fn any_bytes<T: Stored>(bytes: &[u8]) {
    match decode::<T>(bytes, &Limits::default()) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(read) => {
            let again = encode(&read);
            let read: T = decode(&again, &Limits::default()).expect("it was written so");
            assert_eq!(encode(&read), again);
        }
    }
}

#[test]
fn bytes_that_end_too_early_are_refused() {
    let (entity, item) = (encode(&site()), encode(&item()));
    for end in 0..entity.len() {
        refused::<Entity>(&entity[..end]);
    }
    for end in 0..item.len() {
        refused::<WorkItem>(&item[..end]);
    }
}

#[test]
fn bytes_after_the_value_are_refused() {
    let mut bytes = encode(&site());
    bytes.push(0);
    let error = refused::<Entity>(&bytes).to_string();
    assert!(error.ends_with("1 bytes follow the value"), "{error}");
}

#[test]
fn a_changed_byte_is_refused_or_read_as_another_sound_value() {
    for bytes in [encode(&site()), encode(&item())] {
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                any_bytes::<Entity>(&damaged);
                any_bytes::<WorkItem>(&damaged);
            }
        }
    }
}

#[test]
fn other_versions_are_refused_by_number() {
    let mut bytes = encode(&Package::default());
    for version in (0..=u8::MAX).filter(|version| *version != VERSION) {
        bytes[0] = version;
        assert_eq!(
            refused::<Package>(&bytes),
            CodecError::UnknownVersion {
                what: "package",
                found: version
            }
        );
    }
}

#[test]
fn a_value_of_another_type_is_refused() {
    let bytes = encode(&item());
    refused::<Entity>(&bytes);
    refused::<Package>(&bytes);
    refused::<Work>(&bytes);
    refused::<ChangeRecord>(&bytes);
}

#[test]
fn lengths_that_lie_cost_nothing() {
    for head in [0x9b, 0xbb, 0x7b, 0x5b] {
        for length in [u64::MAX, 1 << 40, 1 << 20] {
            let mut list = vec![VERSION, 0x82, 0x01, head];
            list.extend_from_slice(&length.to_be_bytes());
            list.extend_from_slice(&[0, 0]);
            refused::<Package>(&list);
            let mut first = vec![VERSION, head];
            first.extend_from_slice(&length.to_be_bytes());
            refused::<Package>(&first);
        }
    }
}

#[test]
fn limits_hold_for_the_values_inside() {
    let deep = (0..60).fold(Value::Null, |inner, _| json!([inner]));
    let mut item = item();
    item.set_progress(json!({ "deep": deep }));
    let bytes = encode(&item);
    decode::<WorkItem>(&bytes, &Limits::default()).expect("within the limits");
    let shallow = Limits {
        depth: 50,
        ..Limits::default()
    };
    let error = decode::<WorkItem>(&bytes, &shallow).expect_err("too deep");
    assert!(error.to_string().contains("levels"), "{error}");
    let few = Limits {
        values: 50,
        ..Limits::default()
    };
    assert!(decode::<WorkItem>(&bytes, &few).is_err());
    let short = Limits {
        bytes: bytes.len() - 1,
        ..Limits::default()
    };
    assert!(matches!(
        decode::<WorkItem>(&bytes, &short),
        Err(CodecError::TooLarge { .. })
    ));
}

#[test]
fn maps_whose_keys_do_not_ascend_are_refused() {
    let bytes = encode(&site());
    let given = b"\xa2\x61a\x611\x61b\x60";
    let at = bytes.windows(given.len()).position(|part| part == given);
    let at = at.expect("it is in there");
    for keys in [b"bb", b"ba", b"aa"] {
        let mut damaged = bytes.clone();
        damaged[at + 2] = keys[0];
        damaged[at + 6] = keys[1];
        let error = refused::<Entity>(&damaged).to_string();
        assert!(error.contains("do not ascend"), "{error}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = VERSION;
        }
        any_bytes::<Entity>(&bytes);
        any_bytes::<Package>(&bytes);
        any_bytes::<Work>(&bytes);
        any_bytes::<WorkItem>(&bytes);
        any_bytes::<ChangeRecord>(&bytes);
    }
}
