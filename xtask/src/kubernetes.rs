//! Builds a Kubernetes API server and etcd from their Go modules, for tests.

mod flux;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The module of Kubernetes, and the versions of it and of its staging modules.
const KUBERNETES: (&str, &str, &str) = ("k8s.io/kubernetes", "v1.36.3", "v0.36.3");

/// The module of etcd and its version.
const ETCD: (&str, &str) = ("go.etcd.io/etcd/server/v3", "v3.6.16");

/// The version of Go in the modules that are written.
const GO: &str = "1.26.0";

/// Build a Kubernetes API server and etcd for tests, with Go
///
/// It takes about ten minutes on two cores. `TKO_TEST_KUBERNETES` names the folder for the programs;
/// the default is target/kubernetes/bin.
#[derive(Args)]
pub(crate) struct KubernetesArgs {
    /// Build programs again that are built already
    #[arg(long)]
    force: bool,
    /// Build Flux's kustomize-controller as well
    ///
    /// It takes about five minutes, and 3 GB for modules of Go.
    #[arg(long)]
    flux: bool,
}

impl KubernetesArgs {
    pub(crate) fn run(&self, out: &mut dyn Write) -> Result<()> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let bin = std::env::var_os("TKO_TEST_KUBERNETES")
            .map_or_else(|| root.join("target/kubernetes/bin"), PathBuf::from);
        std::fs::create_dir_all(&bin)?;
        let bin = bin.canonicalize()?;
        let work = root.join("target/kubernetes");
        let (module, version, _) = KUBERNETES;
        // Clients such as helm compare the version that the server reports.
        let flags = format!("-s -w -X k8s.io/component-base/version.gitVersion={version}");
        for (program, package) in [
            ("etcd", ETCD.0.to_owned()),
            ("kube-apiserver", format!("{module}/cmd/kube-apiserver")),
            (
                "kube-controller-manager",
                format!("{module}/cmd/kube-controller-manager"),
            ),
        ] {
            let path = bin.join(program);
            if path.is_file() && !self.force {
                writeln!(out, "{} is there", path.display())?;
                continue;
            }
            writeln!(out, "building {program}: this takes some minutes")?;
            let folder = if program == "etcd" {
                etcd_module(&work.join("etcd"))?
            } else {
                kubernetes_module(&work.join("kubernetes"))?
            };
            go(&folder)
                .args(["build", "-trimpath", "-ldflags", &flags, "-o"])
                .arg(&path)
                .arg(package)
                .run()?;
        }
        if self.flux {
            flux::build(&bin, &work, self.force, out)?;
        }
        Ok(())
    }
}

/// Writes a module that requires etcd.
fn etcd_module(folder: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(
        folder.join("go.mod"),
        format!("module tko.test/etcd\n\ngo {GO}\n"),
    )?;
    let (module, version) = ETCD;
    go(folder)
        .args(["get", "-tool"])
        .arg(format!("{module}@{version}"))
        .run()?;
    Ok(folder.to_owned())
}

/// Writes a module that requires Kubernetes, with all its staging modules.
fn kubernetes_module(folder: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    let (module, version, staging) = KUBERNETES;
    let downloaded = go(folder)
        .args(["mod", "download", "-json"])
        .arg(format!("{module}@{version}"))
        .output()?;
    let downloaded: Value = serde_json::from_str(&downloaded).context("the answer of go")?;
    let path = downloaded["GoMod"].as_str().context("there is no go.mod")?;
    let upstream = std::fs::read_to_string(path).with_context(|| path.to_owned())?;
    let mut text = format!("module tko.test/kubernetes\n\ngo {GO}\n\nrequire {module} {version}\n");
    // Upstream replaces them by folders that the module does not contain.
    for line in upstream.lines() {
        if let Some((name, _)) = line.trim().split_once(" => ./staging/") {
            let name = name.trim_start_matches("replace ").trim();
            write!(text, "\nreplace {name} => {name} {staging}")?;
        }
    }
    text.push('\n');
    std::fs::write(folder.join("go.mod"), text)?;
    std::fs::write(
        folder.join("tools.go"),
        "//go:build tools\n\npackage tools\n\nimport (\n\t_ \
         \"k8s.io/kubernetes/cmd/kube-apiserver\"\n\t_ \
         \"k8s.io/kubernetes/cmd/kube-controller-manager\"\n)\n",
    )?;
    go(folder).args(["mod", "tidy"]).run()?;
    Ok(folder.to_owned())
}

/// A command of Go.
struct GoCommand(Command);

fn go(folder: &Path) -> GoCommand {
    let mut command = Command::new("go");
    command.current_dir(folder);
    GoCommand(command)
}

impl GoCommand {
    fn args<const N: usize>(mut self, arguments: [&str; N]) -> Self {
        self.0.args(arguments);
        self
    }

    fn arg(mut self, argument: impl AsRef<std::ffi::OsStr>) -> Self {
        self.0.arg(argument);
        self
    }

    fn run(mut self) -> Result<()> {
        let status = self.0.status();
        let status = status.context("cannot run go: install Go 1.26 or newer")?;
        if !status.success() {
            bail!("{:?} failed", self.0);
        }
        Ok(())
    }

    fn output(mut self) -> Result<String> {
        let output = self.0.output();
        let output = output.context("cannot run go: install Go 1.26 or newer")?;
        if !output.status.success() {
            bail!(
                "{:?} failed: {}",
                self.0,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}
