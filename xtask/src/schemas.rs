//! `cargo xtask schemas`: makes the Kubernetes schemas that are built into `tko-validate`.
//!
//! The input is a wheel of the Python package `kubernetes-validate`, which holds the `OpenAPI`
//! definitions of many Kubernetes versions as JSON Schema:
//!
//! ```text
//! pip download --no-deps kubernetes-validate==1.37.0
//! cargo xtask schemas --wheel kubernetes_validate-1.37.0-py3-none-any.whl
//! ```
//!
//! The output is a gzip file of JSON. Descriptions are removed, and equal definitions are kept
//! once. Each name lists the index of its definition in every version:
//!
//! ```text
//! {"versions": ["1.36", "1.37"], "names": {"io.k8s.api.core.v1.Pod": [null, 0]}, "definitions": [{…}]}
//! ```
//!
//! A second file lists the versions, one a line, so that they can be read without unpacking. The
//! same wheel always gives the same JSON; `--check` compares it with the file.

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::PathBuf;

/// The path of the output, from the root of the repository.
const OUTPUT: &str = "tko-validate/schemas/kubernetes.json.gz";

/// Make the built-in Kubernetes schemas from a wheel of kubernetes-validate
#[derive(Args)]
pub(crate) struct SchemasArgs {
    /// Read this wheel; `pip download --no-deps kubernetes-validate` fetches it
    #[arg(long, value_name = "FILE")]
    wheel: PathBuf,
    /// Write to this file
    #[arg(long, value_name = "FILE", default_value = OUTPUT)]
    output: PathBuf,
    /// Write nothing; fail if the file differs from the wheel's schemas
    #[arg(long)]
    check: bool,
}

impl SchemasArgs {
    /// Prints to `out` what it did.
    pub(crate) fn run(&self, out: &mut impl Write) -> Result<()> {
        let versions = read_wheel(&self.wheel)
            .with_context(|| format!("could not read the wheel {}", self.wheel.display()))?;
        let index = index(versions);
        let text = serde_json::to_vec(&index)?;
        let labels = lines(&index["versions"]);
        let list = self.output.with_extension("").with_extension("versions");
        if self.check {
            let there = fs::read(&self.output)
                .with_context(|| format!("could not read {}", self.output.display()))?;
            let mut found = Vec::new();
            GzDecoder::new(there.as_slice()).read_to_end(&mut found)?;
            let listed = fs::read_to_string(&list)
                .with_context(|| format!("could not read {}", list.display()))?;
            ensure!(
                found == text && listed == labels,
                "{} (or the list of versions beside it) differs from the schemas of this wheel; run this without --check and commit the file",
                self.output.display()
            );
            writeln!(out, "{} is up to date", self.output.display())?;
            return Ok(());
        }
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(&text)?;
        let packed = packed.finish()?;
        fs::write(&self.output, &packed)
            .with_context(|| format!("could not write {}", self.output.display()))?;
        fs::write(&list, labels).with_context(|| format!("could not write {}", list.display()))?;
        writeln!(
            out,
            "{}: {} versions, {} names, {} definitions, {} bytes, {} packed",
            self.output.display(),
            index["versions"].as_array().map_or(0, Vec::len),
            index["names"].as_object().map_or(0, Map::len),
            index["definitions"].as_array().map_or(0, Vec::len),
            text.len(),
            packed.len(),
        )?;
        Ok(())
    }
}

/// Joins the texts of a list, one a line.
fn lines(list: &Value) -> String {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .fold(String::new(), |all, text| all + text + "\n")
}

/// A Kubernetes version: major and minor.
type Version = (u32, u32);

/// Reads the definitions of every version, by name.
fn read_wheel(path: &PathBuf) -> Result<BTreeMap<Version, Map<String, Value>>> {
    let mut wheel = zip::ZipArchive::new(File::open(path)?)?;
    let files: Vec<(Version, String)> = wheel
        .file_names()
        .filter_map(|name| {
            let name = name.ok()?;
            Some((version_of(&name)?, name.into_owned()))
        })
        .collect();
    if files.is_empty() {
        bail!("the wheel has no kubernetes-json-schema/v…-local/_definitions.json");
    }
    let mut versions = BTreeMap::new();
    for (version, name) in files {
        let mut file: Value = serde_json::from_reader(wheel.by_name(&name)?)
            .with_context(|| format!("{name} is not JSON"))?;
        let Some(Value::Object(definitions)) = file.get_mut("$defs").map(Value::take) else {
            bail!("{name} has no $defs");
        };
        versions.insert(version, definitions);
    }
    Ok(versions)
}

