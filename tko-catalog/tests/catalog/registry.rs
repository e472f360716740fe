//! Catalogs in OCI registries and on web servers, which the tests serve.

use crate::server::{Answer, Request, TestServer};
use crate::support::{Fixture, assert_synced, condition, config, loopback, value};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use tko_catalog::{CatalogSettings, oci_file};
use tko_core::{DataApi, Key, TemplateId};
use tko_source::SourceLimits;

const ID: &str = "catalog|core";

/// The media type of layers of Flux.
pub(crate) const FLUX: &str = "application/vnd.cncf.flux.content.v1.tar+gzip";

fn sha256(bytes: &[u8]) -> String {
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(bytes) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A zip archive of files.
pub(crate) fn zip(files: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, text) in files {
        let options = zip::write::SimpleFileOptions::default();
        archive.start_file(*name, options).expect("a file");
        archive.write_all(text.as_bytes()).expect("written");
    }
    archive.finish().expect("an archive").into_inner()
}

/// A tar archive of one file.
pub(crate) fn tar(name: &str, text: &str) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    archive
        .append_data(&mut header, name, text.as_bytes())
        .expect("a file");
    archive.into_inner().expect("an archive")
}

/// A tar archive of one file, compressed with gzip.
pub(crate) fn tar_gz(name: &str, text: &str) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar(name, text)).expect("written");
    gzip.finish().expect("an archive")
}

/// The content of a registry with one repository `nf/upf`.
pub(crate) struct Registry {
    tags: BTreeMap<String, String>,
    objects: BTreeMap<String, Vec<u8>>,
    /// Tags of a page.
    page: usize,
    /// Whether every request fails.
    is_away: bool,
    /// Whether it refuses manifests.
    refuses: bool,
}

impl Registry {
    pub(crate) fn new(page: usize) -> Self {
        Self {
            tags: BTreeMap::new(),
            objects: BTreeMap::new(),
            page,
            is_away: false,
            refuses: false,
        }
    }

    /// Pushes an artifact of one layer. Returns the digest of its manifest.
    pub(crate) fn push(&mut self, tag: &str, media_type: &str, layer: Vec<u8>) -> String {
        self.push_layers(tag, media_type, vec![layer])
    }

    /// Pushes an artifact. Returns the digest of its manifest.
    fn push_layers(&mut self, tag: &str, media_type: &str, layers: Vec<Vec<u8>>) -> String {
        let mut entries = Vec::new();
        for layer in layers {
            let (digest, size) = (sha256(&layer), layer.len());
            entries.push(json!({"mediaType": media_type, "digest": digest, "size": size}));
            self.objects.insert(digest, layer);
        }
        let manifest = json!({"schemaVersion": 2, "layers": entries});
        self.tag(tag, manifest.to_string().into_bytes())
    }

    /// Pushes an artifact with a layer for each file, and the name of the file as its title.
    pub(crate) fn push_files(&mut self, tag: &str, files: &[(&str, &str)]) {
        let mut layers = Vec::new();
        for (name, text) in files {
            let digest = sha256(text.as_bytes());
            layers.push(json!({
                "mediaType": "application/octet-stream", "digest": digest, "size": text.len(),
                "annotations": {"org.opencontainers.image.title": name},
            }));
            self.objects.insert(digest, text.as_bytes().to_vec());
        }
        let manifest = json!({"schemaVersion": 2, "layers": layers});
        self.tag(tag, manifest.to_string().into_bytes());
    }

    /// Gives a tag to a manifest or an index. Returns its digest.
    fn tag(&mut self, tag: &str, manifest: Vec<u8>) -> String {
        let digest = sha256(&manifest);
        self.objects.insert(digest.clone(), manifest);
        self.tags.insert(tag.to_owned(), digest.clone());
        digest
    }

