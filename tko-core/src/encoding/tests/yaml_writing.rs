//! Writing YAML.

use serde_json::{Value, json};

use super::{Dialect, Format, encode, people, programs, read};

fn written(value: &Value) -> String {
    String::from_utf8(encode([value], Format::Yaml)).expect("UTF-8")
}

#[test]
fn documents_are_written_in_block_style_with_nothing_folded() {
    let long = "word ".repeat(60) + "end";
    let values = [
        json!({
            "apiVersion": "v1",
            "spec": {"containers": [{"name": "a", "args": ["x", "z"]}], "none": [], "empty": {}},
            "script": "first\n  second\n",
            "text": long,
            "one": 1.0,
            "gone": null,
        }),
        json!({"b": true}),
    ];
    let expected = format!(
        "apiVersion: v1
spec:
  containers:
  - name: a
    args:
    - x
    - z
  none: []
  empty: {{}}
script: |
  first
    second
text: {long}
one: 1.0
gone: null
---
b: true
"
    );
    let bytes = encode(&values, Format::Yaml);
    assert_eq!(String::from_utf8(bytes).expect("UTF-8"), expected);
}

#[test]
fn text_that_another_reader_could_take_for_something_else_is_quoted() {
    for text in [
        "",
        "~",
        "null",
        "Null",
        "yes",
        "No",
        "y",
        "N",
        "on",
        "OFF",
        "true",
        "False",
        "=",
        "<<",
        "0",
        "-1",
        "+1",
        "0644",
        "0o7",
        "0x1F",
        "0b1",
        "1_000",
        "1.5",
        ".5",
        "1.",
        "1e3",
        ".inf",
        "-.INF",
        ".nan",
        "12:30",
        "190:20:30",
        "190:20:30.15",
        "2001-01-01",
        "2001-12-14T21:59:43Z",
        "-",
        "?",
        ":",
        "- a",
        "? a",
        "a: b",
        "a #b",
        "#a",
        "&a",
        "*a",
        "!a",
        "|",
        ">",
        "@a",
        "`a",
        "%a",
        "[a",
        "{a",
        "]",
        "}",
        ",",
        "---",
        "...",
        " a",
        "a ",
        "\ta",
        "'",
        "\"",
        "a:",
        "\u{85}",
        "\u{feff}a",
        "\u{2028}",
        "\0",
        "\u{7f}",
        "a\rb",
    ] {
        for value in [
            json!({ "k": text }),
            json!({ "k": [text] }),
            json!({ text: 1 }),
        ] {
            let yaml = written(&value);
            assert!(
                yaml.contains(['"', '\'']),
                "{text:?} is written plain: {yaml}"
            );
            assert_eq!(people(&yaml), Ok(vec![value.clone()]), "{yaml}");
            assert_eq!(programs(&yaml), Ok(vec![value]), "{yaml}");
        }
    }
}

#[test]
fn text_that_begins_with_a_tab_is_not_written_as_a_block() {
    // Readers based on libyaml refuse the block that this would be.
    for text in ["\tall:\n\tmake\n", "\n\ta\n"] {
        let value = json!({ "Makefile": text });
        let yaml = written(&value);
        assert!(yaml.starts_with("Makefile: \""), "{yaml}");
        assert_eq!(people(&yaml), Ok(vec![value]));
    }
    assert_eq!(
        written(&json!({"Makefile": "all:\n\tmake\n"})),
        "Makefile: |\n  all:\n  \tmake\n"
    );
}

#[test]
fn floats_stay_floats_for_readers_of_yaml_1_1_and_1_2() {
    for (value, expected) in [
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (0.1, "0.1"),
        (1e21, "1.0e+21"),
        (5e-324, "5.0e-324"),
        (f64::MAX, "1.7976931348623157e+308"),
    ] {
        let value = json!({ "a": value });
        let yaml = written(&value);
        assert_eq!(yaml, format!("a: {expected}\n"));
        for dialect in [Dialect::People, Dialect::Programs] {
            assert_eq!(
                read(yaml.as_bytes(), Format::Yaml, dialect),
                Ok(vec![value.clone()])
            );
        }
    }
}
