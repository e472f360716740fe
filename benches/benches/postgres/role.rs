//! Processes of a fleet: this program, started in a role. Each ends when its standard input does,
//! so that none outlives the process that started it.

use super::profile::CallCounts;
use async_trait::async_trait;
use clap::ValueEnum;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tko_backend_postgres::Postgres;
use tko_core::api::Guarded;
use tko_core::system::TimeOrderedIds;
use tko_core::{
    Answer, Backend, Condition, Error, Gvk, PrepareCall, Preparer, Registry, Result, ScheduleCall,
    Scheduler, Store, annotation,
};
use tko_grpc::client::{Client, ClientSettings};
use tko_grpc::server::{Listen, Server, Sockets};
use tko_preparer::PrepareController;
use tko_scheduler::ScheduleController;
use tko_validate::{SchemaValidator, Validation};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines, Stdin, stdin};
use tokio::process::{Child, ChildStdout, Command};
use tokio_util::sync::CancellationToken;

/// The kind of resource that the simulated plugin prepares.
pub(crate) fn prepared_by_plugin() -> Gvk {
    Gvk::new("bench.tko.dev", "v1", "Prepared")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Reads the URL of a database and prints the address on which it serves.
    Data,
    /// Reads the address of a data server.
    Preparer,
    /// Reads the address of a data server.
    Scheduler,
}

/// A process in a role, which ends when this is dropped.
pub(crate) struct Process {
    /// What it printed when it was ready.
    pub(crate) told: String,
    lines: Lines<BufReader<ChildStdout>>,
    child: Child,
}

impl Process {
    /// Starts a process and waits until it is ready.
    pub(crate) async fn start(role: Role, with: &str, latency: Duration, profile: bool) -> Self {
        let program = std::env::current_exe().expect("this program");
        let role = role.to_possible_value().expect("it has a name");
        let mut child = Command::new(program)
            .args(["--role", role.get_name()])
            .args(["--latency", &latency.as_millis().to_string()])
            .args(profile.then_some("--profile"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let input = child.stdin.as_mut().expect("it is piped");
        let line = format!("{with}\n");
        input.write_all(line.as_bytes()).await.expect("it listens");
        let output = child.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(output).lines();
        let told = lines.next_line().await;
        Self {
            told: told.expect("text").expect("it gets ready"),
            lines,
            child,
        }
    }

    /// Ends the process. Returns the next line that it prints.
    pub(crate) async fn end(mut self) -> String {
        drop(self.child.stdin.take());
        let line = self.lines.next_line().await.expect("text");
        line.unwrap_or_default()
    }
}

impl Role {
    /// Plays the role until standard input ends.
    pub(crate) async fn play(self, latency: Duration, profile: bool) {
        let mut input = BufReader::new(stdin()).lines();
        let with = input.next_line().await.expect("text").expect("with whom");
        let stop = CancellationToken::new();
        tokio::spawn(until_the_end(input, stop.clone()));
        match self {
            Self::Data => serve(&with, stop, profile).await,
            Self::Preparer => {
                let plugin = Arc::new(Simulated(latency));
                let native = tko_preparer::native().with(prepared_by_plugin(), "simulated", plugin);
                let preparing = PrepareController::new(client(&with)).with_registry(native);
                println!("ready");
                preparing.run(stop).await.expect("it ends well");
            }
            Self::Scheduler => {
                let plugin = Arc::new(Simulated(latency));
                let native = Registry::new().with_everywhere("simulated", plugin as _);
                let scheduling = ScheduleController::new(client(&with)).with_registry(native);
                println!("ready");
                scheduling.run(stop).await.expect("it ends well");
            }
        }
    }
}

async fn until_the_end(input: Lines<BufReader<Stdin>>, stop: CancellationToken) {
    let mut rest = Vec::new();
    // Either way of ending means that the process that started this one is gone.
    let _ = input.into_inner().read_to_end(&mut rest).await;
    stop.cancel();
}

fn client(server: &str) -> Arc<Client> {
    Arc::new(Client::new(ClientSettings::new(server)).expect("a client"))
}

/// A store that validates, as that of `tko data start` does.
pub(crate) fn store(backend: Arc<dyn Backend>) -> Store<dyn Backend> {
    let schemas = SchemaValidator::builder().build().expect("built in");
    let validation = Validation::new(Arc::new(schemas));
    Store::new(backend, Arc::new(validation), Arc::new(TimeOrderedIds))
}

async fn serve(url: &str, stop: CancellationToken, profile: bool) {
    let settings = tko_backend_postgres::PostgresSettings::new(url);
    let backend = Postgres::connect(settings).await.expect("a store");
    let sockets = Sockets::bind(&Listen::default()).await.expect("loopback");
    println!("{}", sockets.addresses()[0]);
    let store = Arc::new(store(Arc::new(backend)));
    if profile {
        let calls = CallCounts::default();
        let counted = Guarded::new(store, calls.clone());
        let served = Server::new(Arc::new(counted)).serve(sockets, stop);
        served.await.expect("it ends well");
        println!("{}", calls.line());
    } else {
        let served = Server::new(store).serve(sockets, stop);
        served.await.expect("it ends well");
    }
}

/// A plugin that only takes time.
struct Simulated(Duration);

#[async_trait]
impl Preparer for Simulated {
    async fn prepare(&self, call: PrepareCall<'_>) -> Result<Answer> {
        tokio::time::sleep(self.0).await;
        let target = call.package.find(call.target);
        let target = target.ok_or_else(|| Error::bad("target", "it is not in the package"))?;
        Ok(Answer::Done {
            package: call.package.with(annotation::prepared(target)),
            effects: Vec::new(),
        })
    }
}

#[async_trait]
impl Scheduler for Simulated {
    async fn schedule(&self, _call: ScheduleCall<'_>) -> Result<Vec<Condition>> {
        tokio::time::sleep(self.0).await;
        Ok(Vec::new())
    }
}
