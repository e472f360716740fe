//! The flags that name a package, and reading that package.

use crate::connect::NotTheService;
use crate::console::Console;
use crate::interrupt::unless_interrupted;
use clap::Args;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tko_core::{ErrorKind, Package, Result};
use tko_source::{Source, SourceCredentials, SourceReader};

/// The name of standard input in errors.
const STDIN: &str = "standard input";

/// The flags that name a package.
#[derive(Debug, Args)]
pub(crate) struct SourceArgs {
    /// Read the package from a file, a directory (.yaml and .yml, recursively by name), a .tar,
    /// .tar.gz, .tgz or .zip, an http(s) URL, a git repository (git:URL!PATH), or a part of an
    /// archive (zip:URL!PATH, tar:URL!PATH)
    #[arg(short, long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Read the package from standard input
    #[arg(short = 'i', long, conflicts_with = "url")]
    pub(crate) stdin: bool,
}

impl SourceArgs {
    /// Reads the package; an empty one if neither flag is given.
    pub(crate) async fn package(&self, console: &Console<'_>) -> anyhow::Result<Package> {
        match (&self.url, self.stdin) {
            (Some(url), _) => package(url, console).await,
            (None, true) => Ok(package_from_stdin()?),
            (None, false) => Ok(Package::default()),
        }
    }
}

/// Reads a package, and shows progress if it takes long.
pub(crate) async fn package(url: &str, console: &Console<'_>) -> anyhow::Result<Package> {
    let reading = Box::pin(package_with_progress(url, console));
    let package = interruptible(url, reading).await?;
    package.map_err(|error| match error.kind() {
        ErrorKind::Unavailable => {
            anyhow::Error::from(error).context(NotTheService("cannot read the package"))
        }
        _ => error.into(),
    })
}

async fn package_with_progress(url: &str, console: &Console<'_>) -> Result<Package> {
    let source: Source = url.parse()?;
    let read = Arc::new(AtomicU64::new(0));
    let counter = read.clone();
    let reader = SourceReader::new()
        .with_credentials(SourceCredentials::from_environment()?)
        .with_progress(move |progress| counter.store(progress.bytes, Ordering::Relaxed));
    let message = || {
        let bytes = read.load(Ordering::Relaxed);
        format!("reading {source}: {}", indicatif::BinaryBytes(bytes))
    };
    console.during(message, reader.package(&source)).await
}

/// Reads a package without showing progress.
///
/// # Errors
/// The outer error: a signal ends the command.
pub(crate) async fn package_quietly(url: &str) -> anyhow::Result<Result<Package>> {
    let read = Box::pin(async {
        let source: Source = url.parse()?;
        let credentials = SourceCredentials::from_environment()?;
        let reader = SourceReader::new().with_credentials(credentials);
        reader.package(&source).await
    });
    interruptible(url, read).await
}

/// Awaits the read of a source. If it is a git repository, a signal ends git and removes the clone.
async fn interruptible<T>(url: &str, read: impl Future<Output = T>) -> anyhow::Result<T> {
    if url.starts_with("git:") {
        unless_interrupted(read).await
    } else {
        Ok(read.await)
    }
}

/// Reads a package from standard input.
pub(crate) fn package_from_stdin() -> Result<Package> {
    SourceReader::new().package_from(STDIN, std::io::stdin().lock())
}
