//! Recorded calls: a folder with the input, the output, and the plugin.

use anyhow::{Context, bail};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tko_core::{Dialect, Format, Limits, Package, encoding};
use tko_plugin::call::{Input, PackageResources, PluginCall, Target};

/// Most levels of folders in which recorded calls are looked for.
const MAX_FOLDERS: usize = 16;

/// One recorded call of a preparer.
pub(super) struct PluginRecording {
    /// The program and its arguments.
    pub(super) arguments: Vec<String>,
    /// The deployment's id.
    pub(super) deployment: String,
    /// The package before the call.
    pub(super) package: Package,
    /// The resource that triggered the call, as the protocol writes it.
    pub(super) target: Value,
    /// What the plugin answered.
    pub(super) answer: RecordedAnswer,
}

/// What a preparer answered.
pub(super) enum RecordedAnswer {
    /// The new package.
    Prepared(Package),
    /// The plugin is not ready.
    NotYet,
    /// The plugin reported an error.
    Failed(String),
}

impl RecordedAnswer {
    /// The answer as text, to compare it.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Prepared(package) => yaml(package),
            Self::NotYet => "not yet prepared\n".to_owned(),
            Self::Failed(error) => format!("error: {error}\n"),
        }
    }

    fn document(&self) -> Value {
        match self {
            Self::Prepared(package) => {
                let resources = package.iter().map(|resource| resource.value().clone());
                json!({"prepared": true, "package": resources.collect::<Value>()})
            }
            Self::NotYet => json!({"prepared": false}),
            Self::Failed(error) => json!({"error": error}),
        }
    }
}

/// A package as YAML documents.
pub(super) fn yaml(package: &Package) -> String {
    String::from_utf8_lossy(&package.encode(Format::Yaml)).into_owned()
}

impl PluginRecording {
    /// Writes the call to a new folder below `folder`, named by a number.
    pub(super) fn write(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let mut number = 1;
        let path = loop {
            let path = folder.join(format!("{number:04}"));
            match fs::create_dir(&path) {
                Ok(()) => break path,
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot create {}", path.display()));
                }
            }
        };
        let call = PluginCall {
            grpc: tko_plugin::Grpc::default(),
            log_file: String::new(),
            log_address_port: String::new(),
            target_resource_identifier: Target::default(),
            input: Input::Prepare {
                deployment_id: self.deployment.clone(),
                deployment_package: PackageResources(self.package.clone()),
            },
        };
        let mut call: Value = serde_json::from_slice(&call.encode()?)?;
        call["targetResourceIdentifier"] = self.target.clone();
        let plugin = json!({"type": "prepare", "arguments": self.arguments});
        for (name, document) in [
            ("plugin.json", &plugin),
            ("call.json", &call),
            ("answer.json", &self.answer.document()),
        ] {
            let text = format!("{document:#}\n");
            let file = path.join(name);
            fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(path)
    }

    /// Reads a recorded call.
    pub(super) fn read(folder: &Path) -> anyhow::Result<Self> {
        let read = |name: &str| -> anyhow::Result<Value> {
            let file = folder.join(name);
            let shown = || format!("cannot read {}", file.display());
            let bytes = fs::read(&file).with_context(shown)?;
            serde_json::from_slice(&bytes).with_context(shown)
        };
        let (plugin, mut call, mut answer) = (
            read("plugin.json")?,
            read("call.json")?,
            read("answer.json")?,
        );
        if plugin["type"] != "prepare" {
            bail!(
                "{} records a call of type {}; only prepare can be replayed",
                folder.display(),
                plugin["type"]
            );
        }
        let arguments: Vec<String> = serde_json::from_value(plugin["arguments"].clone())
            .with_context(|| format!("{}: plugin.json has no arguments", folder.display()))?;
        let answer = match (answer["prepared"].as_bool(), &answer["error"]) {
            (_, Value::String(error)) if !error.is_empty() => RecordedAnswer::Failed(error.clone()),
            (Some(true), _) => RecordedAnswer::Prepared(package(&answer["package"].take())?),
            _ => RecordedAnswer::NotYet,
        };
        Ok(Self {
            arguments,
            deployment: call["deploymentId"].as_str().unwrap_or_default().to_owned(),
            target: call["targetResourceIdentifier"].take(),
            package: package(&call["deploymentPackage"].take())?,
            answer,
        })
    }
}

fn package(value: &Value) -> anyhow::Result<Package> {
    let bytes = serde_json::to_vec(value)?;
    let limits = Limits::default();
    let values = encoding::decode(&bytes, Format::Json, Dialect::Programs, &limits)?;
    Ok(Package::from_values(values)?)
}

/// The folders of recorded calls in a folder and in those below it, in order.
pub(super) fn recordings(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    collect(folder, 0, &mut found)?;
    found.sort();
    if found.is_empty() {
        bail!(
            "{} has no recorded calls; tko plugin test --record writes them",
            folder.display()
        );
    }
    Ok(found)
}

fn collect(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if folder.join("call.json").is_file() {
        found.push(folder.to_owned());
    }
    if depth == MAX_FOLDERS {
        return Ok(());
    }
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        // Links are not followed: they may lead in a circle.
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), depth + 1, found)?;
        }
    }
    Ok(())
}
