//! What a catalog accepts from a registry: kinds of layers, and credentials.

use crate::registry::{FLUX, Registry, tar, tar_gz};
use crate::server::{Answer, TestServer};
use crate::support::{Fixture, assert_synced, condition, config, value};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tko_catalog::CatalogSettings;
use tko_source::SecretFolder;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn layers_of_flux_kpt_image_builders_and_oras_are_packages() {
    let mut registry = Registry::new(100);
    for (tag, media_type) in [
        ("v1", FLUX),
        ("v2", "application/vnd.kpt.content.v1.tar+gzip"),
        ("v3", "application/vnd.oci.image.layer.v1.tar+gzip"),
        ("v4", "application/vnd.docker.image.rootfs.diff.tar.gzip"),
    ] {
        registry.push(tag, media_type, tar_gz("upf.yaml", &config("upf", tag)));
    }
    let plain = "application/vnd.oci.image.layer.v1.tar";
    registry.push("v5", plain, tar("upf.yaml", &config("upf", "v5")));
    // As `oras push nf/upf:v6 upf.yaml README.md` pushes: a layer for each file, with its name.
    let (yaml, text) = (config("upf", "v6"), "not a package");
    registry.push_files("v6", &[("upf.yaml", &yaml), ("README.md", text)]);
    let server = TestServer::start(move |request, number| registry.answer(request, number));
    let fixture = Fixture::with(CatalogSettings::default());
    let url = format!("oci://{}/nf/upf", server.host());
    assert_synced(&fixture.add("catalog|core", "oci", &[("url", &url)]).await);
    for version in 1..=6 {
        let tag = format!("v{version}");
        let read = fixture.template(&format!("nf/upf:{tag}")).await;
        let package = read.expect(&tag).package;
        assert_eq!(value(package.as_ref()), tag);
        assert_eq!(package.map(|package| package.len()), Some(1), "{tag}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_without_a_version_is_a_problem_that_counts_its_tags() {
    let mut registry = Registry::new(100);
    registry.push("latest", FLUX, tar_gz("upf.yaml", &config("upf", "1")));
    let server = TestServer::start(move |request, number| registry.answer(request, number));
    let fixture = Fixture::with(CatalogSettings::default());
    let url = format!("oci://{}/nf/upf", server.host());
    let entity = fixture.add("catalog|core", "oci", &[("url", &url)]).await;
    let message = &condition(&entity, "Complete").message;
    let problem = "1 problem; core: the source offers no template: none of its tags (1) is";
    assert!(message.starts_with(problem), "{message}");
    let properties = [("url", &*url), ("tags", "latest")];
    assert_synced(&fixture.add("catalog|core", "oci", &properties).await);
    assert_eq!(fixture.templates().await, ["nf/upf:latest"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_gets_the_user_and_the_token_of_the_catalog() {
    let mut registry = Registry::new(100);
    registry.push("v1", FLUX, tar_gz("upf.yaml", &config("upf", "1")));
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let expected = Arc::new(Mutex::new("Basic Ym90OnMzY3JldA==")); // bot:s3cret
    let accepted = expected.clone();
    let server = TestServer::start(move |request, number| {
        if request.path == "/token" {
            counted.fetch_add(1, Ordering::Relaxed);
            let accepted = *accepted.lock().expect("the credentials");
            if request.header("authorization") != Some(accepted) {
                return Answer::status(401);
            }
        }
        registry.answer(request, number)
    });
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("registry"), "s3cret\n").expect("a file");
    std::fs::write(folder.path().join("registry.hosts"), "127.0.0.1\n").expect("a file");
    let settings = CatalogSettings::default().with_secrets(SecretFolder::new(folder.path()));
    let fixture = Fixture::with(settings);
    let url = format!("oci://{}/nf/upf", server.host());
    // Without credentials, the registry refuses.
    let entity = fixture.add("catalog|open", "oci", &[("url", &url)]).await;
    assert_eq!(condition(&entity, "Synced").status, Some(false));
    let properties = [
        ("url", &*url),
        ("user", "bot"),
        ("token", "secret:registry"),
    ];
    assert_synced(&fixture.add("catalog|core", "oci", &properties).await);
    assert_eq!(fixture.templates().await, ["nf/upf:v1"]);
    assert!(asked.load(Ordering::Relaxed) >= 2);
    // The credentials are shown nowhere, also when they are refused.
    *expected.lock().expect("the credentials") = "Basic bm8=";
    let wrong = [
        ("url", &*url),
        ("user", "bot"),
        ("token", "secret:registry"),
        ("id", "other/{name}:{version}"),
    ];
    let entity = fixture.add("catalog|wrong", "oci", &wrong).await;
    let synced = condition(&entity, "Synced");
    assert_eq!(synced.status, Some(false));
    assert!(!synced.message.contains("s3cret"), "{}", synced.message);
}
