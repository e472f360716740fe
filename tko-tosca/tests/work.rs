//! Small texts that multiply work and memory: counted, and refused within tight limits.

use serde_json::Map;
use std::fmt::Write as _;
use std::sync::atomic::AtomicBool;
use tko_tosca::{Csar, Problem, ToscaLimits, read, read_cancellable};

const VERSION: &str = "tosca_definitions_version: tosca_simple_yaml_1_3\n";

/// Limits that small texts reach, so that the tests take no time.
fn tight() -> ToscaLimits {
    let mut limits = ToscaLimits::default();
    limits.values = 100_000;
    limits.steps = 1_000_000;
    limits.pattern_bytes = 1 << 20;
    limits
}

/// Reads a text within tight limits.
fn problems_of(text: &str) -> Vec<Problem> {
    let csar = Csar::from_text("s.yaml", text);
    read(&csar, &Map::new(), &tight()).expect_err("a problem is found")
}

/// Reads a text within tight limits, and looks for a problem.
fn too_much(text: &str, expected: &str) {
    let problems = problems_of(text);
    let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(
        all.iter().any(|problem| problem.contains(expected)),
        "{expected} in {:?}",
        &all[..all.len().min(5)]
    );
}

const ENTRIES: &str = "types and node templates hold more than 100000 entries";
const STEPS: &str = "searches take more than 1000000 steps";

#[test]
fn types_that_inherit_too_much_are_refused() {
    let mut text = format!("{VERSION}node_types:\n  A:\n    properties:\n");
    for number in 0..2_000 {
        let _ = writeln!(text, "      p{number}: {{type: string, required: false}}");
    }
    for number in 0..100 {
        let _ = writeln!(text, "  B{number}: {{derived_from: A}}");
    }
    too_much(&text, ENTRIES);
}

#[test]
fn node_templates_that_get_too_much_from_their_types_are_refused() {
    let with = |definition: &str, count: usize| {
        let mut text = format!("{VERSION}capability_types: {{C: {{}}}}\nnode_types:\n  A:\n");
        let _ = writeln!(text, "    {definition}:");
        for number in 0..1_000 {
            let _ = match definition {
                "properties" => writeln!(text, "      p{number}: {{type: string, default: x}}"),
                "capabilities" => writeln!(text, "      p{number}: C"),
                _ => writeln!(
                    text,
                    "      - p{number}: {{capability: C, occurrences: [0, 1]}}"
                ),
            };
        }
        text.push_str("topology_template:\n  node_templates:\n");
        for number in 0..count {
            let _ = writeln!(text, "    n{number}: {{type: A}}");
        }
        text
    };
    for definition in ["properties", "capabilities", "requirements"] {
        too_much(&with(definition, 150), ENTRIES);
        let csar = Csar::from_text("s.yaml", &with(definition, 10));
        read(&csar, &Map::new(), &tight()).expect("ten are few");
    }
    // Metadata and names are copied too.
    let long = "x".repeat(1 << 20);
    let mut text = format!(
        "{VERSION}node_types:\n  A: {{properties: {{p: {{type: string, default: x, metadata: {{a: \
         {long}}}}}}}}}\ntopology_template:\n  node_templates:\n"
    );
    for number in 0..20 {
        let _ = writeln!(text, "    n{number}: {{type: A}}");
    }
    too_much(&text, ENTRIES);
}

#[test]
fn relationships_that_multiply_are_refused() {
    let mut text = format!(
        "{VERSION}capability_types: {{C: {{}}}}\nnode_types:\n  H: {{capabilities: {{c: C}}}}\n  A: \
         {{requirements: [{{r: {{capability: C, occurrences: [100, 100]}}}}]}}\n\
         topology_template:\n  node_templates:\n"
    );
    for number in 0..3_000 {
        let _ = writeln!(
            text,
            "    h{number}: {{type: H}}\n    a{number}: {{type: A}}"
        );
    }
    too_much(&text, ENTRIES);
}

