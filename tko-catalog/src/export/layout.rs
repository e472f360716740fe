//! The names of files in an export, and the content of descriptors.

use serde_json::{Map, Value, json};
use std::path::PathBuf;
use tko_core::metadata::RESERVED;
use tko_core::{Entity, Error, Key, Metadata, Result, SiteId, TemplateId};

/// The file that records the layout version of an export.
pub(super) const MARKER: &str = "tko-export.json";
/// The version of the layout.
pub(super) const VERSION: u64 = 1;
/// The name of the file that contains the package.
pub(super) const PACKAGE: &str = "package.yaml";

/// Maximum length of the name of a folder, in bytes. File systems allow 255; some tools need a few
/// of them.
const MAX_NAME: usize = 200;
/// Maximum number of folders for the segments of an id. All further segments share one folder.
const MAX_LEVELS: usize = 32;
/// Number of hexadecimal digits of a hash in a name.
const DIGITS: usize = 32;

/// The name of the descriptors of templates.
pub(crate) const TEMPLATE_DESCRIPTOR: &str = "template.json";
/// The name of the descriptors of sites.
pub(crate) const SITE_DESCRIPTOR: &str = "site.json";
/// Maximum number of bytes of a descriptor.
pub(crate) const MAX_DESCRIPTOR: u64 = 1 << 20;

/// The folder of templates.
pub(crate) const TEMPLATES: &str = "templates";
/// The folder of sites.
const SITES: &str = "sites";

/// The two parts of an export: the folder, and the name of descriptors.
pub(super) const PARTS: [(&str, &str); 2] =
    [(TEMPLATES, TEMPLATE_DESCRIPTOR), (SITES, SITE_DESCRIPTOR)];

/// The folder of an entity; `None` if it is not exported.
pub(super) fn folder(key: &Key) -> Option<PathBuf> {
    let (part, id) = match key {
        Key::Template(id) => (PARTS[0].0, id.as_str()),
        Key::Site(id) => (PARTS[1].0, id.as_str()),
        Key::Deployment(_) | Key::Plugin(_) => return None,
    };
    let mut path = PathBuf::from(part);
    for (level, part) in id.split('/').enumerate() {
        if level == MAX_LEVELS {
            // No other name begins with `+` and a digit of a hash.
            path.push(format!("+{}", digest(id)));
            break;
        }
        path.push(segment(part));
    }
    Some(path)
}

/// A segment of an id as the name of a folder. `:` becomes `@`, which ids do not have. A segment
/// that would lead elsewhere, be hidden, or be taken for a file of the export, begins with `+`. A
/// name that is too long is truncated, and ends with `+` and a hash of the segment.
fn segment(segment: &str) -> String {
    let is_file = segment == PACKAGE || PARTS.iter().any(|(_, file)| segment == *file);
    let escape = segment.is_empty() || segment.starts_with('.') || is_file;
    let mut name = segment.replace(':', "@");
    if escape {
        name.insert(0, '+');
    }
    if name.len() > MAX_NAME {
        name.truncate(MAX_NAME - DIGITS - 1);
        name.push('+');
        name.push_str(&digest(segment));
    }
    name
}

/// The first digits of the hash of a text.
fn digest(text: &str) -> String {
    let hash = blake3::hash(text.as_bytes()).to_hex();
    hash.chars().take(DIGITS).collect()
}

/// The descriptor of an entity.
pub(super) fn descriptor(entity: &Entity) -> Vec<u8> {
    let mut value = json!({"id": entity.key.id()});
    if let Some(template) = entity.template() {
        value["template"] = template.as_str().into();
    }
    let metadata: Map<String, Value> = shared(&entity.given)
        .iter()
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect();
    if !metadata.is_empty() {
        value["metadata"] = Value::Object(metadata);
    }
    let mut text = serde_json::to_vec_pretty(&value).unwrap_or_default();
    text.push(b'\n');
    text
}

/// The given metadata without TKO's own keys.
pub(super) fn shared(given: &Metadata) -> Metadata {
    let mut shared = given.clone();
    shared.retain(|key, _| !key.starts_with(RESERVED));
    shared
}

