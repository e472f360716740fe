//! Services stop when they get a signal: promptly, with work in flight finished or released.

use crate::harness::{Feed, Server, Service, TIME, own_plugin};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::{OpenOptions, Receiver};

/// Far less than any grace period or long poll, and far more than stopping takes.
const PROMPT: Duration = Duration::from_secs(8);

/// A deployment whose plugin runs until a file exists.
struct Held {
    folder: TempDir,
    deployment: String,
}

impl Held {
    async fn on(server: &Server) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let register = "plugin register prepare slow -g example.org,v1,Slow";
        let register = server.tko(register).arg(own_plugin("wait_for_file.py"));
        register.arg(folder.path().join("go")).good().await;
        let package = "apiVersion: example.org/v1\nkind: Slow\nmetadata: {name: slow}\n";
        let create = server.tko("deployment create --stdin").stdin(package);
        let deployment = create.good().await.line().to_owned();
        Self { folder, deployment }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("go")
    }

    /// Lets the plugin finish.
    fn release(&self) {
        fs::write(self.file(), "").expect("a file");
    }

    async fn shown(&self, server: &Server) -> Value {
        let show = format!("deployment show {} -ojson", self.deployment);
        server.tko(&show).good().await.json()
    }
}

fn preparer(server: &Server, flags: &str) -> Service {
    Service::start(&format!("preparer start {} {flags}", server.flags()))
}

/// Checks that a service stops successfully and promptly.
async fn ends(mut service: Service, began: Instant) {
    let ended = service.ended().await;
    assert!(ended.success(), "{ended}:\n{}", service.log());
    let took = began.elapsed();
    assert!(took < PROMPT, "it took {took:?}:\n{}", service.log());
}

#[tokio::test]
async fn idle_services_stop_at_once() {
    for signal in [Signal::TERM, Signal::INT] {
        let up = Server::start("up").await;
        up.service.event("worker started").await;
        let began = Instant::now();
        up.service.signal(signal);
        ends(up.service, began).await;
    }
    let server = Server::data().await;
    let preparer = preparer(&server, "");
    let scheduler = Service::start(&format!("scheduler start {}", server.flags()));
    preparer.event("worker started").await;
    scheduler.event("worker started").await;
    // They wait for work in a long poll.
    let began = Instant::now();
    server.service.signal(Signal::TERM);
    ends(server.service, began).await;
    // They look for the server again and again, with growing pauses.
    preparer.event("failed to claim work; retrying").await;
    scheduler.event("failed to claim work; retrying").await;
    for service in [preparer, scheduler] {
        let began = Instant::now();
        service.signal(Signal::INT);
        ends(service, began).await;
    }
}

#[tokio::test]
async fn work_in_flight_is_finished() {
    let server = Server::data().await;
    let preparer = preparer(&server, "--grace 80s");
    let held = Held::on(&server).await;
    preparer.event("at work").await;
    preparer.signal(Signal::TERM);
    preparer.event("stopping").await;
    assert_eq!(held.shown(&server).await["prepared"], false);
    let began = Instant::now();
    held.release();
    ends(preparer, began).await;
    assert_eq!(held.shown(&server).await["prepared"], true);
}

#[tokio::test]
async fn unfinished_work_is_handed_back_without_counting_an_attempt() {
    let server = Server::data().await;
    let first = preparer(&server, "--grace 1s --lease 80s");
    let held = Held::on(&server).await;
    first.event("at work").await;
    let began = Instant::now();
    first.signal(Signal::TERM);
    ends(first, began).await;
    let shown = held.shown(&server).await;
    let work = &shown["work"][0];
    assert_eq!(work["attempts"], 0, "{shown}");
    assert_eq!(work["workedOnUntil"], Value::Null, "{shown}");
    // Others take the work at once: its lease is longer than this test.
    held.release();
    let second = preparer(&server, "");
    second.event("at work").await;
    second.stop().await;
    assert_eq!(held.shown(&server).await["prepared"], true);
}

#[tokio::test]
async fn the_server_serves_until_controllers_have_stopped() {
    let server = Server::start("up --grace 80s").await;
    let held = Held::on(&server).await;
    server.service.event("at work").await;
    server.service.signal(Signal::TERM);
    server.service.event("stopping").await;
    // The server still answers calls of plugins and people.
    assert_eq!(held.shown(&server).await["prepared"], false);
    let began = Instant::now();
    held.release();
    ends(server.service, began).await;
}

