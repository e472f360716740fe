//! A client of the OCI distribution specification 1.1, which only reads.
//!
//! TKO has its own client because answers need limits: published clients read manifests, listings
//! and error pages of any size into memory.

use crate::catalog::entry::CatalogEntry;
use crate::http::{HttpClient, SourceReply, base64, host, is_loopback, next_link, require_tls};
use crate::properties::Properties;
use crate::settings::CatalogSettings;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderName};
use reqwest::{Method, StatusCode, Url};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use tko_core::{Error, Result};
use tko_source::HostSecret;

/// Maximum number of bytes of a manifest, as registries limit it.
const MAX_MANIFEST: usize = 4 << 20;

/// Maximum number of bytes of a page of tags, and of a token.
const MAX_PAGE: usize = 8 << 20;

/// Maximum number of pages of tags.
const MAX_PAGES: usize = 10_000;

/// Maximum number of layers of an artifact.
const MAX_LAYERS: usize = 1_000;

/// Maximum number of indexes that refer to each other.
const MAX_INDEXES: usize = 3;

const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";

/// One repository of a registry.
pub(super) struct OciRegistry {
    client: HttpClient,
    base: Url,
    repository: String,
    /// The digest in the URL, which pins the catalog to one artifact.
    pinned: Option<String>,
    user: Option<String>,
    secret: Option<HostSecret>,
    /// The `Authorization` that the registry accepted last.
    authorization: Mutex<Option<String>>,
}

/// A manifest of an artifact.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) layers: Vec<Layer>,
}

/// A layer of an artifact.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) media_type: String,
    pub(super) digest: String,
    pub(super) size: u64,
    pub(super) title: Option<String>,
}

impl OciRegistry {
    /// # Errors
    /// `BadArgument`: the URL does not name a repository, or a secret cannot be read or is not for
    /// the host.
    pub(super) async fn open(entry: &CatalogEntry, settings: &CatalogSettings) -> Result<Self> {
        let properties = Properties(&entry.properties);
        let secret = properties.host_secret("token", settings).await?;
        let user = properties.text("user").map(str::to_owned);
        let ca = properties.secret("ca", settings).await?;
        Self::new(&entry.url, user, secret, ca.as_deref(), settings)
    }

    /// The repository at `oci://HOST/REPOSITORY`.
    ///
    /// # Errors
    /// `BadArgument`: the URL does not name a repository, or a secret would be sent without TLS or to
    /// a host that it is not for.
    pub(super) fn new(
        url: &str,
        user: Option<String>,
        secret: Option<HostSecret>,
        ca: Option<&str>,
        settings: &CatalogSettings,
    ) -> Result<Self> {
        let (base, repository, pinned) = place(url)?;
        if let Some(secret) = &secret {
            require_tls(base.as_str(), "token")?;
            secret.for_host("token", host(&base))?;
        }
        Ok(Self {
            client: HttpClient::with_ca(settings, ca)?,
            base,
            repository,
            pinned,
            user,
            secret,
            authorization: Mutex::new(None),
        })
    }

    /// Reads the secrets of the entry again. What the registry accepted for another secret is
    /// dropped.
    ///
    /// # Errors
    /// As [`open`](Self::open). The registry must not be used then.
    pub(super) async fn renew_secrets(
        &mut self,
        entry: &CatalogEntry,
        settings: &CatalogSettings,
    ) -> Result<()> {
        let mut renewed = Self::open(entry, settings).await?;
        if renewed.secret == self.secret {
            std::mem::swap(&mut renewed.authorization, &mut self.authorization);
        }
        *self = renewed;
        Ok(())
    }

    /// The path of the repository in its registry.
    pub(super) fn repository(&self) -> &str {
        &self.repository
    }

    /// The digest that the catalog is pinned to.
    pub(super) fn pinned(&self) -> Option<&str> {
        self.pinned.as_deref()
    }

