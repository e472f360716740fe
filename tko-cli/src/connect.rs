//! The flags that select the data service of a command.

use crate::services::time;
use clap::Args;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tko_grpc::client::{Client, ClientSettings, ClientTls};
use tko_grpc::server::Stack;
use tokio::net::TcpStream;

/// The longest wait for each IP version when looking for the service on loopback.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(1);

/// The context of an error that does not come from the data service, such as that of a download.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NotTheService(pub(crate) &'static str);

impl fmt::Display for NotTheService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Flags of the connection to the data service. Without an address, it is on loopback
#[allow(clippy::struct_field_names)] // The fields are the flags.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "gRPC")]
pub(crate) struct ConnectArgs {
    /// IP versions to use: dual, ipv6 or ipv4
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
    /// Timeout of one call
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "30s", global = true)]
    grpc_timeout: Duration,
    /// Use TLS and trust the certificates that the system trusts
    #[arg(long, global = true)]
    grpc_tls: bool,
    /// Use TLS and trust certificates signed by the CA in this PEM file
    #[arg(long, value_name = "FILE", global = true)]
    grpc_ca: Option<PathBuf>,
    /// Present the client certificate in this PEM file
    #[arg(long, value_name = "FILE", requires = "grpc_key", global = true)]
    grpc_certificate: Option<PathBuf>,
    /// Key of the client certificate, in PEM
    #[arg(
        long,
        value_name = "FILE",
        requires = "grpc_certificate",
        global = true
    )]
    grpc_key: Option<PathBuf>,
    /// Authenticate with the bearer token in this file
    #[arg(long, value_name = "FILE", global = true)]
    grpc_token: Option<PathBuf>,
}

impl ConnectArgs {
    /// Makes a client. It connects on first use.
    pub(crate) async fn client(&self) -> anyhow::Result<Client> {
        let host = self.host().await;
        let mut settings = ClientSettings::new(format!("{host}:{}", self.grpc_port));
        settings.timeout = self.grpc_timeout;
        let identity = match (&self.grpc_certificate, &self.grpc_key) {
            (Some(certificate), Some(key)) => Some((certificate.as_path(), key.as_path())),
            _ => None,
        };
        if self.grpc_tls || self.grpc_ca.is_some() || identity.is_some() {
            settings.tls = Some(ClientTls::read(self.grpc_ca.as_deref(), identity)?);
        }
        if let Some(path) = &self.grpc_token {
            let text = std::fs::read_to_string(path).map_err(|error| {
                let why = format!("cannot read the token file {}: {error}", path.display());
                tko_core::Error::bad("--grpc-token", why)
            })?;
            settings.token = Some(text.trim().to_owned());
        }
        Ok(Client::new(settings)?)
    }

    /// Adds the address to an error of a data service that cannot be reached, but not to an error
    /// that is [marked](NotTheService) as another one.
    pub(crate) async fn explain<T>(&self, result: anyhow::Result<T>) -> anyhow::Result<T> {
        let is_away = |error: &anyhow::Error| {
            let cause = error.downcast_ref::<tko_core::Error>();
            let cause = cause.filter(|_| error.downcast_ref::<NotTheService>().is_none());
            cause.is_some_and(|cause| cause.kind() == tko_core::ErrorKind::Unavailable)
        };
        match result {
            Err(error) if is_away(&error) => {
                let address = format!("data service at {}:{}", self.host().await, self.grpc_port);
                Err(error.context(address))
            }
            result => result,
        }
    }

    /// The address at which plugins of this process reach the data service; `None` if its name does
    /// not resolve now.
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
            // The machine or the service may have only one IP version.
            Stack::Dual if !self.listens("[::1]").await && self.listens("127.0.0.1").await => {
                "127.0.0.1"
            }
            Stack::Dual | Stack::Ipv6 => "[::1]",
        }
        .to_owned()
    }

    async fn listens(&self, host: &str) -> bool {
        let connect = TcpStream::connect(format!("{host}:{}", self.grpc_port));
        matches!(
            tokio::time::timeout(LOOKUP_TIMEOUT, connect).await,
            Ok(Ok(_))
        )
    }
}
