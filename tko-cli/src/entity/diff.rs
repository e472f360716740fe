//! `tko deployment diff`: shows the changes of a package, for the person who approves them.

use crate::console::Console;
use crate::output::diff::{printed, start_search};
use crate::output::{ListWriter, OutputFormat};
use clap::Args;
use serde_json::json;
use std::fmt;
use std::io::IsTerminal;
use tko_core::api::{DeploymentComparison, EarlierState, compare_deployment};
use tko_core::{DataApi, DeploymentId, Entity, ResourceDifference, Revision, view};

/// Show what an unapproved edit changes, or the last change of the package
///
/// Compares the package that the site keeps with the current one, resource by resource. If no edit
/// waits for approval, compares the package before its last change with the current one. Whether
/// the deployment is prepared and approved is not compared.
///
/// Prints a unified diff of YAML. JSON and the other formats are lists of resource, change (added,
/// removed or changed) and diff.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// Id, as printed by create
    id: DeploymentId,
    /// Compare with the package at this revision; tko history prints revisions
    #[arg(long, value_name = "REVISION")]
    revision: Option<u64>,
    /// Show the values of Secrets; by default only whether they changed
    #[arg(long)]
    show_secrets: bool,
    /// Exit with code 7 if there is a difference
    #[arg(long)]
    exit_code: bool,
}

/// The packages of a deployment differ, and `--exit-code` was given.
#[derive(Debug)]
pub(crate) struct PackagesDiffer(DeploymentId);

impl fmt::Display for PackagesDiffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the packages of deployment {} differ", self.0)
    }
}

impl std::error::Error for PackagesDiffer {}

impl DiffArgs {
    /// Prints the differences. With `--exit-code`, a difference is an error.
    pub(super) async fn run(
        self,
        data: &dyn DataApi,
        console: &mut Console<'_>,
    ) -> anyhow::Result<()> {
        let Self {
            id,
            revision,
            show_secrets,
            exit_code,
        } = self;
        let message = || format!("comparing deployment {id}");
        let comparing = compare_deployment(data, &id, revision.map(Revision));
        let comparison = console.during(message, comparing).await?;
        let mut differences = comparison.differences();
        if !show_secrets {
            for difference in &mut differences {
                *difference = difference.without_secret_values();
            }
        }
        if console.format == OutputFormat::Yaml {
            print_text(&id, &comparison, &differences, console)?;
        } else {
            print_list(&differences, console)?;
        }
        console.out.flush()?;
        let is_reordered = comparison.is_reordered();
        if let Some(note) = note(&comparison, &differences, is_reordered) {
            console.done(&format!("deployment {id}: {note}"));
        }
        if exit_code && (is_reordered || !differences.is_empty()) {
            return Err(PackagesDiffer(id).into());
        }
        Ok(())
    }
}

/// Prints what is compared, and the differences.
fn print_text(
    id: &DeploymentId,
    comparison: &DeploymentComparison,
    differences: &[ResourceDifference],
    console: &mut Console<'_>,
) -> anyhow::Result<()> {
    let colours = std::io::stdout().is_terminal();
    if let Some(line) = compared_states(comparison) {
        writeln!(console.out, "deployment {id}: {line}")?;
    }
    let deadline = start_search();
    for difference in differences {
        let shown = printed(&difference.unified(deadline), colours);
        write!(console.out, "{shown}")?;
    }
    Ok(())
}

fn print_list(differences: &[ResourceDifference], console: &mut Console<'_>) -> anyhow::Result<()> {
    let deadline = start_search();
    let mut list = ListWriter::new(console.format, console.out);
    for difference in differences {
        list.item(json!({
            "resource": view::reference(difference.identifier()),
            "change": difference.as_str(),
            "diff": difference.unified(deadline),
        }))?;
    }
    list.end()
}

/// The states that are compared; `None` if there is only one.
fn compared_states(comparison: &DeploymentComparison) -> Option<String> {
    let current = &comparison.after.entity;
    let from = comparison.before.record()?.entity.generation;
    let to = current.generation;
    Some(match &comparison.before {
        EarlierState::Kept { site, .. } => format!(
            "from generation {from}, which site {site} keeps, to generation {to}, which waits for \
             approval"
        ),
        EarlierState::BeforeChange { revision, .. } => format!(
            "from generation {from}, before revision {revision}, to generation {to}, {}",
            place(current)
        ),
        EarlierState::At { revision, .. } => format!(
            "from generation {from}, at revision {revision}, to generation {to}, {}",
            place(current)
        ),
        EarlierState::NeverChanged | EarlierState::Forgotten => return None,
    })
}

/// The site of a deployment, in words.
fn place(entity: &Entity) -> String {
    match entity.deployment().and_then(|one| one.site.as_ref()) {
        Some(site) => format!("for site {site}"),
        None => "without a site".to_owned(),
    }
}

/// The reason why no difference is printed.
fn note(
    comparison: &DeploymentComparison,
    differences: &[ResourceDifference],
    is_reordered: bool,
) -> Option<&'static str> {
    match comparison.before {
        EarlierState::NeverChanged => Some("the package has not changed since it was created"),
        EarlierState::Forgotten => {
            Some("history has no change of the package; the last one is no longer kept")
        }
        _ if is_reordered => Some("the resources are in another order"),
        _ if differences.is_empty() => Some("the packages are the same"),
        _ => None,
    }
}
