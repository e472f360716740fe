//! The settings of KRM functions in this program.

use std::env::{home_dir, var_os};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{Error, Result};
use tko_kpt::executor::KptSettings;
use tko_source::{Source, SourceCredentials, SourceReader};

/// The settings with this time limit for one call.
pub(crate) fn settings(timeout: Duration) -> KptSettings {
    KptSettings::default()
        .with_timeout(timeout)
        .with_wasm_cache(wasm_cache())
        .with_fetch(Arc::new(|place| Box::pin(fetch(place))))
}

/// The directory for compiled WebAssembly; `None` if the user has no directory for caches.
fn wasm_cache() -> Option<PathBuf> {
    Some(cache_folder()?.join("wasm"))
}

/// The user's directory for caches of TKO; `None` if the user has no directory for caches.
pub(super) fn cache_folder() -> Option<PathBuf> {
    let cache = match var_os("XDG_CACHE_HOME") {
        Some(path) if !path.is_empty() => PathBuf::from(path),
        _ => home_dir()?.join(".cache"),
    };
    cache.is_absolute().then(|| cache.join("tko"))
}

/// Reads WebAssembly from a URL or from an OCI registry.
async fn fetch(place: String) -> Result<Vec<u8>> {
    if place.starts_with("oci:") {
        return pulled(&place).await;
    }
    let source: Source = place.parse()?;
    let reader = SourceReader::new().with_credentials(SourceCredentials::from_environment()?);
    let mut files = reader.files(&source).await?;
    match (files.pop(), files.is_empty()) {
        (Some(file), true) => Ok(file.bytes),
        _ => Err(Error::bad("function", format!("{place:?} is not one file"))),
    }
}

/// Reads WebAssembly from an OCI registry.
#[cfg(feature = "catalog")]
async fn pulled(place: &str) -> Result<Vec<u8>> {
    /// Maximum number of bytes of a function.
    const MOST: u64 = 64 << 20;
    let credentials = SourceCredentials::from_environment()?;
    let credentials = credentials
        .as_ref()
        .map(|known| (&*known.host, &*known.token));
    let settings = tko_catalog::CatalogSettings::default();
    tko_catalog::oci_file(place, credentials, MOST, &settings).await
}

/// Refuses the reference: this program was built without registries.
#[cfg(not(feature = "catalog"))]
#[allow(clippy::unused_async)] // As with the feature.
async fn pulled(place: &str) -> Result<Vec<u8>> {
    let why = format!("{place:?}: this program was built without the feature catalog");
    Err(Error::bad("function", why))
}
