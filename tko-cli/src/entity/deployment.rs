//! `tko deployment`.

use super::{MODIFICATION, MetadataArgs, delete, get, list, purge, report, show};
use crate::console::Console;
use crate::filter::{DeploymentFilter, WindowArgs};
use crate::output;
use crate::source::SourceArgs;
use anyhow::Context;
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};
use tko_core::{
    DataApi, DeploymentId, Format, NewDeployment, Pattern, Select, SiteId, TemplateId, Token, Want,
};

/// The file that `mod start -u DIR` writes.
const MODIFIED: &str = "deployment.yaml";

/// Deployments: packages on their way to a site
#[derive(Debug, Subcommand)]
pub(crate) enum DeploymentCommand {
    /// List deployments
    List {
        #[command(flatten)]
        filter: DeploymentFilter,
        #[command(flatten)]
        window: WindowArgs,
    },
    /// Print a deployment's package
    Get {
        /// As create printed it
        id: DeploymentId,
    },
    /// Show all but the package: conditions, attempts, the next try
    Show {
        /// As create printed it
        id: DeploymentId,
    },
    /// Create a deployment and print its id
    #[command(visible_alias = "register")]
    Create {
        /// The template that it is made from
        template: Option<TemplateId>,
        /// The site where it is to run
        #[arg(short, long, value_name = "ID")]
        site: Option<SiteId>,
        /// The deployment that it comes out of
        #[arg(long, value_name = "ID")]
        parent: Option<DeploymentId>,
        /// It is prepared already
        #[arg(long)]
        prepared: bool,
        /// It is prepared and approved already
        #[arg(long, requires = "prepared")]
        approved: bool,
        #[command(flatten)]
        metadata: MetadataArgs,
        #[command(flatten)]
        source: SourceArgs,
    },
    /// Delete a deployment; what came out of it stays
    Delete {
        /// As create printed it
        id: DeploymentId,
    },
    /// Delete all deployments that match; without a filter, all
    Purge {
        #[command(flatten)]
        filter: DeploymentFilter,
    },
    /// Approve one, or all that are prepared, unapproved and match
    Approve {
        /// As create printed it
        id: Option<DeploymentId>,
        #[command(flatten)]
        filter: DeploymentFilter,
    },
    /// Modify a deployment's package, while others are kept out
    #[command(subcommand)]
    Mod(ModCommand),
}

/// Modify a deployment's package, while others are kept out
#[derive(Debug, Subcommand)]
pub(crate) enum ModCommand {
    /// Claim the package; print a token, and then the package
    Start {
        /// As create printed it
        id: DeploymentId,
        /// Write the package to deployment.yaml in this folder instead
        #[arg(short, long, value_name = "DIR")]
        url: Option<PathBuf>,
        /// For how long
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "10s")]
        time: std::time::Duration,
    },
    /// Commit the modified package
    End(EndArgs),
    /// Give it up
    Cancel {
        /// As start printed it
        token: String,
    },
}

/// The modified package.
#[derive(Debug, Args)]
pub(crate) struct EndArgs {
    /// As start printed it
    token: String,
    /// Read the package from here
    #[arg(short, long, value_name = "URL", required_unless_present = "stdin")]
    url: Option<String>,
    /// Read the package from standard input
    #[arg(short, long, conflicts_with = "url")]
    stdin: bool,
}

impl DeploymentCommand {
    pub(crate) async fn run(
        self,
        data: &dyn DataApi,
        console: &mut Console<'_>,
    ) -> anyhow::Result<()> {
        match self {
            Self::List { filter, window } => list(data, filter.select()?, &window, console).await,
            Self::Get { id } => get(data, &id.into(), console).await,
            Self::Show { id } => show(data, &id.into(), console).await,
            Self::Create {
                template,
                site,
                parent,
                prepared,
                approved,
                metadata,
                source,
            } => {
                let new = NewDeployment {
                    parent,
                    template,
                    site,
                    prepared,
                    approved,
                    metadata: metadata.metadata(),
                    merge: source.package(console).await?,
                    ..NewDeployment::default()
                };
                let creating = data.create_deployment(new);
                let id = console.during("creating the deployment", creating).await?;
                writeln!(console.out, "{id}")?;
                Ok(())
            }
            Self::Delete { id } => delete(data, &id.into(), console).await,
            Self::Purge { filter } => purge(data, &filter.select()?, console).await,
            Self::Approve { id, filter } => {
                let select = filter.select()?;
                if let Some(id) = id {
                    return approve_one(data, id, select, console).await;
                }
                let approving = data.approve(&select);
                let bulk = console.during("approving deployments", approving).await?;
                report(&bulk, "approved", select.kind, console)
            }
            Self::Mod(command) => command.run(data, console).await,
        }
    }
}

async fn approve_one(
    data: &dyn DataApi,
    id: DeploymentId,
    select: Select,
    console: &Console<'_>,
) -> anyhow::Result<()> {
    let key = id.into();
    let record = data.get(&key, Want::ROW).await?;
    let prepared = record.entity.deployment().is_some_and(|d| d.prepared);
    if !prepared {
        let why =
            format!("{key} is not prepared, so it cannot be approved; see tko deployment show");
        return Err(tko_core::Error::bad("id", why).into());
    }
    let select = Select {
        ids: vec![Pattern::literal(key.id())],
        ..select
    };
    let bulk = data.approve(&select).await?;
    report(&bulk, "approved", select.kind, console)
}

impl ModCommand {
    async fn run(self, data: &dyn DataApi, console: &mut Console<'_>) -> anyhow::Result<()> {
        match self {
            Self::Start { id, url, time } => {
                let time = if time.is_zero() { MODIFICATION } else { time };
                let edit = data.start_modification(&id, time).await?;
                let package = edit.record.package.unwrap_or_default();
                writeln!(console.out, "{}", edit.token.encode())?;
                match url {
                    Some(dir) => write_package(&dir, &package.encode(Format::Yaml)),
                    None => output::package(console.format, &package, console.out),
                }
            }
            Self::End(end) => {
                let token = Token::decode(&end.token)?;
                let source = SourceArgs {
                    url: end.url,
                    stdin: end.stdin,
                };
                let package = source.package(console).await?;
                data.end_modification(&token, package).await?;
                console.done(&format!("modified {}", token.key));
                Ok(())
            }
            Self::Cancel { token } => {
                let token = Token::decode(&token)?;
                data.cancel_modification(&token).await?;
                console.done(&format!("gave up modifying {}", token.key));
                Ok(())
            }
        }
    }
}

fn write_package(dir: &Path, yaml: &[u8]) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let path = dir.join(MODIFIED);
    std::fs::write(&path, yaml).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}
