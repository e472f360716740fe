//! Settings of Helm in one process.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Settings of the [`HelmPreparer`](crate::HelmPreparer).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HelmSettings {
    /// The helm program: a path, or a name to look up in `PATH`. Default: `helm`.
    pub program: String,
    /// Time limit of one run. Default: 30 s.
    pub timeout: Duration,
    /// Maximum bytes of rendered manifests. Default: 32 MiB.
    pub output: usize,
    /// The folder that relative paths of charts start at. Without a folder, a chart on this machine
    /// needs an absolute path.
    pub charts: Option<PathBuf>,
}

impl Default for HelmSettings {
    fn default() -> Self {
        Self {
            program: "helm".to_owned(),
            timeout: Duration::from_secs(30),
            output: 32 << 20,
            charts: None,
        }
    }
}

impl HelmSettings {
    /// Sets the [helm program](Self::program).
    #[must_use]
    pub fn with_program(mut self, program: impl Into<String>) -> Self {
        self.program = program.into();
        self
    }

    /// Sets the [time limit](Self::timeout) of one run.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the [maximum bytes](Self::output) of rendered manifests.
    #[must_use]
    pub fn with_output(mut self, bytes: usize) -> Self {
        self.output = bytes;
        self
    }

    /// Sets the [folder](Self::charts) that relative paths of charts start at.
    #[must_use]
    pub fn with_charts(mut self, folder: impl Into<Option<PathBuf>>) -> Self {
        // Helm itself starts in this directory, so the path must not depend on the current one.
        self.charts = folder
            .into()
            .map(|folder| std::path::absolute(&folder).unwrap_or(folder));
        self
    }

    /// The path of the helm program; `None` if there is no such program.
    pub(crate) fn find_program(&self) -> Option<PathBuf> {
        if self.program.contains('/') {
            // The program runs in another directory.
            let path = std::path::absolute(Path::new(&self.program)).ok()?;
            return path.is_file().then_some(path);
        }
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path)
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(&self.program))
            .find(|candidate| candidate.is_file())
    }
}
