//! `tko deployment`: manages deployments.

use super::diff::DiffArgs;
use super::removal::{self, PurgeArgs, RemovalArgs};
use super::wait::{WaitArgs, wait};
use super::{MODIFICATION, MetadataArgs, get, list, report, retry, show};
use crate::console::Console;
use crate::filter::{DeploymentFilter, DeploymentListArgs, require_choice};
use crate::output;
use crate::source::SourceArgs;
use anyhow::Context;
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};
use tko_core::api::approve_one;
use tko_core::{
    DataApi, DeploymentId, Format, List, NewDeployment, Pattern, Select, SiteId, TemplateId, Token,
    Want,
};

/// The file that `mod start --url DIR` writes.
const MODIFIED: &str = "deployment.yaml";

/// Manage deployments
#[derive(Debug, Subcommand)]
pub(crate) enum DeploymentCommand {
    /// List deployments in the order of their ids
    List {
        #[command(flatten)]
        filter: DeploymentFilter,
        #[command(flatten)]
        listed: DeploymentListArgs,
    },
    /// Print a deployment's package
    Get {
        /// Id, as printed by create
        id: DeploymentId,
    },
    /// Show everything but the package: conditions, attempts, the next attempt
    Show {
        /// Id, as printed by create
        id: DeploymentId,
    },
    Diff(DiffArgs),
    /// Create a deployment and print its id
    #[command(visible_alias = "register")]
    Create {
        /// Template to create the deployment from
        template: Option<TemplateId>,
        /// Site that runs the deployment
        #[arg(short, long, value_name = "ID")]
        site: Option<SiteId>,
        /// Parent deployment
        #[arg(long, value_name = "ID")]
        parent: Option<DeploymentId>,
        /// Create it as prepared: nothing is left to prepare
        #[arg(long)]
        prepared: bool,
        /// Also create it as approved
        #[arg(long, requires = "prepared")]
        approved: bool,
        #[command(flatten)]
        metadata: MetadataArgs,
        #[command(flatten)]
        source: SourceArgs,
    },
    /// Delete a deployment; its children stay, unless --cascade is given
    Delete {
        /// Id, as printed by create
        id: DeploymentId,
        /// Also delete its children, their children, and so on
        #[arg(long)]
        cascade: bool,
        #[command(flatten)]
        removal: RemovalArgs,
    },
    /// Delete every deployment that matches the filters
    Purge {
        #[command(flatten)]
        filter: DeploymentFilter,
        #[command(flatten)]
        purge: PurgeArgs,
    },
    /// Approve a deployment, or every prepared and unapproved one that matches the filters
    Approve {
        /// Id, as printed by create
        id: Option<DeploymentId>,
        #[command(flatten)]
        filter: DeploymentFilter,
        /// Approve every one; required without an id or a filter
        #[arg(long)]
        all: bool,
    },
    /// Retry the failed work of a deployment and of its site now
    Retry {
        /// Id, as printed by create
        id: DeploymentId,
    },
    /// Wait until a deployment is prepared, approved, placed or deleted
    Wait(WaitArgs),
    /// Modify a deployment's package; nobody else can change it meanwhile
    #[command(subcommand)]
    Mod(ModCommand),
}

/// Modify a deployment's package; nobody else can change it meanwhile
#[derive(Debug, Subcommand)]
pub(crate) enum ModCommand {
    /// Start a modification: print its token, then the package
    Start {
        /// Id, as printed by create
        id: DeploymentId,
        /// Write the package to deployment.yaml in this directory instead of printing it
        #[arg(short, long, value_name = "DIR")]
        url: Option<PathBuf>,
        /// Time until the modification expires
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "10s")]
        time: std::time::Duration,
    },
    /// End a modification and store the modified package
    End(EndArgs),
    /// Cancel a modification; the package stays unchanged
    Cancel {
        /// Token, as printed by start
        token: String,
    },
}

