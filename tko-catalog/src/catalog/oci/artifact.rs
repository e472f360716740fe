//! Single files in OCI registries, such as functions in WebAssembly.

use super::registry::{OciRegistry, is_digest, is_tag};
use crate::settings::CatalogSettings;
use tko_core::{Error, Result};
use tko_source::HostSecret;

/// Media types of layers that are archives of files.
const ARCHIVE: &str = ".tar";

/// Reads the file of an artifact: its only layer, which must not be an archive.
///
/// The reference is `oci://HOST/REPOSITORY`, with `:TAG` or `@sha256:DIGEST`; `oci:HOST/REPOSITORY`
/// means the same, and a reference without tag and digest means the tag `latest`. The manifest and
/// the layer are compared with their digests. Public registries are read without credentials;
/// others with `credentials`, a pair of host and token, if the host is theirs.
///
/// # Errors
/// - `BadArgument`: it is not a reference, or the registry does not have it. Also if the artifact
///   has several layers or one that is an archive, or its file has more than `most` bytes.
/// - `Unauthenticated`, `Forbidden`: the registry requires credentials, or rejects those that it
///   got.
/// - `Unavailable`: the registry cannot be reached, or fails.
pub async fn oci_file(
    reference: &str,
    credentials: Option<(&str, &str)>,
    most: u64,
    settings: &CatalogSettings,
) -> Result<Vec<u8>> {
    let bad = |why: String| Error::bad("reference", format!("{reference:?}: {why}"));
    let rest = reference.strip_prefix("oci:").unwrap_or(reference);
    let rest = rest.trim_start_matches('/');
    let (place, name) = if let Some((place, digest)) = rest.split_once('@') {
        (place, digest)
    } else {
        // The host may have a port.
        let path = rest.find('/').unwrap_or(rest.len());
        match rest[path..].split_once(':') {
            Some((repository, tag)) => (&rest[..path + repository.len()], tag),
            None => (rest, "latest"),
        }
    };
    if !is_digest(name) && !is_tag(name) {
        return Err(bad(format!(
            "{name:?} is neither a tag nor a digest such as sha256:…"
        )));
    }
    let host = place.split('/').next().unwrap_or_default();
    let token = credentials.filter(|(allowed, _)| *allowed == host);
    let token = token.map(|(_, token)| HostSecret::for_all_hosts(token));
    let registry = OciRegistry::new(&format!("oci://{place}"), None, token, None, settings)?;
    let digest = if is_digest(name) {
        name.to_owned()
    } else {
        registry.digest(name).await?
    };
    let manifest = registry.manifest(&digest).await?;
    let [layer] = manifest.layers.as_slice() else {
        let count = manifest.layers.len();
        return Err(bad(format!(
            "the artifact has {count} layers; expected one, the file itself"
        )));
    };
    if layer.media_type.contains(ARCHIVE) {
        let kind = &layer.media_type;
        return Err(bad(format!(
            "the layer is an archive ({kind}); push the file itself, as `oras push` does"
        )));
    }
    if layer.size > most {
        return Err(bad(format!("the file has more than {most} bytes")));
    }
    registry.blob(layer).await
}
