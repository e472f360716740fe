//! Rendered manifests as resources of a package.

use crate::chart::HelmChart;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use tko_core::cluster_scope::is_cluster_scoped;
use tko_core::encoding::{Dialect, Format, Limits, decode};
use tko_core::resource::map_in;
use tko_core::{Error, Identifier, Package, Resource, Result, deployment_resource};

/// The annotation of rendered resources: their chart, as `NAME` or `NAMESPACE/NAME` of its
/// resource.
pub const CHART: &str = "workload.nephio.org/chart";

/// The JSON pointer of Helm's annotation of hooks: events, separated by commas.
const HOOK: &str = "/metadata/annotations/helm.sh~1hook";
/// Events of hooks that are delivered.
const DELIVERED: [&str; 5] = [
    "crd-install",
    "post-install",
    "post-upgrade",
    "pre-install",
    "pre-upgrade",
];

/// Reads the rendered resources of a chart.
///
/// Hooks of other events than installation and upgrade are left out. Namespaced resources without a
/// namespace get that of the release. Every resource is annotated with [`CHART`].
///
/// # Errors
/// `BadArgument`: a document is not a resource, or is the Deployment resource of TKO.
pub fn resources(
    chart: &HelmChart,
    origin: &Identifier,
    manifests: &[u8],
    limit: usize,
) -> Result<Vec<Arc<Resource>>> {
    let limits = Limits::new().bytes(limit);
    let bad = |reason: String| {
        Error::bad(
            format!("HelmChart {}", chart.release),
            format!("the rendered manifests are invalid: {reason}"),
        )
    };
    let values = decode(manifests, Format::Yaml, Dialect::People, &limits);
    let mut values = values.map_err(|error| bad(error.to_string()))?;
    values.retain(is_delivered);
    let scopes = custom_scopes(&values);
    let own = deployment_resource::identifier();
    let name = origin_name(origin);
    values
        .into_iter()
        .map(|value| {
            let resource = Resource::new(value).map_err(|error| bad(error.to_string()))?;
            if *resource.gvk() == own.gvk {
                return Err(bad(format!(
                    "a chart cannot have resources of kind {}",
                    own.gvk
                )));
            }
            let gvk = resource.gvk();
            let custom = scopes.get(&(gvk.group.to_string(), gvk.kind.to_string()));
            let is_cluster = custom.copied().unwrap_or_else(|| is_cluster_scoped(gvk));
            // Resources for TKO are not namespaced.
            let is_own = gvk.group.ends_with("nephio.org");
            let resource = match &resource.identifier().namespace {
                None if !is_cluster && !is_own => resource.edited(|content| {
                    let metadata = map_in(content, "metadata");
                    metadata.insert("namespace".to_owned(), chart.namespace.clone().into());
                })?,
                _ => resource,
            };
            Ok(Arc::new(resource.annotated(CHART, &name)))
        })
        .collect()
}

/// The package with the rendered resources of a chart in place of those rendered earlier, after the
/// resource of the chart.
///
/// # Errors
/// `BadArgument`: the package already has a resource with the same identity that does not come from
/// this chart.
pub fn joined(
    package: &Package,
    origin: &Identifier,
    rendered: Vec<Arc<Resource>>,
) -> Result<Package> {
    let name = origin_name(origin);
    let kept: Vec<_> = package
        .iter()
        .filter(|resource| resource.annotation(CHART).as_deref() != Some(&*name))
        .cloned()
        .collect();
    for resource in &rendered {
        let same = kept
            .iter()
            .find(|r| r.identifier() == resource.identifier());
        if let Some(same) = same {
            let from = same.annotation(CHART);
            let from = from.map_or_else(
                || "the package has that already".to_owned(),
                |chart| format!("HelmChart {chart} has that, too"),
            );
            return Err(Error::bad(
                format!("HelmChart {}", origin.name),
                format!(
                    "the chart has a resource {} ({}), but {from}; remove one of them",
                    resource.identifier(),
                    resource.gvk()
                ),
            ));
        }
    }
    let at = kept.iter().position(|r| r.identifier() == origin);
    let at = at.map_or(kept.len(), |at| at + 1);
    let mut resources = kept;
    resources.splice(at..at, rendered);
    Package::new(resources)
}

fn origin_name(origin: &Identifier) -> String {
    match &origin.namespace {
        Some(namespace) => format!("{namespace}/{}", origin.name),
        None => origin.name.to_string(),
    }
}

fn is_delivered(value: &Value) -> bool {
    match value.pointer(HOOK) {
        Some(Value::String(events)) => events
            .split(',')
            .any(|event| DELIVERED.contains(&event.trim())),
        _ => true,
    }
}

/// Whether custom kinds are cluster-scoped, by group and kind, as the chart itself defines them.
fn custom_scopes(values: &[Value]) -> HashMap<(String, String), bool> {
    let definitions = values
        .iter()
        .filter(|value| value["kind"] == "CustomResourceDefinition");
    let text = |value: &Value, path: &str| {
        let text = value.pointer(path).and_then(Value::as_str);
        text.map(str::to_owned)
    };
    definitions
        .filter_map(|value| {
            let key = (
                text(value, "/spec/group")?,
                text(value, "/spec/names/kind")?,
            );
            Some((key, text(value, "/spec/scope")? == "Cluster"))
        })
        .collect()
}