#[tokio::test]
async fn a_second_signal_stops_a_service_at_once() {
    for command in ["up", "preparer"] {
        let server = Server::start(if command == "up" {
            "up --grace 80s"
        } else {
            "data start"
        });
        let server = server.await;
        let held = Held::on(&server).await;
        let mut apart = (command != "up").then(|| preparer(&server, "--grace 80s"));
        let mut server = server;
        let service = apart.as_mut().unwrap_or(&mut server.service);
        service.event("at work").await;
        service.signal(Signal::TERM);
        service.event("stopping").await;
        let began = Instant::now();
        service.signal(Signal::INT);
        let ended = service.ended().await;
        assert_eq!(ended.code(), Some(1), "{command}:\n{}", service.log());
        assert!(began.elapsed() < PROMPT, "{command}");
        assert!(
            service.log().contains("stopped at once by a second signal"),
            "{}",
            service.log()
        );
        drop(held);
    }
}

/// A plugin that runs until it is killed, and a pipe that is open for writing as long as it runs.
struct Holder {
    _folder: TempDir,
    pipe: Receiver,
}

impl Holder {
    async fn on(server: &Server) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pipe");
        let made = Command::new("mkfifo").arg(&path).status();
        assert!(made.expect("mkfifo").success());
        let pipe = OpenOptions::new().open_receiver(&path).expect("a pipe");
        let register = "plugin register prepare hold -g example.org,v1,Held";
        let register = server.tko(register).arg(own_plugin("hold_open.py"));
        register.arg(path).good().await;
        let package = "apiVersion: example.org/v1\nkind: Held\nmetadata: {name: held}\n";
        let create = server.tko("deployment create --stdin").stdin(package);
        create.good().await;
        Self {
            _folder: folder,
            pipe,
        }
    }

    /// Waits until the plugin has ended.
    async fn ended(mut self) {
        let mut content = Vec::new();
        let reading = self.pipe.read_to_end(&mut content);
        let read = tokio::time::timeout(TIME, reading).await;
        read.expect("the plugin is still running").expect("read");
    }
}

/// The signals of a terminal that is closed, which often sends SIGHUP twice; SIGTERM if the tests
/// run under `nohup`, so that their processes ignore it.
fn hangup() -> &'static [Signal] {
    let status = fs::read_to_string("/proc/self/status").expect("the status");
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = u64::from_str_radix(mask.expect("a mask").trim(), 16).expect("a number");
    if mask & 1 == 0 {
        &[Signal::HUP, Signal::HUP]
    } else {
        &[Signal::TERM]
    }
}

#[tokio::test]
async fn no_plugin_survives_a_closed_terminal_or_a_second_signal() {
    for (grace, signals, code) in [
        ("--grace 1s", hangup(), 0),
        ("--grace 80s", &[Signal::TERM, Signal::INT], 1),
    ] {
        let server = Server::data().await;
        let mut preparer = preparer(&server, grace);
        let holder = Holder::on(&server).await;
        preparer.event("at work").await;
        for signal in signals {
            preparer.signal(*signal);
            preparer.event("stopping").await;
        }
        let ended = preparer.ended().await;
        assert_eq!(ended.code(), Some(code), "{}", preparer.log());
        holder.ended().await;
    }
}

#[tokio::test]
async fn a_preparer_waits_for_a_server_that_starts_later() {
    let server = Server::data().await;
    let flags = server.flags();
    let port = server.port;
    server.service.stop().await;
    let early = Service::start(&format!("preparer start {flags} --lease 2s"));
    early.event("failed to load plugins; retrying").await;
    let late = Service::start(&format!("scheduler start {flags}"));
    late.event("failed to load plugins; retrying").await;
    late.stop().await;
    let again = Server::on("data start", port).await;
    let create = again.tko("deployment create --stdin").stdin("");
    let id = create.good().await.line().to_owned();
    early.event("worker started").await;
    let feed = Feed::of(&again.client());
    feed.until("prepared", |counts| counts.prepared == 1).await;
    let shown = again
        .tko(&format!("deployment show {id} -ojson"))
        .good()
        .await;
    assert_eq!(shown.json()["prepared"], true);
    early.stop().await;
}
