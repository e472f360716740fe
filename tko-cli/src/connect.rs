//! Which data service a command talks to, as flags.

use crate::services::time;
use anyhow::Context;
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tko_grpc::client::{Client, Settings, Tls};
use tko_grpc::server::Stack;
use tokio::net::TcpStream;

/// How long to look for the service on loopback, for each version of IP.
const LOOK: Duration = Duration::from_secs(1);

/// Which data service to talk to. Without an address: on loopback
#[allow(clippy::struct_field_names)] // The fields are the flags.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "gRPC")]
pub(crate) struct ConnectArgs {
    /// Versions of IP: dual, ipv6 or ipv4
    #[arg(long, default_value_t, value_name = "STACK", global = true)]
    grpc_ip_stack: Stack,
    /// Address or host of the data service
    #[arg(
        long,
        default_value = "",
        value_name = "ADDRESS",
        hide_default_value = true,
        global = true
    )]
    grpc_address: String,
    /// Port of the data service
    #[arg(long, default_value_t = 50050, value_name = "PORT", global = true)]
    grpc_port: u16,
    /// Time for one call
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "30s", global = true)]
    grpc_timeout: Duration,
    /// Talk TLS, to a service whose certificate the system trusts
    #[arg(long, global = true)]
    grpc_tls: bool,
    /// Talk TLS, to a service whose certificate this CA has signed, in PEM
    #[arg(long, value_name = "FILE", global = true)]
    grpc_ca: Option<PathBuf>,
    /// Certificate of the client, in PEM
    #[arg(long, value_name = "FILE", requires = "grpc_key", global = true)]
    grpc_certificate: Option<PathBuf>,
    /// Key of the client's certificate, in PEM
    #[arg(
        long,
        value_name = "FILE",
        requires = "grpc_certificate",
        global = true
    )]
    grpc_key: Option<PathBuf>,
    /// A file with a bearer token
    #[arg(long, value_name = "FILE", global = true)]
    grpc_token: Option<PathBuf>,
}

impl ConnectArgs {
    /// A client, which connects when it is first used.
    pub(crate) async fn client(&self) -> anyhow::Result<Client> {
        let host = self.host().await;
        let mut settings = Settings::new(format!("{host}:{}", self.grpc_port));
        settings.timeout = self.grpc_timeout;
        let identity = match (&self.grpc_certificate, &self.grpc_key) {
            (Some(certificate), Some(key)) => Some((certificate.as_path(), key.as_path())),
            _ => None,
        };
        if self.grpc_tls || self.grpc_ca.is_some() || identity.is_some() {
            settings.tls = Some(Tls::read(self.grpc_ca.as_deref(), identity)?);
        }
        if let Some(path) = &self.grpc_token {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read the token in {}", path.display()))?;
            settings.token = Some(text.trim().to_owned());
        }
        Ok(Client::new(settings)?)
    }

    /// Where plugins of this process reach the data service, if its name can be resolved now.
    pub(crate) async fn reached(&self) -> Option<SocketAddr> {
        let host = self.host().await;
        let place = format!("{host}:{}", self.grpc_port);
        tokio::net::lookup_host(place).await.ok()?.next()
    }

    async fn host(&self) -> String {
        let address = self.grpc_address.trim_matches(['[', ']']);
        if !address.is_empty() {
            return if address.contains(':') {
                format!("[{address}]")
            } else {
                address.to_owned()
            };
        }
        match self.grpc_ip_stack {
            Stack::Ipv4 => "127.0.0.1",
            // A machine, or its service, may have only one of them.
            Stack::Dual if !self.listens("[::1]").await && self.listens("127.0.0.1").await => {
                "127.0.0.1"
            }
            Stack::Dual | Stack::Ipv6 => "[::1]",
        }
        .to_owned()
    }

    async fn listens(&self, host: &str) -> bool {
        let connect = TcpStream::connect(format!("{host}:{}", self.grpc_port));
        matches!(tokio::time::timeout(LOOK, connect).await, Ok(Ok(_)))
    }
}
