//! Plugins in pods: the executors for them, and the command that runs a program in a pod.

use super::plugins::PluginHost;
use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;
use tko_core::Executor;
use tko_plugin::{CommandExecutor, CommandSettings, WorkerExecutor};

/// Run a program in a pod, with the streams of this process
///
/// Controllers start it for plugins with the property _kubernetes.pod.
#[derive(Debug, Args)]
pub(crate) struct KubernetesExecArgs {
    /// Kubeconfig of the cluster [default: the service account of the pod]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Namespace of the pod
    #[arg(long)]
    namespace: String,
    /// Name of the pod
    #[arg(long)]
    pod: String,
    /// Name of the container
    #[arg(long)]
    container: String,
    /// Program and its arguments
    #[arg(required = true, last = true)]
    command: Vec<String>,
}

impl KubernetesExecArgs {
    /// Runs the program, then ends this process with its exit code.
    #[cfg(feature = "kubernetes")]
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        use tko_kubernetes::PodCommand;
        let mut command = self.command;
        if let Ok(version) = std::env::var(tko_plugin::worker::WORKER_VARIABLE) {
            // The exec API sets no variables.
            let variable = format!("{}={version}", tko_plugin::worker::WORKER_VARIABLE);
            command.splice(0..0, ["env".to_owned(), variable]);
        }
        let client = PodCommand::connect(self.kubeconfig.as_deref()).await?;
        let pod = PodCommand::new(self.namespace, self.pod, self.container, command);
        let (stdin, stdout, stderr) =
            (tokio::io::stdin(), tokio::io::stdout(), tokio::io::stderr());
        let code = pod.run(client, stdin, stdout, stderr).await?;
        // A blocked read of stdin would prevent the runtime from ending.
        std::process::exit(code)
    }

    /// Fails, because this program was built without the feature `kubernetes`.
    #[cfg(not(feature = "kubernetes"))]
    #[allow(clippy::unused_async)] // As with the feature.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        anyhow::bail!("this program was built without the feature kubernetes: {self:?}")
    }
}

/// The executors of programs, on this machine and in pods.
#[cfg(feature = "kubernetes")]
pub(super) fn program_executors(
    settings: &CommandSettings,
    plugins: PluginHost,
) -> Vec<Arc<dyn Executor>> {
    use tko_kubernetes::{PodExecutor, PodProgram};
    // A folder of programs cannot restrict programs in pods.
    if plugins.policy != tko_plugin::PluginPolicy::Any {
        return local_executors(settings);
    }
    let is_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    let kubeconfig = plugins.kubeconfig;
    let mut arguments = vec!["kubernetes-exec".to_owned()];
    if let Some(path) = &kubeconfig {
        arguments.extend(["--kubeconfig".to_owned(), path.display().to_string()]);
    }
    let program = std::env::current_exe().ok();
    let program = program.filter(|_| is_pod || kubeconfig.is_some());
    let program = program.map(|path| PodProgram::new(path, arguments));
    let mut remote = settings.clone();
    remote.log_channel = tko_plugin::LogChannel::Stderr;
    let pairs = local_executors(settings)
        .into_iter()
        .zip(local_executors(&remote));
    pairs
        .map(|(local, remote)| {
            Arc::new(PodExecutor::new(local, remote, program.clone())) as Arc<dyn Executor>
        })
        .collect()
}

/// The executors of programs on this machine.
#[cfg(not(feature = "kubernetes"))]
pub(super) fn program_executors(
    settings: &CommandSettings,
    _plugins: PluginHost,
) -> Vec<Arc<dyn Executor>> {
    local_executors(settings)
}

fn local_executors(settings: &CommandSettings) -> Vec<Arc<dyn Executor>> {
    vec![
        Arc::new(CommandExecutor::new(settings.clone())),
        Arc::new(WorkerExecutor::new(settings.clone())),
    ]
}
