//! Paths in a resource, as people write them.

use serde_json::Value;

pub(super) fn join(pointer: &str, name: &str) -> String {
    let name = name.replace('~', "~0").replace('/', "~1");
    format!("{pointer}/{name}")
}

/// Converts a JSON pointer to a path such as `spec.containers[0].image` or
/// `metadata.labels['a/b']`.
pub(crate) fn path(pointer: &str, root: &Value) -> String {
    let mut path = String::new();
    let mut at = Some(root);
    for segment in pointer.split('/').skip(1) {
        let name = segment.replace("~1", "/").replace("~0", "~");
        if at.is_some_and(Value::is_array) {
            path.extend(["[", &name, "]"]);
            at = name.parse::<usize>().ok().and_then(|index| at?.get(index));
            continue;
        }
        let is_plain = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if !is_plain {
            path.extend(["['", &name, "']"]);
        } else if path.is_empty() {
            path.push_str(&name);
        } else {
            path.extend([".", &name]);
        }
        at = at.and_then(|value| value.get(&name));
    }
    path
}
