//! Where a gRPC server listens and whom it lets in, as flags.

use clap::Args;
use std::path::PathBuf;
use tko_grpc::server::{Access, Listen, Stack, Tls, Tokens};

/// Where to serve gRPC, and for whom. Without an address: on loopback, for everyone there
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "gRPC")]
pub(crate) struct ListenArgs {
    /// Versions of IP: dual, ipv6 or ipv4
    #[arg(long, default_value_t, value_name = "STACK")]
    grpc_ip_stack: Stack,
    /// Address or host to listen on, such as ::; takes TLS and authentication, or --insecure
    #[arg(
        long,
        default_value = "",
        value_name = "ADDRESS",
        hide_default_value = true
    )]
    grpc_address: String,
    /// Port to listen on; 0 is any that is free
    #[arg(long, default_value_t = 50050, value_name = "PORT")]
    grpc_port: u16,
    /// Certificate of the server, with its chain, in PEM
    #[arg(long, value_name = "FILE", requires = "grpc_key")]
    grpc_certificate: Option<PathBuf>,
    /// Key of the server's certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "grpc_certificate")]
    grpc_key: Option<PathBuf>,
    /// CA that signs the certificates of clients, in PEM; clients then need one
    #[arg(long, value_name = "FILE", requires = "grpc_certificate")]
    grpc_client_ca: Option<PathBuf>,
    /// Bearer tokens, one a line; clients then need one
    #[arg(long, value_name = "FILE")]
    grpc_tokens: Option<PathBuf>,
    /// Listen to the network without TLS or without authentication
    #[arg(long)]
    insecure: bool,
}

impl ListenArgs {
    /// Whether it was said that it may be open to the network.
    pub(crate) fn is_insecure(&self) -> bool {
        self.insecure
    }

    /// Where.
    pub(crate) fn listen(&self) -> Listen {
        Listen {
            stack: self.grpc_ip_stack,
            address: self.grpc_address.clone(),
            port: self.grpc_port,
        }
    }

    /// For whom.
    pub(crate) fn access(&self) -> tko_core::Result<Access> {
        let tls = match (&self.grpc_certificate, &self.grpc_key) {
            (Some(certificate), Some(key)) => {
                Some(Tls::read(certificate, key, self.grpc_client_ca.as_deref())?)
            }
            _ => None,
        };
        Ok(Access {
            tls,
            tokens: self.grpc_tokens.as_deref().map(Tokens::read).transpose()?,
            insecure: self.insecure,
        })
    }
}
