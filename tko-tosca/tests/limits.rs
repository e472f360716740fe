//! Hostile and large input: every answer is a problem, and work stays bounded.

use serde_json::Map;
use std::fmt::Write as _;
use std::io::{Cursor, Write as _};
use std::path::Path;
use tko_tosca::{Csar, CsarError, Problem, ToscaLimits, read};
use zip::write::SimpleFileOptions;

const VERSION: &str = "tosca_definitions_version: tosca_simple_yaml_1_3\n";

fn zipped(files: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (path, text) in files {
        zip.start_file(*path, SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn problems_of(text: &str) -> Vec<Problem> {
    let csar = Csar::from_text("s.yaml", text);
    read(&csar, &Map::new(), &ToscaLimits::default()).expect_err("a problem is found")
}

fn first(text: &str) -> String {
    problems_of(text)[0].to_string()
}

#[test]
fn ten_thousand_node_templates_are_read() {
    let mut text = format!(
        "{VERSION}capability_types: {{C: {{}}}}\nnode_types:\n  Host: {{capabilities: {{c: C}}}}\n  \
         App:\n    properties: {{name: {{type: string}}, port: {{type: integer}}}}\n    \
         requirements: [{{host: C}}]\ntopology_template:\n  node_templates:\n"
    );
    for number in 0..5_000 {
        let _ = writeln!(text, "    host{number}: {{type: Host}}");
        let _ = writeln!(
            text,
            "    app{number}: {{type: App, properties: {{name: {{concat: [app, {number}]}}, port: \
             {number}}}, requirements: [{{host: host{number}}}]}}"
        );
    }
    let csar = Csar::from_text("s.yaml", &text);
    let topology = read(&csar, &Map::new(), &ToscaLimits::default()).unwrap();
    assert_eq!(topology.nodes.len(), 10_000);
    let last = &topology.nodes["app4999"];
    assert_eq!(last.properties["name"].value, "app4999");
    assert_eq!(last.relationships[0].target, "host4999");
}

#[test]
fn aliases_that_multiply_are_refused_before_they_are_copied() {
    let mut text = format!("{VERSION}dsl_definitions:\n  - &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let before = level - 1;
        let aliases = [format!("*a{before}").as_str(); 10].join(", ");
        let _ = writeln!(text, "  - &a{level} [{aliases}]");
    }
    assert!(first(&text).contains("more than 2000000 values, with aliases expanded"));
}

#[test]
fn functions_that_multiply_text_are_refused() {
    let mut text = format!(
        "{VERSION}node_types:\n  A:\n    properties:\n      p0: {{type: string, default: {}}}\n",
        "x".repeat(1_000)
    );
    for level in 1..12 {
        let before = level - 1;
        let get = format!("{{get_property: [SELF, p{before}]}}");
        let ten = [get.as_str(); 10].join(", ");
        let _ = writeln!(
            text,
            "      p{level}: {{type: string, default: {{concat: [{ten}]}}}}"
        );
    }
    text.push_str("topology_template: {node_templates: {a: {type: A}}}\n");
    let found = problems_of(&text);
    let all: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(
        all.iter().any(|p| p.contains("functions make more than")),
        "{all:?}"
    );
}

#[test]
fn lists_that_functions_multiply_are_refused() {
    let mut text = format!("{VERSION}node_types:\n  A:\n    properties:\n");
    let mut schema = "string".to_owned();
    for level in 0..10 {
        schema = format!("{{type: list, entry_schema: {schema}}}");
        let ten = if level == 0 {
            ["x"; 10].join(", ")
        } else {
            [format!("{{get_property: [SELF, p{}]}}", level - 1).as_str(); 10].join(", ")
        };
        let fields = schema.trim_start_matches('{');
        let _ = writeln!(text, "      p{level}: {{default: [{ten}], {fields}");
    }
    text.push_str("topology_template: {node_templates: {a: {type: A}}}\n");
    let all: Vec<String> = problems_of(&text).iter().map(ToString::to_string).collect();
    assert!(all.iter().any(|p| p.contains("hold too much")), "{all:?}");
}

/// The problems of a text, read on a thread with the stack of those that prepare deployments.
fn problems_on_a_small_stack(text: String) -> Vec<String> {
    let reader = std::thread::Builder::new().stack_size(2 << 20);
    let reader = reader.spawn(move || {
        let problems = problems_of(&text);
        problems.iter().map(ToString::to_string).collect()
    });
    reader.unwrap().join().expect("the thread ends")
}

#[test]
fn levels_that_get_property_adds_up_are_refused() {
    let (open, close) = ("[".repeat(55), "]".repeat(55));
    let mut text = format!("{VERSION}node_types:\n  A:\n    properties:\n");
    for number in 0..2_000 {
        let inner = if number == 0 {
            "x".to_owned()
        } else {
            format!("{{get_property: [SELF, p{:04}]}}", number - 1)
        };
        let _ = writeln!(
            text,
            "      p{number:04}: {{type: list, entry_schema: string, default: {open}{inner}{close}}}"
        );
    }
    text.push_str("topology_template: {node_templates: {a: {type: A}}}\n");
    let all = problems_on_a_small_stack(text);
    let expected = "properties.p0001: the value is nested deeper than 64 levels, with functions \
                    filled in";
    assert!(all.iter().any(|p| p.contains(expected)), "{all:?}");
}

#[test]
fn levels_that_aliases_add_up_are_refused() {
    let (open, close) = ("[".repeat(55), "]".repeat(55));
    let mut text = format!("{VERSION}dsl_definitions:\n  - &a0 {open}x{close}\n");
    for number in 1..200 {
        let _ = writeln!(text, "  - &a{number} {open}*a{}{close}", number - 1);
    }
    let all = problems_on_a_small_stack(text);
    let expected = "nested deeper than 64 levels, with aliases expanded";
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(all[0].starts_with("s.yaml:4:") && all[0].ends_with(expected));

    // As many levels as without the alias.
    let with = |levels: usize| {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        let text = format!("{VERSION}dsl_definitions: [&a [[x]], {open}*a{close}]\n");
        let csar = Csar::from_text("s.yaml", &text);
        read(&csar, &Map::new(), &ToscaLimits::default())
    };
    assert!(with(60).is_ok());
    assert!(with(61).is_err());
}

#[test]
fn deep_nesting_is_refused() {
    let text = format!(
        "{VERSION}dsl_definitions: {}{}\n",
        "[".repeat(5_000),
        "]".repeat(5_000)
    );
    let message = first(&text);
    assert!(
        message.contains("nest") || message.contains("recursion"),
        "{message}"
    );
}

#[test]
fn long_chains_of_types_and_of_get_property_are_refused() {
    let mut text = format!("{VERSION}node_types:\n  T0: {{}}\n");
    for level in 1..200 {
        let _ = writeln!(text, "  T{level}: {{derived_from: T{}}}", level - 1);
    }
    // Types are resolved in the order of names, so that most chains are short; one is not.
    text.push_str("  A: {derived_from: T199}\n");
    let all: Vec<String> = problems_of(&text).iter().map(ToString::to_string).collect();
    assert!(
        all.iter()
            .any(|p| p.contains("more than 64 levels of types")),
        "{all:?}"
    );

    let mut text = format!(
        "{VERSION}node_types:\n  A: {{properties: {{p: {{type: string}}}}}}\ntopology_template:\n  \
         node_templates:\n    n0: {{type: A, properties: {{p: x}}}}\n"
    );
    for level in 1..1_000 {
        let before = 1_000 - level - 1;
        let name = 1_000 - level;
        let _ = writeln!(
            text,
            "    n{name}: {{type: A, properties: {{p: {{get_property: [n{before}, p]}}}}}}"
        );
    }
    text.push_str("    a: {type: A, properties: {p: {get_property: [n999, p]}}}\n");
    let all: Vec<String> = problems_of(&text).iter().map(ToString::to_string).collect();
    assert!(
        all.iter().any(|p| p.contains("nested deeper than 128")),
        "{all:?}"
    );
}

#[test]
fn many_problems_are_counted() {
    let mut text = format!("{VERSION}topology_template:\n  node_templates:\n");
    for number in 0..1_500 {
        let _ = writeln!(text, "    n{number}: {{type: Missing}}");
    }
    let problems = problems_of(&text);
    assert_eq!(problems.len(), 1_001);
    assert_eq!(problems[1_000].message, "500 more problems are not shown");
}

#[test]
fn archives_that_lead_out_or_are_too_large_are_refused() {
    let limits = ToscaLimits::default();
    let open = |files: &[(&str, &str)], limits: &ToscaLimits| {
        Csar::from_zip(&zipped(files), limits)
            .map(|_| ())
            .expect_err("it is refused")
    };
    let error = open(&[("../service.yaml", VERSION)], &limits);
    assert!(
        error.to_string().contains("leads out of the archive"),
        "{error}"
    );
    let error = open(&[("a.yaml", VERSION), ("b.yaml", VERSION)], &limits);
    assert!(
        error
            .to_string()
            .contains("several .yaml files at the root: a.yaml, b.yaml")
    );
    let error = open(&[("readme.txt", "x")], &limits);
    assert!(matches!(error, CsarError::NoEntry(_)), "{error}");
    let mut small = ToscaLimits::default();
    small.file_bytes = 1_000;
    let bomb = "a: b\n".repeat(1_000);
    let error = open(&[("a.yaml", &bomb)], &small);
    assert!(
        error
            .to_string()
            .contains("a.yaml is too large: the limit is 1000 bytes"),
        "{error}"
    );
    small.file_bytes = 1 << 20;
    small.total_bytes = 6_000;
    let error = open(&[("a.yaml", &bomb), ("b.yaml", &bomb)], &small);
    assert!(
        error
            .to_string()
            .contains("the limit is 6000 bytes of YAML"),
        "{error}"
    );
    small.entries = 1;
    let error = open(&[("a.yaml", ""), ("b.yaml", "")], &small);
    assert!(error.to_string().contains("with 2 entries"), "{error}");
    let error = Csar::from_zip(b"PK\x03\x04 and nothing", &limits).expect_err("it is refused");
    assert!(matches!(error, CsarError::Malformed(_)), "{error}");
}

#[test]
fn the_meta_file_is_checked() {
    let with = |meta: &str| {
        let files = [("TOSCA-Metadata/TOSCA.meta", meta), ("x/s.yaml", VERSION)];
        Csar::from_zip(&zipped(&files), &ToscaLimits::default())
    };
    let good = "TOSCA-Meta-File-Version: 1.0\nCSAR-Version: 1.1\nEntry-Definitions: x/s.yaml\n\n\
                Name: ignored\n";
    assert_eq!(with(good).unwrap().entry(), "x/s.yaml");
    let two = "CSAR-Version: 2.0\nEntry-Definitions: x/\n s.yaml\n";
    assert_eq!(with(two).unwrap().entry(), "x/s.yaml");
    for (meta, expected) in [
        ("Entry-Definitions: x/s.yaml", "CSAR-Version is missing"),
        (
            "CSAR-Version: 1.0\nEntry-Definitions: x",
            "CSAR-Version 1.0 is not supported",
        ),
        (
            "CSAR-Version: 1.1\nEntry-Definitions: x",
            "TOSCA-Meta-File-Version is missing",
        ),
        ("CSAR-Version: 2.0", "has no Entry-Definitions"),
        (
            "CSAR-Version: 2.0\nCSAR-Version: 2.0",
            "CSAR-Version is there twice",
        ),
        ("nothing", "expected \"Name: value\""),
        (
            "CSAR-Version: 2.0\nEntry-Definitions: ../s.yaml",
            "leads out of the archive",
        ),
        (
            "CSAR-Version: 2.0\nEntry-Definitions: /etc/passwd",
            "is not a relative path",
        ),
    ] {
        let error = with(meta).expect_err(meta).to_string();
        assert!(error.contains(expected), "{meta}: {error}");
    }
}

#[test]
fn a_folder_is_an_unpacked_archive_and_links_stay_inside() {
    let folder = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let root = folder.path().join("csar");
    std::fs::create_dir_all(root.join("types")).unwrap();
    std::fs::write(
        outside.path().join("t.yaml"),
        format!("{VERSION}node_types: {{X: {{}}}}\n"),
    )
    .unwrap();
    let service = format!("{VERSION}imports: [types/t.yaml]\n");
    std::fs::write(root.join("service.yaml"), service).unwrap();
    std::fs::copy(outside.path().join("t.yaml"), root.join("types/t.yaml")).unwrap();
    let outcome = |path: &Path| {
        let limits = ToscaLimits::default();
        let csar = Csar::open(path, &limits).map_err(|error| error.to_string())?;
        read(&csar, &Map::new(), &limits).map_err(|problems| problems[0].to_string())
    };
    assert!(outcome(&root).is_ok());
    assert!(outcome(&root.join("service.yaml")).is_ok());
    std::fs::remove_file(root.join("types/t.yaml")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("t.yaml"), root.join("types/t.yaml")).unwrap();
    let error = outcome(&root).expect_err("the link leads out");
    assert!(error.contains("a link leads out of the folder"), "{error}");
    let error = outcome(Path::new("/dev/null")).expect_err("it is no file");
    assert!(error.contains("neither a file nor a folder"), "{error}");
}

#[test]
fn damaged_templates_never_panic() {
    let base = include_str!("cases/base.yaml");
    let limits = ToscaLimits::default();
    let mut seed: u64 = 7;
    let mut random = move |below: usize| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap_or(0) % below
    };
    let pieces = [
        "{", "}", "[", "]", ": ", "- ", "&a ", "*a", "<<: ", "\n", "  ", "null", "9e9",
    ];
    for _ in 0..2_000 {
        let mut text = base.to_owned();
        for _ in 0..=random(4) {
            let at = random(text.len());
            if text.is_char_boundary(at) {
                if random(2) == 0 {
                    text.insert_str(at, pieces[random(pieces.len())]);
                } else {
                    text.remove(at);
                }
            }
        }
        if let Err(problems) = read(&Csar::from_text("s.yaml", &text), &Map::new(), &limits) {
            assert!(!problems.is_empty());
        }
    }
}

#[test]
fn problems_quote_only_the_beginning_of_long_texts() {
    let long = "é".repeat(100_000);
    let text = format!(
        "{VERSION}node_types:\n  A: {{properties: {{p: {{type: string, constraints: [{{valid_values: \
         [{long}]}}]}}}}}}\ntopology_template:\n  node_templates:\n    a: {{type: A, properties: {{p: \
         x}}}}\n    b: {{type: B{long}}}\n"
    );
    let problems = problems_of(&text);
    assert_eq!(problems.len(), 2);
    assert!(problems[0].message.starts_with("x is not one of é"));
    assert!(problems[1].message.starts_with("unknown node type \"Bé"));
    for problem in problems {
        assert!(problem.to_string().len() < 3_000 && problem.to_string().contains('…'));
    }
}

#[test]
fn values_below_long_keys_have_the_beginning_of_their_path() {
    let long = "k".repeat(1 << 20);
    let list = "1, ".repeat(20_000);
    let text = format!(
        "{VERSION}node_types:\n  A:\n    properties:\n      m: {{type: map, entry_schema: {{type: list, \
         entry_schema: integer}}}}\ntopology_template:\n  node_templates:\n    a:\n      type: A\n      \
         properties:\n        m:\n          ? {long}\n          : [{list}x]\n"
    );
    let problems = problems_of(&text);
    assert_eq!(problems.len(), 1);
    let path = &problems[0].path;
    assert!(path.starts_with("node_templates.a.properties.m.kkk") && path.ends_with("k…"));
    assert!(path.len() < 600, "{}", path.len());
}

#[test]
fn other_archives_are_refused_by_name() {
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes, format) in [
        ("a.tar.gz", &b"\x1f\x8b\x08\0"[..], "gzip"),
        ("a.tar.zst", b"\x28\xb5\x2f\xfd", "zstd"),
        ("a.tar.xz", b"\xfd7zXZ\0", "xz"),
        ("a.tar.bz2", b"BZh91AY", "bzip2"),
        ("a.tar", &tar, "tar"),
        ("a.csar", &tar, "tar"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let error = Csar::open(&path, &ToscaLimits::default()).expect_err(name);
        let expected = format!("{format} archives are not supported: make a zip archive");
        assert!(error.to_string().contains(&expected), "{name}: {error}");
    }
}