    /// The URL of the repository, as charts name it.
    pub(super) fn url(&self) -> String {
        let host = self.base.host_str().unwrap_or_default();
        let port = self
            .base
            .port()
            .map(|port| format!(":{port}"))
            .unwrap_or_default();
        format!("oci://{host}{port}/{}", self.repository)
    }

    fn place(&self, path: &str) -> Result<Url> {
        let path = format!("/v2/{}/{path}", self.repository);
        self.base
            .join(&path)
            .map_err(|error| Error::bad("url", error.to_string()))
    }

    /// All tags.
    pub(super) async fn tags(&self, settings: &CatalogSettings) -> Result<Vec<String>> {
        let mut url = self.place("tags/list?n=1000")?;
        let mut tags = Vec::new();
        for _ in 0..MAX_PAGES {
            let reply = self
                .get(Method::GET, &url, "application/json", MAX_PAGE)
                .await?;
            reply.check(&url)?;
            let page = json(&reply.bytes, "the list of tags")?;
            // An empty repository has null.
            let found = page.get("tags").and_then(Value::as_array);
            for tag in found.into_iter().flatten().filter_map(Value::as_str) {
                if is_tag(tag) {
                    tags.push(tag.to_owned());
                }
            }
            if tags.len() > settings.max_templates {
                let why = format!(
                    "the repository has more than {} tags",
                    settings.max_templates
                );
                return Err(Error::bad("url", why));
            }
            let Some(next) = reply.header("link").and_then(next_link) else {
                return Ok(tags);
            };
            let next = url
                .join(next)
                .map_err(|error| Error::bad("url", error.to_string()))?;
            // Credentials are sent only to the registry itself, and a page that links to itself
            // would never end.
            if next.origin() != url.origin() || next == url {
                return Err(Error::bad(
                    "url",
                    "the registry links to a wrong next page of tags",
                ));
            }
            url = next;
        }
        Err(Error::bad(
            "url",
            format!("the registry has more than {MAX_PAGES} pages of tags"),
        ))
    }

    /// The digest of the manifest of a tag. For a digest, this checks whether the registry has it.
    pub(super) async fn digest(&self, tag: &str) -> Result<String> {
        self.find(tag).await?.ok_or_else(|| {
            let repository = &self.repository;
            let why = format!("{repository} has no manifest {tag} (404 Not Found); check it");
            Error::bad("url", why)
        })
    }

    /// As [`digest`](Self::digest); `None` if the registry has no such manifest.
    pub(super) async fn find(&self, tag: &str) -> Result<Option<String>> {
        let url = self.place(&format!("manifests/{tag}"))?;
        let mut reply = self
            .get(Method::HEAD, &url, MANIFESTS, MAX_MANIFEST)
            .await?;
        if reply.status.is_success()
            && let Some(digest) = reply.header("docker-content-digest")
            && is_digest(digest)
        {
            return Ok(Some(digest.to_owned()));
        }
        if reply.status.is_success() || reply.status == StatusCode::METHOD_NOT_ALLOWED {
            reply = self.get(Method::GET, &url, MANIFESTS, MAX_MANIFEST).await?;
        }
        if reply.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        reply.check(&url)?;
        Ok(Some(sha256(&reply.bytes)))
    }

    /// Reads the manifest of an artifact, and compares it with its digest. For an index, reads the
    /// manifest of the first artifact in it.
    pub(super) async fn manifest(&self, digest: &str) -> Result<Manifest> {
        let mut digest = digest.to_owned();
        for _ in 0..=MAX_INDEXES {
            let url = self.place(&format!("manifests/{digest}"))?;
            let reply = self.get(Method::GET, &url, MANIFESTS, MAX_MANIFEST).await?;
            reply.check(&url)?;
            verify(&digest, &reply.bytes, "the manifest")?;
            let manifest = json(&reply.bytes, "the manifest")?;
            match manifest.get("manifests").and_then(Value::as_array) {
                Some(artifacts) => digest = first_artifact(artifacts)?,
                None => return Manifest::read(&manifest),
            }
        }
        let why = format!("more than {MAX_INDEXES} indexes refer to each other");
        Err(Error::bad("package", why))
    }

