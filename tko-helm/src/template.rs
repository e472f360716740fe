//! Runs `helm template`.

use crate::chart::HelmChart;
use crate::program::HelmRun;
use crate::settings::HelmSettings;
use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use tko_core::{Error, Result};
use tko_plugin::log::LogSubject;

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
    let run = HelmRun {
        arguments: arguments(chart),
        timeout: settings.timeout,
        // Rendering needs no cluster.
        kubeconfig: None,
    };
    run.run(settings, subject).await.map_err(failed)
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
    arguments.extend(plain_http(chart));
    let versions = chart.api_versions.iter();
    arguments.extend(versions.map(|version| format!("--api-versions={version}")));
    arguments.extend(parameters(chart));
    arguments
}

/// The option for registries of this machine: as with container tools, they need no TLS.
pub(crate) fn plain_http(chart: &HelmChart) -> Option<String> {
    let rest = chart.chart.strip_prefix("oci://")?;
    let host = rest.split('/').next().unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    matches!(name, "localhost" | "127.0.0.1" | "[::1]").then(|| "--plain-http".to_owned())
}

/// The values of a chart as arguments.
pub(crate) fn parameters(chart: &HelmChart) -> impl Iterator<Item = String> {
    let parameters = chart.parameters.iter();
    parameters.map(|(path, value)| format!("--set-json={path}={value}"))
}

/// The input of a rendering besides the resource: the program, and the chart itself.
///
/// `None` if equal calls can have different results: the version is not exact, or the files of the
/// chart cannot be read.
pub(crate) fn identity(settings: &HelmSettings, chart: &HelmChart) -> Option<String> {
    let program = settings.find_program()?;
    let program = format!("{} {}", program.display(), file(&program)?);
    let source = match local(settings, chart) {
        Some(path) => contents(&path)?,
        None => is_fixed(chart).then(String::new)?,
    };
    Some(format!("{program}\n{:?}\n{source}", settings.charts))
}

/// Whether a chart that is downloaded is always the same one.
pub(crate) fn is_fixed(chart: &HelmChart) -> bool {
    chart.chart.contains("@sha256:") || chart.version.as_deref().is_some_and(is_exact)
}

/// The files of a local chart with their sizes and times; `None` if they cannot be read, or are too
/// many.
pub(crate) fn files(chart: &Path) -> Option<String> {
    let mut files = String::new();
    let mut left = MAX_FILES;
    walk(chart, 0, &mut left, &mut |path| {
        writeln!(files, "{} {}", path.display(), file(path)?).ok()
    })?;
    Some(files)
}

/// The files of a local chart with the hashes of their contents. `None` as for [`files`], and if
/// they are too large or not regular files. Renderings may be shared among machines, on which the
/// same chart can have different times.
fn contents(chart: &Path) -> Option<String> {
    let mut files = String::new();
    let (mut left, mut bytes) = (MAX_FILES, MAX_BYTES);
    walk(chart, 0, &mut left, &mut |path| {
        // Reading a device or a pipe may never end, and a package can name any path.
        if !std::fs::metadata(path).ok()?.is_file() {
            return None;
        }
        let mut content = File::open(path).ok()?.take(bytes + 1);
        let mut hasher = blake3::Hasher::new();
        let size = std::io::copy(&mut content, &mut hasher).ok()?;
        bytes = bytes.checked_sub(size)?;
        let hash = hasher.finalize().to_hex();
        writeln!(files, "{} {hash}", path.display()).ok()
    })?;
    Some(files)
}

/// Maximum size of the files of a local chart whose rendering is reused, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// Maximum number of files of a local chart whose rendering is reused.
const MAX_FILES: usize = 10_000;
/// Maximum depth of folders of a local chart whose rendering is reused.
const MAX_FOLDERS: usize = 20;

/// The path of a chart on this machine.
pub(crate) fn local(settings: &HelmSettings, chart: &HelmChart) -> Option<std::path::PathBuf> {
    if chart.repository.is_some() || chart.chart.contains("://") {
        return None;
    }
    let folder = settings.charts.as_deref().unwrap_or(Path::new("/"));
    let path = folder.join(&chart.chart);
    let is_local = Path::new(&chart.chart).is_absolute() || settings.charts.is_some();
    (is_local && path.exists()).then_some(path)
}

/// Visits the files below a path in the order of their names.
fn walk(
    path: &Path,
    depth: usize,
    left: &mut usize,
    visit: &mut dyn FnMut(&Path) -> Option<()>,
) -> Option<()> {
    *left = left.checked_sub(1)?;
    if depth > MAX_FOLDERS {
        return None;
    }
    if !path.is_dir() {
        return visit(path);
    }
    let entries = std::fs::read_dir(path).ok()?.take(MAX_FILES + 1);
    let entries = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut entries: Vec<_> = entries.collect::<Result<_, _>>().ok()?;
    entries.sort();
    for entry in entries {
        walk(&entry, depth + 1, left, visit)?;
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
    use super::{MAX_BYTES, contents, is_exact};
    use std::fs;
    use std::path::Path;

    #[test]
    fn local_charts_are_known_by_content() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("Chart.yaml");
        fs::write(&file, "a").expect("a file");
        let first = contents(folder.path()).expect("it can be read");
        fs::write(&file, "b").expect("a file");
        let second = contents(folder.path()).expect("it can be read");
        assert_ne!(second, first);
        fs::write(&file, "a").expect("a file");
        assert_eq!(contents(folder.path()), Some(first));
        let large = fs::File::create(&file).expect("a file");
        large.set_len(MAX_BYTES + 1).expect("it grows");
        assert_eq!(contents(folder.path()), None, "it is too large");
        assert_eq!(contents(Path::new("/dev/zero")), None, "it has no end");
    }

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
