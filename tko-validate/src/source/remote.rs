//! Schemas fetched by URL, with a cache on disk.

use super::SchemaSource;
use super::file_names::is_nameable;
use super::template::TemplateText;
use crate::bounded::Bounded;
use crate::schema::Schema;
use crate::version::KubernetesVersion;
use async_trait::async_trait;
use reqwest::{Client, StatusCode};
use rustls::crypto::{CryptoProvider, ring};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{fs, io};
use tko_core::{ContentHash, Error, Gvk, Result};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

/// Minimum number of kinds that are remembered.
const REMEMBERED: usize = 2048;
/// How long a missing schema is remembered.
const ABSENT_TIME: Duration = Duration::from_mins(10);

/// Schemas fetched from URLs, one each. A template with kubeconform's variables determines the URL:
///
/// | variable | for `networking.k8s.io/v1`, kind `NetworkPolicy` |
/// |---|---|
/// | `{{.NormalizedKubernetesVersion}}` | `v1.37.0` |
/// | `{{.StrictSuffix}}` | `-strict` |
/// | `{{.ResourceKind}}` | `networkpolicy` |
/// | `{{.ResourceAPIVersion}}` | `v1` |
/// | `{{.Group}}` | `networking.k8s.io` |
/// | `{{.KindSuffix}}` | `-networking-v1` |
///
/// Fetched schemas stay in the cache folder, if there is one, until someone removes them. A URL
/// that answers 404 or 410 has no schema; this is remembered for ten minutes. Any other failure is
/// an error, and the resource is not admitted.
#[cfg_attr(docsrs, doc(cfg(feature = "remote")))]
pub struct UrlTemplate {
    template: TemplateText,
    kubernetes: KubernetesVersion,
    client: Client,
    time: Duration,
    total: Option<Duration>,
    spent: Mutex<Duration>,
    max_bytes: usize,
    cache: Option<PathBuf>,
    known: Mutex<Bounded<Gvk, FetchSlot>>,
}

type FetchSlot = Arc<OnceCell<FetchedSchemas>>;

#[derive(Clone)]
enum FetchedSchemas {
    Schema(Arc<Schema>),
    Absent { until: Instant },
}