#[test]
fn searches_that_multiply_are_refused() {
    // Every requirement passes by all hosts of another type.
    let mut text = format!(
        "{VERSION}capability_types: {{C: {{}}}}\nnode_types:\n  H: {{capabilities: {{c: C}}}}\n  K: \
         {{capabilities: {{c: C}}}}\n  A: {{requirements: [{{r: {{capability: C, node: K}}}}]}}\n\
         topology_template:\n  node_templates:\n    last: {{type: K}}\n"
    );
    for number in 0..1_500 {
        let _ = writeln!(
            text,
            "    h{number}: {{type: H}}\n    a{number}: {{type: A}}"
        );
    }
    too_much(&text, STEPS);

    // Every call looks for the last key of a large map.
    let mut text = format!(
        "{VERSION}node_types:\n  A:\n    properties:\n      m: {{type: map, entry_schema: integer, \
         required: false}}\n      v: {{type: list, entry_schema: integer, required: false}}\n\
         topology_template:\n  node_templates:\n    big:\n      type: A\n      properties:\n        \
         m:\n"
    );
    for number in 0..10_000 {
        let _ = writeln!(text, "          k{number}: {number}");
    }
    text.push_str("    small:\n      type: A\n      properties:\n        v:\n");
    for _ in 0..200 {
        text.push_str("        - {get_property: [big, m, k9999]}\n");
    }
    too_much(&text, STEPS);

    // Every value is compared with many.
    let values: Vec<String> = (0..10_000).map(|number| number.to_string()).collect();
    let mut text = format!(
        "{VERSION}node_types:\n  A:\n    properties:\n      v: {{type: list, entry_schema: {{type: \
         integer, constraints: [{{valid_values: [{}]}}]}}}}\ntopology_template:\n  \
         node_templates:\n    a:\n      type: A\n      properties:\n        v:\n",
        values.join(", ")
    );
    text.push_str(&"        - 9999\n".repeat(200));
    too_much(&text, STEPS);
}

/// A service template whose only node has this value in a list of texts, and a long text.
fn with_function(text: &str, calls: &[String]) -> String {
    format!(
        "{VERSION}node_types:\n  A:\n    properties:\n      t: {{type: string}}\n      v: {{type: \
         list, entry_schema: string}}\ntopology_template:\n  node_templates:\n    a:\n      type: \
         A\n      properties: {{t: \"{text}\", v: [{}]}}\n",
        calls.join(", ")
    )
}

#[test]
fn delimiters_that_multiply_are_refused_before_they_are_put_together() {
    let items = vec!["a".to_owned(); 20_000].join(", ");
    let join = format!("{{join: [[{items}], {{get_property: [SELF, t]}}]}}");
    // Ten gigabytes.
    let text = with_function(&"d".repeat(500_000), &[join]);
    too_much(&text, "functions make more than 67108864 bytes of text");
}

#[test]
fn tokens_of_long_texts_are_counted() {
    let calls = |separators: &str| -> Vec<String> {
        let call = format!("{{token: [{{get_property: [SELF, t]}}, \"{separators}\", 0]}}");
        vec![call; 20]
    };
    too_much(&with_function(&"a".repeat(100_000), &calls(",")), STEPS);
    too_much(&with_function("a", &calls(&"b".repeat(100_000))), STEPS);
    let csar = Csar::from_text("s.yaml", &with_function("a-b.c", &calls(".-")));
    let topology = read(&csar, &Map::new(), &tight()).expect("short texts are read");
    assert_eq!(topology.nodes["a"].properties["v"].value[19], "a");
}

#[test]
fn patterns_that_take_much_memory_together_are_refused() {
    let with = |pattern: &dyn Fn(usize) -> String, count: usize| {
        let mut text = format!("{VERSION}node_types:\n  A:\n    properties:\n");
        for number in 0..count {
            let _ = writeln!(
                text,
                "      p{number}: {{type: string, required: false, constraints: [{{pattern: '{}'}}]}}",
                pattern(number)
            );
        }
        text.push_str("topology_template: {node_templates: {a: {type: A}}}\n");
        text
    };
    let expected = "patterns take more than 1048576 bytes";
    too_much(
        &with(&|number| format!("[\\p{{L}}]{{5}}{number}"), 200),
        expected,
    );
    too_much(&with(&|number| format!("[a-z]+{number}"), 17), expected);
    // Patterns that are too large by themselves count, too.
    too_much(
        &with(&|number| format!("[\\p{{L}}]{{99}}{number}"), 200),
        expected,
    );
    for text in [
        with(&|number| format!("[a-z]+{number}"), 16),
        with(&|_| "[a-z]+".to_owned(), 200),
    ] {
        let csar = Csar::from_text("s.yaml", &text);
        read(&csar, &Map::new(), &tight()).expect("few patterns are read");
    }
}

/// A service template whose only node has a list of values, each with these constraints.
fn with_constraints(value_type: &str, constraints: &str, values: &str) -> String {
    format!(
        "{VERSION}node_types:\n  A:\n    properties:\n      v: {{type: list, entry_schema: {{type: \
         {value_type}, constraints: [{constraints}]}}}}\ntopology_template:\n  node_templates:\n    a: \
         {{type: A, properties: {{v: [{values}]}}}}\n"
    )
}

#[test]
fn constraints_and_long_texts_in_them_are_counted() {
    let (constraints, values) = ("{min_length: 0}, ".repeat(1_500), "x, ".repeat(1_500));
    too_much(&with_constraints("string", &constraints, &values), STEPS);
    let long = "x".repeat(1 << 20);
    for constraint in [
        format!("{{equal: {long}}}"),
        format!("{{valid_values: [{long}]}}"),
    ] {
        let values = "x, ".repeat(100);
        too_much(&with_constraints("string", &constraint, &values), STEPS);
    }
}

