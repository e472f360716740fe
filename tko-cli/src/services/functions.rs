//! The settings of KRM functions in this program.

use std::env::{home_dir, var_os};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{Error, Result};
use tko_kpt::FunctionReference;
use tko_kpt::executor::KptSettings;
use tko_source::{Source, SourceCredentials, SourceReader};

/// The settings with this time limit for one call.
pub(crate) fn settings(timeout: Duration) -> KptSettings {
    KptSettings::default()
        .with_timeout(timeout)
        .with_wasm_cache(wasm_cache())
        .with_fetch(Arc::new(|place| Box::pin(fetch(place))))
}

/// A function that runs in place of an image.
#[derive(Clone, Debug)]
pub(crate) struct Substitute {
    image: String,
    function: FunctionReference,
}

/// Parses `IMAGE=FUNCTION`.
pub(crate) fn substitute(text: &str) -> std::result::Result<Substitute, String> {
    let expected = || format!("expected IMAGE=FUNCTION, such as starlark=wasm:PATH, not {text:?}");
    let (image, function) = text.split_once('=').ok_or_else(expected)?;
    let function: FunctionReference = function.parse().map_err(|error: Error| error.chain())?;
    let checked = KptSettings::default().with_substitute(image, function.clone());
    checked.map_err(|error| error.chain())?;
    Ok(Substitute {
        image: image.to_owned(),
        function,
    })
}

impl Substitute {
    /// Adds it to the settings of functions.
    pub(crate) fn add_to(&self, settings: KptSettings) -> KptSettings {
        let with = settings
            .clone()
            .with_substitute(&self.image, self.function.clone());
        // Its image was checked when it was parsed.
        with.unwrap_or(settings)
    }
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
    // Only operators and, without restrictions, plugins name functions.
    let settings = tko_catalog::CatalogSettings::default().with_local(true);
    tko_catalog::oci_file(place, credentials, MOST, &settings).await
}

/// Refuses the reference: this program was built without support for registries.
#[cfg(not(feature = "catalog"))]
#[allow(clippy::unused_async)] // As with the feature.
async fn pulled(place: &str) -> Result<Vec<u8>> {
    let why = format!("{place:?}: this program was built without the feature catalog");
    Err(Error::bad("function", why))
}
