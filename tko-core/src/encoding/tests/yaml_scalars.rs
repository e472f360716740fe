//! The meaning of YAML scalars in each dialect.

use serde_json::{Value, json};

use super::{DecodeError, people, programs, refusal};

/// The value of one plain scalar.
fn scalar(read: fn(&str) -> Result<Vec<Value>, DecodeError>, text: &str) -> Value {
    let documents = read(&format!("a: {text}")).unwrap_or_else(|error| panic!("{text}: {error}"));
    documents[0]["a"].clone()
}

#[test]
fn plain_scalars_mean_what_each_dialect_says() {
    for (text, to_people, to_programs) in [
        ("yes", json!(true), json!("yes")),
        ("Yes", json!(true), json!("Yes")),
        ("yEs", json!("yEs"), json!("yEs")),
        ("y", json!(true), json!("y")),
        ("on", json!(true), json!("on")),
        ("n", json!(false), json!("n")),
        ("NO", json!(false), json!("NO")),
        ("off", json!(false), json!("off")),
        ("true", json!(true), json!(true)),
        ("FALSE", json!(false), json!(false)),
        ("tRUE", json!("tRUE"), json!("tRUE")),
        ("~", json!(null), json!(null)),
        ("", json!(null), json!(null)),
        ("Null", json!(null), json!(null)),
        ("0", json!(0), json!(0)),
        ("-0", json!(0), json!(0)),
        ("+7", json!(7), json!(7)),
        ("0644", json!(420), json!(644)),
        ("-0644", json!(-420), json!(-644)),
        ("0899", json!(899), json!(899)),
        ("0o17", json!(15), json!(15)),
        ("0O17", json!(15), json!("0O17")),
        ("0o8", json!("0o8"), json!("0o8")),
        ("0x1F", json!(31), json!(31)),
        ("-0x1F", json!(-31), json!("-0x1F")),
        ("0x", json!("0x"), json!("0x")),
        ("0x+1", json!("0x+1"), json!("0x+1")),
        ("0b101", json!(5), json!("0b101")),
        ("0b102", json!("0b102"), json!("0b102")),
        ("1_000", json!(1000), json!("1_000")),
        ("1_000.5", json!(1000.5), json!("1_000.5")),
        (".5_0", json!(0.5), json!(".5_0")),
        ("._5", json!("._5"), json!("._5")),
        ("_1", json!("_1"), json!("_1")),
        ("12:30:00", json!("12:30:00"), json!("12:30:00")),
        ("2001-01-01", json!("2001-01-01"), json!("2001-01-01")),
        ("1.0", json!(1.0), json!(1.0)),
        ("1.", json!(1.0), json!(1.0)),
        (".5", json!(0.5), json!(0.5)),
        ("-.5e-1", json!(-0.05), json!(-0.05)),
        ("1e3", json!(1000.0), json!(1000.0)),
        ("1e", json!("1e"), json!("1e")),
        ("e3", json!("e3"), json!("e3")),
        (".", json!("."), json!(".")),
        ("+", json!("+"), json!("+")),
        ("--1", json!("--1"), json!("--1")),
        ("1.2.3", json!("1.2.3"), json!("1.2.3")),
        ("100m", json!("100m"), json!("100m")),
        ("=", json!("="), json!("=")),
        ("9223372036854775807", json!(i64::MAX), json!(i64::MAX)),
        ("-9223372036854775808", json!(i64::MIN), json!(i64::MIN)),
        ("18446744073709551615", json!(u64::MAX), json!(u64::MAX)),
        ("0xFFFFFFFFFFFFFFFF", json!(u64::MAX), json!(u64::MAX)),
        ("'yes'", json!("yes"), json!("yes")),
        ("\"1\"", json!("1"), json!("1")),
        ("!!str yes", json!("yes"), json!("yes")),
        ("! 12", json!("12"), json!("12")),
        ("!!str", json!(""), json!("")),
        ("!!int '12'", json!(12), json!(12)),
        ("!!float 1", json!(1.0), json!(1.0)),
        ("!!null ''", json!(null), json!(null)),
        ("!!bool 'true'", json!(true), json!(true)),
        ("!<tag:yaml.org,2002:str> 1", json!("1"), json!("1")),
        (
            "!!timestamp 2001-01-01",
            json!("2001-01-01"),
            json!("2001-01-01"),
        ),
    ] {
        assert_eq!(scalar(people, text), to_people, "people: {text}");
        assert_eq!(scalar(programs, text), to_programs, "programs: {text}");
    }
}