/// The flags of `mod end`.
#[derive(Debug, Args)]
pub(crate) struct EndArgs {
    /// Token, as printed by start
    token: String,
    /// Read the modified package from this file, directory, archive, URL or git repository
    #[arg(short, long, value_name = "URL", required_unless_present = "stdin")]
    url: Option<String>,
    /// Read the modified package from standard input
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
            Self::List { filter, listed } => {
                let state = listed.state();
                list(data, filter.select()?, &listed.window, state, console).await
            }
            Self::Get { id } => get(data, &id.into(), console).await,
            Self::Show { id } => show(data, &id.into(), console).await,
            Self::Diff(args) => args.run(data, console).await,
            Self::Create {
                template,
                site,
                parent,
                prepared,
                approved,
                metadata,
                source,
            } => {
                if template.is_none() && source.url.is_none() && !source.stdin {
                    let message = "a deployment needs a template, or a package by --url or --stdin";
                    return Err(tko_core::Error::bad("template", message).into());
                }
                let new = NewDeployment::new()
                    .parent(parent)
                    .template(template)
                    .site(site)
                    .prepared(prepared)
                    .approved(approved)
                    .metadata(metadata.metadata())
                    .merge(source.package(console).await?);
                let creating = data.create_deployment(new);
                let message = || "creating the deployment".to_owned();
                let id = console.during(message, creating).await?;
                writeln!(console.out, "{id}")?;
                Ok(())
            }
            Self::Delete {
                id,
                cascade: true,
                removal,
            } => removal::delete_cascade(data, &id, &removal, console).await,
            Self::Delete { id, removal, .. } => {
                removal::delete(data, &id.into(), &removal, console).await
            }
            Self::Purge { filter, purge } => {
                removal::purge(data, &filter.select_to_change()?, &purge, console).await
            }
            Self::Approve { id, filter, all } => {
                let select = filter.select_to_change()?;
                if let Some(id) = id {
                    return approve_by_id(data, id, select, console).await;
                }
                require_choice(&select, all)?;
                let approving = data.approve(&select);
                let message = || "approving deployments".to_owned();
                let bulk = console.during(message, approving).await?;
                report(&bulk, "approved", select.kind, console)
            }
            Self::Retry { id } => retry(data, &id.into(), console).await,
            Self::Wait(args) => wait(data, args, console).await,
            Self::Mod(command) => command.run(data, console).await,
        }
    }
}

async fn approve_by_id(
    data: &dyn DataApi,
    id: DeploymentId,
    mut select: Select,
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
    if record.entity.deployment().is_some_and(|d| d.approved) {
        console.done(&format!("already approved: {}", key.id()));
        return Ok(());
    }
    select.ids = vec![Pattern::literal(key.id())];
    let matching = data.list(&List::new(select)).await?.items;
    if !matching.is_empty() {
        approve_one(data, &record.entity).await?;
    }
    console.done(&format!("approved {} deployments", matching.len()));
    Ok(())
}

/// Names a refused duration after the flag, not after the field of the API.
fn named_by_flag(error: tko_core::Error) -> tko_core::Error {
    match error {
        tko_core::Error::BadArgument {
            argument, message, ..
        } if argument == "ttl" => tko_core::Error::bad("--time", message),
        other => other,
    }
}

impl ModCommand {
    async fn run(self, data: &dyn DataApi, console: &mut Console<'_>) -> anyhow::Result<()> {
        match self {
            Self::Start { id, url, time } => {
                let time = if time.is_zero() { MODIFICATION } else { time };
                let edit = data.start_modification(&id, time).await;
                let edit = edit.map_err(named_by_flag)?;
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
                console.done(&format!("cancelled the modification of {}", token.key));
                Ok(())
            }
        }
    }
}

fn write_package(dir: &Path, yaml: &[u8]) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let path = dir.join(MODIFIED);
    std::fs::write(&path, yaml).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}