    /// Reads a layer, and compares it with its digest.
    pub(super) async fn blob(&self, layer: &Layer) -> Result<Vec<u8>> {
        let url = self.place(&format!("blobs/{}", layer.digest))?;
        let most = usize::try_from(layer.size).unwrap_or(usize::MAX);
        let reply = self.get(Method::GET, &url, "*/*", most).await?;
        reply.check(&url)?;
        verify(&layer.digest, &reply.bytes, "a layer")?;
        Ok(reply.bytes)
    }

    /// Makes a request; authenticates if the registry asks for it.
    async fn get(
        &self,
        method: Method,
        url: &Url,
        accept: &str,
        most: usize,
    ) -> Result<SourceReply> {
        let known = self
            .authorization
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let call = |authorization: Option<String>| {
            let mut headers: Vec<(HeaderName, String)> = vec![(ACCEPT, accept.to_owned())];
            headers.extend(authorization.map(|value| (AUTHORIZATION, value)));
            let method = method.clone();
            async move {
                self.client
                    .request(method, url, &headers, most.max(64 << 10))
                    .await
            }
        };
        let reply = call(known).await?;
        if reply.status != StatusCode::UNAUTHORIZED {
            return bounded(reply, most);
        }
        let challenge = reply.header("www-authenticate").unwrap_or_default();
        let authorization = self.authenticate(challenge).await?;
        *self
            .authorization
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(authorization.clone());
        bounded(call(Some(authorization)).await?, most)
    }

    /// The `Authorization` with the secret, for the registry or its server of tokens; `None` if
    /// there is no secret.
    ///
    /// # Errors
    /// `BadArgument`: the secret is not for this host.
    fn basic(&self, url: &Url) -> Result<Option<String>> {
        let Some(secret) = &self.secret else {
            return Ok(None);
        };
        let secret = secret.for_host("token", host(url))?;
        let pair = format!("{}:{secret}", self.user.as_deref().unwrap_or("tko"));
        Ok(Some(format!("Basic {}", base64(pair.as_bytes()))))
    }

    /// The `Authorization` that a challenge asks for.
    async fn authenticate(&self, challenge: &str) -> Result<String> {
        let missing = || {
            let url = crate::http::shown(&self.base);
            Error::Unauthenticated(format!("{url} asks for credentials; set user and token"))
        };
        let Some(parameters) = strip_scheme(challenge, "bearer") else {
            return self.basic(&self.base)?.ok_or_else(missing);
        };
        let realm = parameter(parameters, "realm").ok_or_else(missing)?;
        let mut url = Url::parse(&realm)
            .map_err(|error| Error::bad("url", format!("the registry's realm: {error}")))?;
        let is_near = is_loopback(&self.base) || !is_loopback(&url);
        if !matches!(url.scheme(), "http" | "https") || !is_near {
            return Err(Error::bad(
                "url",
                "the registry names a wrong server of tokens",
            ));
        }
        let basic = self.basic(&url)?;
        if basic.is_some() {
            require_tls(url.as_str(), "token")?;
        }
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = parameter(parameters, "service") {
                query.append_pair("service", &service);
            }
            let scope = format!("repository:{}:pull", self.repository);
            query.append_pair("scope", &scope);
        }
        let headers: Vec<(HeaderName, String)> = basic
            .into_iter()
            .map(|value| (AUTHORIZATION, value))
            .collect();
        let reply = self
            .client
            .request(Method::GET, &url, &headers, MAX_PAGE)
            .await?;
        reply.check(&url)?;
        let answer = json(&reply.bytes, "the token")?;
        let token = answer.get("token").or_else(|| answer.get("access_token"));
        let token = token.and_then(Value::as_str).ok_or_else(missing)?;
        Ok(format!("Bearer {token}"))
    }
}

