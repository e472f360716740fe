//! Reading YAML: documents, anchors, merges, duplicates, and positions of errors.

use serde_json::json;

use super::super::{Position, decode_placed};
use super::{DecodeError, Dialect, Format, Limits, people, programs, read, refusal};

#[test]
fn streams_are_read_document_by_document_without_the_empty_ones() {
    let stream =
        "# nothing\n---\na: 1\n---\n---\n# nothing either\n---\n~\n---\nb: 2\n...\n---\nc: 3";
    for read in [people, programs] {
        let expected = vec![json!({"a": 1}), json!({"b": 2}), json!({"c": 3})];
        assert_eq!(read(stream), Ok(expected));
    }
    for empty in [
        "",
        "\n",
        "# only a comment",
        "---",
        "---\n---\n",
        "...\n",
        "\u{feff}",
        "null",
    ] {
        assert_eq!(people(empty), Ok(Vec::new()), "{empty:?}");
    }
}

#[test]
fn editors_marks_and_line_ends_make_no_difference() {
    let expected = Ok(vec![json!({"a": "x\ny\n", "b": [1]}), json!({"c": null})]);
    for text in [
        "a: |\n  x\n  y\nb:\n- 1\n---\nc:\n",
        "a: |\r\n  x\r\n  y\r\nb:\r\n- 1\r\n---\r\nc:\r\n",
        "\u{feff}a: |\n  x\n  y\nb:\n- 1\n---\nc:\n",
        "%YAML 1.1\n---\na: |\n  x\n  y\nb:\n- 1\n---\nc:\n",
    ] {
        assert_eq!(people(text), expected, "{text:?}");
    }
}

#[test]
fn block_scalars_end_as_in_libyaml() {
    for (text, expected) in [
        ("a: |\n  x\n", "x\n"),
        ("a: |\n  x", "x"),
        ("a: |-\n  x\n", "x"),
        ("a: |+\n  x\n\n", "x\n\n"),
        ("a: >\n  x\n  y\n\n  z\n", "x y\nz\n"),
        ("a: |2\n    x\n", "  x\n"),
    ] {
        assert_eq!(people(text), Ok(vec![json!({"a": expected})]), "{text:?}");
    }
}

#[test]
fn order_of_documents_keys_and_items_is_kept() {
    let read = people("z: 1\na: 2\nm: [3, 1, 2]\n---\nb: 1").expect("well-formed");
    let keys: Vec<_> = read[0].as_object().expect("a map").keys().collect();
    assert_eq!(keys, ["z", "a", "m"]);
    assert_eq!(read[0]["m"], json!([3, 1, 2]));
    assert_eq!(read[1], json!({"b": 1}));
}

#[test]
fn aliases_are_copies() {
    let read = people("a: &x {k: [1]}\nb: *x\n&y c: *y\nd: &x 2\ne: *x").expect("well-formed");
    let expected = json!({"a": {"k": [1]}, "b": {"k": [1]}, "c": "c", "d": 2, "e": 2});
    assert_eq!(read, [expected]);
    let message = refusal(people("a: *x"));
    assert!(
        message.contains("names no anchor of this document"),
        "{message}"
    );
    let message = refusal(people("a: &x 1\n---\nb: *x"));
    assert!(message.starts_with("YAML document 2"), "{message}");
    let message = refusal(people("a: &x [*x]"));
    assert!(
        message.contains("inside the value of its own anchor"),
        "{message}"
    );
}

#[test]
fn merge_keys_give_way_to_keys_of_the_map_itself() {
    for (text, expected) in [
        (
            "a: &x {k: 1, l: 2}\nb: {<<: *x, k: 3}",
            json!({"k": 3, "l": 2}),
        ),
        (
            "a: &x {k: 1, l: 2}\nb: {k: 3, <<: *x}",
            json!({"k": 3, "l": 2}),
        ),
        (
            "a: [&x {k: 1}, &y {k: 2, l: 3}]\nb: {<<: [*x, *y]}",
            json!({"k": 1, "l": 3}),
        ),
        ("b: {<<: {k: 1}}", json!({"k": 1})),
        ("b: {'<<': 1}", json!({"<<": 1})),
        ("b: {k: <<}", json!({"k": "<<"})),
    ] {
        for read in [people, programs] {
            assert_eq!(read(text).expect(text)[0]["b"], expected, "{text}");
        }
    }
    for (text, problem) in [
        ("b: {<<: 1}", "needs a map or a list of maps"),
        ("b: {<<: [{a: 1}, 2]}", "needs a map or a list of maps"),
        ("b: {<<: {a: 1}, <<: {b: 1}}", "\"<<\" is given twice"),
        ("b: {<<: {a: 1}, a: 1, a: 2}", "\"a\" is given twice"),
    ] {
        let message = refusal(people(text));
        assert!(message.contains(problem), "{message}");
    }
}

