//! Reading and writing JSON.

use serde_json::{Value, json};

use super::super::Position;
use super::{DecodeError, Dialect, Format, encode, refusal};

fn read(text: &str) -> Result<Vec<Value>, DecodeError> {
    super::read(text.as_bytes(), Format::Json, Dialect::Programs)
}

fn read_people(text: &str) -> Result<Vec<Value>, DecodeError> {
    super::read(text.as_bytes(), Format::Json, Dialect::People)
}

#[test]
fn an_array_or_one_map_is_read() {
    for (text, expected) in [
        ("[]", vec![]),
        (" \n", vec![]),
        ("null", vec![]),
        ("\u{feff}{\"a\": 1}", vec![json!({"a": 1})]),
        (
            "[{\"b\": 1, \"a\": [2, {}]}, {}]",
            vec![json!({"b": 1, "a": [2, {}]}), json!({})],
        ),
    ] {
        assert_eq!(read(text), Ok(expected), "{text:?}");
    }
}

#[test]
fn people_may_send_one_text_after_the_other() {
    let text = "{\"a\": 1}\n{\"b\": 2} [{\"c\": 3}]";
    let expected = vec![json!({"a": 1}), json!({"b": 2}), json!({"c": 3})];
    assert_eq!(read_people(text), Ok(expected));
    let message = refusal(read(text));
    assert_eq!(
        message,
        "JSON document 2, line 2, column 1: trailing characters"
    );
}

#[test]
fn very_many_texts_in_sequence_are_read_in_reasonable_work() {
    // All that is before each of them would be 250 GB.
    let text = format!("{{\"k\":\"{}\"}}\n", "x".repeat(190)).repeat(50_000);
    assert_eq!(read_people(&text).map(|values| values.len()), Ok(50_000));
    let error = read_people(&(text + "\n {\"é\": x}")).expect_err("malformed");
    assert!(
        error
            .to_string()
            .starts_with("JSON document 50001, line 50002, column 8: "),
        "{error}"
    );
}

#[test]
fn numbers_keep_their_kind_and_their_digits() {
    let text = "[{\"a\":1,\"b\":1.0,\"c\":-1,\"d\":18446744073709551615,\
                \"e\":-9223372036854775808,\"f\":1e+300,\"g\":-0.5,\"h\":10000000000000000000.0}]";
    let values = read(text).expect("well-formed");
    let kinds = ["b", "f", "g", "h"].map(|key| values[0][key].is_f64());
    assert_eq!(kinds, [true; 4]);
    assert_eq!(values[0]["d"], json!(u64::MAX));
    assert_eq!(values[0]["e"], json!(i64::MIN));
    let written = String::from_utf8(encode(&values, Format::Json)).expect("UTF-8");
    assert_eq!(written, text.replace("10000000000000000000.0", "1e+19"));
}

#[test]
fn integers_of_more_than_64_bits_are_refused_where_they_are() {
    for (text, column) in [
        ("[{\"é\\\"9\": 18446744073709551616}]", 11),
        ("{\"a\": [1e30, -9223372036854775809]}", 14),
        (
            "{\"18446744073709551616\": 123456789012345678901234567890}",
            26,
        ),
    ] {
        let error = read(text).expect_err(text);
        assert!(
            matches!(error, DecodeError::Unsupported { .. }),
            "{error:?}"
        );
        assert!(
            error.to_string().contains("more than 64 bits; quote it"),
            "{error}"
        );
        let position = Position::Text { line: 1, column };
        assert_eq!(error.place().position, Some(position), "{text}");
    }
}

#[test]
fn numbers_that_are_not_finite_are_refused() {
    for text in ["[{\"a\": NaN}]", "{\"a\": -Infinity}", "{\"a\": 1e999}"] {
        assert!(read(text).is_err(), "{text}");
    }
    assert!(refusal(read("{\"a\": NaN}")).contains("column 7: a number is not finite"));
}

#[test]
fn a_key_given_twice_is_refused_with_its_item() {
    let message = refusal(read("[{}, {\"a\": {\"b\": 1,\n\"\\u0062\": 2}}]"));
    assert!(
        message.starts_with("JSON document 1, item 2, line 2, column"),
        "{message}"
    );
    assert!(message.contains("key \"b\" is given twice"), "{message}");
}

#[test]
fn malformed_text_is_refused_with_line_and_column() {
    for (text, line, column) in [
        ("[", 1, 1),
        ("{\"a\": 1,\n  }", 2, 3),
        ("{\"é\": x}", 1, 7),
        ("[{}", 1, 3),
        ("{\"a\": \"\\ud800\"}", 1, 14),
        ("{a: 1}", 1, 2),
        ("{\"a\": 01}", 1, 8),
    ] {
        let error = read(text).expect_err(text);
        assert!(matches!(error, DecodeError::Malformed { .. }), "{error:?}");
        let position = Some(Position::Text { line, column });
        assert_eq!(error.place().position, position, "{text:?}: {error}");
    }
}

#[test]
fn items_that_are_not_maps_are_refused_by_position() {
    let message = refusal(read("[{}, 1]"));
    assert!(
        message.starts_with("JSON document 1, item 2: expected a map"),
        "{message}"
    );
    assert!(refusal(read("\"a\"")).contains("found text"));
    assert!(refusal(read("[[]]")).contains("found a list"));
}
