//! Small service templates, each with exactly the problems that it has.
//!
//! A file of `tests/cases` holds cases: a line `# NAME`, the text, a line `--`, and what is
//! expected: the problems, or `ok` and the values of all nodes as JSON. A case imports `base.yaml`
//! unless it begins with its own version. `=== PATH` begins a further file of the case.
//!
//! `BLESS=1 cargo test -p tko-tosca --test cases` writes what is found; read the difference.

use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};
use tko_tosca::{Csar, Topology, ToscaLimits, read};
use zip::write::SimpleFileOptions;

const HEADER: &str = "tosca_definitions_version: tosca_simple_yaml_1_3\nimports: [base.yaml]\n";

#[test]
fn every_case_has_exactly_its_problems() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    let (mut count, mut wrong) = (0, String::new());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let mut blessed = String::new();
        for case in text.split("\n# ").map(|case| case.trim_start_matches("# ")) {
            let (name, rest) = case.split_once('\n').unwrap_or((case, ""));
            let (source, expected) = rest.split_once("\n--\n").unwrap_or((rest.trim_end(), ""));
            let found = outcome(source);
            if found.trim() != expected.trim() {
                let _ = write!(
                    wrong,
                    "\n{}: {name}\nexpected:\n{}\nfound:\n{found}\n",
                    file.display(),
                    expected.trim()
                );
            }
            let _ = write!(blessed, "# {name}\n{source}\n--\n{}\n\n", found.trim());
            count += 1;
        }
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&file, format!("{}\n", blessed.trim_end())).unwrap();
        }
    }
    assert!(count >= 200, "only {count} cases");
    assert!(wrong.is_empty(), "{wrong}");
}

/// The problems of a case, one per line, or its values.
fn outcome(source: &str) -> String {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    let base = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/base.yaml"),
    );
    files.insert("base.yaml".to_owned(), base.unwrap());
    let mut inputs = Map::new();
    for (index, part) in source.split("=== ").enumerate() {
        if index == 0 {
            let own = part.starts_with("tosca_definitions_version") || part.starts_with("raw");
            let text = if own {
                part.trim_start_matches("raw").trim_start().to_owned()
            } else {
                format!("{HEADER}{part}")
            };
            files.insert("main.yaml".to_owned(), text);
            continue;
        }
        let (path, text) = part.split_once('\n').unwrap();
        if path == "inputs" {
            let Value::Object(map) = serde_json::from_str(text).unwrap() else {
                panic!("inputs are a map");
            };
            inputs = map;
        } else {
            files.insert(path.to_owned(), text.to_owned());
        }
    }
    let meta = "TOSCA-Meta-File-Version: 1.0\nCSAR-Version: 1.1\nEntry-Definitions: main.yaml\n";
    files.insert("TOSCA-Metadata/TOSCA.meta".to_owned(), meta.to_owned());
    let limits = ToscaLimits::default();
    let csar = Csar::from_zip(&zipped(&files), &limits).unwrap();
    match read(&csar, &inputs, &limits) {
        Ok(topology) => valid(&topology),
        Err(problems) => lines(&problems),
    }
}

fn lines(problems: &[tko_tosca::Problem]) -> String {
    problems.iter().fold(String::new(), |mut text, problem| {
        let _ = writeln!(text, "{problem}");
        text
    })
}

fn valid(topology: &Topology) -> String {
    let mut text = format!("{}ok\n", lines(&topology.warnings));
    for (name, node) in &topology.nodes {
        let values: Map<String, Value> = node
            .properties
            .iter()
            .map(|(name, property)| (name.clone(), property.value.clone()))
            .collect();
        let _ = write!(text, "{name}: {}", Value::Object(values));
        for relationship in &node.relationships {
            let kind = relationship.types.first().map_or("?", String::as_str);
            let _ = write!(
                text,
                " {} -> {}.{} ({kind})",
                relationship.name, relationship.target, relationship.capability
            );
        }
        text.push('\n');
    }
    text
}

/// The files as a zip archive.
fn zipped(files: &BTreeMap<String, String>) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (path, text) in files {
        zip.start_file(path.as_str(), SimpleFileOptions::default())
            .unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}
