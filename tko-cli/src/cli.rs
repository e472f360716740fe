//! The commands and their arguments, as the user types them.

use crate::audit::{AuditArgs, HistoryArgs};
use crate::connect::ConnectArgs;
use crate::console::Console;
use crate::dashboard::DashboardArgs;
use crate::demo::DemoArgs;
#[cfg(feature = "catalog")]
use crate::entity::catalog::{CatalogCommand, InventoryCommand};
use crate::entity::deployment::DeploymentCommand;
use crate::entity::plugin::PluginCommand;
use crate::entity::site::SiteCommand;
use crate::entity::template::TemplateCommand;
#[cfg(feature = "catalog")]
use crate::export::{ExportArgs, ImportArgs};
use crate::function::FunctionArgs;
use crate::kube::KubeCommand;
use crate::logging::LogArgs;
use crate::output::{self, OutputFormat};
use crate::services::backend_command::BackendCommand;
use crate::services::pods::KubernetesExecArgs;
use crate::services::start::{DataCommand, PreparerCommand, SchedulerCommand, UpArgs};
use crate::token::TokenCommand;
use crate::tosca::ToscaArgs;
use crate::validate::ValidateArgs;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use std::io::Write;

/// Deploy packages of Kubernetes resources to thousands of sites
///
/// Start with `tko demo`. To run a server: `tko up` in one terminal; in another `tko template
/// register`, `tko site register`, `tko deployment create`.
///
/// Every flag can be given as an environment variable: --grpc-port as TKO_GRPC_PORT. Exit codes: 0
/// done, 1 failed, 2 bad argument, 3 not found, 4 conflict or busy, 5 unavailable, 6 not allowed.
#[derive(Debug, Parser)]
#[command(name = "tko", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    log: LogArgs,
    /// Output format of results
    #[arg(
        short = 'o',
        long = "format",
        global = true,
        value_enum,
        default_value = "yaml",
        help_heading = "Global options"
    )]
    format: OutputFormat,
    /// Whether the format is given on the command line, not by a variable of the environment.
    #[arg(skip)]
    is_format_given: bool,
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Run the demo: deploy a 5G core to many sites, in one process, without a network
    Demo(Box<DemoArgs>),
    /// Run data service, preparer and scheduler in one process
    Up(Box<UpArgs>),
    /// Manage templates
    Template(Remote<TemplateCommand>),
    /// Manage sites
    Site(Remote<SiteCommand>),
    /// Manage deployments
    Deployment(Remote<DeploymentCommand>),
    /// Manage plugins: programs that prepare, schedule or validate
    Plugin(Remote<PluginCommand>),
    /// Manage catalogs: templates from folders, git, OCI registries and web servers
    #[cfg(feature = "catalog")]
    Catalog(Remote<CatalogCommand>),
    /// Manage inventories: sites from folders, Ansible, Kubernetes, NetBox and programs
    #[cfg(feature = "catalog")]
    Inventory(Remote<InventoryCommand>),
    /// Write all templates and sites to a folder or a git repository, for reviews and GitOps
    #[cfg(feature = "catalog")]
    Export(ExportArgs),
    /// Register the templates and sites of an export; unchanged ones stay untouched
    #[cfg(feature = "catalog")]
    Import(ImportArgs),
    /// Show the server's name, version and addresses
    About(ConnectArgs),
    /// Show the terminal dashboard, with live states and problems
    Dashboard(DashboardArgs),
    /// Show who changed which entity, when and how: the changes that the server keeps
    Audit(AuditArgs),
    /// Show the changes of one entity, newest first
    History(HistoryArgs),
    /// Make tokens of callers
    #[command(subcommand)]
    Token(TokenCommand),
    /// Check packages without a server
    Validate(ValidateArgs),
    /// Run a KRM function on a ResourceList from standard input
    Fn(FunctionArgs),
    Tosca(ToscaArgs),
    /// Convert between ids and Kubernetes names
    #[command(subcommand)]
    Kube(KubeCommand),
    /// Inspect or repair the storage backend
    #[command(subcommand)]
    Backend(BackendCommand),
    /// Run the data service
    #[command(subcommand)]
    Data(DataCommand),
    /// Run a preparer
    #[command(subcommand)]
    Preparer(PreparerCommand),
    /// Run a scheduler
    #[command(subcommand)]
    Scheduler(SchedulerCommand),
    // The executor of plugins in pods runs this command.
    #[command(hide = true)]
    KubernetesExec(KubernetesExecArgs),
    /// Print a completion script for a shell
    Completion {
        /// Shell to print it for
        shell: Shell,
    },
    /// Print the version
    Version,
}

