//! `tko deployment diff`: shows the changes of a package, for the person who approves them.

use crate::console::Console;
use crate::output::diff::{DiffDeadline, printed, unified};
use crate::output::{ListWriter, OutputFormat};
use crate::printable::printable;
use clap::Args;
use serde_json::{Value, json};
use std::fmt;
use std::io::IsTerminal;
use std::sync::Arc;
use tko_core::api::{DeploymentComparison, EarlierState, compare_deployment};
use tko_core::{
    DataApi, DeploymentId, Entity, Format, Identifier, Resource, ResourceDifference, Revision,
    encoding,
};

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
    let deadline = DiffDeadline::start();
    for difference in differences {
        let shown = printed(&diff(difference, deadline), colours);
        write!(console.out, "{shown}")?;
    }
    Ok(())
}

fn print_list(differences: &[ResourceDifference], console: &mut Console<'_>) -> anyhow::Result<()> {
    let deadline = DiffDeadline::start();
    let mut list = ListWriter::new(console.format, console.out);
    for difference in differences {
        list.item(json!({
            "resource": reference(difference.identifier()),
            "change": difference.as_str(),
            "diff": diff(difference, deadline),
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

/// The difference of one resource in the format of `diff -u`.
fn diff(difference: &ResourceDifference, deadline: DiffDeadline) -> String {
    let [before, after] = [difference.before(), difference.after()];
    let lines = unified(&yaml(before), &yaml(after), deadline);
    format!("--- {}\n+++ {}\n{lines}", name(before), name(after))
}

/// The name of a resource in place of that of a file, in one line.
fn name(resource: Option<&Arc<Resource>>) -> String {
    let Some(resource) = resource else {
        return "/dev/null".to_owned();
    };
    let identifier = resource.identifier();
    let name = format!("{} {identifier}", identifier.gvk.api_version());
    printable(&name, &[]).into_owned()
}

fn yaml(resource: Option<&Arc<Resource>>) -> String {
    let values = resource.into_iter().map(|resource| resource.value());
    String::from_utf8_lossy(&encoding::encode(values, Format::Yaml)).into_owned()
}

fn reference(identifier: &Identifier) -> Value {
    let mut reference = json!({
        "apiVersion": identifier.gvk.api_version(),
        "kind": *identifier.gvk.kind,
        "name": *identifier.name,
    });
    if let Some(namespace) = &identifier.namespace {
        reference["namespace"] = json!(**namespace);
    }
    reference
}

#[cfg(test)]
mod tests {
    use super::{diff, reference};
    use crate::output::diff::DiffDeadline;
    use serde_json::{Value, json};
    use tko_core::Package;

    fn config(name: &str, text: &str) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "web"},
            "data": {"a": text},
        })
    }

    fn package(values: impl IntoIterator<Item = Value>) -> Package {
        Package::from_values(values).expect("a package")
    }

    #[test]
    fn each_resource_has_a_unified_diff() {
        let before = package([config("a", "1"), config("b", "1")]);
        let after = package([config("a", "2"), config("c", "1")]);
        let differences = before.differences(&after);
        let shown: String = differences
            .iter()
            .map(|difference| diff(difference, DiffDeadline::start()))
            .collect();
        insta::assert_snapshot!(shown, @r#"
        --- v1 ConfigMap web/a
        +++ v1 ConfigMap web/a
        @@ -4,4 +4,4 @@
           name: a
           namespace: web
         data:
        -  a: "1"
        +  a: "2"
        --- /dev/null
        +++ v1 ConfigMap web/c
        @@ -0,0 +1,7 @@
        +apiVersion: v1
        +kind: ConfigMap
        +metadata:
        +  name: c
        +  namespace: web
        +data:
        +  a: "1"
        --- v1 ConfigMap web/b
        +++ /dev/null
        @@ -1,7 +0,0 @@
        -apiVersion: v1
        -kind: ConfigMap
        -metadata:
        -  name: b
        -  namespace: web
        -data:
        -  a: "1"
        "#);
        assert_eq!(
            reference(differences[0].identifier()),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "namespace": "web"})
        );
    }

    #[test]
    fn a_name_cannot_look_like_another_line() {
        let added = Package::default().differences(&package([config("a\n-a: 1", "1")]));
        let shown = diff(&added[0], DiffDeadline::start());
        assert!(
            shown.starts_with("--- /dev/null\n+++ v1 ConfigMap web/a\\n-a: 1\n@@ "),
            "{shown}"
        );
    }
}
