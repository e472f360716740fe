//! `tko template`: manages templates.

use super::removal::{self, PurgeArgs, RemovalArgs};
use super::{MetadataArgs, get, list, show};
use crate::console::Console;
use crate::filter::{ListArgs, TemplateFilter};
use crate::source::SourceArgs;
use clap::Subcommand;
use tko_core::{DataApi, NewTemplate, TemplateId};

/// Manage templates
#[derive(Debug, Subcommand)]
pub(crate) enum TemplateCommand {
    /// List templates in the order of their ids
    List {
        #[command(flatten)]
        filter: TemplateFilter,
        #[command(flatten)]
        listed: ListArgs,
    },
    /// Print a template's package
    Get {
        /// Id, such as nf/upf:v1.0.0
        id: TemplateId,
    },
    /// Show everything but the package
    Show {
        /// Id, such as nf/upf:v1.0.0
        id: TemplateId,
    },
    /// Create or replace a template; sites and deployments created from it stay unchanged
    #[command(visible_alias = "create")]
    Register {
        /// Id, such as nf/upf:v1.0.0
        id: TemplateId,
        #[command(flatten)]
        metadata: MetadataArgs,
        #[command(flatten)]
        source: SourceArgs,
    },
    /// Delete a template; sites and deployments created from it stay
    Delete {
        /// Id, such as nf/upf:v1.0.0
        id: TemplateId,
        #[command(flatten)]
        removal: RemovalArgs,
    },
    /// Delete every template that matches the filters
    Purge {
        #[command(flatten)]
        filter: TemplateFilter,
        #[command(flatten)]
        purge: PurgeArgs,
    },
}

impl TemplateCommand {
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
                metadata,
                source,
            } => {
                let new = NewTemplate::new(id.clone(), source.package(console).await?)
                    .metadata(metadata.metadata());
                let message = || format!("registering template {id}");
                console.during(message, data.register_template(new)).await?;
                console.done(&format!("registered template {id}"));
                Ok(())
            }
            Self::Delete { id, removal } => {
                removal::delete(data, &id.into(), &removal, console).await
            }
            Self::Purge { filter, purge } => {
                removal::purge(data, &filter.select_to_change()?, &purge, console).await
            }
        }
    }
}