/// The arguments of a command that talks to a data service.
#[derive(Debug, Args)]
struct Remote<C: Subcommand> {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(subcommand)]
    command: C,
}

impl Cli {
    /// Reads the arguments.
    ///
    /// # Errors
    /// They are not valid.
    pub(crate) fn of_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let source = matches.value_source("format");
        let mut cli = Self::from_arg_matches(matches)?;
        cli.is_format_given = source == Some(ValueSource::CommandLine);
        Ok(cli)
    }

    /// Runs the command and writes its results to standard output.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        self.start_logging()?;
        let mut stdout = std::io::BufWriter::new(std::io::stdout());
        let mut nowhere = std::io::sink();
        let is_demo = matches!(self.command, CliCommand::Demo(_));
        let mut console = Console {
            format: self.format,
            quiet: self.log.quiet,
            out: if self.log.quiet && !is_demo {
                &mut nowhere
            } else {
                &mut stdout
            },
        };
        match self.command {
            CliCommand::Demo(demo) => Box::pin(demo.run(console.quiet, console.out)).await?,
            CliCommand::Up(up) => Box::pin(up.run()).await?,
            CliCommand::Template(Remote { connect, command }) => {
                let data = connect.client().await?;
                connect
                    .explain(command.run(&data, &mut console).await)
                    .await?;
            }
            CliCommand::Site(Remote { connect, command }) => {
                let data = connect.client().await?;
                connect
                    .explain(command.run(&data, &mut console).await)
                    .await?;
            }
            CliCommand::Deployment(Remote { connect, command }) => {
                let data = connect.client().await?;
                connect
                    .explain(command.run(&data, &mut console).await)
                    .await?;
            }
            CliCommand::Plugin(Remote { connect, command }) => {
                let data = connect.client().await?;
                connect
                    .explain(command.run(&data, &mut console).await)
                    .await?;
            }
            #[cfg(feature = "catalog")]
            CliCommand::Catalog(Remote {
                connect,
                command: CatalogCommand::Start(start),
            }) => Box::pin(start.run(&connect)).await?,
            #[cfg(feature = "catalog")]
            CliCommand::Catalog(Remote { connect, command }) => {
                let data = connect.client().await?;
                connect
                    .explain(command.run(&data, &mut console).await)
                    .await?;
            }
            #[cfg(feature = "catalog")]
            CliCommand::Inventory(Remote { connect, command }) => {
                let data = connect.client().await?;
                connect
                    .explain(command.run(&data, &mut console).await)
                    .await?;
            }
            #[cfg(feature = "catalog")]
            CliCommand::Export(export) => export.run(&console).await?,
            #[cfg(feature = "catalog")]
            CliCommand::Import(import) => import.run(&mut console).await?,
            CliCommand::About(connect) => about(&connect, &mut console).await?,
            CliCommand::Dashboard(dashboard) => dashboard.run().await?,
            CliCommand::Audit(audit) => audit.run(&mut console).await?,
            CliCommand::History(history) => history.run(&mut console).await?,
            CliCommand::Token(token) => token.run(&console)?,
            CliCommand::Validate(validate) => validate.run(&mut console).await?,
            CliCommand::Fn(function) => {
                // Orchestrators call functions with the environment of their user, and read YAML.
                if !self.is_format_given {
                    console.format = OutputFormat::Yaml;
                }
                function.run(&mut console).await?;
            }
            CliCommand::Tosca(tosca) => tosca.run(console.out, &mut std::io::stderr()).await?,
            CliCommand::Kube(kube) => kube.run(console.out)?,
            CliCommand::Backend(command) => Box::pin(command.run(&mut console)).await?,
            CliCommand::Data(DataCommand::Start(start)) => Box::pin(start.run()).await?,
            CliCommand::Preparer(PreparerCommand::Start(start)) => start.run().await?,
            CliCommand::Scheduler(SchedulerCommand::Start(start)) => start.run().await?,
            CliCommand::KubernetesExec(exec) => exec.run().await?,
            CliCommand::Completion { shell } => {
                // The generator panics if writing fails, for example into a closed pipe.
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Cli::command(), "tko", &mut script);
                console.out.write_all(&script)?;
            }
            CliCommand::Version => writeln!(console.out, "{}", env!("CARGO_PKG_VERSION"))?,
        }
        stdout.flush()?;
        Ok(())
    }

    /// Starts logging. Servers log at level info by default, everything else at level warn.
    fn start_logging(&self) -> anyhow::Result<()> {
        let (level, journald) = match &self.command {
            CliCommand::Up(up) => ("info", up.journal.journald),
            CliCommand::Data(DataCommand::Start(start)) => ("info", start.journal.journald),
            CliCommand::Preparer(PreparerCommand::Start(start)) => ("info", start.journal.journald),
            CliCommand::Scheduler(SchedulerCommand::Start(start)) => {
                ("info", start.journal.journald)
            }
            #[cfg(feature = "catalog")]
            CliCommand::Catalog(Remote {
                command: CatalogCommand::Start(start),
                ..
            }) => ("info", start.journal.journald),
            // The log lines of the plugin are a part of the result.
            CliCommand::Plugin(Remote {
                command: PluginCommand::Test(_),
                ..
            }) => ("info", false),
            // Log lines would disturb the screen; the dashboard itself shows failures.
            CliCommand::Dashboard(_) => ("off", false),
            _ => ("warn", false),
        };
        self.log.start(level, journald)
    }
}

