//! `tko dashboard` on a terminal made by `tmux`, while its server goes away and comes back.

use crate::harness::{Server, TIME, is_without};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tko_core::{DataApi, NewSite, Package, SiteId};

/// A session of `tmux` with its own server.
struct DashboardSession {
    folder: TempDir,
}

impl DashboardSession {
    /// Starts the dashboard; `None` where tests of terminals are switched off.
    fn start(server: &Server) -> Option<Self> {
        let version = Command::new("tmux").arg("-V").output();
        if !version.is_ok_and(|out| out.status.success()) {
            assert!(
                is_without("terminal"),
                "tmux is not installed; TKO_TEST_WITHOUT=terminal skips its tests"
            );
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let session = Self { folder };
        let command = format!(
            "'{}' dashboard {}; stty -a; echo ENDED; exec cat",
            env!("CARGO_BIN_EXE_tko"),
            server.flags()
        );
        let start = [
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "100",
            "-y",
            "30",
        ];
        session.tmux(&[&start[..], &[&command]].concat());
        Some(session)
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("tmux");
        let command = command.arg("-u").arg("-S").arg(self.socket());
        let out = command
            .args(arguments)
            .env("LC_ALL", "C.UTF-8")
            .env("SHELL", "/bin/sh")
            .output();
        let out = out.expect("tmux runs");
        let error = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{error}");
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// Waits until the screen has this text.
    async fn until(&self, text: &str) -> String {
        let begin = Instant::now();
        loop {
            let screen = self.tmux(&["capture-pane", "-p"]);
            if screen.contains(text) {
                return screen;
            }
            assert!(begin.elapsed() < TIME, "waiting for {text:?}:\n{screen}");
            // `tmux` does not tell when a screen changes.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for DashboardSession {
    fn drop(&mut self) {
        let mut command = Command::new("tmux");
        let socket = self.socket();
        let _ = command.arg("-S").arg(socket).arg("kill-server").status();
    }
}

async fn site(server: &Server, id: &str) {
    let id = SiteId::new(id).expect("an id");
    let new = NewSite::new(id, Package::default());
    server.client().register_site(new).await.expect("valid");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_and_comes_back_is_followed_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = format!(
        "data start --backend sqlite --data {}",
        folder.path().display()
    );
    let server = Server::start(&data).await;
    site(&server, "lab/first").await;
    let Some(session) = DashboardSession::start(&server) else {
        return;
    };
    session.until("● live").await;
    session.tmux(&["send-keys", "s"]);
    session.until("lab/first").await;
    let port = server.port;
    server.service.kill().await;
    session.until("disconnected").await;
    let server = Server::on(&data, port).await;
    session.until("● live").await;
    site(&server, "lab/second").await;
    session.until("lab/second").await;
    // A click on the first entry of the menu, as terminals report it.
    session.tmux(&["send-keys", "-l", "\u{1b}[<0;3;2M\u{1b}[<0;3;2m"]);
    session.until("Why deployments").await;
    session.tmux(&["send-keys", "q"]);
    let screen = session.until("ENDED").await;
    let words: Vec<_> = screen.split_whitespace().collect();
    assert!(
        words.contains(&"icanon") && words.contains(&"echo"),
        "{screen}"
    );
    let flags = "#{alternate_on} #{mouse_any_flag} #{cursor_flag}";
    let flags = session.tmux(&["display-message", "-p", flags]);
    assert_eq!(flags.trim(), "0 0 1");
    server.service.stop().await;
}