#[test]
fn numbers_keep_their_kind() {
    let value = scalar(people, "1.0");
    assert!(value.is_f64());
    assert!(scalar(people, "1e3").is_f64());
    assert!(scalar(people, "0644").is_u64());
    assert!(scalar(people, "-1").is_i64());
}

#[test]
fn numbers_that_no_type_holds_are_refused_with_advice() {
    for text in [
        "18446744073709551616",
        "-9223372036854775809",
        "0777777777777777777777777",
        "123456789012345678901234567890",
    ] {
        for read in [people, programs] {
            let message = refusal(read(&format!("a: {text}")));
            assert!(
                message.contains("has more than 64 bits; quote it"),
                "{message}"
            );
            assert!(message.contains("line 1, column 4"), "{message}");
        }
    }
    for text in [".inf", "-.Inf", "+.INF", ".nan", ".NaN"] {
        for read in [people, programs] {
            let message = refusal(read(&format!("a: {text}")));
            assert!(message.contains("is not finite"), "{message}");
        }
    }
    // The Kubernetes tools read an abbreviated commit hash; it is not a finite number.
    assert_eq!(scalar(people, "1e999"), json!("1e999"));
    assert!(refusal(programs("a: 1e999")).contains("too large for a float"));
    assert!(refusal(programs("a: 0xFFFFFFFFFFFFFFFFF")).contains("more than 64 bits"));
    assert_eq!(
        scalar(people, "0xFFFFFFFFFFFFFFFFF"),
        json!("0xFFFFFFFFFFFFFFFFF")
    );
}

#[test]
fn tags_that_would_lose_their_meaning_are_refused() {
    for text in [
        "!foo x",
        "!!binary aGk=",
        "!!set {a, b}",
        "!!omap []",
        "!x {}",
        "!!seq {}",
    ] {
        let message = refusal(people(&format!("a: {text}")));
        assert!(
            message.contains("has a meaning that would be lost"),
            "{message}"
        );
    }
    for text in [
        "!!int abc",
        "!!bool 1",
        "!!float x",
        "!!null x",
        "!!int 1.5",
    ] {
        let message = refusal(people(&format!("a: {text}")));
        assert!(message.contains("does not match its tag"), "{message}");
    }
    let document = people("a: !!map {b: !!seq [1]}").expect("tags that say what is there anyway");
    assert_eq!(document, [json!({"a": {"b": [1]}})]);
}

#[test]
fn keys_become_text_for_people_and_must_be_text_from_programs() {
    for (key, expected) in [
        ("1", "1"),
        ("0x10", "16"),
        ("yes", "true"),
        ("off", "false"),
        ("1.10", "1.1"),
        ("1e9", "1e+09"),
        ("0.00001", "1e-05"),
        ("100000.0", "100000"),
        ("1e300", ".inf"),
        ("-1e300", "-.inf"),
        ("'1'", "1"),
        ("!!str 1", "1"),
    ] {
        let documents = people(&format!("{key}: x")).expect(key);
        assert_eq!(documents, [json!({ expected: "x" })], "{key}");
    }
    assert_eq!(programs("yes: x"), Ok(vec![json!({"yes": "x"})]));
    for (key, kind) in [
        ("1", "an integer"),
        ("true", "a boolean"),
        ("1.5", "a float"),
    ] {
        let message = refusal(programs(&format!("{key}: x")));
        assert!(
            message.contains(&format!("a key is {kind}; keys are text: quote it")),
            "{message}"
        );
    }
    for key in ["~", "", "[a]", "{a: b}", "? - a\n"] {
        for read in [people, programs] {
            let message = refusal(read(&format!("{key}: x")));
            assert!(message.contains("a key is"), "{message}");
        }
    }
}
