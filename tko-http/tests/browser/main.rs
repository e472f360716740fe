//! The dashboard in a real Chromium: every page and action, live, without a foreign request, with an
//! empty console, and without serious findings of axe. It takes the screenshots of the docs.
//!
//! Chromium and Node are installed by `cargo xtask test`; the packages of Node by the test itself.
//! Where they cannot be had, the test says so and is skipped.

mod fleet;
#[path = "../http/harness/mod.rs"]
mod harness;

use harness::{TestServer, store};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tko_http::HttpServerSettings;
use tko_serve::{Access, CallerFile};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command as AsyncCommand;

/// Longest time for the whole tour.
const TOUR: Duration = Duration::from_mins(5);

/// Node's packages with the versions that were tried, and the folder that has them.
fn node_packages() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser");
    std::fs::create_dir_all(&folder).ok()?;
    if !folder.join("node_modules/axe-core/axe.min.js").exists() {
        let installed = Command::new("npm")
            .args([
                "install",
                "--no-audit",
                "--no-fund",
                "--no-save",
                "--prefix",
            ])
            .arg(&folder)
            .args(["playwright-core@1.65.1", "axe-core@4.14.1"])
            .stdout(Stdio::null())
            .status();
        if !installed.is_ok_and(|status| status.success()) {
            assert_without("npm cannot install playwright-core and axe-core");
            return None;
        }
    }
    Some(folder)
}

/// The browser.
fn chromium() -> Option<&'static str> {
    let found = ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| {
            let mut asked = Command::new(name);
            let asked = asked
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            asked.status().is_ok_and(|status| status.success())
        });
    if found.is_none() {
        assert_without("chromium is not installed; cargo xtask test installs it");
    }
    found
}

/// Fails unless `TKO_TEST_WITHOUT` names the browser.
fn assert_without(problem: &str) {
    let without = std::env::var("TKO_TEST_WITHOUT").unwrap_or_default();
    assert!(
        without.split(',').any(|name| name == "browser"),
        "{problem}; TKO_TEST_WITHOUT=browser skips this test"
    );
}

/// The callers of the servers with authentication: an operator, and a viewer.
fn callers() -> Access {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("callers");
    std::fs::write(&file, fleet::CALLERS).expect("a file");
    let callers = CallerFile::open(&file).expect("callers");
    Access::new().authentication(Arc::new(callers))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_and_action_works_in_a_browser() {
    let (Some(packages), Some(chromium)) = (node_packages(), chromium()) else {
        return;
    };
    let store = store();
    fleet::fill(&store).await;
    let guarded = fleet::guarded(&store);
    let mut open = TestServer::serving(
        guarded.clone(),
        store.clone(),
        HttpServerSettings::default(),
        Access::new(),
        0,
    )
    .await;
    let closed = TestServer::serving(
        guarded.clone(),
        store.clone(),
        HttpServerSettings::default(),
        callers(),
        0,
    )
    .await;
    let shots = match std::env::var_os("TKO_SCREENSHOTS") {
        Some(folder) => PathBuf::from(folder),
        None => packages.join("shots"),
    };
    std::fs::create_dir_all(&shots).expect("a folder");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/tour.mjs");
    // Node looks for packages next to the script, so the script goes to the packages.
    let copy = packages.join("tour.mjs");
    std::fs::copy(&script, &copy).expect("the script is copied");
    let mut tour = AsyncCommand::new("node")
        .arg(&copy)
        .env("TKO_URL", open.url(""))
        .env("TKO_CLOSED_URL", closed.url(""))
        .env("TKO_CHROMIUM", chromium)
        .env("TKO_SHOTS", &shots)
        .env("TKO_OPERATOR", fleet::TOKENS.0)
        .env("TKO_VIEWER", fleet::TOKENS.1)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("node starts");
    let mut input = tour.stdin.take().expect("a pipe");
    let mut lines = BufReader::new(tour.stdout.take().expect("a pipe")).lines();
    let followed = async {
        while let Some(line) = lines.next_line().await.expect("text") {
            if line == "ask: restart" {
                let port = open.address.port();
                open.stop_now().await;
                open = TestServer::serving(
                    guarded.clone(),
                    store.clone(),
                    HttpServerSettings::default(),
                    Access::new(),
                    port,
                )
                .await;
                input.write_all(b"done\n").await.expect("node reads");
            } else {
                println!("{line}");
            }
        }
        tour.wait().await.expect("our own process")
    };
    let ended = tokio::time::timeout(TOUR, followed)
        .await
        .expect("the tour ends in time");
    assert!(ended.success(), "the tour failed: {ended}");
}
