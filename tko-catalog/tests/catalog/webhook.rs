//! Webhooks over HTTP.

use crate::support::{Fixture, config};
use std::time::Duration;
use tko_catalog::provenance::SYNC_REQUESTED;
use tko_catalog::{CatalogController, CatalogSettings, WebhookServer};
use tko_core::{DataApi, Key, NewPlugin, PluginId};
use tko_serve::{Listen, Sockets};
use tko_source::SecretFolder;
use tko_worker::CancellationToken;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// The longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(90);

/// A running server with the catalog `core`, whose secret is in a file, and the catalog `open`, which
/// has none.
struct Hooks {
    fixture: Fixture,
    port: u16,
    stop: CancellationToken,
    serving: JoinHandle<tko_core::Result<()>>,
    _folder: tempfile::TempDir,
}

impl Hooks {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("hook"), "s3cret\n").expect("a file");
        let fixture = Fixture::idle();
        for (name, secret) in [("core", Some("secret:hook")), ("open", None)] {
            let id: PluginId = format!("catalog|{name}").parse().expect("an id");
            let properties = secret.map(|secret| ("secret".into(), secret.into()));
            let new = NewPlugin::new(id, "directory").properties(properties.into_iter().collect());
            let registered = fixture.store.register_plugin(new).await;
            registered.expect("registered");
        }
        let listen = Listen {
            address: "127.0.0.1".to_owned(),
            ..Listen::default()
        };
        let sockets = Sockets::bind(&listen).await.expect("a socket");
        let port = sockets.addresses()[0].port();
        let settings = CatalogSettings::default().with_secrets(SecretFolder::new(folder.path()));
        let stop = CancellationToken::new();
        let server = WebhookServer::new(fixture.store.clone(), settings);
        let serving = tokio::spawn(server.serve(sockets, stop.clone()));
        Self {
            fixture,
            port,
            stop,
            serving,
            _folder: folder,
        }
    }

    /// Sends a POST with a token as GitLab does; returns the status.
    async fn post(&self, path: &str, token: &str) -> u16 {
        let url = format!("http://127.0.0.1:{}/api/v1/{path}", self.port);
        let client = reqwest::Client::builder().no_proxy().build();
        let request = client.expect("a client").post(url).body("{}");
        let sent = request.header("x-gitlab-token", token).send().await;
        sent.expect("an answer").status().as_u16()
    }

    async fn requested(&self) -> Option<String> {
        let key = Key::from("catalog|core".parse::<PluginId>().expect("an id"));
        let entity = self.fixture.entity(&key).await.expect("the catalog");
        entity.given.get(SYNC_REQUESTED).map(str::to_owned)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_client_that_knows_the_secret_wakes_a_catalog() {
    let hooks = Hooks::start().await;
    for (path, token, status) in [
        ("catalogs/core:sync", "wrong", 401),
        ("catalogs/open:sync", "", 401),
        ("catalogs/absent:sync", "s3cret", 401),
        ("inventories/core:sync", "s3cret", 401),
        ("catalogs/core", "s3cret", 404),
        ("elsewhere", "s3cret", 404),
    ] {
        assert_eq!(hooks.post(path, token).await, status, "{path}");
    }
    assert_eq!(hooks.requested().await, None);
    assert_eq!(hooks.post("catalogs/core:sync", "s3cret").await, 202);
    let requested = hooks.requested().await.expect("a request");
    assert!(requested.starts_with("webhook "), "{requested}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_makes_a_change_visible_at_once() {
    let hooks = Hooks::start().await;
    let packages = tempfile::tempdir().expect("a folder");
    let write = |version: &str| {
        let package = packages.path().join("upf").join(version);
        std::fs::create_dir_all(&package).expect("a folder");
        std::fs::write(package.join("a.yaml"), config("a", version)).expect("a file");
    };
    write("v1");
    // The interval is a day.
    let settings = CatalogSettings::default()
        .with_local(true)
        .with_interval(Duration::from_hours(24));
    let controller = CatalogController::new(hooks.fixture.store.clone()).with_settings(settings);
    tokio::spawn(controller.run(hooks.stop.clone()));
    let url = packages.path().to_str().expect("text");
    let properties = [("url", url), ("secret", "secret:hook")];
    hooks
        .fixture
        .add("catalog|core", "directory", &properties)
        .await;
    write("v2");
    assert!(hooks.fixture.template("upf:v2").await.is_none());
    assert_eq!(hooks.post("catalogs/core:sync", "s3cret").await, 202);
    let visible = async {
        while hooks.fixture.template("upf:v2").await.is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, visible).await;
    waited.expect("it becomes visible");
    hooks.stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_client_does_not_hold_up_the_end() {
    let hooks = Hooks::start().await;
    let silent = TcpStream::connect(("127.0.0.1", hooks.port)).await;
    let _silent = silent.expect("a connection");
    assert_eq!(hooks.post("catalogs/core:sync", "s3cret").await, 202);
    hooks.stop.cancel();
    let ended = tokio::time::timeout(PATIENCE, hooks.serving).await;
    ended
        .expect("it ends")
        .expect("no panic")
        .expect("no error");
}

#[tokio::test]
async fn webhooks_are_not_open_to_the_network() {
    let listen = Listen {
        address: "0.0.0.0".to_owned(),
        ..Listen::default()
    };
    let sockets = Sockets::bind(&listen).await.expect("a socket");
    let server = WebhookServer::new(Fixture::idle().store.clone(), CatalogSettings::default());
    let error = server.serve(sockets, CancellationToken::new()).await;
    let error = error.expect_err("refused").to_string();
    assert!(error.contains("open to the network"), "{error}");
}
