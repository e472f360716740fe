//! The flags that say where a gRPC server listens, and who may connect.

use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;
use tko_core::Error;
use tko_grpc::server::{Access, CallerFile, Listen, ServerTls, Stack};

/// Where to serve gRPC, and for whom; without an address: on loopback, for everyone there
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "gRPC")]
pub(crate) struct ListenArgs {
    /// IP versions to use: dual, ipv6 or ipv4
    #[arg(long, default_value_t, value_name = "STACK")]
    grpc_ip_stack: Stack,
    /// Address or host to listen on, such as ::; requires TLS and authentication, or --insecure
    #[arg(
        long,
        default_value = "",
        value_name = "ADDRESS",
        hide_default_value = true
    )]
    grpc_address: String,
    /// Port to listen on; 0 chooses a free port
    #[arg(long, default_value_t = 50050, value_name = "PORT")]
    grpc_port: u16,
    /// Server certificate with its chain, in PEM
    #[arg(long, value_name = "FILE", requires = "grpc_key")]
    grpc_certificate: Option<PathBuf>,
    /// Key of the server certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "grpc_certificate")]
    grpc_key: Option<PathBuf>,
    /// Require client certificates signed by the CA in this PEM file
    #[arg(long, value_name = "FILE", requires = "grpc_certificate")]
    grpc_client_ca: Option<PathBuf>,
    /// Admit only the callers in this file: names, hashed tokens or certificates, and roles; make
    /// lines with tko token new
    #[arg(long, visible_alias = "grpc-callers", value_name = "FILE")]
    grpc_tokens: Option<PathBuf>,
    /// Allow listening on the network without TLS or authentication
    #[arg(long)]
    insecure: bool,
}

impl ListenArgs {
    /// Whether `--insecure` is given.
    pub(crate) fn is_insecure(&self) -> bool {
        self.insecure
    }

    /// The address to listen on.
    pub(crate) fn listen(&self) -> Listen {
        Listen {
            stack: self.grpc_ip_stack,
            address: self.grpc_address.clone(),
            port: self.grpc_port,
        }
    }

    /// Who may connect.
    pub(crate) fn access(&self) -> tko_core::Result<Access> {
        let mut access = Access::new().insecure(self.insecure);
        let callers = match &self.grpc_tokens {
            Some(file) => Some(CallerFile::open(file)?),
            None => None,
        };
        let certificates = callers.as_ref().is_some_and(CallerFile::has_certificates);
        if certificates && self.grpc_client_ca.is_none() {
            return Err(Error::bad(
                "callers",
                "the file names callers by their certificate; add --grpc-client-ca, which verifies \
                 it",
            ));
        }
        if let (Some(certificate), Some(key)) = (&self.grpc_certificate, &self.grpc_key) {
            let client_ca = self.grpc_client_ca.as_deref();
            let mut tls = ServerTls::read(certificate, key, client_ca)?;
            // A caller with a token needs no certificate if others have only that.
            if certificates && callers.as_ref().is_some_and(CallerFile::has_tokens) {
                tls = tls.with_optional_client_certificate();
            }
            access = access.tls(tls);
        }
        if let Some(callers) = callers {
            access = access.authentication(Arc::new(callers));
        }
        Ok(access)
    }
}
