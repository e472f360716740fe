//! The interfaces of a process: their sockets and settings. All are bound before the store is
//! opened, because plugins get an address, and because servers report whether any interface is open.

use super::data::DataArgs;
use super::kubernetes::{KubernetesArgs, KubernetesInterface};
use super::listen::ListenArgs;
use super::metrics::{Exporter, MetricsArgs};
use super::probes::{ProbeArgs, ProbeServer};
use super::web::{WebArgs, WebInterface};
use anyhow::Context;
use tko_grpc::server::{Access, ServerSettings, Sockets};

/// The flags of the interfaces that a process serves.
#[derive(Clone, Copy)]
pub(crate) struct InterfaceArgs<'a> {
    pub(crate) listen: &'a ListenArgs,
    pub(crate) web: &'a WebArgs,
    /// `None`: the process does not have the Kubernetes API.
    pub(crate) kubernetes: Option<&'a KubernetesArgs>,
    pub(crate) metrics: &'a MetricsArgs,
    pub(crate) probes: &'a ProbeArgs,
}

/// The bound interfaces of a process. The default has none.
#[derive(Default)]
pub(super) struct Interfaces {
    pub(super) grpc: Option<GrpcInterface>,
    pub(super) web: Option<WebInterface>,
    pub(super) kubernetes: Option<KubernetesInterface>,
    pub(super) exporter: Option<Exporter>,
    pub(super) probes: Option<ProbeServer>,
}

impl Interfaces {
    /// Binds the sockets that the flags name.
    pub(super) async fn open(args: InterfaceArgs<'_>, data: &DataArgs) -> anyhow::Result<Self> {
        let insecure = args.listen.is_insecure();
        let exporter = args.metrics.open(insecure).await?;
        let probes = args.probes.open().await?;
        let mut grpc = GrpcInterface::open(args.listen, data).await?;
        let mut web = args.web.open(data, insecure).await?;
        let kubernetes = match args.kubernetes {
            Some(kubernetes) => kubernetes.open(insecure).await?,
            None => None,
        };
        // Probes do not count: they reveal nothing, so they need no permission.
        let is_any_open = grpc.access.is_open(&grpc.sockets.addresses())
            || web.as_ref().is_some_and(WebInterface::is_open)
            || kubernetes
                .as_ref()
                .is_some_and(KubernetesInterface::is_open)
            || exporter.as_ref().is_some_and(Exporter::is_open);
        grpc.settings.reports_insecure = is_any_open;
        if let Some(web) = &mut web {
            web.report_insecure(is_any_open);
        }
        Ok(Self {
            grpc: Some(grpc),
            web,
            kubernetes,
            exporter,
            probes,
        })
    }
}

/// Bound sockets for gRPC, with what is served there.
pub(super) struct GrpcInterface {
    pub(super) sockets: Sockets,
    pub(super) access: Access,
    pub(super) settings: ServerSettings,
}

impl GrpcInterface {
    async fn open(listen: &ListenArgs, data: &DataArgs) -> anyhow::Result<Self> {
        let sockets = Sockets::bind(&listen.listen()).await?;
        let access = listen.access()?;
        let checked = access.check(&sockets.addresses());
        checked.context(
            "add --grpc-certificate and --grpc-key, and --grpc-client-ca or --grpc-tokens; \
             or allow this with --insecure",
        )?;
        let mut settings = ServerSettings::default();
        settings.name.clone_from(&data.name);
        settings.description.clone_from(&data.description);
        Ok(Self {
            sockets,
            access,
            settings,
        })
    }
}
