//! Runs `helm template`.

use crate::chart::HelmChart;
use crate::settings::HelmSettings;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;
use tko_core::{Error, Result};
use tko_plugin::channel::Channel;
use tko_plugin::log::LogSubject;
use tko_plugin::process::{self, Bounds, Program};
use tko_plugin::{Failure, LogChannel, environment};

/// Variables that tell Helm where its files and proxies are, beside those that every plugin
/// inherits.
const HELM_VARIABLES: [&str; 12] = [
    "HELM_CACHE_HOME",
    "HELM_CONFIG_HOME",
    "HELM_CONTENT_CACHE",
    "HELM_DATA_HOME",
    "HELM_REGISTRY_CONFIG",
    "HELM_REPOSITORY_CACHE",
    "HELM_REPOSITORY_CONFIG",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http*_proxy",
    "no_proxy",
];

/// Time between SIGTERM and SIGKILL after the time limit.
const GRACE: Duration = Duration::from_secs(1);
/// Maximum bytes of stderr that are logged for one run.
const LOG: usize = 1 << 20;

/// Renders a chart; returns its manifests as YAML.
///
/// # Errors
/// `Unavailable`: there is no helm program, or it failed; the message has the end of its stderr.
pub(crate) async fn template(
    settings: &HelmSettings,
    chart: &HelmChart,
    subject: &LogSubject,
) -> Result<Vec<u8>> {
    let failed = |source: tko_core::BoxError| {
        Error::unavailable(format!("render HelmChart {}", chart.release), source)
    };
    let path = settings.find_program().ok_or_else(|| {
        failed(
            format!(
                "there is no program {:?} here; install Helm 3 or 4 where preparers run, or name the \
                 program with --helm",
                settings.program
            )
            .into(),
        )
    })?;
    // Without a folder of charts, relative paths lead nowhere.
    let empty = tempfile::Builder::new().prefix("tko-helm-").tempdir();
    let empty = empty.map_err(|error| failed(error.into()))?;
    let folder = settings.charts.as_deref().unwrap_or(empty.path());
    let program = Program {
        path: path.display().to_string(),
        arguments: arguments(chart),
    };
    let run = async {
        let channel = Channel::open(LogChannel::Fifo)
            .await
            .map_err(Failure::here("open a channel for its log lines"))?;
        let bounds = Bounds {
            timeout: settings.timeout,
            grace: GRACE,
            output: settings.output,
            log: LOG,
        };
        let command = environment::command(&program, None, &HELM_VARIABLES.map(str::to_owned));
        let command = command.map(|mut command| {
            // Rendering needs no cluster.
            command.current_dir(folder).env_remove("KUBECONFIG");
            command
        });
        process::run(&program, command, &[], &bounds, channel, subject).await
    };
    let output = run.await.map_err(|failure| failed(failure.into()))?;
    Ok(output.stdout)
}

fn arguments(chart: &HelmChart) -> Vec<String> {
    let mut arguments = vec![
        "template".to_owned(),
        chart.release.clone(),
        chart.chart.clone(),
        format!("--namespace={}", chart.namespace),
        "--skip-tests".to_owned(),
    ];
    if chart.crds {
        arguments.push("--include-crds".to_owned());
    }
    if !chart.hooks {
        arguments.push("--no-hooks".to_owned());
    }
    let options = [
        ("--repo", &chart.repository),
        ("--version", &chart.version),
        ("--kube-version", &chart.kube_version),
    ];
    for (option, value) in options {
        arguments.extend(value.as_ref().map(|value| format!("{option}={value}")));
    }
    let versions = chart.api_versions.iter();
    arguments.extend(versions.map(|version| format!("--api-versions={version}")));
    let parameters = chart.parameters.iter();
    arguments.extend(parameters.map(|(path, value)| format!("--set-json={path}={value}")));
    arguments
}

/// What a rendering depends on, beside the resource: the program, and the chart itself.
///
/// `None` if equal calls can have different results: the version is not exact, or the files of the
/// chart cannot be read.
pub(crate) fn identity(settings: &HelmSettings, chart: &HelmChart) -> Option<String> {
    let program = settings.find_program()?;
    let program = format!("{} {}", program.display(), file(&program)?);
    let local = local(settings, chart);
    let source = match &local {
        Some(path) => {
            let mut files = String::new();
            let mut left = MAX_FILES;
            walk(path, 0, &mut left, &mut files)?;
            files
        }
        None if chart.chart.contains("@sha256:") => String::new(),
        None => {
            let version = chart.version.as_deref()?;
            is_exact(version).then(String::new)?
        }
    };
    Some(format!("{program}\n{:?}\n{source}", settings.charts))
}

/// Maximum number of files of a local chart whose rendering is reused.
const MAX_FILES: usize = 10_000;
/// Maximum depth of folders of a local chart whose rendering is reused.
const MAX_FOLDERS: usize = 20;

/// The path of a chart on this machine.
fn local(settings: &HelmSettings, chart: &HelmChart) -> Option<std::path::PathBuf> {
    if chart.repository.is_some() || chart.chart.contains("://") {
        return None;
    }
    let folder = settings.charts.as_deref().unwrap_or(Path::new("/"));
    let path = folder.join(&chart.chart);
    let is_local = Path::new(&chart.chart).is_absolute() || settings.charts.is_some();
    (is_local && path.exists()).then_some(path)
}

fn walk(path: &Path, depth: usize, left: &mut usize, files: &mut String) -> Option<()> {
    *left = left.checked_sub(1)?;
    if depth > MAX_FOLDERS {
        return None;
    }
    if !path.is_dir() {
        return writeln!(files, "{} {}", path.display(), file(path)?).ok();
    }
    let entries = std::fs::read_dir(path).ok()?.take(MAX_FILES + 1);
    let entries = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut entries: Vec<_> = entries.collect::<Result<_, _>>().ok()?;
    entries.sort();
    for entry in entries {
        walk(&entry, depth + 1, left, files)?;
    }
    Some(())
}

/// The size and the time of the last change of a file.
fn file(path: &Path) -> Option<String> {
    let file = std::fs::metadata(path).ok()?;
    let modified = file.modified().ok()?;
    let modified = modified.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(format!("{} {}", file.len(), modified.as_nanos()))
}

/// Whether a version is exact, such as `1.2.3` and `v1.2.3-rc.1`, and not a range.
fn is_exact(version: &str) -> bool {
    let version = version.strip_prefix('v').unwrap_or(version);
    let end = version.find(['-', '+']).unwrap_or(version.len());
    let (numbers, rest) = version.split_at(end);
    let parts: Vec<&str> = numbers.split('.').collect();
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-+.".contains(c);
    parts.len() == 3 && parts.iter().all(is_number) && rest.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::is_exact;

    #[test]
    fn ranges_are_not_exact() {
        for (version, expected) in [
            ("1.2.3", true),
            ("v1.2.3-rc.1+build", true),
            ("1.2", false),
            ("^1.2.3", false),
            ("1.2.x", false),
            ("1.2.3 - 2.0.0", false),
            ("", false),
        ] {
            assert_eq!(is_exact(version), expected, "{version}");
        }
    }
}