/// A descriptor that was read.
pub(crate) struct Descriptor {
    pub(crate) key: Key,
    pub(super) template: Option<TemplateId>,
    pub(crate) metadata: Metadata,
}

/// Reads a descriptor of the part with this folder. Metadata that TKO writes itself are refused.
///
/// # Errors
/// `BadArgument`: it is not JSON of the form that [`descriptor`] writes.
pub(crate) fn parse(part: &str, bytes: &[u8]) -> Result<Descriptor> {
    let bad = |why: String| Error::bad("descriptor", why);
    let value: Value = serde_json::from_slice(bytes).map_err(|error| bad(error.to_string()))?;
    let Value::Object(map) = &value else {
        return Err(bad("it is not a map".into()));
    };
    let known = ["id", "template", "metadata"];
    if let Some(key) = map.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(bad(format!(
            "unknown field {key:?}; expected {}",
            known.join(", ")
        )));
    }
    let text = |name: &str| match map.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(bad(format!("{name} is not text"))),
    };
    let id = text("id")?.ok_or_else(|| bad("it has no id".into()))?;
    let key = match part {
        SITES => Key::from(SiteId::new(id)?),
        _ => Key::from(TemplateId::new(id)?),
    };
    let pairs = match map.get("metadata") {
        None => Vec::new(),
        Some(Value::Object(pairs)) => pairs
            .iter()
            .map(|(key, value)| match value.as_str() {
                Some(text) if !key.starts_with(RESERVED) => Ok((key.as_str(), text)),
                _ => Err(bad(format!(
                    "the metadata {key:?} is not text, or reserved"
                ))),
            })
            .collect::<Result<_>>()?,
        Some(_) => return Err(bad("metadata is not a map".into())),
    };
    Ok(Descriptor {
        key,
        template: text("template")?.map(TemplateId::new).transpose()?,
        metadata: pairs.into_iter().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::{MAX_LEVELS, MAX_NAME, folder, parse, segment};
    use std::collections::HashSet;
    use tko_core::{Key, TemplateId};

    #[test]
    fn no_id_leads_elsewhere_or_collides() {
        let ids = [
            "nf/upf:v1",
            "nf/upf/v1",
            "../../etc/passwd",
            "a//b",
            "a/",
            "/a",
            ".git/config",
            "a",
            "a/template.json",
            "a/package.yaml",
            "a:b:c",
            "..",
            ".",
        ];
        let long = "x".repeat(MAX_NAME);
        let deep = "a/".repeat(MAX_LEVELS);
        let many = [
            long.clone(),
            format!("{long}y"),
            format!("{long}z"),
            format!("{long}y/{long}z"),
            format!(".{long}"),
            "/".repeat(1_000),
            deep.clone(),
            format!("{deep}b"),
            format!("{deep}c/d"),
            format!("{deep}c/e"),
        ];
        let mut seen = HashSet::new();
        for id in ids.into_iter().chain(many.iter().map(String::as_str)) {
            let key = Key::from(TemplateId::new(id).expect("an id"));
            let path = folder(&key).expect("a folder");
            let safe = path
                .components()
                .all(|part| matches!(part, std::path::Component::Normal(_)));
            assert!(safe && path.starts_with("templates"), "{id}: {path:?}");
            let is_short = path.iter().all(|name| name.len() <= MAX_NAME);
            let is_flat = path.iter().count() <= MAX_LEVELS + 2;
            assert!(is_short && is_flat, "{id}: {path:?}");
            assert!(seen.insert(path), "{id}");
        }
        assert_eq!(segment("upf:v1"), "upf@v1");
    }

    #[test]
    fn garbage_is_refused() {
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"id": 1}"#,
            r#"{"id": "a b"}"#,
            r#"{"id": "a", "other": 1}"#,
            r#"{"id": "a", "metadata": {"a": 1}}"#,
            r#"{"id": "a", "metadata": {"nephio.org/x": "1"}}"#,
        ] {
            assert!(parse("templates", bad.as_bytes()).is_err(), "{bad}");
        }
        let read = parse(
            "sites",
            br#"{"id": "a/b", "template": "t", "metadata": {"k": "v"}}"#,
        );
        assert_eq!(read.expect("a descriptor").metadata.get("k"), Some("v"));
    }
}
