//! The dashboard on a real terminal, made by `tmux`: keys, mouse, and the state of the terminal
//! afterwards. Skipped where `tmux` cannot be run.
//!
//! The program within `tmux` is this test program itself, which runs the test that is ignored
//! otherwise.

#![cfg(unix)]

use async_trait::async_trait;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tko_backend_memory::{Memory, MemorySettings};
use tko_core::{
    Admission, BoxFuture, Clock, DataApi, DeploymentId, Ids, NewSite, Package, Result, SiteId,
    Store, Timestamp, Violation,
};
use tko_tui::{DashboardSettings, run};

/// The variable with the file for the process id of the dashboard.
const PID_FILE: &str = "TKO_TUI_TEST_PID";

/// The longest wait for a screen: far more than a busy machine needs.
const TIME: Duration = Duration::from_mins(1);

/// Admits everything.
struct AdmitAll;

#[async_trait]
impl Admission for AdmitAll {
    async fn admit(&self, _: &Package, _: bool) -> Result<Vec<Violation>> {
        Ok(Vec::new())
    }
}

/// A clock that stands still.
struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_795_882_711_000_000)
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(time))
    }
}

/// Generates only one id, which is the only one requested.
struct OneId;

impl Ids for OneId {
    fn next(&self) -> DeploymentId {
        DeploymentId::new("d0").expect("an id")
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the program that the other tests run within tmux"]
async fn dashboard_program() {
    let Some(path) = std::env::var_os(PID_FILE) else {
        return;
    };
    let backend = Memory::new(Arc::new(FixedClock), MemorySettings::default());
    let ids = Arc::new(OneId);
    let store = Store::new(Arc::new(backend), Arc::new(AdmitAll), ids);
    let id = SiteId::new("lab/1").expect("an id");
    let site = NewSite::new(id, Package::default());
    store.register_site(site).await.expect("registered");
    let kind = tokio::signal::unix::SignalKind::user_defined1();
    let mut signal = tokio::signal::unix::signal(kind).expect("a signal");
    tokio::spawn(async move {
        signal.recv().await;
        panic!("as the test asks");
    });
    std::fs::write(path, std::process::id().to_string()).expect("written");
    let _ = run(Arc::new(store), DashboardSettings::new()).await;
}

/// A session of `tmux` with its own server.
struct TmuxSession {
    socket: PathBuf,
    folder: PathBuf,
}

impl TmuxSession {
    /// Starts the dashboard; `None` if `tmux` cannot be run.
    fn start(name: &str) -> Option<Self> {
        if !Command::new("tmux")
            .arg("-V")
            .output()
            .is_ok_and(|out| out.status.success())
        {
            println!("skipped: {name}: tmux is not installed");
            return None;
        }
        let folder = std::env::temp_dir().join(format!("tko-tui-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let session = Self {
            socket: folder.join("socket"),
            folder,
        };
        let program = std::env::current_exe().expect("this program");
        let command = format!(
            "{PID_FILE}='{}' '{}' --exact dashboard_program --ignored --nocapture; \
             stty -a; echo ENDED; exec cat",
            session.folder.join("pid").display(),
            program.display(),
        );
        let size = ["-x", "80", "-y", "24"];
        let start = ["-f", "/dev/null", "new-session", "-d"];
        session.tmux(&[&start[..], &size[..], &[&command]].concat());
        Some(session)
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command
            .arg("-u")
            .arg("-S")
            .arg(&self.socket)
            .args(arguments);
        let out = command
            .env("LC_ALL", "C.UTF-8")
            .env("SHELL", "/bin/sh")
            .output();
        let out = out.expect("tmux runs");
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until the screen has this text.
    fn until(&self, text: &str) -> String {
        let begin = Instant::now();
        loop {
            let screen = self.screen();
            if screen.contains(text) {
                return screen;
            }
            assert!(begin.elapsed() < TIME, "waiting for {text:?}:\n{screen}");
            // `tmux` does not tell when a screen changes.
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends a signal to the dashboard.
    fn signal(&self, signal: &str) {
        let pid = std::fs::read_to_string(Path::new(&self.folder).join("pid")).expect("an id");
        let kill = Command::new("kill").args([signal, pid.trim()]).status();
        assert!(kill.expect("kill runs").success());
    }

    /// Waits for the end of the dashboard; the terminal must be as it was.
    fn is_restored(&self) {
        let screen = self.until("ENDED");
        let words: Vec<_> = screen.split_whitespace().collect();
        assert!(
            words.contains(&"icanon") && words.contains(&"echo"),
            "{screen}"
        );
        let flags = "#{alternate_on} #{mouse_any_flag} #{cursor_flag}";
        assert_eq!(self.tmux(&["display-message", "-p", flags]).trim(), "0 0 1");
    }
}

impl Drop for TmuxSession {
    fn drop(&mut self) {
        let mut command = Command::new("tmux");
        let _ = command
            .arg("-S")
            .arg(&self.socket)
            .arg("kill-server")
            .status();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn keys_and_mouse_work_on_a_terminal() {
    let Some(session) = TmuxSession::start("keys") else {
        return;
    };
    session.until("● live");
    session.tmux(&["send-keys", "s"]);
    session.until("lab/1");
    session.tmux(&["send-keys", "Enter"]);
    session.until("siteId: lab/1");
    session.tmux(&["send-keys", "Escape"]);
    session.until("1/1");
    // A click on the third column of the sixth line of the menu, as terminals report it.
    session.tmux(&["send-keys", "-l", "\u{1b}[<0;3;7M\u{1b}[<0;3;7m"]);
    session.until("last revision");
    session.tmux(&["resize-window", "-x", "120", "-y", "40"]);
    session.tmux(&["send-keys", "?"]);
    session.until("these keys");
    session.tmux(&["send-keys", "C-c"]);
    session.is_restored();
}

#[test]
fn the_terminal_is_restored_after_sigterm() {
    let Some(session) = TmuxSession::start("sigterm") else {
        return;
    };
    session.until("● live");
    session.signal("-TERM");
    session.is_restored();
}

#[test]
fn the_terminal_is_restored_after_a_panic() {
    let Some(session) = TmuxSession::start("panic") else {
        return;
    };
    session.until("● live");
    session.signal("-USR1");
    session.is_restored();
}
