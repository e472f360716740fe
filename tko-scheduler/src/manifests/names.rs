//! Names of folders and files: distinct, even where case is ignored, and safe on every system.

use serde_json::{Value, json};
use tko_core::{ContentHash, Identifier};

/// Maximum length of a name, in bytes. File systems allow 255; some tools need a few of them.
pub(super) const MAX_NAME: usize = 200;

/// Names that Windows reserves for devices, with any extension.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "conin$", "conout$"];

/// The folder of an id of letters, digits and `_ . - / :`. No two ids share a folder.
///
/// Lower-case letters, digits, `-` and `.` are kept. An upper-case letter becomes `_` and its lower
/// case, `_` is doubled, `/` becomes `+`, `:` becomes `=`, and a final `.` becomes `,`. A name that
/// would be hidden, a device, or an option gets a leading `@`. A name that is too long is
/// truncated, and ends with `@` and a hash of the id.
pub(super) fn folder(id: &str) -> String {
    let mut name = String::with_capacity(id.len() + 8);
    for c in id.chars() {
        match c {
            '/' => name.push('+'),
            ':' => name.push('='),
            '_' => name.push_str("__"),
            c if c.is_ascii_uppercase() => {
                name.push('_');
                name.push(c.to_ascii_lowercase());
            }
            c => name.push(c),
        }
    }
    if name.ends_with('.') {
        name.pop();
        name.push(',');
    }
    if name.starts_with(['.', '-']) || is_device(&name) {
        name.insert(0, '@');
    }
    if name.len() > MAX_NAME {
        let hash = hash(&Value::from(id), 32);
        name.truncate(MAX_NAME - hash.len() - 1);
        name.push('@');
        name.push_str(&hash);
    }
    name
}

fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name);
    let numbered = stem
        .strip_prefix("com")
        .or_else(|| stem.strip_prefix("lpt"))
        .is_some_and(|number| number.len() == 1 && number != "0");
    numbered || DEVICES.contains(&stem)
}

/// The readable name of a resource: kind, namespace, name. Two resources may share it.
pub(super) fn readable(resource: &Identifier) -> String {
    let mut name = plain(&resource.gvk.kind);
    let parts = resource.namespace.iter().chain([&resource.name]);
    for part in parts {
        name.push('-');
        name.push_str(&plain(part));
    }
    name
}

/// A hash that distinguishes resources with the same readable name, as hex digits.
pub(super) fn distinct(resource: &Identifier, length: usize) -> String {
    let gvk = &resource.gvk;
    let all = json!([
        &*gvk.group,
        &*gvk.version,
        &*gvk.kind,
        resource.namespace.as_deref(),
        &*resource.name
    ]);
    hash(&all, length)
}

fn plain(text: &str) -> String {
    let is_kept = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    text.chars()
        .map(|c| {
            if is_kept(c) {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        })
        .collect()
}

fn hash(value: &Value, length: usize) -> String {
    let mut text = ContentHash::of(value).to_string();
    text.truncate(length);
    text
}

#[cfg(test)]
mod tests {
    use super::{MAX_NAME, folder, is_device};
    use std::collections::HashSet;

    #[test]
    fn common_ids_stay_readable() {
        for (id, name) in [
            ("india/bangalore/south-100", "india+bangalore+south-100"),
            ("edge_1:v1.0", "edge__1=v1.0"),
            ("RAN/du1", "_r_a_n+du1"),
            ("..", "@.,"),
            (".git", "@.git"),
            ("-rf", "@-rf"),
            ("a.", "a,"),
            ("aux.txt", "@aux.txt"),
            ("COM1", "_c_o_m1"),
            ("com1", "@com1"),
            ("../../etc/passwd", "@..+..+etc+passwd"),
            ("/", "+"),
        ] {
            assert_eq!(folder(id), name, "{id}");
        }
    }

    /// All ids of up to four characters with a meaning here, and ids that are too long.
    #[test]
    fn no_two_ids_share_a_folder_whatever_folds_case() {
        let alphabet = ['a', 'A', '_', '.', '-', '/', ':', '1', 'b'];
        let mut ids = vec![String::new()];
        let mut from = 0;
        for _ in 0..4 {
            let to = ids.len();
            for at in from..to {
                for c in alphabet {
                    ids.push(format!("{}{c}", ids[at]));
                }
            }
            from = to;
        }
        let long: Vec<String> = ids
            .iter()
            .take(900)
            .map(|id| format!("{}{id}", "x".repeat(MAX_NAME - 3)))
            .collect();
        let devices = ["aux", "AUX", "aux.", "con.a", "lpt9"].map(str::to_owned);
        ids.extend(long);
        ids.extend(devices);
        let mut seen = HashSet::new();
        for id in ids.iter().filter(|id| !id.is_empty()) {
            let name = folder(id);
            assert!(seen.insert(name.to_ascii_lowercase()), "{id} has {name}");
            assert!(
                name.len() <= MAX_NAME && !name.contains(['/', '\\', ':']),
                "{name}"
            );
            assert!(
                !name.starts_with(['.', '-']) && !name.ends_with('.'),
                "{name}"
            );
            assert!(!is_device(&name), "{name}");
        }
    }
}