    /// Answers as the distribution specification says.
    pub(crate) fn answer(&self, request: &Request, number: usize) -> Answer {
        if self.is_away {
            return Answer::status(503);
        }
        if request.path == "/token" {
            if request.query("scope").as_deref() != Some("repository%3Anf%2Fupf%3Apull") {
                return Answer::status(403);
            }
            return Answer::status(200).body(r#"{"token": "t1"}"#);
        }
        if request.header("authorization") != Some("Bearer t1") {
            let host = request.header("host").unwrap_or_default();
            let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"test\"");
            return Answer::status(401).header("www-authenticate", &challenge);
        }
        if number == 3 {
            return Answer::status(429).header("retry-after", "0");
        }
        let Some(path) = request.path.strip_prefix("/v2/nf/upf/") else {
            return Answer::status(404);
        };
        if path == "tags/list" {
            let last = request.query("last").unwrap_or_default();
            let page: Vec<&String> = self
                .tags
                .keys()
                .filter(|tag| **tag > last)
                .take(self.page)
                .collect();
            let body = json!({"name": "nf/upf", "tags": page}).to_string();
            let answer = Answer::status(200).body(&body);
            return match page.last() {
                Some(last) if page.len() == self.page => {
                    let link = format!("</v2/nf/upf/tags/list?n=9&last={last}>; rel=\"next\"");
                    answer.header("link", &link)
                }
                _ => answer,
            };
        }
        if self.refuses && path.starts_with("manifests/") {
            return Answer::status(403);
        }
        let name = path.rsplit('/').next().unwrap_or_default();
        let digest = self.tags.get(name).map_or(name, String::as_str);
        match self.objects.get(digest) {
            Some(bytes) => Answer::status(200)
                .header("docker-content-digest", digest)
                .body(bytes),
            None => Answer::status(404),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_of_a_registry_are_versions() {
    let registry = Arc::new(Mutex::new(Registry::new(2)));
    let served = registry.clone();
    let server = TestServer::start(move |request, number| {
        served.lock().expect("the registry").answer(request, number)
    });
    let image = "application/vnd.oci.image.layer.v1.tar";
    {
        let mut registry = registry.lock().expect("the registry");
        for tag in ["v1", "v2", "v3"] {
            registry.push(tag, image, tar("upf.yaml", &config("upf", tag)));
        }
        registry.push("latest", image, tar("upf.yaml", &config("upf", "latest")));
        registry.push("v4", FLUX, b"no archive".to_vec());
        registry.push("v5", "application/octet-stream", b"anything".to_vec());
        let helm = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
        registry.push("v6", helm, b"a chart".to_vec());
    }
    let fixture = Fixture::with(CatalogSettings::default());
    let url = format!("oci://{}/nf/upf", server.host());
    let entity = fixture.add(ID, "oci", &[("url", &url)]).await;
    let ids = fixture.templates().await;
    assert_eq!(ids, ["nf/upf:v1", "nf/upf:v2", "nf/upf:v3", "nf/upf:v6"]);
    let message = &condition(&entity, "Complete").message;
    assert!(message.starts_with("2 problems"), "{message}");
    assert!(message.contains("no layer has packages"), "{message}");
    let read = fixture.template("nf/upf:v2").await.expect("a template");
    assert_eq!(value(read.package.as_ref()), "v2");
    let chart = fixture.template("nf/upf:v6").await.expect("a template");
    let chart = chart.package.expect("a package");
    let spec: &Value = &chart.iter().next().expect("a chart").value()["spec"];
    assert_eq!(spec, &json!({"chart": url, "version": "v6"}));
    let before = fixture.revision().await;
    fixture.sync(ID).await;
    assert_eq!(
        fixture.revision().await,
        before + 2,
        "only the request and its answer"
    );
    // A moved tag, and a layer that is not what its manifest says.
    {
        let mut registry = registry.lock().expect("the registry");
        registry.push("v1", image, tar("upf.yaml", &config("upf", "moved")));
        let layer = tar("upf.yaml", &config("upf", "v7"));
        let digest = sha256(&layer);
        registry.push("v7", image, layer.clone());
        let mut forged = layer;
        forged[0] ^= 1;
        registry.objects.insert(digest, forged);
    }
    let entity = fixture.sync(ID).await;
    let message = &condition(&entity, "Complete").message;
    assert!(message.contains("nf/upf:v1 has other content"), "{message}");
    assert!(message.contains("a layer has the digest"), "{message}");
    assert!(fixture.template("nf/upf:v7").await.is_none());
    let url = format!("oci://{}/nf/none", server.host());
    let entity = fixture.add("catalog|none", "oci", &[("url", &url)]).await;
    assert_eq!(condition(&entity, "Synced").status, Some(false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_layers_of_an_artifact_are_limited_together_when_they_are_unpacked() {
    let large = "x".repeat(60_000);
    let (a, b) = (config("a", &large), config("b", &large));
    let mut registry = Registry::new(10);
    let layers = vec![tar_gz("a.yaml", &a), tar_gz("b.yaml", &b)];
    assert!(layers.iter().map(Vec::len).sum::<usize>() < 10_000);
    registry.push_layers("v1", FLUX, layers);
    // A later layer replaces the file of an earlier one.
    let layers = vec![tar_gz("a.yaml", &a), tar_gz("a.yaml", &b)];
    registry.push_layers("v2", FLUX, layers);
    let names = ["a", "b", "c"];
    let layers = names.map(|name| tar_gz(&format!("{name}.yaml"), &config(name, "1")));
    registry.push_layers("v3", FLUX, layers.into());
    let server = TestServer::start(move |request, number| registry.answer(request, number));
    let limits = SourceLimits::default()
        .with_max_bytes(100_000)
        .with_max_files(2);
    let fixture = Fixture::with(CatalogSettings::default().with_source(limits));
    let url = format!("oci://{}/nf/upf", server.host());
    let entity = fixture.add(ID, "oci", &[("url", &url)]).await;
    let message = &condition(&entity, "Complete").message;
    assert!(message.starts_with("2 problems"), "{message}");
    for part in [
        "v1: the artifact has more than 100000 bytes",
        "v3: the artifact has more than 2 files",
    ] {
        assert!(message.contains(part), "{part} in {message}");
    }
    assert_eq!(fixture.templates().await, ["nf/upf:v2"]);
    let read = fixture.template("nf/upf:v2").await.expect("a template");
    let package = read.package.expect("a package");
    let names: Vec<String> = package.iter().map(|r| r.identifier().to_string()).collect();
    assert_eq!(names, ["ConfigMap b"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn indexes_digests_and_a_registry_that_goes_away() {
    let registry = Arc::new(Mutex::new(Registry::new(1_000)));
    let served = registry.clone();
    let server = TestServer::start(move |request, number| {
        served.lock().expect("the registry").answer(request, number)
    });
    let media_type = "application/vnd.oci.image.layer.v1.tar";
    let push = |tag: &str| {
        let layer = tar("upf.yaml", &config("upf", tag));
        let mut registry = registry.lock().expect("the registry");
        registry.push(tag, media_type, layer)
    };
    let artifact = push("v1");
    let other = push("other");
    {
        let mut registry = registry.lock().expect("the registry");
        // As build tools push: an attestation next to the image.
        let entries = json!([
            {"digest": other, "platform": {"architecture": "unknown", "os": "unknown"},
                "annotations": {"vnd.docker.reference.type": "attestation-manifest"}},
            {"digest": artifact, "platform": {"architecture": "amd64", "os": "linux"}},
        ]);
        let index = json!({"schemaVersion": 2, "manifests": entries}).to_string();
        let digest = registry.tag("v2", index.into_bytes());
        let outer = json!({"manifests": [{"digest": digest}]}).to_string();
        registry.tag("v3", outer.into_bytes());
        registry.tag("v4", br#"{"manifests": []}"#.to_vec());
        let signature = format!("{}.sig", digest.replace(':', "-"));
        registry.tag(&signature, b"{}".to_vec());
    }
    let fixture = Fixture::with(CatalogSettings::default());
    let url = format!("oci://{}/nf/upf", server.host());
    let entity = fixture
        .add(ID, "oci", &[("url", &url), ("tags", "*")])
        .await;
    let ids = ["nf/upf:other", "nf/upf:v1", "nf/upf:v2", "nf/upf:v3"];
    assert_eq!(fixture.templates().await, ids);
    let message = &condition(&entity, "Complete").message;
    assert!(message.starts_with("1 problem; nf/upf"), "{message}");
    assert!(message.contains("the index has no artifact"), "{message}");
    for id in ["nf/upf:v2", "nf/upf:v3"] {
        let read = fixture.template(id).await.expect("a template");
        assert_eq!(value(read.package.as_ref()), "v1");
    }
    // New tags come, and deleted ones are marked.
    push("v5");
    registry.lock().expect("the registry").tags.remove("other");
    fixture.sync(ID).await;
    assert!(fixture.template("nf/upf:v5").await.is_some());
    let gone = fixture.template("nf/upf:other").await.expect("it stays");
    assert_eq!(gone.entity.given.get("Catalog.gone"), Some("true"));
    // A catalog of one artifact, by its digest.
    let pinned = format!("{url}@{artifact}");
    let properties = [("url", &*pinned), ("id", "pinned/{name}:{version}")];
    assert_synced(&fixture.add("catalog|pinned", "oci", &properties).await);
    let id = format!("pinned/upf:{}", &artifact[7..19]);
    let read = fixture.template(&id).await.expect("a template");
    assert_eq!(read.entity.given.get("Catalog.digest"), Some(&*artifact));
    fixture.sync_unchanged("catalog|pinned").await;
    // A registry that answers the digest with something else.
    let forged = |digest: Option<&String>| {
        let mut registry = registry.lock().expect("the registry");
        match digest {
            Some(other) => registry.tags.insert(artifact.clone(), other.clone()),
            None => registry.tags.remove(&artifact),
        };
    };
    forged(Some(&other));
    let entity = fixture.sync("catalog|pinned").await;
    let message = &condition(&entity, "Synced").message;
    assert!(message.contains("with another digest"), "{message}");
    forged(None);
    // Away, and back.
    registry.lock().expect("the registry").is_away = true;
    let before = fixture.templates().await;
    for id in [ID, "catalog|pinned"] {
        let entity = fixture.sync(id).await;
        assert_eq!(&*condition(&entity, "Synced").reason, "Unavailable");
    }
    assert_eq!(fixture.templates().await, before);
    let kept = fixture.template("nf/upf:v1").await.expect("it stays");
    assert!(!kept.entity.given.contains_key("Catalog.gone"));
    registry.lock().expect("the registry").is_away = false;
    assert_synced(&fixture.sync("catalog|pinned").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_a_registry_refuses_is_not_gone() {
    let registry = Arc::new(Mutex::new(Registry::new(1_000)));
    let served = registry.clone();
    let server = TestServer::start(move |request, number| {
        served.lock().expect("the registry").answer(request, number)
    });
    for tag in ["v1", "v2"] {
        let layer = tar("upf.yaml", &config("upf", tag));
        let mut registry = registry.lock().expect("the registry");
        registry.push(tag, "application/vnd.oci.image.layer.v1.tar", layer);
    }
    let fixture = Fixture::with(CatalogSettings::default());
    let url = format!("oci://{}/nf/upf", server.host());
    let properties = [("url", &*url), ("prune", "true")];
    assert_synced(&fixture.add(ID, "oci", &properties).await);
    let both = ["nf/upf:v1", "nf/upf:v2"];
    assert_eq!(fixture.templates().await, both);
    registry.lock().expect("the registry").refuses = true;
    let entity = fixture.sync(ID).await;
    let complete = condition(&entity, "Complete");
    assert_eq!(complete.status, Some(false));
    assert!(complete.message.contains("403"), "{}", complete.message);
    assert_eq!(fixture.templates().await, both);
    for id in both {
        let kept = fixture.template(id).await.expect("it stays");
        assert!(!kept.entity.given.contains_key("Catalog.gone"), "{id}");
    }
    // A deleted tag is gone.
    {
        let mut registry = registry.lock().expect("the registry");
        registry.refuses = false;
        registry.tags.remove("v2");
    }
    assert_synced(&fixture.sync(ID).await);
    assert_eq!(fixture.templates().await, ["nf/upf:v1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_on_a_web_server_is_read_when_it_changes() {
    let content = Arc::new(Mutex::new((
        1,
        zip(&[
            ("nf/upf/v1/upf.yaml", &config("upf", "1")),
            ("nf/smf/v1/smf.yaml", &config("smf", "1")),
            ("README.md", "no package"),
        ]),
    )));
    let served = content.clone();
    let server = TestServer::start(move |request, _| {
        let content = served.lock().expect("the content");
        let etag = format!("\"{}\"", content.0);
        if request.header("if-none-match") == Some(&etag) {
            return Answer::status(304);
        }
        Answer::status(200).header("etag", &etag).body(&content.1)
    });
    let fixture = Fixture::with(CatalogSettings::default());
    let url = server.url("/packages.zip");
    assert_synced(&fixture.add(ID, "http", &[("url", &url)]).await);
    assert_eq!(fixture.templates().await, ["nf/smf:v1", "nf/upf:v1"]);
    let (before, calls) = (fixture.revision().await, server.calls());
    fixture.sync(ID).await;
    assert_eq!(
        fixture.revision().await,
        before + 2,
        "only the request and its answer"
    );
    assert!(server.calls() > calls);
    *content.lock().expect("the content") = (
        2,
        zip(&[
            ("nf/upf/v1/upf.yaml", &config("upf", "1")),
            ("nf/upf/v2/upf.yaml", &config("upf", "2")),
            ("../../escape/v1/a.yaml", &config("escape", "1")),
        ]),
    );
    let entity = fixture.sync(ID).await;
    let message = &condition(&entity, "Complete").message;
    assert!(
        message.contains("has a segment that is empty, . or .."),
        "{message}"
    );
    assert_eq!(
        fixture.templates().await,
        ["nf/smf:v1", "nf/upf:v1", "nf/upf:v2"]
    );
    let smf = fixture.template("nf/smf:v1").await.expect("it stays");
    assert_eq!(smf.entity.given.get("Catalog.gone"), Some("true"));
    *content.lock().expect("the content") = (3, b"no archive".to_vec());
    let entity = fixture.sync(ID).await;
    assert_eq!(condition(&entity, "Synced").status, Some(false));
    assert_eq!(fixture.templates().await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_package_of_an_archive_is_limited_like_any_other() {
    let content = zip(&[
        ("nf/upf/v1/upf.yaml", &config("upf", "1")),
        ("nf/smf/v1/smf.yaml", &config("smf", &"x".repeat(1_000))),
    ]);
    let server = TestServer::start(move |_, _| Answer::status(200).body(&content));
    let limits = SourceLimits::default().with_max_bytes(1_000);
    let fixture = Fixture::with(CatalogSettings::default().with_source(limits));
    let url = server.url("/packages.zip");
    let entity = fixture.add(ID, "http", &[("url", &url)]).await;
    let message = &condition(&entity, "Complete").message;
    assert!(message.starts_with("1 problem; nf/smf/v1: "), "{message}");
    assert!(message.contains("more than 1000 bytes"), "{message}");
    assert_eq!(fixture.templates().await, ["nf/upf:v1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unchanged_archive_is_read_again_for_the_package_that_is_not_registered() {
    let content = zip(&[
        ("nf/upf/v1/upf.yaml", &config("upf", "1")),
        ("nf/smf/v1/smf.yaml", "a: [\n"),
    ]);
    let server = TestServer::start(move |request, _| {
        if request.header("if-none-match") == Some("\"1\"") {
            return Answer::status(304);
        }
        let answer = Answer::status(200).header("etag", "\"1\"");
        answer.body(&content)
    });
    let fixture = Fixture::with(CatalogSettings::default());
    let url = server.url("/packages.zip");
    let first = fixture.add(ID, "http", &[("url", &url)]).await;
    assert_eq!(condition(&first, "Synced").status, Some(true));
    let complete = condition(&first, "Complete");
    assert!(complete.message.starts_with("1 problem; nf/smf/v1"));
    for _ in 0..2 {
        let again = fixture.sync(ID).await;
        for kind in ["Synced", "Complete"] {
            assert_eq!(condition(&again, kind), condition(&first, kind));
        }
    }
    // A template that was deleted by hand comes back.
    let upf = Key::from(TemplateId::new("nf/upf:v1").expect("an id"));
    fixture.store.delete(&upf).await.expect("deleted");
    let again = fixture.sync(ID).await;
    assert_eq!(condition(&again, "Synced").status, Some(true));
    assert_eq!(fixture.templates().await, ["nf/upf:v1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_read_from_a_registry_and_compared_with_its_digest() {
    let mut registry = Registry::new(10);
    let wasm = "application/wasm";
    registry.push("v1", wasm, b"code".to_vec());
    registry.push("latest", wasm, b"newest".to_vec());
    registry.push(
        "packed",
        "application/vnd.oci.image.layer.v1.tar+gzip",
        b"x".to_vec(),
    );
    registry.push("forged", wasm, b"true".to_vec());
    registry.objects.insert(sha256(b"true"), b"TRUE".to_vec());
    let digest = registry.tags["v1"].clone();
    let server = TestServer::start(move |request, number| registry.answer(request, number));
    let settings = CatalogSettings::default().with_private_hosts(loopback());
    let place = format!("{}/nf/upf", server.host());
    let read = async |reference: String| oci_file(&reference, None, 6, &settings).await;
    for (reference, expected) in [
        (format!("oci://{place}:v1"), &b"code"[..]),
        (format!("oci:{place}:v1"), b"code"),
        (format!("oci:{place}@{digest}"), b"code"),
        (format!("oci://{place}"), b"newest"),
    ] {
        let bytes = read(reference.clone()).await.expect(&reference);
        assert_eq!(bytes, expected, "{reference}");
    }
    for (reference, expected) in [
        (format!("oci://{place}:none"), "404"),
        (format!("oci://{place}:packed"), "the layer is an archive"),
        (format!("oci://{place}:forged"), "has the digest"),
        (format!("oci://{place}:a/b"), "neither a tag nor a digest"),
        (
            format!("oci://{place}@sha256:12"),
            "neither a tag nor a digest",
        ),
        ("oci:nothing".to_owned(), "not of the form"),
        (format!("oci://u:p@{place}"), "neither a tag nor a digest"),
    ] {
        let error = read(reference.clone()).await.expect_err(&reference).chain();
        assert!(error.contains(expected), "{reference}: {error}");
    }
    let error = oci_file(&format!("oci:{place}:v1"), None, 3, &settings).await;
    let error = error.expect_err("it is too large").chain();
    assert!(error.contains("more than 3 bytes"), "{error}");
}
