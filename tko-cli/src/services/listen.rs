//! The flags of a gRPC listener: its address, TLS and authentication.

use clap::Args;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tko_core::Error;
use tko_grpc::server::{Access, CallerFile, Listen, ServerTls, Stack};

/// Flags of the gRPC listener. Without an address, it listens on loopback and admits everyone
/// there
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

    /// The callers that may connect, and the certificate of the server.
    pub(crate) fn access(&self) -> tko_core::Result<Access> {
        AccessFiles {
            certificate: self.grpc_certificate.as_deref(),
            key: self.grpc_key.as_deref(),
            client_ca: self.grpc_client_ca.as_deref(),
            callers: self.grpc_tokens.as_deref(),
            client_ca_flag: "--grpc-client-ca",
        }
        .access(self.insecure)
    }
}

/// The files that determine who may connect to a server.
pub(super) struct AccessFiles<'a> {
    pub(super) certificate: Option<&'a Path>,
    pub(super) key: Option<&'a Path>,
    pub(super) client_ca: Option<&'a Path>,
    pub(super) callers: Option<&'a Path>,
    /// The flag of `client_ca`, for errors.
    pub(super) client_ca_flag: &'static str,
}

impl AccessFiles<'_> {
    /// Reads the files.
    pub(super) fn access(&self, insecure: bool) -> tko_core::Result<Access> {
        let mut access = Access::new().insecure(insecure);
        let callers = self.callers.map(CallerFile::open).transpose()?;
        let certificates = callers.as_ref().is_some_and(CallerFile::has_certificates);
        if certificates && self.client_ca.is_none() {
            return Err(Error::bad(
                "callers",
                format!(
                    "the file names callers by their certificate; add {}, which verifies it",
                    self.client_ca_flag
                ),
            ));
        }
        if let (Some(certificate), Some(key)) = (self.certificate, self.key) {
            let mut tls = ServerTls::read(certificate, key, self.client_ca)?;
            // If some callers have only certificates, a client without a certificate must still be
            // able to use a token.
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
