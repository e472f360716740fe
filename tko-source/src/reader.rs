//! Reads sources within limits.

#[cfg(feature = "http")]
use crate::SourceCredentials;
use crate::archive::{self, ArchiveFormat};
use crate::budget::{ProgressCallback, ReadBudget, SourceProgress};
use crate::folder;
use crate::limits::SourceLimits;
use crate::package::{SourceFile, SourceListing, package_of};
use crate::source::{Location, Source, SourcePlace};
use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use tko_core::{Error, Package, Result};

/// Reads sources within limits.
#[derive(Clone, Default)]
pub struct SourceReader {
    pub(crate) limits: SourceLimits,
    #[cfg(feature = "http")]
    pub(crate) credentials: Option<SourceCredentials>,
    callback: Option<ProgressCallback>,
    also: Option<Arc<str>>,
}

impl SourceReader {
    /// A reader with the default limits, without credentials.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads within these limits.
    #[must_use]
    pub fn with_limits(mut self, limits: SourceLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Reads files of this name, too, besides YAML files, from folders, archives and repositories. A
    /// link, a device or a folder of this name is not refused: it is a file without content. This is
    /// for callers that read files rather than packages, whose files are all decoded as YAML.
    #[must_use]
    pub fn with_also(mut self, name: &str) -> Self {
        self.also = Some(name.into());
        self
    }

    /// Sends this token to its host.
    #[cfg(feature = "http")]
    #[cfg_attr(docsrs, doc(cfg(feature = "http")))]
    #[must_use]
    pub fn with_credentials(mut self, credentials: Option<SourceCredentials>) -> Self {
        self.credentials = credentials;
        self
    }

    /// Calls this after each file and each part of a download, from any thread.
    #[must_use]
    pub fn with_progress(
        mut self,
        callback: impl Fn(SourceProgress) + Send + Sync + 'static,
    ) -> Self {
        self.callback = Some(Arc::new(callback));
        self
    }

    /// Reads all files of a source as one package.
    ///
    /// # Errors
    /// As [`files`](Self::files) and [`package_of`].
    pub async fn package(&self, source: &Source) -> Result<Package> {
        package_of(self.files(source).await?)
    }

    /// Reads the files of a source, in the order in which they make up a package. There is at least
    /// one.
    ///
    /// # Errors
    /// - [`Error::BadArgument`]: the source does not exist, has no YAML file, has a link in place
    ///   of one, is damaged, or is over the limits.
    /// - [`Error::Unavailable`]: a server did not answer, or reading took too long.
    /// - [`Error::Unauthenticated`], [`Error::Forbidden`]: a server requires other credentials.
    /// - [`Error::NotImplemented`]: the crate was built without the feature for this source, or
    ///   git is not installed.
    pub async fn files(&self, source: &Source) -> Result<Vec<SourceFile>> {
        Ok(self.read_within(source, None).await?.files)
    }

    /// Reads the files of a source that may have several packages. A link or a device in place of a
    /// YAML file is listed, not refused. It is a fault of its package alone.
    ///
    /// # Errors
    /// As [`files`](Self::files), except for links and devices.
    pub async fn listing(&self, source: &Source) -> Result<SourceListing> {
        self.read_within(source, Some(Vec::new())).await
    }

    /// Reads a source within the limits. `irregular` is as in [`ReadBudget`].
    async fn read_within(
        &self,
        source: &Source,
        irregular: Option<Vec<String>>,
    ) -> Result<SourceListing> {
        let mut budget = ReadBudget::new(source, &self.limits, self.callback.clone());
        budget.also.clone_from(&self.also);
        budget.irregular = irregular;
        let read = tokio::time::timeout(self.limits.timeout, self.read(source, budget));
        let (files, budget) = read.await.map_err(|elapsed| {
            let limit = self.limits.timeout;
            Error::unavailable(format!("read {source} within {limit:?}"), elapsed)
        })??;
        let mut irregular = budget.irregular.unwrap_or_default();
        irregular.sort();
        if files.is_empty() && irregular.is_empty() {
            let part = match &source.location {
                Location::Archive { path, .. } | Location::Git { path, .. } if !path.is_empty() => {
                    format!(" below {path:?}")
                }
                _ => String::new(),
            };
            let why = format!("{source}: it has no .yaml or .yml file and no Kptfile{part}");
            return Err(Error::bad("source", why));
        }
        Ok(SourceListing { files, irregular })
    }

    /// Reads a source that is one file, unchanged: an archive is not unpacked.
    ///
    /// # Errors
    /// As [`files`](Self::files); [`Error::BadArgument`] too if the source is a folder, a git
    /// repository, or a part of an archive.
    pub async fn file(&self, source: &Source) -> Result<Vec<u8>> {
        let Location::Place(place) = &source.location else {
            return Err(Error::bad("source", format!("{source} is not one file")));
        };
        let budget = ReadBudget::new(source, &self.limits, self.callback.clone());
        let read = tokio::time::timeout(self.limits.timeout, self.bytes(place, budget));
        let (bytes, _) = read.await.map_err(|elapsed| {
            let limit = self.limits.timeout;
            Error::unavailable(format!("read {source} within {limit:?}"), elapsed)
        })??;
        Ok(bytes)
    }

    /// Reads a package from a stream, such as standard input. Blocks.
    ///
    /// # Errors
    /// [`Error::BadArgument`]: reading failed, the content does not decode, or is over the limits.
    pub fn package_from(&self, name: &str, from: impl Read) -> Result<Package> {
        let mut budget = ReadBudget::new(&name, &self.limits, self.callback.clone());
        let bytes = budget.read(name, from)?;
        let name = name.to_owned();
        package_of([SourceFile { name, bytes }])
    }

    /// The files of a source, and the rest of the budget.
    async fn read(
        &self,
        source: &Source,
        mut budget: ReadBudget,
    ) -> Result<(Vec<SourceFile>, ReadBudget)> {
        match &source.location {
            Location::Git {
                url,
                revision,
                path,
            } => {
                self.repository(url, revision.as_deref(), path, budget)
                    .await
            }
            Location::Archive {
                format,
                place,
                path,
            } => {
                let (bytes, budget) = self.bytes(place, budget).await?;
                unpack(*format, bytes, path.clone(), budget).await
            }
            Location::Place(SourcePlace::Local(path)) if is_folder(path.clone()).await => {
                let path = path.clone();
                blocking(move || Ok((folder::files(&path, &mut budget)?, budget))).await
            }
            Location::Place(place) => {
                let (bytes, budget) = self.bytes(place, budget).await?;
                if let Some(format) = ArchiveFormat::of_name(&place.name()) {
                    unpack(format, bytes, String::new(), budget).await
                } else {
                    let name = place.to_string();
                    Ok((vec![SourceFile { name, bytes }], budget))
                }
            }
        }
    }

    /// The bytes of one file or archive, and the rest of the budget.
    async fn bytes(
        &self,
        place: &SourcePlace,
        mut budget: ReadBudget,
    ) -> Result<(Vec<u8>, ReadBudget)> {
        match place {
            SourcePlace::Local(path) => {
                let path = path.clone();
                blocking(move || {
                    let bytes = folder::bytes(&path, &mut budget)?;
                    Ok((bytes, budget))
                })
                .await
            }
            SourcePlace::Http(url) => {
                let bytes = self.download(url, &mut budget).await?;
                Ok((bytes, budget))
            }
        }
    }

    #[cfg(feature = "http")]
    async fn download(&self, url: &str, budget: &mut ReadBudget) -> Result<Vec<u8>> {
        crate::http::download(url, self.credentials.as_ref(), budget).await
    }

    #[cfg(not(feature = "http"))]
    #[allow(clippy::unused_async)] // As with the feature.
    async fn download(&self, _url: &str, budget: &mut ReadBudget) -> Result<Vec<u8>> {
        Err(unsupported(budget, "http"))
    }

    #[cfg(feature = "git")]
    async fn repository(
        &self,
        url: &str,
        revision: Option<&str>,
        path: &str,
        budget: ReadBudget,
    ) -> Result<(Vec<SourceFile>, ReadBudget)> {
        crate::git::files(url, revision, path, budget).await
    }

    #[cfg(not(feature = "git"))]
    #[allow(clippy::unused_async)] // As with the feature.
    async fn repository(
        &self,
        _url: &str,
        _revision: Option<&str>,
        _path: &str,
        budget: ReadBudget,
    ) -> Result<(Vec<SourceFile>, ReadBudget)> {
        Err(unsupported(&budget, "git"))
    }
}

impl fmt::Debug for SourceReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceReader")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

#[cfg(not(all(feature = "http", feature = "git")))]
fn unsupported(budget: &ReadBudget, feature: &str) -> Error {
    let source = budget.source();
    Error::NotImplemented(
        format!("{source}: this program was built without the feature {feature:?} of tko-source")
            .into(),
    )
}

async fn is_folder(path: PathBuf) -> bool {
    blocking(move || Ok(path.is_dir())).await.unwrap_or(false)
}

async fn unpack(
    format: ArchiveFormat,
    bytes: Vec<u8>,
    path: String,
    mut budget: ReadBudget,
) -> Result<(Vec<SourceFile>, ReadBudget)> {
    blocking(move || {
        let files = archive::files(format, &bytes, &path, &mut budget)?;
        Ok((files, budget))
    })
    .await
}

/// Runs on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::internal("read a source", error))?
}
