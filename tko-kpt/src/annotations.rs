//! The annotations of the KRM functions specification, and how they are passed to functions.
//!
//! An orchestrator marks each item with its file and its position there. Both the current names
//! (`internal.config.kubernetes.io/…`) and the older ones (`config.kubernetes.io/…`) are set,
//! because functions read either. The orchestrator recognizes items by an annotation of its own,
//! [`ITEM`], because functions also write files and positions.

use serde_json::{Map, Value};
use tko_core::resource::map_in;

/// The file of an item, relative to its package.
pub const PATH: &str = "internal.config.kubernetes.io/path";
/// The place of an item in its file, from 0.
pub const INDEX: &str = "internal.config.kubernetes.io/index";
/// The older name of [`PATH`].
pub const LEGACY_PATH: &str = "config.kubernetes.io/path";
/// The older name of [`INDEX`].
pub const LEGACY_INDEX: &str = "config.kubernetes.io/index";
/// The number of an item in the input of the pipeline, while a function outside this process runs.
pub const ITEM: &str = "kpt.nephio.org/item";
/// Marks a resource that is for tools only, if it is `true`.
pub const LOCAL_CONFIG: &str = "config.kubernetes.io/local-config";
/// Marks a resource as a function's configuration, in packages of early versions of kpt.
pub const FUNCTION: &str = "config.kubernetes.io/function";
/// The identity of a resource in the package that it was copied from.
pub const UPSTREAM: &str = "internal.kpt.dev/upstream-identifier";
/// Resources that must be applied before this one.
pub const DEPENDS_ON: &str = "config.kubernetes.io/depends-on";

/// The annotations of a resource's content.
pub fn of(value: &Value) -> Option<&Map<String, Value>> {
    value.get("metadata")?.get("annotations")?.as_object()
}

/// The text of an annotation.
pub fn get<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    of(value)?.get(name)?.as_str()
}

/// Sets an annotation of a resource's content, which must be a map.
pub fn set(value: &mut Value, name: &str, text: &str) {
    if let Value::Object(content) = value {
        let metadata = map_in(content, "metadata");
        map_in(metadata, "annotations").insert(name.to_owned(), Value::String(text.to_owned()));
    }
}

/// Removes annotations. If no annotations are left, the map itself is removed.
pub fn remove(value: &mut Value, names: &[&str]) {
    let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    let Some(annotations) = metadata
        .get_mut("annotations")
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    let before = annotations.len();
    for name in names {
        annotations.shift_remove(*name);
    }
    if annotations.is_empty() && before > 0 {
        metadata.shift_remove("annotations");
    }
}

/// Whether a resource is for tools only.
pub fn is_local_config(value: &Value) -> bool {
    get(value, LOCAL_CONFIG) == Some("true")
}