/// Parses `…/v1.37.0-local/_definitions.json`; `None` for any other file.
fn version_of(name: &str) -> Option<Version> {
    let folder = name.strip_suffix("-local/_definitions.json")?;
    let (_, version) = folder.rsplit_once("/v")?;
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Builds the output that the module's documentation describes.
fn index(versions: BTreeMap<Version, Map<String, Value>>) -> Value {
    let count = versions.len();
    let labels: Vec<String> = versions
        .keys()
        .map(|(major, minor)| format!("{major}.{minor}"))
        .collect();
    let mut by_name: BTreeMap<String, Vec<Option<Value>>> = BTreeMap::new();
    for (at, definitions) in versions.into_values().enumerate() {
        for (name, mut definition) in definitions {
            strip_descriptions(&mut definition);
            by_name.entry(name).or_insert_with(|| vec![None; count])[at] = Some(definition);
        }
    }
    let mut distinct = Vec::new();
    let mut places = HashMap::new();
    let mut names = Map::new();
    for (name, definitions) in by_name {
        let row = definitions
            .into_iter()
            .map(|definition| {
                let Some(definition) = definition else {
                    return Value::Null;
                };
                let place = *places.entry(definition.to_string()).or_insert_with(|| {
                    distinct.push(definition);
                    distinct.len() - 1
                });
                json!(place)
            })
            .collect();
        names.insert(name, row);
    }
    json!({"versions": labels, "names": names, "definitions": distinct})
}

/// Removes the keyword `description`; properties of that name stay.
fn strip_descriptions(schema: &mut Value) {
    let Value::Object(schema) = schema else {
        return;
    };
    schema.shift_remove("description");
    for (keyword, value) in schema {
        match (keyword.as_str(), value) {
            ("properties" | "patternProperties" | "$defs" | "definitions", Value::Object(map)) => {
                map.values_mut().for_each(strip_descriptions);
            }
            ("allOf" | "anyOf" | "oneOf", Value::Array(list)) => {
                list.iter_mut().for_each(strip_descriptions);
            }
            ("items" | "additionalProperties" | "not", value) => strip_descriptions(value),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{SchemasArgs, index, strip_descriptions, version_of};
    use serde_json::{Map, Value, json};
    use std::collections::BTreeMap;
    use std::fs::File;
    use std::io::Write;

    fn map(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            other => panic!("not a map: {other}"),
        }
    }

    #[test]
    fn descriptions_go_and_properties_named_description_stay() {
        let mut schema = json!({
            "description": "gone",
            "properties": {"description": {"type": "string", "description": "gone"}},
            "items": {"anyOf": [{"description": "gone"}]},
        });
        strip_descriptions(&mut schema);
        assert_eq!(
            schema,
            json!({"properties": {"description": {"type": "string"}}, "items": {"anyOf": [{}]}})
        );
    }

    #[test]
    fn equal_definitions_are_kept_once() {
        let old = map(json!({"a": {"type": "string"}, "b": {"type": "object"}}));
        let new =
            map(json!({"a": {"type": "string", "description": "told"}, "c": {"type": "string"}}));
        let index = index(BTreeMap::from([((1, 9), old), ((1, 10), new)]));
        assert_eq!(index["versions"], json!(["1.9", "1.10"]));
        assert_eq!(
            index["names"],
            json!({"a": [0, 0], "b": [1, null], "c": [null, 0]})
        );
        assert_eq!(
            index["definitions"],
            json!([{"type": "string"}, {"type": "object"}])
        );
    }

    #[test]
    fn only_the_plain_definitions_of_a_version_are_read() {
        assert_eq!(
            version_of("x/v1.37.0-local/_definitions.json"),
            Some((1, 37))
        );
        assert_eq!(version_of("x/v1.37.0-local-strict/_definitions.json"), None);
        assert_eq!(version_of("x/v1.37.0-local/pod-v1.json"), None);
    }

    #[test]
    fn what_was_written_passes_the_check_and_what_was_changed_does_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let wheel = folder.path().join("a.whl");
        let mut zip = zip::ZipWriter::new(File::create(&wheel).expect("a file"));
        zip.start_file(
            "k/v1.2.0-local/_definitions.json",
            zip::write::SimpleFileOptions::default(),
        )
        .expect("started");
        zip.write_all(br#"{"$defs": {"a": {"type": "string"}}}"#)
            .expect("written");
        zip.finish().expect("finished");
        let output = folder.path().join("out.json.gz");
        let mut arguments = SchemasArgs {
            wheel,
            output: output.clone(),
            check: false,
        };
        let mut said = Vec::new();
        arguments.run(&mut said).expect("made");
        arguments.check = true;
        arguments.run(&mut said).expect("up to date");
        let mut other = flate2::write::GzEncoder::new(
            File::create(&output).expect("a file"),
            flate2::Compression::fast(),
        );
        other.write_all(b"{}").expect("written");
        other.finish().expect("finished");
        assert!(arguments.run(&mut said).is_err());
    }
}
