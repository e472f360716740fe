//! Packages that cost a server much more than their sender.

use std::fmt::Write;

const HEAD: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n";

/// A map that many others merge.
pub(super) fn merge_keys() -> Vec<u8> {
    let mut text = format!("{HEAD}x: &a\n");
    for n in 0..1_000 {
        let _ = writeln!(text, "  k{n}: 1");
    }
    text.push_str("y:\n");
    text.push_str(&"- <<: *a\n".repeat(900));
    text.into_bytes()
}

pub(super) fn empty_lists() -> Vec<u8> {
    let mut text = format!("{HEAD}x:\n");
    text.push_str(&"- []\n".repeat(1_000_000));
    text.into_bytes()
}

pub(super) fn tiny_resources() -> Vec<u8> {
    let mut text = String::new();
    for n in 0..60_000 {
        let _ = writeln!(
            text,
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: c{n}}}}}\n---"
        );
    }
    text.into_bytes()
}

/// A resource from which metadata of this size are taken.
pub(super) fn metadata(bytes: usize) -> Vec<u8> {
    let value = "v".repeat(bytes);
    let text = format!(
        "apiVersion: metadata.nephio.org/v1\nkind: Big\nmetadata:\n  name: big\nspec:\n  k: {value}\n"
    );
    text.into_bytes()
}
