//! Where packages come from: a file, a directory, an archive, the network, a git repository, or
//! standard input.

mod archive;
mod fetch;

use crate::console::Console;
use anyhow::{Context, bail};
use clap::Args;
use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::rc::Rc;
use tko_core::{Dialect, Error, Format, Identifier, Limits, Package};

/// Most bytes that are read from one source.
const MAX_BYTES: u64 = 256 << 20;

/// One file of a package: its name, for people, and what is in it.
pub(crate) type SourceFile = (String, Vec<u8>);

/// Where a package comes from.
#[derive(Debug, Args)]
pub(crate) struct SourceArgs {
    /// Read the package from here: a file, a directory (.yaml and .yml, recursively by name), a
    /// .tar, .tar.gz, .tgz or .zip, an http(s) URL, a git repository (git:URL!PATH), or a part of
    /// an archive (zip:URL!PATH, tar:URL!PATH)
    #[arg(short, long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Read the package from standard input
    #[arg(short = 'i', long, conflicts_with = "url")]
    pub(crate) stdin: bool,
}

impl SourceArgs {
    /// The package; an empty one if nothing was named.
    pub(crate) async fn package(&self, console: &Console<'_>) -> anyhow::Result<Package> {
        match (&self.url, self.stdin) {
            (Some(url), _) => console.during(&format!("reading {url}"), of_url(url)).await,
            (None, true) => of_stdin(),
            (None, false) => Ok(Package::default()),
        }
    }
}

/// A package from a URL or path.
pub(crate) async fn of_url(url: &str) -> anyhow::Result<Package> {
    let files = files_of(url).await?;
    if files.is_empty() {
        bail!("{url} has no .yaml or .yml file");
    }
    of_files(files)
}

/// The files that a URL or path stands for, in the order in which they count.
pub(crate) async fn files_of(url: &str) -> anyhow::Result<Vec<SourceFile>> {
    if let Some(rest) = url.strip_prefix("git:") {
        let (repository, path) = rest.split_once('!').unwrap_or((rest, ""));
        return fetch::git(repository, path).await;
    }
    for (prefix, kind) in [("zip:", archive::Kind::Zip), ("tar:", archive::Kind::Tar)] {
        if let Some(rest) = url.strip_prefix(prefix) {
            let (place, path) = rest.split_once('!').unwrap_or((rest, ""));
            return archive::files(kind, &bytes_of(place).await?, path)
                .with_context(|| format!("cannot read {place}"));
        }
    }
    let is_remote = url.starts_with("http://") || url.starts_with("https://");
    let local = url.strip_prefix("file://").unwrap_or(url);
    if !is_remote && Path::new(local).is_dir() {
        return directory(Path::new(local));
    }
    let bytes = bytes_of(url).await?;
    match archive::Kind::of_name(url) {
        Some(kind) => {
            archive::files(kind, &bytes, "").with_context(|| format!("cannot read {url}"))
        }
        None => Ok(vec![(url.to_owned(), bytes)]),
    }
}

async fn bytes_of(url: &str) -> anyhow::Result<Vec<u8>> {
    if url.starts_with("http://") || url.starts_with("https://") {
        return fetch::http(url, MAX_BYTES).await;
    }
    let path = Path::new(url.strip_prefix("file://").unwrap_or(url));
    let file = fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    limited(file).with_context(|| format!("cannot read {}", path.display()))
}

fn limited(from: impl Read) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        bail!("it is larger than {} MiB", MAX_BYTES >> 20);
    }
    Ok(bytes)
}

fn is_yaml(name: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|extension| extension == "yaml" || extension == "yml")
}

fn directory(root: &Path) -> anyhow::Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(dir) = left.pop() {
        let entries =
            fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot list {}", dir.display()))?;
            let path = entry.path();
            // Links are not followed into directories: they may lead round in a circle.
            if entry.file_type()?.is_dir() {
                left.push(path);
            } else if is_yaml(&path.to_string_lossy()) {
                let file = fs::File::open(&path);
                let bytes = file
                    .map_err(anyhow::Error::from)
                    .and_then(limited)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                files.push((path.display().to_string(), bytes));
            }
        }
    }
    files.sort();
    Ok(files)
}

pub(crate) fn of_stdin() -> anyhow::Result<Package> {
    let bytes = limited(std::io::stdin().lock()).context("cannot read standard input")?;
    of_files(vec![("standard input".to_owned(), bytes)])
}

/// One package of several files, read as Kubernetes reads them.
pub(crate) fn of_files(files: Vec<SourceFile>) -> anyhow::Result<Package> {
    let mut resources = Vec::new();
    let mut sources: HashMap<Identifier, Rc<str>> = HashMap::new();
    for (name, bytes) in files {
        let package = Package::decode(&bytes, Format::Yaml, Dialect::People, &Limits::default())
            .with_context(|| name.clone())?;
        let name: Rc<str> = name.into();
        for resource in &package {
            let identifier = resource.identifier().clone();
            if let Some(other) = sources.insert(identifier, name.clone()) {
                let twice = format!(
                    "{} is in {other} and in {name}; remove or rename one of them",
                    resource.identifier()
                );
                return Err(Error::bad("package", twice).into());
            }
        }
        resources.extend_from_slice(package.resources());
    }
    Ok(Package::new(resources)?)
}
