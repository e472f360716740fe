//! `tko site`.

use super::{MetadataArgs, delete, get, list, purge, show};
use crate::console::Console;
use crate::filter::{SiteFilter, WindowArgs};
use crate::source::SourceArgs;
use clap::Subcommand;
use tko_core::{DataApi, Expect, NewSite, SiteId, TemplateId};

/// Sites: places where deployments run
#[derive(Debug, Subcommand)]
pub(crate) enum SiteCommand {
    /// List sites
    List {
        #[command(flatten)]
        filter: SiteFilter,
        #[command(flatten)]
        window: WindowArgs,
    },
    /// Print a site's package
    Get {
        /// Such as india/bangalore/south-100
        id: SiteId,
    },
    /// Show all but the package: conditions, due work
    Show {
        /// Such as india/bangalore/south-100
        id: SiteId,
    },
    /// Make or replace a site; its deployments stay
    #[command(visible_alias = "create")]
    Register {
        /// Such as india/bangalore/south-100
        id: SiteId,
        /// The template whose package this one is merged into
        template: Option<TemplateId>,
        #[command(flatten)]
        metadata: MetadataArgs,
        #[command(flatten)]
        source: SourceArgs,
    },
    /// Delete a site, once its scheduler has taken everything off it; its deployments stay
    Delete {
        /// Such as india/bangalore/south-100
        id: SiteId,
    },
    /// Delete all sites that match; without a filter, all
    Purge {
        #[command(flatten)]
        filter: SiteFilter,
    },
}

impl SiteCommand {
    pub(crate) async fn run(
        self,
        data: &dyn DataApi,
        console: &mut Console<'_>,
    ) -> anyhow::Result<()> {
        match self {
            Self::List { filter, window } => list(data, filter.select()?, &window, console).await,
            Self::Get { id } => get(data, &id.into(), console).await,
            Self::Show { id } => show(data, &id.into(), console).await,
            Self::Register {
                id,
                template,
                metadata,
                source,
            } => {
                let new = NewSite {
                    id: id.clone(),
                    template,
                    metadata: metadata.metadata(),
                    package: source.package(console).await?,
                    expect: Expect::Any,
                };
                let what = format!("registering site {id}");
                console.during(&what, data.register_site(new)).await?;
                console.done(&format!("registered site {id}"));
                Ok(())
            }
            Self::Delete { id } => delete(data, &id.into(), console).await,
            Self::Purge { filter } => purge(data, &filter.select()?, console).await,
        }
    }
}
