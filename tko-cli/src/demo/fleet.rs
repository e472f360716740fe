//! The sites of the demo and the expected result. This is only arithmetic;
//! `examples/packages/README.md` explains it.

use std::fmt::Write as _;
use tko_core::{Dialect, Format, Limits, Package, Result, SiteId};

/// The regions, in the order in which edges are dealt to them.
const REGIONS: [&str; 4] = ["north", "south", "east", "west"];

/// The region whose control site is provisioned by the topology.
const WITHOUT_CONTROL: &str = "west";

/// Every fifth edge of a region is a hub with its own SMF.
const HUB_EVERY: usize = 5;

/// The number of sites that are not edges: the control site and the provisioned sites of each
/// region.
const NOT_EDGES: usize = 3 * REGIONS.len();

/// The number of sites that each region provisions besides its control site.
const PROVISIONED_EACH: usize = 2;

/// Minimum number of sites: a fleet without edges.
pub(super) const MIN_SITES: usize = NOT_EDGES;

/// Maximum number of sites that one process with all data in memory handles well.
pub(super) const MAX_SITES: usize = 1_000_000;

/// Number of manifests written for each deployment: its resources that are meant for a cluster.
const UPF_FILES: usize = 11;
const SMF_FILES: usize = 8;
const AMF_FILES: usize = 9;
const REGIONAL_FILES: usize = 3;

/// A fleet of a given size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fleet {
    sites: usize,
}

/// A site that is registered before the topology is created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ExistingSite {
    /// The id, such as `india/north/edge-0001`.
    pub(super) id: String,
    region: &'static str,
    role: &'static str,
    tier: Option<&'static str>,
}

/// The expected result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) sites: usize,
    pub(super) provisioned: usize,
    pub(super) deployments: usize,
    pub(super) prepared: usize,
    pub(super) approved: usize,
    pub(super) waiting: usize,
    pub(super) placed: usize,
    /// Deployments placed after the waiting ones are approved.
    pub(super) placed_finally: usize,
    pub(super) files: usize,
    pub(super) files_finally: usize,
}

impl Fleet {
    /// A fleet of this many sites in total, including the ones that the topology provisions.
    pub(super) fn new(sites: usize) -> Self {
        Self { sites }
    }

    fn edges(self) -> usize {
        self.sites - NOT_EDGES
    }

    /// The sites to register before the topology is created.
    pub(super) fn existing(self) -> impl Iterator<Item = ExistingSite> {
        let controls = REGIONS
            .into_iter()
            .filter(|region| *region != WITHOUT_CONTROL)
            .map(|region| ExistingSite {
                id: format!("india/{region}/control"),
                region,
                role: "control",
                tier: None,
            });
        let edges = (0..self.edges()).map(|index| {
            let region = REGIONS[index % REGIONS.len()];
            let number = index / REGIONS.len();
            ExistingSite {
                id: format!("india/{region}/edge-{:04}", number + 1),
                region,
                role: "edge",
                tier: Some(if number.is_multiple_of(HUB_EVERY) {
                    "hub"
                } else {
                    "leaf"
                }),
            }
        });
        controls.chain(edges)
    }

    /// Computes the expected result.
    pub(super) fn expected(self) -> Expected {
        let regions = REGIONS.len();
        let edges = self.edges();
        let hubs: usize = (0..regions)
            .map(|region| {
                let of_region = (edges + regions - 1 - region) / regions;
                of_region.div_ceil(HUB_EVERY)
            })
            .sum();
        let upf = edges + PROVISIONED_EACH * regions;
        let smf = regions + hubs;
        let amf = regions;
        let deployments = 1 + regions + upf + smf + amf + 1;
        let prepared = deployments - 1;
        let approved = prepared - amf;
        let files = UPF_FILES * upf + SMF_FILES * smf + REGIONAL_FILES * regions;
        Expected {
            sites: self.sites,
            provisioned: PROVISIONED_EACH * regions + 1,
            deployments,
            prepared,
            approved,
            waiting: amf,
            // The national topology is approved but has no site.
            placed: approved - 1,
            placed_finally: prepared - 1,
            files,
            files_finally: files + AMF_FILES * amf,
        }
    }
}

impl ExistingSite {
    /// The id of the site.
    pub(super) fn site_id(&self) -> Result<SiteId> {
        self.id.parse()
    }

    /// The package of the site. `edge-site/site.yaml` is an example of another site.
    pub(super) fn package(&self) -> Result<Package> {
        let mut yaml = format!(
            "apiVersion: metadata.nephio.org/v1alpha1\n\
             kind: Site\n\
             metadata:\n  name: site\n  annotations: {{nephio.org/merge: Override}}\n\
             spec:\n  country: india\n  region: {}\n  role: {}\n",
            self.region, self.role
        );
        if let Some(tier) = self.tier {
            // Writing to a string does not fail.
            let _ = writeln!(yaml, "  tier: {tier}");
        }
        let _ = write!(
            yaml,
            "---\n\
             apiVersion: infra.nephio.org/v1alpha1\n\
             kind: WorkloadCluster\n\
             metadata:\n  name: cluster\n  annotations: {{nephio.org/merge: Override}}\n\
             spec:\n  clusterName: {}\n",
            self.id.replace('/', "-")
        );
        Package::decode(
            yaml.as_bytes(),
            Format::Yaml,
            Dialect::People,
            &Limits::default(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{Expected, Fleet};

    #[test]
    fn two_hundred_sites_give_the_documented_result() {
        assert_eq!(
            Fleet::new(200).expected(),
            Expected {
                sites: 200,
                provisioned: 9,
                deployments: 250,
                prepared: 249,
                approved: 245,
                waiting: 4,
                placed: 244,
                placed_finally: 248,
                files: 2_520,
                files_finally: 2_556,
            }
        );
        let many = Fleet::new(10_000).expected();
        assert_eq!((many.deployments, many.files), (12_010, 126_000));
    }

    #[test]
    fn existing_sites_and_provisioned_ones_are_all_sites() {
        for count in [12, 13, 16, 60, 200, 201] {
            let fleet = Fleet::new(count);
            let existing = fleet.existing().count();
            assert_eq!(existing + fleet.expected().provisioned, count);
        }
    }

    #[test]
    fn packages_of_sites_decode() {
        for site in Fleet::new(40).existing() {
            assert_eq!(site.package().expect("YAML").len(), 2, "{}", site.id);
            assert!(site.site_id().is_ok());
        }
    }
}
