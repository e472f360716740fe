//! The commands, as typed.

use crate::connect::ConnectArgs;
use crate::console::Console;
use crate::demo::DemoArgs;
use crate::entity::deployment::DeploymentCommand;
use crate::entity::plugin::PluginCommand;
use crate::entity::site::SiteCommand;
use crate::entity::template::TemplateCommand;
use crate::kube::KubeCommand;
use crate::logging::LogArgs;
use crate::output::{self, OutputFormat};
use crate::services::backend::BackendCommand;
use crate::services::start::{DataCommand, PreparerCommand, SchedulerCommand, UpArgs};
use crate::validate::ValidateArgs;
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use std::io::Write;

/// Orchestrates packages of Kubernetes-style resources onto very many sites
///
/// Start with `tko demo`. For real: `tko up` in one terminal; in another `tko template register`,
/// `tko site register`, `tko deployment create`.
///
/// Every flag can be given as an environment variable: --grpc-port as TKO_GRPC_PORT. Exit codes:
/// 0 done, 1 failed, 2 bad argument, 3 not found, 4 conflict or busy, 5 unavailable, 6 not allowed.
#[derive(Debug, Parser)]
#[command(name = "tko", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    log: LogArgs,
    /// How results are printed
    #[arg(
        short = 'o',
        long = "format",
        global = true,
        value_enum,
        default_value = "yaml",
        help_heading = "Everywhere"
    )]
    format: OutputFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// See it work: a 5G core onto many sites, in one process, without a network
    Demo(Box<DemoArgs>),
    /// Run everything in one process: data, preparer, scheduler
    Up(Box<UpArgs>),
    /// Templates: packages to make others of
    Template(Remote<TemplateCommand>),
    /// Sites: places where deployments run
    Site(Remote<SiteCommand>),
    /// Deployments: packages on their way to a site
    Deployment(Remote<DeploymentCommand>),
    /// Plugins: programs that prepare, schedule or validate
    Plugin(Remote<PluginCommand>),
    /// Say who serves the data
    About(ConnectArgs),
    /// Check packages, without a server
    Validate(ValidateArgs),
    /// Ids as Kubernetes names, and back
    #[command(subcommand)]
    Kube(KubeCommand),
    /// What keeps the data
    #[command(subcommand)]
    Backend(BackendCommand),
    /// The data service
    #[command(subcommand)]
    Data(DataCommand),
    /// The preparer
    #[command(subcommand)]
    Preparer(PreparerCommand),
    /// The scheduler
    #[command(subcommand)]
    Scheduler(SchedulerCommand),
    /// Print completions for a shell
    Completion {
        /// Which
        shell: Shell,
    },
    /// Print the version
    Version,
}

/// A command that talks to a data service.
#[derive(Debug, Args)]
struct Remote<C: Subcommand> {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(subcommand)]
    command: C,
}

impl Cli {
    /// Does what was asked for; results go to standard output.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        self.start_logging()?;
        let mut stdout = std::io::BufWriter::new(std::io::stdout());
        let mut console = Console {
            format: self.format,
            quiet: self.log.quiet,
            out: &mut stdout,
        };
        match self.command {
            Command::Demo(demo) => demo.run(console.quiet, console.out).await?,
            Command::Up(up) => up.run().await?,
            Command::Template(Remote { connect, command }) => {
                let data = connect.client().await?;
                command.run(&data, &mut console).await?;
            }
            Command::Site(Remote { connect, command }) => {
                let data = connect.client().await?;
                command.run(&data, &mut console).await?;
            }
            Command::Deployment(Remote { connect, command }) => {
                let data = connect.client().await?;
                command.run(&data, &mut console).await?;
            }
            Command::Plugin(Remote { connect, command }) => {
                let data = connect.client().await?;
                command.run(&data, &mut console).await?;
            }
            Command::About(connect) => about(&connect, &mut console).await?,
            Command::Validate(validate) => validate.run(&console).await?,
            Command::Kube(kube) => kube.run(console.out)?,
            Command::Backend(command) => command.run(&mut console).await?,
            Command::Data(DataCommand::Start(start)) => start.run().await?,
            Command::Preparer(PreparerCommand::Start(start)) => start.run().await?,
            Command::Scheduler(SchedulerCommand::Start(start)) => start.run().await?,
            Command::Completion { shell } => {
                clap_complete::generate(shell, &mut Cli::command(), "tko", console.out);
            }
            Command::Version => writeln!(console.out, "{}", env!("CARGO_PKG_VERSION"))?,
        }
        stdout.flush()?;
        Ok(())
    }

    /// Servers say what they do; commands and the demo only what is wrong.
    fn start_logging(&self) -> anyhow::Result<()> {
        let (level, journald) = match &self.command {
            Command::Up(up) => ("info", up.journal.journald),
            Command::Data(DataCommand::Start(start)) => ("info", start.journal.journald),
            Command::Preparer(PreparerCommand::Start(start)) => ("info", start.journal.journald),
            Command::Scheduler(SchedulerCommand::Start(start)) => ("info", start.journal.journald),
            _ => ("warn", false),
        };
        self.log.start(level, journald)
    }
}

async fn about(connect: &ConnectArgs, console: &mut Console<'_>) -> anyhow::Result<()> {
    let about = connect.client().await?.server().await?;
    let shown = serde_json::json!({
        "instanceName": about.name,
        "instanceDescription": about.description,
        "tkoVersion": about.version,
        "backend": about.backend,
        "addressPorts": about.addresses,
        "insecure": about.insecure,
    });
    output::value(console.format, &shown, console.out)
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;

    #[test]
    fn the_commands_are_consistent() {
        crate::environment::with_variables(Cli::command()).debug_assert();
    }
}
