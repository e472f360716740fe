//! The Kubernetes API: its flags, and the server made from them.

use super::assembly::Assembly;
use super::listen::AccessFiles;
use anyhow::Context;
use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;
use tko_core::system::TimeOrderedIds;
use tko_grpc::server::{Access, Listen, Sockets, Stack};
use tko_krm::{KrmServer, KubeReviews};

/// Whether and where to serve the Kubernetes API; without an address: on loopback, for everyone
/// there
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Kubernetes API")]
pub(crate) struct KubernetesArgs {
    /// Serve the Kubernetes API, for kubectl and other clients of Kubernetes
    #[arg(long)]
    kubernetes: bool,
    /// IP versions to use: dual, ipv6 or ipv4
    #[arg(long, default_value_t, value_name = "STACK")]
    kubernetes_ip_stack: Stack,
    /// Address or host to listen on, such as ::; requires TLS and authentication, or --insecure
    #[arg(
        long,
        default_value = "",
        value_name = "ADDRESS",
        hide_default_value = true
    )]
    kubernetes_address: String,
    /// Port to listen on; 0 chooses a free port
    #[arg(long, default_value_t = 50052, value_name = "PORT")]
    kubernetes_port: u16,
    /// Server certificate with its chain, in PEM
    #[arg(long, value_name = "FILE", requires = "kubernetes_key")]
    kubernetes_certificate: Option<PathBuf>,
    /// Key of the server certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "kubernetes_certificate")]
    kubernetes_key: Option<PathBuf>,
    /// Require client certificates signed by the CA in this PEM file
    #[arg(long, value_name = "FILE", requires = "kubernetes_certificate")]
    kubernetes_client_ca: Option<PathBuf>,
    /// Admit only the callers in this file: names, hashed tokens or certificates, and roles; make
    /// lines with tko token new
    #[arg(long, value_name = "FILE", conflicts_with = "kubernetes_cluster")]
    kubernetes_tokens: Option<PathBuf>,
    /// Authenticate and authorize by the cluster of --kubernetes-kubeconfig, or of the pod, as an
    /// aggregated API server behind it; requires a certificate
    #[arg(long, requires = "kubernetes_certificate")]
    kubernetes_cluster: bool,
    /// Kubeconfig of the cluster [default: KUBECONFIG, or the service account of the pod]
    #[arg(long, value_name = "FILE", requires = "kubernetes_cluster")]
    kubernetes_kubeconfig: Option<PathBuf>,
}

impl KubernetesArgs {
    fn access(&self, insecure: bool) -> tko_core::Result<Access> {
        AccessFiles {
            certificate: self.kubernetes_certificate.as_deref(),
            key: self.kubernetes_key.as_deref(),
            client_ca: self.kubernetes_client_ca.as_deref(),
            callers: self.kubernetes_tokens.as_deref(),
            client_ca_flag: "--kubernetes-client-ca",
        }
        .access(insecure)
    }

    /// Starts the server, if the flags enable it.
    pub(super) async fn serve(
        &self,
        assembly: &mut Assembly,
        insecure: bool,
    ) -> anyhow::Result<()> {
        if !self.kubernetes {
            return Ok(());
        }
        let sockets = Sockets::bind(&Listen {
            stack: self.kubernetes_ip_stack,
            address: self.kubernetes_address.clone(),
            port: self.kubernetes_port,
        })
        .await?;
        let access = self.access(insecure)?;
        if !self.kubernetes_cluster {
            let checked = access.check(&sockets.addresses());
            checked.context(
                "add --kubernetes-certificate and --kubernetes-key, and --kubernetes-client-ca, \
                 --kubernetes-tokens or --kubernetes-cluster; or allow this with --insecure",
            )?;
        }
        let server = KrmServer::new(
            assembly.guarded_data(),
            assembly.clock(),
            Arc::new(TimeOrderedIds),
        )
        .with_access(access);
        let server = if self.kubernetes_cluster {
            let kubeconfig = self.kubernetes_kubeconfig.as_deref();
            server.with_cluster(Arc::new(KubeReviews::connect(kubeconfig).await?))
        } else {
            server
        };
        assembly.add_server(move |stop| async move {
            let served = server.serve(sockets, stop).await;
            served.context("the Kubernetes API server failed")
        });
        Ok(())
    }
}
