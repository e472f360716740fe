//! Builds all test programs with one cargo command and reads from its messages what it built.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A test program.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Built {
    pub(super) package: String,
    /// The source file, relative to the package, such as `tests/lease.rs`.
    pub(super) target: String,
    /// Where the package is, and where its tests run.
    pub(super) folder: PathBuf,
    pub(super) program: PathBuf,
    /// Whether it holds the tests inside a library.
    pub(super) is_library: bool,
}

/// Runs a `cargo test --no-run` that prints its messages as JSON.
///
/// # Errors
/// If cargo cannot be started, or the build fails; cargo has then printed why.
pub(super) fn build(cargo: &mut Command) -> Result<Vec<Built>> {
    let output = cargo
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("could not run cargo")?;
    if !output.status.success() {
        bail!(
            "could not build the tests: cargo ended with {}",
            output.status
        );
    }
    let mut built = Vec::new();
    for line in output.stdout.split(|byte| *byte == b'\n') {
        // Build scripts and compilers may print other lines in between.
        if let Ok(message) = serde_json::from_slice(line) {
            built.extend(program(&message)?);
        }
    }
    Ok(built)
}

/// The test program that a message reports, if it reports one.
fn program(message: &Value) -> Result<Option<Built>> {
    let Some(program) = message["executable"].as_str() else {
        return Ok(None);
    };
    if message["profile"]["test"] != Value::Bool(true) {
        return Ok(None);
    }
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let read = || {
        let manifest = PathBuf::from(text(&message["manifest_path"])?);
        let folder = manifest.parent()?.to_owned();
        let source = PathBuf::from(text(&message["target"]["src_path"])?);
        let target = source.strip_prefix(&folder).unwrap_or(&source);
        Some(Built {
            package: package_name(message["package_id"].as_str()?)?,
            target: target.display().to_string(),
            program: PathBuf::from(program),
            is_library: is_library(&message["target"]),
            folder,
        })
    };
    let built = read().with_context(|| format!("cargo reported {program} without its source"))?;
    Ok(Some(built))
}

fn is_library(target: &Value) -> bool {
    let kinds = target["kind"].as_array();
    kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind == "lib"))
}

/// The name in `path+file:///tko/examples#tko-examples@0.1.0` or `path+file:///tko/tko-core#0.1.0`.
fn package_name(id: &str) -> Option<String> {
    let (url, fragment) = id.split_once('#')?;
    let name = match fragment.split_once('@') {
        Some((name, _)) => name,
        None => Path::new(url).file_name()?.to_str()?,
    };
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Built, build, package_name, program};
    use serde_json::json;
    use std::process::Command;

    fn message(test: bool) -> serde_json::Value {
        json!({
            "reason": "compiler-artifact",
            "package_id": "path+file:///tko/examples#tko-examples@0.1.0",
            "manifest_path": "/tko/examples/Cargo.toml",
            "target": {"kind": ["example"], "name": "embed", "src_path": "/tko/examples/embed/main.rs"},
            "profile": {"test": test},
            "executable": "/tko/target/debug/examples/embed-1",
        })
    }

    #[test]
    fn test_programs_are_read_from_messages() {
        let expected = Built {
            package: "tko-examples".to_owned(),
            target: "embed/main.rs".to_owned(),
            folder: "/tko/examples".into(),
            program: "/tko/target/debug/examples/embed-1".into(),
            is_library: false,
        };
        assert_eq!(program(&message(true)).expect("complete"), Some(expected));
    }

    #[test]
    fn other_programs_and_messages_are_skipped() {
        assert_eq!(program(&message(false)).expect("complete"), None);
        let finished = json!({"reason": "build-finished", "success": true});
        assert_eq!(program(&finished).expect("complete"), None);
    }

    #[test]
    fn a_message_without_a_source_is_an_error() {
        let mut message = message(true);
        message["target"] = json!({});
        assert!(program(&message).is_err());
    }

    #[test]
    fn package_names_are_read_from_ids() {
        let name = |id| package_name(id);
        assert_eq!(
            name("path+file:///a/tko-core#0.1.0").as_deref(),
            Some("tko-core")
        );
        assert_eq!(
            name("path+file:///a/b#tko-cli@0.1.0").as_deref(),
            Some("tko-cli")
        );
        assert_eq!(name("nothing"), None);
    }

    #[test]
    fn a_failed_build_is_an_error_even_if_it_built_something() {
        let script = format!("echo '{}'; exit 101", message(true));
        let error = build(Command::new("sh").args(["-c", &script])).expect_err("it failed");
        assert!(error.to_string().contains("101"), "{error}");
    }
}
