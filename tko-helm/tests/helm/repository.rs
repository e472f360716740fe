//! Charts from a repository on the web.

use crate::program::helm;
use crate::world::{chart, chart_folder, get, world};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Serves the files of a folder; returns the URL. The thread ends with the test program.
pub(crate) fn serve(folder: PathBuf) -> String {
    let host = answer(move |request| {
        let name = request.split([' ', '/']).find(|part| part.contains('.'));
        let file = std::fs::read(folder.join(name.unwrap_or_default()));
        file.ok().map(|body| (String::new(), body))
    });
    format!("http://{host}")
}

/// Answers requests by their first line, with headers and a body; returns the address.
fn answer(find: impl Fn(&str) -> Option<(String, Vec<u8>)> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let request = lines.next().unwrap_or_default();
            // The rest of the request is read, so that closing does not reset the connection.
            while lines.next().is_some_and(|line| !line.is_empty()) {}
            let found = find(&request);
            let status = if found.is_some() {
                "200 OK"
            } else {
                "404 Not Found"
            };
            let (headers, body) = found.unwrap_or_default();
            let head = format!(
                "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let body = if request.starts_with("HEAD") {
                &[][..]
            } else {
                &body
            };
            let mut stream = &stream;
            let _ = stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(body));
        }
    });
    host
}

fn digest(bytes: &[u8]) -> String {
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(bytes) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Serves the archive of a chart as the tag `0.1.0` of `charts/web` in an OCI registry; returns the
/// URL of the repository, and the digest.
fn serve_oci(archive: Vec<u8>) -> (String, String) {
    let config = br#"{"name":"web","version":"0.1.0","apiVersion":"v2"}"#.to_vec();
    let manifest_type = "application/vnd.oci.image.manifest.v1+json";
    let described = |kind: &str, content: &[u8]| {
        let kind = format!("application/vnd.cncf.helm.{kind}");
        json!({"mediaType": kind, "digest": digest(content), "size": content.len()})
    };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "config": described("config.v1+json", &config),
        "layers": [described("chart.content.v1.tar+gzip", &archive)],
    });
    let manifest = manifest.to_string().into_bytes();
    let is = digest(&manifest);
    let mut blobs = BTreeMap::new();
    for blob in [config, archive] {
        blobs.insert(digest(&blob), blob);
    }
    let reference = is.clone();
    let host = answer(move |request| {
        let path = request.split([' ', '?']).nth(1)?;
        let path = path.strip_prefix("/v2/")?;
        if let Some(name) = path.strip_prefix("charts/web/manifests/") {
            let known = name == "0.1.0" || name == reference;
            let headers =
                format!("Content-Type: {manifest_type}\r\nDocker-Content-Digest: {reference}\r\n");
            return known.then(|| (headers, manifest.clone()));
        }
        match path {
            "" => Some((String::new(), b"{}".to_vec())),
            "charts/web/tags/list" => {
                let tags = br#"{"name": "charts/web", "tags": ["0.1.0"]}"#.to_vec();
                Some(("Content-Type: application/json\r\n".to_owned(), tags))
            }
            _ => {
                let blob = blobs.get(path.strip_prefix("charts/web/blobs/")?)?;
                Some((
                    "Content-Type: application/octet-stream\r\n".to_owned(),
                    blob.clone(),
                ))
            }
        }
    });
    (format!("oci://{host}/charts/web"), is)
}

pub(crate) fn run(helm: &Path, arguments: &[&str]) {
    let out = Command::new(helm).args(arguments).output();
    let out = out.expect("helm runs");
    assert!(out.status.success(), "{out:?}");
}

#[tokio::test]
async fn a_chart_of_a_repository_is_rendered_and_an_exact_version_once() {
    let (Some(helm), Some(world)) = (helm(), world()) else {
        return;
    };
    let map =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {v: '{{ .Chart.Version }}'}\n";
    let source = chart_folder(&[("templates/a.yaml", map)]);
    let repository = tempfile::tempdir().expect("a folder");
    let (from, to) = (
        source.path().to_str().expect("text"),
        repository.path().to_str().expect("text"),
    );
    for version in ["0.1.0", "0.2.0"] {
        run(helm, &["package", from, "--version", version, "-d", to]);
    }
    run(helm, &["repo", "index", to]);
    let url = serve(repository.path().to_owned());
    for (version, expected, misses) in [
        (Some("0.1.0"), "0.1.0", 1),
        (Some("0.1.0"), "0.1.0", 1),
        (Some("^0.1.0"), "0.1.0", 1),
        (None, "0.2.0", 1),
    ] {
        let spec = json!({"chart": "web", "repository": url, "version": version});
        let id = world.deploy(vec![chart(source.path(), spec)]).await;
        let package = world.prepared(&id).await;
        let data = &get(&package, "v1", "ConfigMap", "a")["data"];
        assert_eq!(data["v"], expected, "{version:?}");
        assert_eq!(world.results.counts().misses, misses, "{version:?}");
    }
    let spec = json!({"chart": "web", "repository": url, "version": "9.9.9"});
    let message = world.refused(vec![chart(source.path(), spec)]).await;
    assert!(message.contains("9.9.9"), "{message}");
    world.stop().await;
}

#[tokio::test]
async fn a_chart_of_an_oci_registry_is_rendered_by_tag_and_by_digest() {
    let (Some(helm), Some(world)) = (helm(), world()) else {
        return;
    };
    let map =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {v: '{{ .Values.v }}'}\n";
    let source = chart_folder(&[("templates/a.yaml", map), ("values.yaml", "v: x\n")]);
    let packed = tempfile::tempdir().expect("a folder");
    let (from, to) = (
        source.path().to_str().expect("text"),
        packed.path().to_str().expect("text"),
    );
    run(helm, &["package", from, "--version", "0.1.0", "-d", to]);
    let archive = std::fs::read(packed.path().join("web-0.1.0.tgz")).expect("an archive");
    let (url, digest) = serve_oci(archive);
    for (chart_url, version) in [
        (url.clone(), Some("0.1.0")),
        (format!("{url}@{digest}"), None),
        (url.clone(), Some("^0.1.0")),
    ] {
        let spec = json!({"chart": chart_url, "version": version, "parameters": {"v": "oci"}});
        let id = world.deploy(vec![chart(source.path(), spec)]).await;
        let package = world.prepared(&id).await;
        let data = &get(&package, "v1", "ConfigMap", "a")["data"];
        assert_eq!(data["v"], "oci", "{chart_url} {version:?}");
    }
    let spec = json!({"chart": url, "version": "0.2.0"});
    let message = world.refused(vec![chart(source.path(), spec)]).await;
    assert!(message.contains("0.2.0"), "{message}");
    world.stop().await;
}
