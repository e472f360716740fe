//! Names of folders and files: injective, also where case is folded, and safe everywhere.

use serde_json::{Value, json};
use tko_core::{ContentHash, Identifier};

/// Longest name, in bytes. File systems take 255; some, and tools on top, take off a few.
pub(super) const LONGEST: usize = 200;

/// Names that Windows keeps for devices, whatever follows a dot.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "conin$", "conout$"];

/// The folder of an id of letters, digits and `_ . - / :`. No two ids have the same.
///
/// Lower-case letters, digits, `-` and `.` stand for themselves; `_` for an upper-case letter that
/// follows in lower case, or, doubled, for itself; `+` for `/`, `=` for `:`, `,` for a last `.`.
/// A name that would be hidden, a device, or taken for an option gets an `@` in front; one that
/// would be too long is cut, and goes on with an `@` and a hash of the id.
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
    if name.len() > LONGEST {
        let hash = hash(&Value::from(id), 32);
        name.truncate(LONGEST - hash.len() - 1);
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

/// What people read of a resource: kind, namespace, name. Two resources may share it.
pub(super) fn readable(resource: &Identifier) -> String {
    let mut name = plain(&resource.gvk.kind);
    let parts = resource.namespace.iter().chain([&resource.name]);
    for part in parts {
        name.push('-');
        name.push_str(&plain(part));
    }
    name
}

/// Distinguishes resources that share a readable name.
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
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    text.chars()
        .map(|c| if fine(c) { c.to_ascii_lowercase() } else { '_' })
        .collect()
}

fn hash(value: &Value, length: usize) -> String {
    let mut text = ContentHash::of(value).to_string();
    text.truncate(length);
    text
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, folder, is_device};
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

    /// Every id of up to four characters that mean something here, and their like with padding
    /// that makes them too long.
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
            .map(|id| format!("{}{id}", "x".repeat(LONGEST - 3)))
            .collect();
        let devices = ["aux", "AUX", "aux.", "con.a", "lpt9"].map(str::to_owned);
        ids.extend(long);
        ids.extend(devices);
        let mut seen = HashSet::new();
        for id in ids.iter().filter(|id| !id.is_empty()) {
            let name = folder(id);
            assert!(seen.insert(name.to_ascii_lowercase()), "{id} has {name}");
            assert!(
                name.len() <= LONGEST && !name.contains(['/', '\\', ':']),
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
