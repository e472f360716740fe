//! Reading and writing CBOR.

use serde_json::{Value, json};

use super::super::Position;
use super::{DecodeError, Dialect, Format, encode, refusal};

fn read(bytes: &[u8]) -> Result<Vec<Value>, DecodeError> {
    super::read(bytes, Format::Cbor, Dialect::Programs)
}

/// Reads one item, given as its bytes.
fn item(bytes: &[u8]) -> Result<Value, DecodeError> {
    let mut map = b"\xa1\x61a".to_vec();
    map.extend_from_slice(bytes);
    read(&map).map(|mut values| values[0]["a"].take())
}

#[test]
fn an_array_or_one_map_is_read() {
    for (bytes, expected) in [
        (&b"\x80"[..], vec![]),
        (b"\xf6", vec![]),
        (b"\xa1\x61a\x01", vec![json!({"a": 1})]),
        (b"\x82\xa0\xa1\x61a\x80", vec![json!({}), json!({"a": []})]),
        (
            b"\x9f\xbf\x61a\x9f\x01\xff\xff\xff",
            vec![json!({"a": [1]})],
        ),
        (b"\xd9\xd9\xf7\x81\xa0", vec![json!({})]),
    ] {
        assert_eq!(read(bytes), Ok(expected), "{bytes:x?}");
    }
}

#[test]
fn input_of_programs_is_read() {
    for (bytes, expected) in [
        (&b"\x00"[..], json!(0)),
        (b"\x18\x18", json!(24)),
        (b"\x1b\xff\xff\xff\xff\xff\xff\xff\xff", json!(u64::MAX)),
        (b"\x20", json!(-1)),
        (b"\x3b\x7f\xff\xff\xff\xff\xff\xff\xff", json!(i64::MIN)),
        (b"\xf9\x3c\x00", json!(1.0)),
        (b"\xf9\x00\x01", json!(5.960_464_477_539_063e-8)),
        (b"\xfa\x3d\xcc\xcc\xcd", json!(f64::from(0.1_f32))),
        (b"\xfb\x3f\xb9\x99\x99\x99\x99\x99\x9a", json!(0.1)),
        (b"\xf4", json!(false)),
        (b"\xf5", json!(true)),
        (b"\xf6", json!(null)),
        (b"\xf7", json!(null)),
        (b"\x60", json!("")),
        (b"\x62\xc3\xa9", json!("é")),
        (b"\x78\x01a", json!("a")),
        (b"\x7f\x62ab\x60\x61c\xff", json!("abc")),
        (b"\xc0\x6a2001-01-01", json!("2001-01-01")),
        (b"\xc1\x01", json!(1)),
        (b"\xd8\x20\x61u", json!("u")),
        (b"\xc0\xc0\x61u", json!("u")),
    ] {
        assert_eq!(item(bytes), Ok(expected), "{bytes:x?}");
    }
}

#[test]
fn values_that_a_resource_cannot_represent_are_refused() {
    for (bytes, problem) in [
        (&b"\x41a"[..], "a byte string"),
        (b"\x5f\xff", "a byte string"),
        (
            b"\xc2\x49\x01\0\0\0\0\0\0\0\0",
            "more than 64 bits; quote it",
        ),
        (
            b"\xc3\x49\x01\0\0\0\0\0\0\0\0",
            "more than 64 bits; quote it",
        ),
        (b"\x3b\x80\0\0\0\0\0\0\0", "more than 64 bits; quote it"),
        (b"\xf9\x7e\x00", "NaN is not finite"),
        (b"\xf9\xfc\x00", "-inf is not finite"),
        (b"\xe0", "simple value 0"),
        (b"\xd8\x25\x50", "tag 37"),
        (b"\xc4\x82\x01\x01", "tag 4"),
        (b"\xa1\x01\x02", "a key is an integer; send keys as text"),
        (b"\xa1\x41a\x02", "a key is a byte string"),
        (b"\xa1\xc0\x61a\x02", "a key is tagged"),
    ] {
        let error = item(bytes).expect_err("refused");
        assert!(
            matches!(error, DecodeError::Unsupported { .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains(problem), "{error}");
    }
}

#[test]
fn malformed_bytes_are_refused_with_their_offset() {
    for (bytes, byte, problem) in [
        (&b"\x81"[..], 0, "truncated"),
        (b"\x81\xa1\x61", 1, "truncated"),
        (b"\xa1\x61a", 3, "truncated"),
        (b"\xa1\x61a\x19\x01", 3, "truncated"),
        (b"\xa1\x61a\x63ab", 3, "truncated"),
        (b"\x9f", 1, "truncated"),
        (b"\xbf\x61a\x01", 4, "truncated"),
        (b"\xa1\x61a\x7f\x61b", 6, "truncated"),
        (b"\xa0\xa0", 1, "1 bytes follow the value"),
        (b"\x80\x00\x00", 1, "2 bytes follow the value"),
        (b"\x1c", 0, "no CBOR item begins"),
        (b"\xa1\x61a\x1f", 3, "no CBOR item begins"),
        (b"\xa1\x61a\xdf", 3, "no CBOR item begins"),
        (b"\xff", 0, "a break where a value should be"),
        (b"\x81\xff", 1, "a break where a value should be"),
        (b"\xbf\x61a\xff", 3, "a break where a value should be"),
        (b"\x9f\xc0\xff", 2, "a tag has no value"),
        (b"\xa1\x61a\x61\xff", 3, "not UTF-8"),
        (b"\xa1\x61a\x7f\x01\xff", 4, "a part that is an integer"),
        (b"\xa1\x61a\x7f\x7f\xff\xff", 4, "a part that is text"),
        (b"\xa1\x61a\x7f\x61\xc3\x61\xa9\xff", 4, "not UTF-8"),
    ] {
        let error = read(bytes).expect_err("refused");
        assert!(
            matches!(error, DecodeError::Malformed { .. }),
            "{bytes:x?}: {error:?}"
        );
        assert!(error.to_string().contains(problem), "{bytes:x?}: {error}");
        let position = Some(Position::Byte(byte));
        assert_eq!(error.place().position, position, "{bytes:x?}: {error}");
    }
}

#[test]
fn a_key_given_twice_is_refused_with_its_item() {
    let message = refusal(read(b"\x82\xa0\xa2\x61a\x01\x61a\x02"));
    let expected = "CBOR item 2, byte 6: key \"a\" is given twice in one map; remove one of them";
    assert_eq!(message, expected);
    assert!(refusal(read(b"\xbf\x61a\x01\x7f\x61a\xff\x02\xff")).contains("given twice"));
}

#[test]
fn items_that_are_not_maps_are_refused_by_position() {
    assert_eq!(
        refusal(read(b"\x82\xa0\x01")),
        "CBOR item 2: expected a map (a resource), found a number; remove it or make it a map"
    );
    assert!(refusal(read(b"\x61a")).contains("found text"));
}

#[test]
fn values_are_written_in_their_shortest_form() {
    let value = json!({"a": [0, 23, 24, 256, -1, -25, 1.0, 0.1, null, true, false, "é", {}, []]});
    let expected = b"\x81\xa1\x61a\x8e\x00\x17\x18\x18\x19\x01\x00\x20\x38\x18\xf9\x3c\x00\
        \xfb\x3f\xb9\x99\x99\x99\x99\x99\x9a\xf6\xf5\xf4\x62\xc3\xa9\xa0\x80";
    assert_eq!(encode([&value], Format::Cbor), expected);
}
