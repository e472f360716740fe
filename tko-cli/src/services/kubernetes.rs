//! The Kubernetes API: its flags, and the server made from them.

use super::listen::AccessFiles;
use anyhow::Context;
use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;
use tko_core::DataApi;
use tko_core::system::{SystemClock, TimeOrderedIds};
use tko_grpc::server::{Access, Listen, Sockets, Stack};
use tko_krm::{KrmServer, KubeReviews};

/// Flags of the listener for the Kubernetes API. Without an address, it listens on loopback and
/// admits everyone there
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

    /// Binds the sockets, and connects to the cluster if the flags require one; `None` without
    /// `--kubernetes`.
    pub(super) async fn open(&self, insecure: bool) -> anyhow::Result<Option<KubernetesInterface>> {
        if !self.kubernetes {
            return Ok(None);
        }
        let sockets = Sockets::bind(&Listen {
            stack: self.kubernetes_ip_stack,
            address: self.kubernetes_address.clone(),
            port: self.kubernetes_port,
        })
        .await?;
        let access = self.access(insecure)?;
        let cluster = if self.kubernetes_cluster {
            let kubeconfig = self.kubernetes_kubeconfig.as_deref();
            Some(KubeReviews::connect(kubeconfig).await?)
        } else {
            let checked = access.check(&sockets.addresses());
            checked.context(
                "add --kubernetes-certificate and --kubernetes-key, and --kubernetes-client-ca, \
                 --kubernetes-tokens or --kubernetes-cluster; or allow this with --insecure",
            )?;
            None
        };
        Ok(Some(KubernetesInterface {
            sockets,
            access,
            cluster,
        }))
    }
}

/// Bound sockets for the Kubernetes API, with the access to it.
pub(super) struct KubernetesInterface {
    sockets: Sockets,
    access: Access,
    cluster: Option<KubeReviews>,
}

impl KubernetesInterface {
    /// Whether it is open to the network without TLS or without authentication. A cluster
    /// authenticates every request, and requires TLS.
    pub(super) fn is_open(&self) -> bool {
        self.cluster.is_none() && self.access.is_open(&self.sockets.addresses())
    }

    /// The server, and the sockets on which to serve.
    pub(super) fn server(
        self,
        api: Arc<dyn DataApi>,
        clock: Arc<SystemClock>,
    ) -> (KrmServer, Sockets) {
        let server = KrmServer::new(api, clock, Arc::new(TimeOrderedIds)).with_access(self.access);
        let server = match self.cluster {
            Some(cluster) => server.with_cluster(Arc::new(cluster)),
            None => server,
        };
        (server, self.sockets)
    }
}
