//! The limits that documents state are those of the code.

use std::path::Path;

/// The text of a document.
fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    std::fs::read_to_string(path.join(name)).expect("a document")
}

#[test]
fn documents_state_the_limit_of_a_package() {
    let limit = format!("{} MiB as JSON", tko_core::limits::MAX_PACKAGE >> 20);
    for name in ["operators.md", "catalogs.md", "security.md"] {
        assert!(document(name).contains(&limit), "{limit} in {name}");
    }
}