impl Manifest {
    /// # Errors
    /// `BadArgument`: it has no layers, too many, or one that cannot be verified.
    fn read(manifest: &Value) -> Result<Self> {
        let Some(layers) = manifest.get("layers").and_then(Value::as_array) else {
            return Err(Error::bad("package", "the manifest has no layers"));
        };
        if layers.len() > MAX_LAYERS {
            let why = format!("the manifest has more than {MAX_LAYERS} layers");
            return Err(Error::bad("package", why));
        }
        let layers = layers.iter().map(|layer| {
            let text = |name: &str| layer.get(name).and_then(Value::as_str);
            let digest = text("digest").filter(|digest| is_digest(digest));
            let size = layer.get("size").and_then(Value::as_u64);
            let (Some(digest), Some(size)) = (digest, size) else {
                let why = "a layer of the manifest has no sha256 digest or no size";
                return Err(Error::bad("package", why));
            };
            let title = layer.pointer("/annotations/org.opencontainers.image.title");
            Ok(Layer {
                media_type: text("mediaType").unwrap_or_default().to_owned(),
                digest: digest.to_owned(),
                size,
                title: title.and_then(Value::as_str).map(str::to_owned),
            })
        });
        Ok(Self {
            layers: layers.collect::<Result<_>>()?,
        })
    }
}

/// The digest of the first entry of an index that is an artifact. Packages do not depend on the
/// platform, so the entries for several platforms have the same content.
///
/// # Errors
/// `BadArgument`: it has none.
fn first_artifact(entries: &[Value]) -> Result<String> {
    let is_artifact = |entry: &&Value| {
        // Build tools put attestations next to the images that they describe.
        let text = |pointer: &str| entry.pointer(pointer).and_then(Value::as_str);
        text("/annotations/vnd.docker.reference.type").is_none()
            && text("/platform/architecture") != Some("unknown")
    };
    entries
        .iter()
        .take(MAX_LAYERS)
        .filter(is_artifact)
        .filter_map(|entry| entry.get("digest").and_then(Value::as_str))
        .find(|digest| is_digest(digest))
        .map(str::to_owned)
        .ok_or_else(|| Error::bad("package", "the index has no artifact"))
}

/// Refuses an answer that is larger than the announced size.
fn bounded(reply: SourceReply, most: usize) -> Result<SourceReply> {
    if reply.status.is_success() && reply.bytes.len() > most {
        let why = format!("the registry answered more than {most} bytes");
        return Err(Error::bad("package", why));
    }
    Ok(reply)
}

/// The registry, the repository and the digest of `oci://HOST/REPOSITORY` or
/// `oci://HOST/REPOSITORY@DIGEST`.
pub(super) fn place(url: &str) -> Result<(Url, String, Option<String>)> {
    let bad = || {
        let why = format!(
            "{url:?} is not of the form oci://HOST/REPOSITORY or \
             oci://HOST/REPOSITORY@sha256:DIGEST"
        );
        Error::bad("url", why)
    };
    let (host, repository) = url
        .strip_prefix("oci://")
        .and_then(|rest| rest.split_once('/'))
        .ok_or_else(bad)?;
    let (repository, digest) = match repository.split_once('@') {
        Some((repository, digest)) if is_digest(digest) => (repository, Some(digest.to_owned())),
        Some(_) => return Err(bad()),
        None => (repository, None),
    };
    let fine = |c: char| {
        c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_' | '/')
    };
    let segments = repository
        .split('/')
        .all(|part| !part.is_empty() && part.starts_with(|c: char| c.is_ascii_alphanumeric()));
    if !repository.chars().all(fine) || !segments || host.contains(['@', '?', '#']) {
        return Err(bad());
    }
    let base = Url::parse(&format!("https://{host}/")).map_err(|_| bad())?;
    // Like container tools, this client uses registries on this machine without TLS.
    let base = if is_loopback(&base) {
        Url::parse(&format!("http://{host}/")).map_err(|_| bad())?
    } else {
        base
    };
    Ok((base, repository.to_owned(), digest))
}

/// Whether a text is a tag by the specification.
pub(super) fn is_tag(text: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    (1..=128).contains(&text.len()) && !text.starts_with(['.', '-']) && text.chars().all(fine)
}

