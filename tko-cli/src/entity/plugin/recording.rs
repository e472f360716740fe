//! Recorded calls: a folder with the input, the output, and the plugin.

use super::dry_call::DryInput;
use anyhow::{Context, bail};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tko_core::{
    Deployment, DeploymentId, Dialect, Entity, Facts, Format, Gvk, Identifier, Key, Limits,
    Package, Plugin, PluginType, Record, SiteId, encoding,
};

/// Maximum number of levels of folders in which recorded calls are searched.
const MAX_FOLDERS: usize = 16;

/// Parts of the names of properties that are not recorded: their values may be secrets.
const SECRETS: [&str; 4] = ["password", "secret", "token", "key"];

/// One recorded call of a plugin.
pub(super) struct PluginRecording {
    /// The plugin: its executor, arguments and properties.
    pub(super) plugin: Plugin,
    /// The input of the call.
    pub(super) input: DryInput,
    /// The answer of the plugin.
    pub(super) answer: RecordedAnswer,
}

/// The answer of a plugin.
pub(super) enum RecordedAnswer {
    /// The new package of a preparer.
    Prepared(Package),
    /// The preparer is not ready.
    NotYet,
    /// A validator or scheduler reported no error.
    Fine,
    /// The plugin reported errors.
    Failed(Vec<String>),
}

impl RecordedAnswer {
    /// The answer as text, to compare it.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Prepared(package) => yaml(package),
            Self::NotYet => "not yet prepared\n".to_owned(),
            Self::Fine => "no error\n".to_owned(),
            Self::Failed(errors) => {
                let lines: Vec<String> = errors.iter().map(|e| format!("error: {e}\n")).collect();
                lines.concat()
            }
        }
    }

    fn document(&self) -> Value {
        match self {
            Self::Prepared(package) => {
                let resources = package.iter().map(|resource| resource.value().clone());
                json!({"prepared": true, "package": resources.collect::<Value>()})
            }
            Self::NotYet => json!({"prepared": false}),
            Self::Fine => json!({}),
            Self::Failed(errors) => match &errors[..] {
                [error] => json!({"error": error}),
                _ => json!({"error": errors}),
            },
        }
    }

    fn read(plugin_type: PluginType, mut answer: Value) -> anyhow::Result<Self> {
        let errors: Vec<String> = match answer["error"].take() {
            Value::Null => Vec::new(),
            Value::String(error) => vec![error],
            errors => serde_json::from_value(errors).context("the error is not text")?,
        };
        let errors: Vec<String> = errors.into_iter().filter(|e| !e.is_empty()).collect();
        Ok(match (plugin_type, answer["prepared"].as_bool()) {
            _ if !errors.is_empty() => Self::Failed(errors),
            (PluginType::Prepare, Some(true)) => Self::Prepared(package(&answer["package"])?),
            (PluginType::Prepare, _) => Self::NotYet,
            _ => Self::Fine,
        })
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
        let call: Value = serde_json::from_slice(&self.input.call().encode()?)?;
        let shown: BTreeMap<&String, &String> = self
            .plugin
            .properties
            .iter()
            .filter(|(name, value)| !is_secret(name, value))
            .collect();
        let plugin = json!({
            "type": self.input.plugin_type().as_str(),
            "executor": self.plugin.executor,
            "arguments": self.plugin.arguments,
            "properties": shown,
        });
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
        let (mut plugin, call, answer) = (
            read("plugin.json")?,
            read("call.json")?,
            read("answer.json")?,
        );
        let shown = || format!("{} is not a recorded call", folder.display());
        let plugin_type: PluginType = plugin["type"]
            .as_str()
            .unwrap_or_default()
            .parse()
            .with_context(shown)?;
        let arguments: Vec<String> = serde_json::from_value(plugin["arguments"].take())
            .with_context(|| format!("{}: plugin.json has no arguments", folder.display()))?;
        let properties: Option<BTreeMap<String, String>> =
            serde_json::from_value(plugin["properties"].take()).with_context(shown)?;
        let executor = plugin["executor"].as_str().unwrap_or("command");
        Ok(Self {
            plugin: Plugin::new(executor)
                .arguments(arguments)
                .properties(properties.unwrap_or_default()),
            input: input(plugin_type, call).with_context(shown)?,
            answer: RecordedAnswer::read(plugin_type, answer).with_context(shown)?,
        })
    }
}

