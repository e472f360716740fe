//! `tko site`: manages sites.

use super::removal::{self, PurgeArgs, RemovalArgs};
use super::{MetadataArgs, get, list, retry, show};
use crate::console::Console;
use crate::filter::{ListArgs, SiteFilter};
use crate::source::SourceArgs;
use clap::Subcommand;
use tko_core::{DataApi, NewSite, SiteId, TemplateId};

/// Manage sites
#[derive(Debug, Subcommand)]
pub(crate) enum SiteCommand {
    /// List sites in the order of their ids
    List {
        #[command(flatten)]
        filter: SiteFilter,
        #[command(flatten)]
        listed: ListArgs,
    },
    /// Print a site's package
    Get {
        /// Id, such as india/bangalore/south-100
        id: SiteId,
    },
    /// Show everything but the package: conditions, due work
    Show {
        /// Id, such as india/bangalore/south-100
        id: SiteId,
    },
    /// Create or replace a site; its deployments stay
    #[command(visible_alias = "create")]
    Register {
        /// Id, such as india/bangalore/south-100
        id: SiteId,
        /// Template whose package the site's package is merged into
        template: Option<TemplateId>,
        #[command(flatten)]
        metadata: MetadataArgs,
        #[command(flatten)]
        source: SourceArgs,
    },
    /// Retry the failed work of a site now
    Retry {
        /// Id, such as india/bangalore/south-100
        id: SiteId,
    },
    /// Delete a site after its scheduler has removed everything from it; its deployments stay
    Delete {
        /// Id, such as india/bangalore/south-100
        id: SiteId,
        #[command(flatten)]
        removal: RemovalArgs,
    },
    /// Delete every site that matches the filters
    Purge {
        #[command(flatten)]
        filter: SiteFilter,
        #[command(flatten)]
        purge: PurgeArgs,
    },
}

impl SiteCommand {
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
            Self::Register {
                id,
                template,
                metadata,
                source,
            } => {
                let new = NewSite::new(id.clone(), source.package(console).await?)
                    .template(template)
                    .metadata(metadata.metadata());
                let message = || format!("registering site {id}");
                console.during(message, data.register_site(new)).await?;
                console.done(&format!("registered site {id}"));
                Ok(())
            }
            Self::Retry { id } => retry(data, &id.into(), console).await,
            Self::Delete { id, removal } => {
                removal::delete(data, &id.into(), &removal, console).await
            }
            Self::Purge { filter, purge } => {
                removal::purge(data, &filter.select_to_change()?, &purge, console).await
            }
        }
    }
}
