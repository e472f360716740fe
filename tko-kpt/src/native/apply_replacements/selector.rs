//! Selectors of replacements.

use super::{group, kind, name, namespace};
use crate::annotations;
use crate::native::fields::version;
use serde_json::Value;
use std::fmt;

/// The resources that a source or target means. Empty texts match everything.
#[derive(Debug, Default)]
pub(super) struct ReplacementSelector {
    group: String,
    version: String,
    kind: String,
    name: String,
    namespace: String,
    labels: Vec<ReplacementRequirement>,
    annotations: Vec<ReplacementRequirement>,
}

/// One requirement of a label selector.
#[derive(Debug)]
struct ReplacementRequirement {
    key: String,
    /// The accepted values; `None` if the key alone counts.
    values: Option<Vec<String>>,
    /// Whether the requirement is negated.
    negated: bool,
}

impl ReplacementSelector {
    /// Reads a selector.
    ///
    /// # Errors
    /// A clause: a label selector is malformed.
    pub(super) fn read(value: &Value) -> Result<Self, String> {
        let text = |field: &str| {
            let text = value.get(field).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let (mut group, mut version) = (text("group"), text("version"));
        if let Some(api_version) = value.get("apiVersion").and_then(Value::as_str) {
            let (of_api, version_of_api) = api_version.split_once('/').unwrap_or(("", api_version));
            of_api.clone_into(&mut group);
            version_of_api.clone_into(&mut version);
        }
        Ok(Self {
            group,
            version,
            kind: text("kind"),
            name: text("name"),
            namespace: text("namespace"),
            labels: requirements(&text("labelSelector"))?,
            annotations: requirements(&text("annotationSelector"))?,
        })
    }

    /// Whether a resource is meant.
    pub(super) fn matches(&self, value: &Value) -> bool {
        let is = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
        let labels = value
            .get("metadata")
            .and_then(|metadata| metadata.get("labels"));
        is(&self.group, group(value))
            && is(&self.version, version(value))
            && is(&self.kind, kind(value))
            && is(&self.name, name(value))
            && is(&self.namespace, namespace(value))
            && self.labels.iter().all(|requirement| {
                requirement.is_met(
                    labels
                        .and_then(|l| l.get(&requirement.key))
                        .and_then(Value::as_str),
                )
            })
            && self
                .annotations
                .iter()
                .all(|requirement| requirement.is_met(annotations::get(value, &requirement.key)))
    }
}

impl ReplacementRequirement {
    fn is_met(&self, found: Option<&str>) -> bool {
        let matches = match (&self.values, found) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(values), Some(found)) => values.iter().any(|value| value == found),
        };
        matches != self.negated
    }
}

/// Parses `a=b,c!=d,e,!f,g in (h,i),j notin (k)`.
fn requirements(text: &str) -> Result<Vec<ReplacementRequirement>, String> {
    let mut parts = vec![String::new()];
    let mut depth = 0_usize;
    for c in text.chars() {
        match c {
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        parts.last_mut().expect("begins with one").push(c);
    }
    let parts = parts
        .iter()
        .map(|part| part.trim())
        .filter(|part| !part.is_empty());
    parts.map(requirement).collect()
}

fn requirement(part: &str) -> Result<ReplacementRequirement, String> {
    let new = |key: &str, values: Option<Vec<String>>, negated| ReplacementRequirement {
        key: key.trim().to_owned(),
        values,
        negated,
    };
    let one = |value: &str| Some(vec![value.trim().to_owned()]);
    let set = |list: &str| {
        let list = list.trim().strip_prefix('(')?.strip_suffix(')')?;
        Some(
            list.split(',')
                .map(|value| value.trim().to_owned())
                .collect(),
        )
    };
    let bad = || format!("the selector {part:?} is malformed");
    if let Some(key) = part.strip_prefix('!') {
        return Ok(new(key, None, true));
    }
    if let Some((key, list)) = part.split_once(" notin ") {
        return Ok(new(key, Some(set(list).ok_or_else(bad)?), true));
    }
    if let Some((key, list)) = part.split_once(" in ") {
        return Ok(new(key, Some(set(list).ok_or_else(bad)?), false));
    }
    if let Some((key, value)) = part.split_once("!=") {
        return Ok(new(key, one(value), true));
    }
    if let Some((key, value)) = part.split_once('=') {
        return Ok(new(
            key,
            one(value.strip_prefix('=').unwrap_or(value)),
            false,
        ));
    }
    Ok(new(part, None, false))
}

impl fmt::Display for ReplacementSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("group", &self.group),
            ("version", &self.version),
            ("kind", &self.kind),
            ("name", &self.name),
            ("namespace", &self.namespace),
        ];
        let mut separator = "";
        for (field, text) in parts.iter().filter(|(_, text)| !text.is_empty()) {
            write!(f, "{separator}{field} {text}")?;
            separator = ", ";
        }
        Ok(())
    }
}
