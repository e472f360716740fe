//! The Helm charts of deployments that a scheduler has to install.

use serde_json::Value;
use tko_core::{Gvk, Package, Resource};

/// The kind of resource that describes a chart.
pub(crate) fn kind() -> Gvk {
    Gvk::of("workload.nephio.org/v1alpha1", "HelmChart")
}

/// The names of the charts that are not rendered during preparation.
///
/// A chart with a condition is included, whether or not the condition holds.
pub(crate) fn to_install(package: &Package) -> Vec<&str> {
    let kind = kind();
    let charts = package
        .iter()
        .filter(|resource| *resource.gvk() == kind && !is_rendered(resource));
    charts.map(|chart| &*chart.identifier().name).collect()
}

fn is_rendered(chart: &Resource) -> bool {
    chart.get(&["spec", "render"]) == Some(&Value::Bool(true))
}

#[cfg(test)]
mod tests {
    use super::to_install;
    use serde_json::json;
    use tko_core::Package;

    #[test]
    fn rendered_charts_and_other_resources_need_no_installation() {
        let chart = |name: &str, render: bool| {
            json!({
                "apiVersion": "workload.nephio.org/v1alpha1", "kind": "HelmChart",
                "metadata": {"name": name}, "spec": {"chart": "/a", "render": render},
            })
        };
        let package = Package::from_values([
            chart("web", false),
            chart("rendered", true),
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "edge"}}),
        ]);
        let package = package.expect("distinct resources");
        assert_eq!(to_install(&package), ["web"]);
    }
}
