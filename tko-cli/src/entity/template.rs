//! `tko template`.

use super::{MetadataArgs, delete, get, list, purge, show};
use crate::console::Console;
use crate::filter::{TemplateFilter, WindowArgs};
use crate::source::SourceArgs;
use clap::Subcommand;
use tko_core::{DataApi, Expect, NewTemplate, TemplateId};

/// Templates: packages to make others of
#[derive(Debug, Subcommand)]
pub(crate) enum TemplateCommand {
    /// List templates
    List {
        #[command(flatten)]
        filter: TemplateFilter,
        #[command(flatten)]
        window: WindowArgs,
    },
    /// Print a template's package
    Get {
        /// Such as nf/upf:v1.0.0
        id: TemplateId,
    },
    /// Show all but the package
    Show {
        /// Such as nf/upf:v1.0.0
        id: TemplateId,
    },
    /// Make or replace a template; what was made from it before stays as it is
    #[command(visible_alias = "create")]
    Register {
        /// Such as nf/upf:v1.0.0
        id: TemplateId,
        #[command(flatten)]
        metadata: MetadataArgs,
        #[command(flatten)]
        source: SourceArgs,
    },
    /// Delete a template; what was made from it stays
    Delete {
        /// Such as nf/upf:v1.0.0
        id: TemplateId,
    },
    /// Delete all templates that match; without a filter, all
    Purge {
        #[command(flatten)]
        filter: TemplateFilter,
    },
}

impl TemplateCommand {
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
                metadata,
                source,
            } => {
                let new = NewTemplate {
                    id: id.clone(),
                    metadata: metadata.metadata(),
                    package: source.package(console).await?,
                    expect: Expect::Any,
                };
                let what = format!("registering template {id}");
                console.during(&what, data.register_template(new)).await?;
                console.done(&format!("registered template {id}"));
                Ok(())
            }
            Self::Delete { id } => delete(data, &id.into(), console).await,
            Self::Purge { filter } => purge(data, &filter.select()?, console).await,
        }
    }
}