/// Whether a text is a digest that can be verified.
pub(super) fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64
            && hex
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

fn sha256(bytes: &[u8]) -> String {
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(bytes) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn verify(digest: &str, bytes: &[u8], what: &str) -> Result<()> {
    let found = sha256(bytes);
    if found == digest {
        return Ok(());
    }
    Err(Error::bad(
        "package",
        format!("{what} has the digest {found}, not {digest}"),
    ))
}

fn json(bytes: &[u8], what: &str) -> Result<Value> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::bad("url", format!("{what} is not JSON: {error}")))
}

/// The part of a challenge after its scheme.
fn strip_scheme<'a>(challenge: &'a str, scheme: &str) -> Option<&'a str> {
    let (found, rest) = challenge.trim().split_once(' ')?;
    found.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// A parameter of a challenge: `name="value"`.
fn parameter(parameters: &str, name: &str) -> Option<String> {
    let mut rest = parameters;
    loop {
        let (key, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        if key
            .trim()
            .trim_start_matches(',')
            .trim()
            .eq_ignore_ascii_case(name)
        {
            return Some(value.to_owned());
        }
        rest = left.trim_start().trim_start_matches(',');
    }
}

#[cfg(test)]
mod tests {
    use super::{first_artifact, is_digest, is_tag, parameter, place, sha256};
    use serde_json::json;

    #[test]
    fn urls_name_a_repository() {
        let (base, repository, digest) =
            place("oci://h.example:5000/nf/upf").expect("a repository");
        assert_eq!(
            (base.as_str(), &*repository, digest),
            ("https://h.example:5000/", "nf/upf", None)
        );
        let pinned = format!("oci://h/nf/upf@{}", sha256(b""));
        let (_, repository, digest) = place(&pinned).expect("a repository");
        assert_eq!((&*repository, digest), ("nf/upf", Some(sha256(b""))));
        let (base, _, _) = place("oci://127.0.0.1:5000/a").expect("a repository");
        assert_eq!(base.scheme(), "http");
        for bad in [
            "oci://h",
            "oci:///a",
            "oci://h/",
            "https://h/a",
            "oci://h/../a",
            "oci://h/A",
            "oci://u:p@h/a",
            "oci://h/a?b",
            "oci://h/a//b",
            "oci://h/a/..",
            "oci://h#/a",
            "oci://h/a@v1",
            "oci://h/a@sha256:00",
            "oci://h/a@md5:00",
        ] {
            assert!(place(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_index_names_its_first_artifact() {
        let (one, other) = (sha256(b"1"), sha256(b"2"));
        let attestation = json!({"digest": other,
            "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
            "platform": {"architecture": "unknown", "os": "unknown"}});
        let image = json!({"digest": one, "platform": {"architecture": "amd64", "os": "linux"}});
        let found = first_artifact(&[attestation.clone(), image]);
        assert_eq!(found.expect("an artifact"), one);
        for none in [attestation, json!({"digest": "md5:0"}), json!(null)] {
            assert!(first_artifact(&[none]).is_err());
        }
    }

    #[test]
    fn challenges_are_read() {
        let text = r#"realm="https://a/t?x=1,2",service="s",scope=plain"#;
        assert_eq!(
            parameter(text, "realm").as_deref(),
            Some("https://a/t?x=1,2")
        );
        assert_eq!(parameter(text, "SERVICE").as_deref(), Some("s"));
        assert_eq!(parameter(text, "scope").as_deref(), Some("plain"));
        for garbage in ["", "realm", "realm=\"", "=", "a=b"] {
            assert_eq!(parameter(garbage, "realm"), None, "{garbage}");
        }
    }

    #[test]
    fn tags_and_digests_are_strict() {
        assert!(is_tag("v1.0_a-b") && !is_tag("../a") && !is_tag("a/b") && !is_tag(""));
        assert!(is_digest(&sha256(b"")) && !is_digest("sha256:00") && !is_digest("md5:x"));
        assert!(sha256(b"").starts_with("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934c"));
    }
}