async fn about(connect: &ConnectArgs, console: &mut Console<'_>) -> anyhow::Result<()> {
    let client = connect.client().await?;
    let about = connect
        .explain(client.server().await.map_err(Into::into))
        .await?;
    let shown = serde_json::json!({
        "instanceName": about.name,
        "instanceDescription": about.description,
        "tkoVersion": about.version,
        "backend": about.backend,
        "grpc": {
            "addressPorts": about.addresses,
            "defaultPackageFormat": "cbor",
        },
        "insecure": about.insecure,
        "open": about.open,
    });
    output::value(console.format, &shown, console.out)
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::{Arg, Command, CommandFactory};
    use std::fmt::Write;

    #[test]
    fn the_commands_are_consistent() {
        crate::environment::with_variables(Cli::command()).debug_assert();
    }

    /// Returns the flag of a command with this long name. `path` has the subcommands.
    fn flag<'a>(root: &'a Command, path: &str, long: &str) -> &'a Arg {
        let mut command = root;
        for name in path.split_whitespace() {
            command = command.find_subcommand(name).expect("a subcommand");
        }
        let mut flags = command.get_arguments();
        let flag = flags.find(|flag| flag.get_long() == Some(long));
        flag.expect("a flag")
    }

    // The default port of the web is tested in `services/web.rs`. Its flag has no default value, so
    // that a port that is given and in use is an error.
    #[test]
    fn default_ports_are_those_of_the_original() {
        let root = Cli::command();
        for (path, long, port) in [
            ("about", "grpc-port", "50050"),
            ("data start", "grpc-port", "50050"),
            ("data start", "kubernetes-port", "50052"),
            ("up", "grpc-port", "50050"),
            ("up", "kubernetes-port", "50052"),
        ] {
            let defaults = flag(&root, path, long).get_default_values();
            assert_eq!(defaults, [port], "{path} --{long}");
        }
    }

    #[test]
    fn short_flags_that_scripts_know_exist() {
        let root = Cli::command();
        for (path, long, short) in [
            ("", "log", 'l'),
            ("", "quiet", 'q'),
            ("", "verbose", 'v'),
            ("", "format", 'o'),
            ("data start", "journald", 'j'),
            ("preparer start", "journald", 'j'),
            ("scheduler start", "journald", 'j'),
            ("data start", "backend", 'b'),
        ] {
            let flag = flag(&root, path, long);
            assert_eq!(flag.get_short(), Some(short), "{path} --{long}");
            assert_eq!(flag.is_global_set(), path.is_empty(), "{path} --{long}");
        }
    }

    /// Writes the help texts of a command, its arguments and its subcommands, a line each.
    fn write_help(command: &Command, path: &str, text: &mut String) {
        let path = format!("{path}{}", command.get_name());
        let about = command.get_about().expect("every command has a help text");
        writeln!(text, "{path}: {about}").expect("into memory");
        for argument in command.get_arguments() {
            let name = match argument.get_long() {
                Some(long) => format!("--{long}"),
                None => format!("<{}>", argument.get_id()),
            };
            let help = argument.get_help().expect("every flag has a help text");
            writeln!(text, "  {name}: {help}").expect("into memory");
            for value in argument.get_possible_values() {
                if let Some(help) = value.get_help() {
                    writeln!(text, "    {}: {help}", value.get_name()).expect("into memory");
                }
            }
        }
        for subcommand in command.get_subcommands() {
            write_help(subcommand, &format!("{path} "), text);
        }
    }

    #[test]
    fn every_command_and_flag_has_a_help_text() {
        let mut text = String::new();
        write_help(&Cli::command(), "", &mut text);
        insta::assert_snapshot!(text);
    }
}