#[test]
fn a_problem_names_few_of_many_allowed_values() {
    let known: Vec<String> = (0..1_000).map(|number| number.to_string()).collect();
    let constraint = format!("{{valid_values: [{}]}}", known.join(", "));
    let problems = problems_of(&with_constraints("integer", &constraint, "1000"));
    assert_eq!(problems.len(), 1);
    let expected = "1000 is not one of 0, 1, 2, 3, 4, 5, 6, 7 and 992 more";
    assert_eq!(problems[0].message, expected);
}

#[test]
fn constraints_that_properties_inherit_are_counted() {
    let mut text = format!(
        "{VERSION}node_types:\n  A: {{properties: {{p: {{type: string, constraints: [{}]}}}}}}\n",
        "{min_length: 0}, ".repeat(1_000)
    );
    for number in 0..200 {
        let _ = writeln!(
            text,
            "  B{number}: {{derived_from: A, properties: {{p: {{}}}}}}"
        );
    }
    too_much(&text, ENTRIES);
}

#[test]
fn reading_ends_with_one_problem_when_properties_hold_too_much() {
    let mut text = format!(
        "{VERSION}node_types:\n  A: {{properties: {{v: {{type: list, entry_schema: integer, default: \
         [{}]}}}}}}\ntopology_template:\n  node_templates:\n",
        "1, ".repeat(1_000)
    );
    for number in 0..300 {
        let _ = writeln!(text, "    n{number}: {{type: A}}");
    }
    let problems = problems_of(&text);
    let expected = "the properties hold too much, with functions and defaults filled in";
    assert_eq!(problems[0].message, expected);
    assert_eq!(problems.len(), 1);
}

#[test]
fn joins_of_empty_texts_are_counted() {
    let text = format!(
        "{VERSION}node_types:\n  A:\n    properties:\n      e: {{type: list, entry_schema: string}}\n      \
         v: {{type: list, entry_schema: string}}\ntopology_template:\n  node_templates:\n    a:\n      \
         type: A\n      properties:\n        e: [{}]\n        v: [{}]\n",
        "\"\", ".repeat(2_000),
        "{join: [{get_property: [SELF, e]}]}, ".repeat(600)
    );
    too_much(&text, STEPS);
}

#[test]
fn defaults_with_functions_are_counted() {
    // Every derived type looks for functions in the default.
    let mut text = format!(
        "{VERSION}node_types:\n  A: {{properties: {{v: {{type: list, entry_schema: string, default: [{} \
         {{concat: [x]}}]}}}}}}\n",
        "x, ".repeat(80_000)
    );
    for number in 0..200 {
        let _ = writeln!(text, "  B{number}: {{derived_from: A}}");
    }
    too_much(&text, STEPS);

    // Every node template has its own copy before any is checked.
    let calls: Vec<String> = (0..300)
        .map(|number| format!("{{get_property: [n{number}, v]}}"))
        .collect();
    let mut text = format!(
        "{VERSION}node_types:\n  A: {{properties: {{v: {{type: list, entry_schema: string, default: [{} \
         {{concat: [x]}}]}}}}}}\n  Z: {{properties: {{w: {{type: list, entry_schema: {{type: list, \
         entry_schema: string}}}}}}}}\ntopology_template:\n  node_templates:\n    a: {{type: Z, \
         properties: {{w: [{}]}}}}\n",
        "x, ".repeat(1_000),
        calls.join(", ")
    );
    for number in 0..300 {
        let _ = writeln!(text, "    n{number}: {{type: A}}");
    }
    too_much(
        &text,
        "lists and maps with functions hold more than 100000 values",
    );
}

#[test]
fn fields_of_data_types_are_counted_for_each_value() {
    let mut text = format!("{VERSION}data_types:\n  D:\n    properties:\n");
    for number in 0..2_000 {
        let _ = writeln!(text, "      f{number}: {{type: string, required: false}}");
    }
    let _ = writeln!(
        text,
        "node_types:\n  A: {{properties: {{v: {{type: list, entry_schema: D}}}}}}\n\
         topology_template:\n  node_templates:\n    a: {{type: A, properties: {{v: [{}]}}}}",
        "{}, ".repeat(1_000)
    );
    too_much(&text, STEPS);
}

#[test]
fn reading_ends_when_it_is_cancelled() {
    let text = format!(
        "{VERSION}node_types: {{A: {{}}}}\ntopology_template: {{node_templates: {{a: {{type: A}}}}}}\n"
    );
    let csar = Csar::from_text("s.yaml", &text);
    let outcome = |cancelled: bool| {
        let cancelled = AtomicBool::new(cancelled);
        read_cancellable(&csar, &Map::new(), &tight(), &cancelled)
    };
    assert_eq!(outcome(false).unwrap().nodes.len(), 1);
    let problems = outcome(true).expect_err("it is cancelled");
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].to_string(), "s.yaml: reading was cancelled");
}
