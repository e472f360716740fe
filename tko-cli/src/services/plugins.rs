//! The flags that determine which plugins may run, and with which environment.

use clap::Args;
use std::path::PathBuf;
use tko_plugin::{PluginMetrics, PluginPolicy};

/// Which plugins may run in this process
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Plugins")]
pub(crate) struct PluginArgs {
    /// Programs that plugins may run: any, off, or those in a folder; repeat for more folders
    #[arg(
        long = "plugins",
        value_name = "any|off|DIR",
        default_value = "any",
        value_delimiter = ','
    )]
    plugins: Vec<String>,
    /// Pass this environment variable to plugins (a final * matches any ending), in addition to
    /// PATH, HOME and similar; may be repeated
    #[arg(long = "plugin-env", value_name = "NAME", value_delimiter = ',')]
    environment: Vec<String>,
    /// Kubeconfig of the cluster for plugins that run in pods [default: the service account of the
    /// pod]
    #[arg(long = "plugin-kubeconfig", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

/// The parts that the executors of a process share: measurements, policy and environment.
#[derive(Clone, Debug, Default)]
pub(crate) struct PluginHost {
    pub(crate) metrics: PluginMetrics,
    pub(crate) policy: PluginPolicy,
    pub(crate) environment: Vec<String>,
    /// The kubeconfig of the cluster for plugins that run in pods.
    #[cfg_attr(not(feature = "kubernetes"), allow(dead_code))]
    pub(crate) kubeconfig: Option<PathBuf>,
}

impl PluginArgs {
    /// The policy and environment that the flags choose.
    ///
    /// # Errors
    /// `BadArgument`: `any` or `off` is given together with something else.
    pub(crate) fn host(&self) -> tko_core::Result<PluginHost> {
        let policy = match self.plugins.as_slice() {
            [] => PluginPolicy::Any,
            [any] if any == "any" => PluginPolicy::Any,
            [off] if off == "off" => PluginPolicy::Off,
            folders if folders.iter().any(|f| f == "any" || f == "off") => {
                return Err(tko_core::Error::bad(
                    "--plugins",
                    "any and off exclude everything else; name folders, or one of them",
                ));
            }
            folders => PluginPolicy::Within(folders.iter().map(PathBuf::from).collect()),
        };
        Ok(PluginHost {
            policy,
            environment: self.environment.clone(),
            kubeconfig: self.kubeconfig.clone(),
            ..PluginHost::default()
        })
    }
}

impl PluginHost {
    /// Warns if any plugin may run as root. Services call this after they have started.
    pub(crate) fn warn_of_root(&self) {
        if self.policy == PluginPolicy::Any && rustix::process::geteuid().is_root() {
            tracing::warn!(
                "plugins run as root, and callers who may register plugins choose their programs; \
                 run TKO as another user, or limit the programs with --plugins"
            );
        }
    }
}