/// Whether the value of a property may be a secret. A reference to a secret is not a secret.
fn is_secret(name: &str, value: &str) -> bool {
    let name = name.to_ascii_lowercase();
    !value.starts_with("secret:") && SECRETS.iter().any(|part| name.contains(part))
}

/// The input of a recorded call.
fn input(plugin_type: PluginType, mut call: Value) -> anyhow::Result<DryInput> {
    let key = match plugin_type {
        PluginType::Prepare => "deploymentPackage",
        PluginType::Validate => "package",
        PluginType::Schedule => "sitePackage",
        other => bail!("calls of type {other} cannot be replayed"),
    };
    let package = package(&call[key].take())?;
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let wire = &call["targetResourceIdentifier"];
    let [group, version, kind] = ["group", "version", "kind"].map(|key| text(wire, key));
    let gvk = Gvk::new(&group, &version, &kind);
    let name = text(wire, "name");
    let namespace = text(wire, "namespace");
    let namespace: Option<Arc<str>> = (!namespace.is_empty()).then(|| namespace.into());
    // An empty name is no target.
    let has_target = !name.is_empty();
    let target = Identifier::new(gvk, &name).namespace(namespace);
    let target = match package.resolve(&target)? {
        Some(resource) => resource.identifier().clone(),
        None => target,
    };
    Ok(match plugin_type {
        PluginType::Prepare => DryInput::Prepare {
            deployment: deployment(DeploymentId::new(&text(&call, "deploymentId"))?, package),
            target,
        },
        PluginType::Validate => DryInput::Validate {
            package,
            target,
            complete: call["complete"].as_bool().unwrap_or(true),
        },
        _ => DryInput::Schedule {
            site: site(SiteId::new(&text(&call, "siteId"))?, package),
            target: has_target.then_some(target),
            wanted: deployments(&call["deployments"])?,
            removed: deployments(&call["removedDeployments"])?,
        },
    })
}

fn deployments(value: &Value) -> anyhow::Result<Vec<Record>> {
    let none = Map::new();
    let packages = value.as_object().unwrap_or(&none).iter();
    packages
        .map(|(id, value)| Ok(deployment(DeploymentId::new(id)?, package(value)?)))
        .collect()
}

/// An invented deployment with this package.
pub(super) fn deployment(id: DeploymentId, package: Package) -> Record {
    Record::new(Entity::new(Key::from(id), Deployment::default())).package(package)
}

/// An invented site with this package.
pub(super) fn site(id: SiteId, package: Package) -> Record {
    Record::new(Entity::new(Key::Site(id), Facts::site(None, None))).package(package)
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
        // Links are not followed: they may form a cycle.
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), depth + 1, found)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{DryInput, input};
    use serde_json::json;
    use tko_core::PluginType;

    #[test]
    fn a_recorded_target_has_its_namespace() {
        let port = |namespace: &str| {
            json!({
                "apiVersion": "example.org/v1",
                "kind": "Port",
                "metadata": {"name": "n3", "namespace": namespace},
            })
        };
        let call = json!({
            "targetResourceIdentifier":
                {"group": "example.org", "version": "v1", "kind": "Port", "name": "n3", "namespace": "b"},
            "package": [port("a"), port("b")],
        });
        let input = input(PluginType::Validate, call).expect("a recorded call");
        let DryInput::Validate { target, .. } = input else {
            panic!("a call of a validator");
        };
        assert_eq!(target.namespace.as_deref(), Some("b"));
    }
}