#[test]
fn a_key_given_twice_is_refused_where_it_is_given_again() {
    let error = people("x: 1\n---\na:\n  b: 1\n  c: 2\n  b: 3\n").expect_err("refused");
    assert_eq!(
        error.to_string(),
        "YAML document 2, line 6, column 3: key \"b\" is given twice in one map; \
         remove one of them"
    );
    assert!(matches!(&error, DecodeError::DuplicateKey { key, .. } if key == "\"b\""));
    for text in [
        "{a: 1, a: 1}",
        "a: 1\n\"a\": 2",
        "1: a\n'1': b",
        "yes: 1\ntrue: 2",
        "? a\n? a",
    ] {
        assert!(refusal(people(text)).contains("is given twice"), "{text}");
    }
    assert_eq!(
        programs("yes: 1\n\"true\": 2"),
        Ok(vec![json!({"yes": 1, "true": 2})])
    );
}

#[test]
fn malformed_text_is_refused_with_line_and_column() {
    for (text, line, column) in [
        ("a: b: c", 1, 5),
        ("a: 1\nb: [1, 2\n", 2, 4),
        ("a:\n- 1\n\tb", 2, 3),
        ("é: 'x", 1, 4),
        ("a: 1\n b: 2", 2, 3),
        ("a: @x", 1, 4),
        ("a: \"\\z\"", 1, 4),
        ("a: \u{1}", 1, 4),
    ] {
        let error = people(text).expect_err(text);
        assert!(matches!(error, DecodeError::Malformed { .. }), "{error:?}");
        let position = Some(Position::Text { line, column });
        assert_eq!(error.place().position, position, "{text:?}: {error}");
    }
}

#[test]
fn text_that_is_not_utf8_is_refused_where_it_goes_wrong() {
    let read = |bytes: &[u8]| read(bytes, Format::Yaml, Dialect::People);
    let error = read(b"a: \xc3\xa9\nb: \xc3\xa9\xff\n").expect_err("refused");
    let expected = "YAML line 2, column 5: the text is not UTF-8; save it as UTF-8";
    assert_eq!(error.to_string(), expected);
    assert!(refusal(read(b"\xff\xfea\0:\0")).contains("is UTF-16"));
    assert!(refusal(read(b"a: \xed\xa0\x80")).contains("is not UTF-8"));
}

#[test]
fn documents_that_are_not_maps_are_refused_by_position() {
    for (text, message) in [
        (
            "a: 1\n---\nrubbish",
            "document 2, line 3, column 1: expected a map (a resource), found text",
        ),
        (
            "- a: 1\n- 7",
            "item 2, line 1, column 1: expected a map (a resource), found a number",
        ),
        (
            "- []",
            "item 1, line 1, column 1: expected a map (a resource), found a list",
        ),
        ("- ~", "found null"),
        ("true", "found a boolean"),
    ] {
        for read in [people, programs] {
            let refusal = refusal(read(text));
            assert!(refusal.contains(message), "{refusal}");
        }
    }
}

#[test]
fn every_resource_has_its_place() {
    let text = b"# a\n---\na: 1\n---\n- b: 1\n- c: 1\n";
    let read = decode_placed(text, Format::Yaml, Dialect::Programs, &Limits::default());
    let places: Vec<_> = read
        .expect("well-formed")
        .iter()
        .map(|r| r.at.to_string())
        .collect();
    assert_eq!(
        places,
        [
            "YAML document 1, line 3, column 1",
            "YAML document 2, item 1, line 5, column 1",
            "YAML document 2, item 2, line 5, column 1",
        ]
    );
}

#[test]
fn json_from_people_needs_no_other_format() {
    let key = "k".repeat(2000);
    for (text, expected) in [
        (
            "{\"a\": 1}\n{\"b\": 2}",
            vec![json!({"a": 1}), json!({"b": 2})],
        ),
        (
            "\n{\n\t\"a\": [\n\t\t\"\\/\"\n\t]\n}\n",
            vec![json!({"a": ["/"]})],
        ),
        (
            "{\"a\": 1}\n---\n{\"b\": 2}",
            vec![json!({"a": 1}), json!({"b": 2})],
        ),
        (
            "{a: yes}\n---\nb: 2",
            vec![json!({"a": true}), json!({"b": 2})],
        ),
        (&format!("{{\"{key}\": 1}}"), vec![json!({ &key: 1 })]),
    ] {
        assert_eq!(people(text), Ok(expected), "{text}");
    }
    assert!(refusal(people("{\"a\": 1, \"a\": 2}")).contains("is given twice"));
    assert!(refusal(people("{\"a\": 1, b: [}")).starts_with("YAML"));
}
