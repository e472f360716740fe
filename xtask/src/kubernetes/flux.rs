//! Builds Flux's kustomize-controller from its Go module.
//!
//! The modules of its source-controller cannot all be downloaded from every proxy, so only its
//! definitions of custom resources are taken; tests play the program.

use super::{GO, go};
use anyhow::{Context, Result};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The version of both controllers.
const VERSION: &str = "v1.9.6";

/// The program, and the program whose definitions it needs.
const CONTROLLERS: [&str; 2] = ["kustomize-controller", "source-controller"];

/// Builds the program and copies the definitions, below `bin`/flux.
pub(super) fn build(bin: &Path, work: &Path, force: bool, out: &mut dyn Write) -> Result<()> {
    let folder = bin.join("flux");
    let program = folder.join(CONTROLLERS[0]);
    let version = folder.join("VERSION");
    let is_built = std::fs::read_to_string(&version).is_ok_and(|built| built == VERSION);
    if is_built && !force {
        writeln!(out, "{} is there", program.display())?;
        return Ok(());
    }
    writeln!(out, "building {}: this takes some minutes", CONTROLLERS[0])?;
    let definitions = folder.join("definitions");
    std::fs::create_dir_all(&definitions)?;
    let module = work.join("flux");
    std::fs::create_dir_all(&module)?;
    for name in CONTROLLERS {
        let source = PathBuf::from(download(&module, name)?.folder);
        let bases = source.join("config/crd/bases");
        for entry in std::fs::read_dir(&bases).with_context(|| bases.display().to_string())? {
            let path = entry?.path();
            let name = path.file_name().context("a file has a name")?;
            std::fs::write(definitions.join(name), std::fs::read(&path)?)?;
        }
    }
    write_module(&module)?;
    let path = format!("github.com/fluxcd/{}", CONTROLLERS[0]);
    go(&module)
        .args(["get", "-tool"])
        .arg(format!("{path}@{VERSION}"))
        .run()?;
    go(&module)
        .args(["build", "-trimpath", "-ldflags", "-s -w", "-o"])
        .arg(&program)
        .arg(path)
        .run()?;
    std::fs::write(version, VERSION)?;
    Ok(())
}

/// A module in the cache of Go.
struct Downloaded {
    folder: String,
    go_mod: String,
}

fn download(folder: &Path, name: &str) -> Result<Downloaded> {
    let answer = go(folder)
        .args(["mod", "download", "-json"])
        .arg(format!("github.com/fluxcd/{name}@{VERSION}"))
        .output()?;
    let answer: Value = serde_json::from_str(&answer).context("the answer of go")?;
    let text = |key: &str| {
        let text = answer[key].as_str();
        text.map(str::to_owned)
            .with_context(|| format!("{name} has no {key}"))
    };
    Ok(Downloaded {
        folder: text("Dir")?,
        go_mod: text("GoMod")?,
    })
}

/// Writes a module with the replacements of the program's own: those of dependencies do not count.
fn write_module(folder: &Path) -> Result<()> {
    let upstream = download(folder, CONTROLLERS[0])?.go_mod;
    let upstream = std::fs::read_to_string(&upstream).with_context(|| upstream.clone())?;
    let mut text = format!("module tko.test/flux\n\ngo {GO}\n");
    for line in upstream.lines() {
        let line = line.trim();
        let Some((name, target)) = line.split_once(" => ") else {
            continue;
        };
        if line.starts_with("//") {
            continue;
        }
        let name = name.trim_start_matches("replace ").trim();
        if target.starts_with("./") {
            // A separate module, which this one does not contain.
            write!(text, "\nreplace {name} => {name} {VERSION}")?;
        } else {
            write!(text, "\nreplace {name} => {target}")?;
        }
    }
    text.push('\n');
    std::fs::write(folder.join("go.mod"), text)?;
    Ok(())
}
