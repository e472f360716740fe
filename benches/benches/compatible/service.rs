//! A `tko` process that serves a database, and the counters of the database server.

use std::ffi::OsString;
use std::ops::Sub;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tko_grpc::client::{Client, ClientSettings};
use tko_grpc::proto::data_client::DataClient;
use tko_postgres_server::PostgresServer;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tonic::transport::Channel;

/// The limit of waiting for a process to start or end.
const PATIENCE: Duration = Duration::from_mins(1);

/// A client of the compatible service.
pub(crate) type Compatible = DataClient<Channel>;

/// A data service, which is killed when this is dropped.
pub(crate) struct Service {
    child: Child,
    address: String,
}

impl Service {
    /// Starts `tko data start` on a database.
    pub(crate) async fn start(tko: &Path, url: &str) -> Self {
        let flags = "data start --backend postgresql --grpc-ip-stack ipv4 --grpc-port 0 \
                     --log-format json --backend-connection";
        let arguments = flags.split_whitespace().chain([url]);
        Self::run(tko, arguments.map(Into::into).collect()).await
    }

    /// Starts `tko up` on a database, which places deployments in a folder.
    pub(crate) async fn up(tko: &Path, url: &str, manifests: &Path) -> Self {
        let flags = "up --backend postgresql --grpc-ip-stack ipv4 --grpc-port 0 \
                     --log-format json --backend-connection";
        let arguments = flags.split_whitespace().chain([url, "--manifests"]);
        let mut arguments: Vec<OsString> = arguments.map(Into::into).collect();
        arguments.push(manifests.into());
        Self::run(tko, arguments).await
    }

    async fn run(tko: &Path, arguments: Vec<OsString>) -> Self {
        let mut command = Command::new(tko);
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"TKO_") {
                command.env_remove(name);
            }
        }
        // The first versions serve no web pages.
        let help = Command::new(tko).args(["up", "--help"]).output().await;
        let help = help.unwrap_or_else(|error| panic!("{}: {error}", tko.display()));
        if String::from_utf8_lossy(&help.stdout).contains("--web-port") {
            command.env("TKO_WEB", "false");
        }
        let mut child = command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", tko.display()));
        let mut log = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let mut address = None;
        while address.is_none() {
            let line = tokio::time::timeout(PATIENCE, log.next_line()).await;
            let line = line.expect("it starts in time").expect("it can be read");
            let line = line.unwrap_or_else(|| panic!("{} did not start", tko.display()));
            address = address_in(&line);
        }
        // Nothing may fill the pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        Self {
            child,
            address: address.expect("it was found"),
        }
    }

    /// A client of the compatible service, with its own connection.
    pub(crate) async fn compatible(&self) -> Compatible {
        let address = format!("http://{}", self.address);
        DataClient::connect(address).await.expect("it serves")
    }

    /// A client of the other services.
    pub(crate) fn client(&self) -> Client {
        Client::new(ClientSettings::new(&self.address)).expect("an address")
    }

    /// Ends the process, and waits until its sessions have ended, too.
    pub(crate) async fn stop(mut self, server: &PostgresServer, database: &str) {
        self.child.kill().await.expect("our own process");
        let start = Instant::now();
        let sessions =
            format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}'");
        while server.psql("postgres", &sessions).expect("it runs").trim() != "0" {
            assert!(start.elapsed() < PATIENCE, "its sessions end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The address in the line of the log that tells it.
fn address_in(line: &str) -> Option<String> {
    let event: serde_json::Value = serde_json::from_str(line).ok()?;
    let fields = event.get("fields")?;
    if fields.get("message")?.as_str()? != "serving gRPC" {
        return None;
    }
    let addresses = fields.get("addresses")?.as_str()?;
    let first = addresses.trim_matches(['[', ']']).split(',').next()?;
    Some(first.trim().to_owned())
}

/// Counters of a database and its server.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commits: f64,
    pub(crate) syncs: f64,
    pub(crate) buffers: f64,
}

impl Counters {
    pub(crate) fn read(server: &PostgresServer, database: &str) -> Self {
        let sql = format!(
            "SELECT d.xact_commit + d.xact_rollback, (SELECT wal_sync FROM pg_stat_wal), \
             (SELECT coalesce(sum(s.shared_blks_hit + s.shared_blks_read), 0) \
             FROM pg_stat_statements s WHERE s.dbid = d.datid) \
             FROM pg_stat_database d WHERE d.datname = '{database}'"
        );
        let row = server.psql("postgres", &sql).expect("it runs");
        let mut numbers = row.trim().split('|').map(|number| {
            let number: f64 = number.parse().expect("a number");
            number
        });
        let mut next = || numbers.next().expect("three numbers");
        Self {
            commits: next(),
            syncs: next(),
            buffers: next(),
        }
    }
}

impl Sub for Counters {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            commits: self.commits - other.commits,
            syncs: self.syncs - other.syncs,
            buffers: self.buffers - other.buffers,
        }
    }
}