impl UrlTemplate {
    /// Creates a source from a template that begins with `http://` or `https://`.
    ///
    /// Uses the process's default TLS cryptography; if none is set, installs `ring`.
    ///
    /// # Errors
    /// [`Error::BadArgument`]: the template begins otherwise, or has an unknown variable.
    pub fn new(template: &str, kubernetes: KubernetesVersion) -> Result<Self> {
        if !["http://", "https://"]
            .iter()
            .any(|scheme| template.starts_with(scheme))
        {
            return Err(Error::bad(
                "schema location",
                format!("{template:?} does not begin with http:// or https://"),
            ));
        }
        if CryptoProvider::get_default().is_none() {
            // If another thread installed a provider first, that one is used.
            let _ = ring::default_provider().install_default();
        }
        let client = Client::builder()
            .user_agent(concat!("tko-validate/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::internal("make an HTTP client", error))?;
        Ok(Self {
            template: TemplateText::parse(template)?,
            kubernetes,
            client,
            time: Duration::from_secs(10),
            total: None,
            spent: Mutex::new(Duration::ZERO),
            max_bytes: 8 << 20,
            cache: None,
            known: Mutex::new(Bounded::new(REMEMBERED)),
        })
    }

    /// Caches fetched schemas in this folder, which is created when needed. Default: no cache.
    #[must_use]
    pub fn with_cache(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cache = Some(folder.into());
        self
    }

    /// Sets the time limit of one fetch as a whole. Default: 10 s.
    #[must_use]
    pub fn with_time(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    /// Sets the time limit of all fetches together; once it is used up, every further fetch is an
    /// error. It is meant for programs that end; default: no limit.
    #[must_use]
    pub fn with_total_time(mut self, total: Duration) -> Self {
        self.total = Some(total);
        self
    }

    /// Sets the maximum size of a schema in bytes. Default: 8 MiB.
    #[must_use]
    pub fn with_max_bytes(mut self, max_bytes: usize) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    fn slot(&self, gvk: &Gvk) -> FetchSlot {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_stale = |slot: &FetchSlot| match slot.get() {
            Some(FetchedSchemas::Absent { until }) => *until <= Instant::now(),
            _ => false,
        };
        if let Some(slot) = known.get(gvk).filter(|slot| !is_stale(slot)) {
            return slot;
        }
        let slot = FetchSlot::default();
        known.insert(gvk.clone(), slot.clone());
        slot
    }

    async fn load(&self, gvk: &Gvk) -> Result<FetchedSchemas> {
        let url = self.template.expand(gvk, self.kubernetes);
        let file = self.cache.as_ref().map(|folder| {
            let name = ContentHash::of(&Value::String(url.clone()));
            folder.join(format!("{name}.json"))
        });
        let cached = match file.clone() {
            Some(file) => spawn_blocking(move || read_cached(&file))
                .await
                .map_err(|error| Error::internal("read the schema cache", error))?,
            None => None,
        };
        let document = match cached {
            Some(document) => document,
            None => match self.fetch(&url, file).await? {
                Some(document) => document,
                None => {
                    return Ok(FetchedSchemas::Absent {
                        until: Instant::now() + ABSENT_TIME,
                    });
                }
            },
        };
        let schema = Schema::document(url, gvk.clone(), document);
        Ok(FetchedSchemas::Schema(Arc::new(schema)))
    }

    /// Fetches within the time that is left of all fetches together.
    async fn fetch(&self, url: &str, file: Option<PathBuf>) -> Result<Option<Value>> {
        let spent = || self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        let mut time = self.time;
        if let Some(total) = self.total {
            let left = total.saturating_sub(*spent());
            if left.is_zero() {
                return Err(Error::unavailable(
                    format!("fetch the schema at {url}"),
                    format!("all fetches together took more than {total:?}"),
                ));
            }
            time = time.min(left);
        }
        let start = Instant::now();
        let fetched = self.fetch_within(url, file, time).await;
        *spent() += start.elapsed();
        fetched
    }

    async fn fetch_within(
        &self,
        url: &str,
        file: Option<PathBuf>,
        time: Duration,
    ) -> Result<Option<Value>> {
        let down =
            |reason: String| Error::unavailable(format!("fetch the schema at {url}"), reason);
        let failed = |error: reqwest::Error| down(tko_core::error::chain(&error.without_url()));
        let request = self.client.get(url).timeout(time);
        let mut response = request.send().await.map_err(failed)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(None),
            other => return Err(down(format!("the server answered {other}"))),
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if bytes.len() + chunk.len() > self.max_bytes {
                return Err(down(format!("it is larger than {} bytes", self.max_bytes)));
            }
            bytes.extend_from_slice(&chunk);
        }
        let document = serde_json::from_slice(&bytes)
            .map_err(|error| down(format!("it is not JSON: {error}")))?;
        if let Some(file) = file {
            let shown = file.display().to_string();
            let written = spawn_blocking(move || write_cached(&file, &bytes)).await;
            // A cache that cannot be written costs time, not correctness.
            match written {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(file = shown, %error, "cannot cache a schema"),
                Err(error) => tracing::warn!(file = shown, %error, "cannot cache a schema"),
            }
        }
        Ok(Some(document))
    }
}

#[async_trait]
impl SchemaSource for UrlTemplate {
    async fn find(&self, gvk: &Gvk) -> Result<Option<Arc<Schema>>> {
        if !is_nameable(gvk) {
            return Ok(None);
        }
        let slot = self.slot(gvk);
        match slot.get_or_try_init(|| self.load(gvk)).await? {
            FetchedSchemas::Schema(schema) => Ok(Some(schema.clone())),
            FetchedSchemas::Absent { .. } => Ok(None),
        }
    }
}

/// Reads a cached schema; an unreadable schema counts as missing and is fetched again.
fn read_cached(file: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(file).ok()?).ok()
}

/// Writes a file atomically: other processes may read the same folder.
fn write_cached(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let unfinished = file.with_extension(format!("{}.part", std::process::id()));
    fs::write(&unfinished, bytes)?;
    fs::rename(&unfinished, file)
}

#[cfg(test)]
mod tests;
