//! Processes that keep running: data services, preparers, schedulers.

use super::process::{Run, TIME, tko};
use futures_util::StreamExt;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::process::ExitStatus;
use tko_core::{DataApi, Entity, Event, Key, Pattern, Revision, Select, Want, Watch};
use tko_grpc::client::{Client, ClientSettings};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Child;
use tokio::sync::watch;

/// Maximum number of log lines to print.
const SHOWN: usize = 200;

/// A running process with a JSON log. It is killed on drop.
pub(crate) struct Service {
    child: Child,
    log: watch::Receiver<Log>,
    stdout: watch::Receiver<Log>,
    arguments: String,
}

/// The lines so far, and whether more may come.
#[derive(Default)]
struct Log {
    lines: Vec<String>,
    ended: bool,
}

impl Service {
    /// Starts `tko` with these arguments.
    pub(crate) fn start(arguments: &str) -> Self {
        Self::spawn(tko(arguments), arguments)
    }

    pub(crate) fn spawn(run: Run, arguments: &str) -> Self {
        let mut child = run
            .arg("--log-format=json")
            .into_command()
            .stdin(std::process::Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("tko {arguments}: {error}"));
        let log = follow(child.stderr.take().expect("a pipe"));
        let stdout = follow(child.stdout.take().expect("a pipe"));
        Self {
            child,
            log,
            stdout,
            arguments: arguments.to_owned(),
        }
    }

    /// Waits for an event in the log and returns its fields.
    pub(crate) async fn event(&self, message: &str) -> Value {
        let mut log = self.log.clone();
        let found = |log: &Log| log.lines.iter().find_map(|line| fields(line, message));
        let seen = log.wait_for(|log| log.ended || found(log).is_some());
        let waited = tokio::time::timeout(TIME, seen).await;
        let event = waited.ok().and_then(Result::ok).and_then(|log| found(&log));
        event.unwrap_or_else(|| {
            panic!(
                "tko {}: no {message:?} in its log:\n{}",
                self.arguments,
                self.log()
            )
        })
    }

    /// Waits for an event in the log and returns the span that it is in.
    pub(crate) async fn span(&self, message: &str) -> Value {
        self.event(message).await;
        let log = self.log.borrow();
        let found = log
            .lines
            .iter()
            .find(|line| fields(line, message).is_some());
        let event = found.map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        event.expect("was found")["span"].take()
    }

    /// Waits for a line on standard output with this prefix.
    pub(crate) async fn line(&self, start: &str) -> String {
        let mut out = self.stdout.clone();
        let found = |out: &Log| {
            out.lines
                .iter()
                .find(|line| line.starts_with(start))
                .cloned()
        };
        let seen = out.wait_for(|out| out.ended || found(out).is_some());
        let waited = tokio::time::timeout(TIME, seen).await;
        let line = waited.ok().and_then(Result::ok).and_then(|out| found(&out));
        line.unwrap_or_else(|| panic!("tko {}: no {start:?}:\n{}", self.arguments, self.log()))
    }

    /// Standard output so far.
    pub(crate) fn stdout(&self) -> String {
        self.stdout.borrow().lines.join("\n")
    }

    /// The end of the log.
    pub(crate) fn log(&self) -> String {
        let log = self.log.borrow();
        let first = log.lines.len().saturating_sub(SHOWN);
        log.lines[first..].join("\n")
    }

    /// The id of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("a running process")
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = self.id();
        let id = i32::try_from(id).ok().and_then(Pid::from_raw);
        kill_process(id.expect("a process id"), signal).expect("our own process");
    }

    /// Waits for the process to end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let waited = tokio::time::timeout(TIME, self.child.wait()).await;
        // The last lines may still be in the pipe.
        let mut log = self.log.clone();
        let _ = tokio::time::timeout(TIME, log.wait_for(|log| log.ended)).await;
        let ended = waited
            .unwrap_or_else(|_| panic!("tko {} does not end:\n{}", self.arguments, self.log()));
        ended.expect("a child of ours")
    }

    /// Kills the process, as a crash would, and waits until it is gone.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("our own process");
    }

    /// Stops the process with SIGTERM and checks that it succeeds.
    pub(crate) async fn stop(mut self) {
        self.signal(Signal::TERM);
        let ended = self.ended().await;
        assert!(ended.success(), "{ended}:\n{}", self.log());
    }
}

fn follow(from: impl AsyncRead + Unpin + Send + 'static) -> watch::Receiver<Log> {
    let (sender, log) = watch::channel(Log::default());
    tokio::spawn(async move {
        let mut lines = BufReader::new(from).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            sender.send_modify(|log| log.lines.push(line));
        }
        sender.send_modify(|log| log.ended = true);
    });
    log
}

fn fields(line: &str, message: &str) -> Option<Value> {
    let mut event: Value = serde_json::from_str(line).ok()?;
    let fields = event.get_mut("fields")?.take();
    (fields["message"].as_str() == Some(message)).then_some(fields)
}

/// A data service, or all services in one process, on a separate port.
pub(crate) struct Server {
    pub(crate) service: Service,
    pub(crate) port: u16,
}

impl Server {
    /// Starts a data service.
    pub(crate) async fn data() -> Self {
        Self::start("data start").await
    }

    /// Starts `data start` or `up` with flags.
    pub(crate) async fn start(arguments: &str) -> Self {
        Self::on(arguments, 0).await
    }

    /// Starts a server on this port; 0 is any free port.
    pub(crate) async fn on(arguments: &str, port: u16) -> Self {
        let run = tko(arguments).last(format!("--grpc-ip-stack ipv4 --grpc-port {port}"));
        let service = Service::spawn(run, arguments);
        let serving = service.event("serving gRPC").await;
        let addresses = serving["addresses"].as_str().expect("a text");
        let port = addresses
            .trim_end_matches(']')
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse().ok());
        Self {
            port: port.unwrap_or_else(|| panic!("no port in {addresses}")),
            service,
        }
    }

    /// The flags that make a command use this server.
    pub(crate) fn flags(&self) -> String {
        format!("--grpc-ip-stack ipv4 --grpc-port {}", self.port)
    }

    /// A command that uses this server. Its flags come last.
    pub(crate) fn tko(&self, arguments: &str) -> Run {
        tko(arguments).last(self.flags())
    }

    /// Waits until an entity is in a state.
    pub(crate) async fn until(&self, key: &Key, what: &str, is: impl Fn(&Entity) -> bool) {
        let mut select = Select::all(key.kind());
        select.ids.push(Pattern::literal(key.id()));
        let mut events = self.client().watch(Watch::new(select, Revision::default()));
        let seen = async {
            while let Some(event) = events.next().await {
                if let Event::Put { record, .. } = event.expect("the watch goes on")
                    && is(&record.entity)
                {
                    return;
                }
            }
            panic!("the watch of {key} ended before it was {what}");
        };
        if tokio::time::timeout(TIME, seen).await.is_err() {
            let now = self.client().get(key, Want::ROW).await;
            let conditions = now.map(|record| record.entity.conditions.clone());
            panic!(
                "{key} is not {what}: {conditions:#?}\n{}",
                self.service.log()
            );
        }
    }

    /// A client of this server.
    pub(crate) fn client(&self) -> Client {
        Client::new(ClientSettings::new(format!("127.0.0.1:{}", self.port))).expect("an address")
    }
}
