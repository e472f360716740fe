//! The limits that remain while a source is read, and the report of progress.

use crate::folder::is_yaml;
use crate::limits::SourceLimits;
use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use tko_core::{Error, Result};

/// How much of a source has been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceProgress {
    /// Number of files and folders that were visited.
    pub files: usize,
    /// Number of bytes read, including downloads.
    pub bytes: u64,
}

/// Called after each file and each part of a download.
pub(crate) type ProgressCallback = Arc<dyn Fn(SourceProgress) + Send + Sync>;

/// The limits of one source, and how much of them was used.
pub(crate) struct ReadBudget {
    pub(crate) limits: SourceLimits,
    /// The name of files that are read besides YAML files.
    pub(crate) also: Option<Arc<str>>,
    /// The links and devices in place of files that were found; `None` if they are refused.
    pub(crate) irregular: Option<Vec<String>>,
    /// The source, for errors.
    source: String,
    callback: Option<ProgressCallback>,
    progress: SourceProgress,
    /// Bytes of the files that are kept.
    kept: u64,
}

impl ReadBudget {
    pub(crate) fn new(
        source: &impl fmt::Display,
        limits: &SourceLimits,
        callback: Option<ProgressCallback>,
    ) -> Self {
        Self {
            limits: limits.clone(),
            also: None,
            irregular: None,
            source: source.to_string(),
            callback,
            progress: SourceProgress::default(),
            kept: 0,
        }
    }

    /// Whether a file is read when a folder or an archive is, by its name.
    pub(crate) fn reads(&self, name: &str) -> bool {
        is_yaml(name) || self.is_also(name)
    }

    /// Whether a file has the name of those that are read besides YAML files.
    pub(crate) fn is_also(&self, name: &str) -> bool {
        let file = Path::new(name).file_name();
        self.also
            .as_deref()
            .is_some_and(|also| file.is_some_and(|file| file == also))
    }

    /// An error that names the source.
    pub(crate) fn error(&self, why: impl fmt::Display) -> Error {
        bad(&self.source, why)
    }

    /// The name of the source, without its secrets.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// Counts a visited file or folder.
    pub(crate) fn count_file(&mut self) -> Result<()> {
        self.progress.files += 1;
        if self.progress.files > self.limits.max_files {
            return Err(self.error(format_args!(
                "it has more than {} files; name a part of it",
                self.limits.max_files
            )));
        }
        Ok(())
    }

    /// Counts bytes that were read, and reports.
    pub(crate) fn count(&mut self, bytes: usize) {
        self.progress.bytes += bytes as u64;
        if let Some(callback) = &self.callback {
            callback(self.progress);
        }
    }

    /// Reads all of one file or archive.
    pub(crate) fn read(&mut self, name: &str, from: impl Read) -> Result<Vec<u8>> {
        let most = self.limits.max_bytes;
        let mut bytes = Vec::new();
        from.take(most.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| self.error(format_args!("cannot read {name}: {error}")))?;
        if bytes.len() as u64 > most {
            return Err(self.too_large(name));
        }
        self.count(bytes.len());
        Ok(bytes)
    }

    /// Reads one of the files that make up the package.
    pub(crate) fn keep(&mut self, name: &str, from: impl Read) -> Result<Vec<u8>> {
        let bytes = self.read(name, from)?;
        self.kept += bytes.len() as u64;
        if self.kept > self.limits.max_bytes {
            return Err(self.error(format_args!(
                "its files are larger than {} together; name a part of it",
                size(self.limits.max_bytes)
            )));
        }
        Ok(bytes)
    }

    /// The error of a repository whose clone is over the limit.
    #[cfg(feature = "git")]
    pub(crate) fn clone_too_large(&self) -> Error {
        self.error(format_args!(
            "the clone of the repository is larger than {}; name a smaller repository",
            size(self.limits.max_clone_bytes)
        ))
    }

    pub(crate) fn too_large(&self, name: &str) -> Error {
        self.error(format_args!(
            "{name} is larger than {}; make it smaller",
            size(self.limits.max_bytes)
        ))
    }
}

/// An error that names a source.
pub(crate) fn bad(source: &str, why: impl fmt::Display) -> Error {
    Error::bad("source", format!("{source}: {why}"))
}

fn size(bytes: u64) -> String {
    match bytes >> 20 {
        0 => format!("{bytes} bytes"),
        mebibytes => format!("{mebibytes} MiB"),
    }
}
