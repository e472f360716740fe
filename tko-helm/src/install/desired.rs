//! The releases that the deployments of a site require.

use super::inventory::{ReleaseKey, hash};
use crate::chart::{HelmChart, gvk};
use serde_json::json;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use tko_core::{Error, Package, Record, Result, error::chain};

/// A release that a deployment wants.
#[derive(Clone, Debug)]
pub(crate) struct DesiredRelease {
    pub(crate) deployment: String,
    pub(crate) chart: HelmChart,
}

impl DesiredRelease {
    /// The hash of everything that the release is made from.
    pub(crate) fn input(&self, archive: &str) -> String {
        let chart = &self.chart;
        let input = json!([
            archive,
            self.deployment,
            chart.parameters,
            chart.crds,
            chart.hooks,
        ]);
        hash(&input.to_string())
    }
}

/// Whether a package has a chart.
pub(crate) fn has_charts(package: &Package) -> bool {
    package.iter().any(|resource| *resource.gvk() == gvk())
}

/// The releases of deployments, and the problems of charts that cannot be read.
///
/// If two deployments require the same release, neither gets it.
///
/// # Errors
/// `Internal`: the charts could not be evaluated at all.
pub(crate) async fn desired(
    deployments: &[Record],
) -> Result<(BTreeMap<ReleaseKey, DesiredRelease>, Vec<String>)> {
    let packages: Vec<(String, Package)> = deployments
        .iter()
        .filter_map(|record| {
            let package = record.package.as_ref()?;
            has_charts(package).then(|| (record.entity.key.id().to_owned(), package.clone()))
        })
        .collect();
    if packages.is_empty() {
        return Ok((BTreeMap::new(), Vec::new()));
    }
    // Expressions can take much processor time.
    let read = tokio::task::spawn_blocking(move || releases(&packages)).await;
    read.map_err(|error| Error::internal("read the charts of a site", error))
}

fn releases(packages: &[(String, Package)]) -> (BTreeMap<ReleaseKey, DesiredRelease>, Vec<String>) {
    let mut found = BTreeMap::new();
    let mut faults = Vec::new();
    let mut twice = Vec::new();
    for (deployment, package) in packages {
        let charts = package.iter().filter(|resource| *resource.gvk() == gvk());
        for resource in charts {
            let chart = match HelmChart::is_rendered(resource) {
                // The chart is already rendered to resources.
                Ok(true) => continue,
                Ok(false) => HelmChart::read(resource, package),
                Err(error) => Err(error),
            };
            let chart = match chart {
                Ok(Some(chart)) => chart,
                // Its condition does not hold.
                Ok(None) => continue,
                Err(error) => {
                    faults.push(format!("deployment {deployment}: {}", chain(&error)));
                    continue;
                }
            };
            let key = ReleaseKey {
                namespace: chart.namespace.clone(),
                name: chart.release.clone(),
            };
            match found.entry(key) {
                Entry::Vacant(entry) => {
                    entry.insert(DesiredRelease {
                        deployment: deployment.clone(),
                        chart,
                    });
                }
                Entry::Occupied(entry) => {
                    faults.push(format!(
                        "deployments {} and {deployment} both want the release {}; rename one \
                         HelmChart, or give it another namespace",
                        entry.get().deployment,
                        entry.key()
                    ));
                    twice.push(entry.key().clone());
                }
            }
        }
    }
    for key in twice {
        found.remove(&key);
    }
    (found, faults)
}

#[cfg(test)]
mod tests {
    use super::releases;
    use serde_json::{Value, json};
    use tko_core::Package;

    fn chart(name: &str, spec: &Value) -> Value {
        json!({
            "apiVersion": "workload.nephio.org/v1alpha1", "kind": "HelmChart",
            "metadata": {"name": name}, "spec": spec,
        })
    }

    fn packages(all: &[(&str, Vec<Value>)]) -> Vec<(String, Package)> {
        let all = all.iter().map(|(id, resources)| {
            let package = Package::from_values(resources.clone()).expect("a package");
            ((*id).to_owned(), package)
        });
        all.collect()
    }

    #[test]
    fn charts_become_releases_unless_they_are_rendered_or_their_condition_fails() {
        let (found, faults) = releases(&packages(&[
            (
                "one",
                vec![
                    chart("web", &json!({"chart": "/a", "namespace": "edge"})),
                    chart("rendered", &json!({"chart": "/a", "render": true})),
                    chart(
                        "off",
                        &json!({"chart": "/a", "when": "size(resources) > 9"}),
                    ),
                ],
            ),
            ("two", vec![chart("web", &json!({"chart": "/a"}))]),
        ]));
        assert_eq!(faults, Vec::<String>::new());
        let keys: Vec<String> = found.keys().map(ToString::to_string).collect();
        assert_eq!(keys, ["default/web", "edge/web"]);
    }

    #[test]
    fn two_deployments_cannot_have_one_release() {
        let web = || vec![chart("web", &json!({"chart": "/a"}))];
        let (found, faults) = releases(&packages(&[("one", web()), ("two", web())]));
        assert!(found.is_empty());
        assert!(
            faults[0].contains("one and two both want the release default/web"),
            "{faults:?}"
        );
    }

    #[test]
    fn a_chart_that_cannot_be_read_is_a_fault_of_its_deployment() {
        let (found, faults) = releases(&packages(&[(
            "one",
            vec![
                chart("web", &json!({"chart": "/a"})),
                chart("bad", &json!({"chart": "{{ get('', 'v1', 'Pod').x }}"})),
            ],
        )]));
        assert_eq!(found.len(), 1);
        assert!(
            faults[0].starts_with("deployment one:") && faults[0].contains("HelmChart bad"),
            "{faults:?}"
        );
    }

    #[test]
    fn the_hash_follows_values_and_archive() {
        let of = |values: Value, archive: &str| {
            let all = packages(&[(
                "one",
                vec![chart("web", &json!({"chart": "/a", "parameters": values}))],
            )]);
            let (found, _) = releases(&all);
            found.values().next().expect("a release").input(archive)
        };
        let first = of(json!({"a": 1}), "x");
        assert_eq!(first, of(json!({"a": 1}), "x"));
        assert_ne!(first, of(json!({"a": 2}), "x"));
        assert_ne!(first, of(json!({"a": 1}), "y"));
    }
}
