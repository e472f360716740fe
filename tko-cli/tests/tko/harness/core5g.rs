//! The 5G core of the examples, registered on a server, and the expected deployments.

use super::process::example;
use super::server::Server;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::BTreeMap;
use tko_core::{
    DataApi, Dialect, Entity, Expect, Format, Kind, Limits, List, NewSite, Package, Select,
    TemplateId,
};
use tko_grpc::client::Client;

const REGIONS: [&str; 4] = ["north", "south", "east", "west"];

/// Templates and the folders of their packages.
const TEMPLATES: [(&str, &str); 7] = [
    ("upf", "nf/upf:v1.0.0"),
    ("smf", "nf/smf:v1.0.0"),
    ("amf", "nf/amf:v1.0.0"),
    ("nwdaf", "nf/nwdaf:v0.9.0"),
    ("edge-cluster", "site/edge-cluster:v1.0.0"),
    ("regional-topology", "topology/regional:v1.0.0"),
    ("national-topology", "topology/national:v1.0.0"),
];

/// Parent, template and site of a deployment; empty if it has none.
type Child = [String; 3];

/// Registers the templates with commands, and the sites of a fleet with this many edges.
pub(crate) async fn registered(server: &Server, edges: usize) {
    for (folder, id) in TEMPLATES {
        let register = format!("template register {id} --url");
        let package = example(&format!("packages/{folder}"));
        server.tko(&register).arg(package).good().await;
    }
    let client = server.client();
    let controls = REGIONS[..3].iter().map(|region| {
        let id = format!("india/{region}/control");
        site(&id, region, "role: control")
    });
    let edges = (0..edges).map(|index| {
        let (region, number) = (REGIONS[index % 4], index / 4);
        let tier = if number % 5 == 0 { "hub" } else { "leaf" };
        let id = format!("india/{region}/edge-{:04}", number + 1);
        site(&id, region, &format!("role: edge, tier: {tier}"))
    });
    stream::iter(controls.chain(edges))
        .map(|site| client.register_site(site))
        .buffer_unordered(16)
        .try_collect::<Vec<_>>()
        .await
        .expect("sites are valid");
}

fn site(id: &str, region: &str, more: &str) -> NewSite {
    let yaml = format!(
        "apiVersion: metadata.nephio.org/v1alpha1\n\
         kind: Site\n\
         metadata: {{name: site, annotations: {{nephio.org/merge: Override}}}}\n\
         spec: {{country: india, region: {region}, {more}}}\n"
    );
    let package = Package::decode(
        yaml.as_bytes(),
        Format::Yaml,
        Dialect::People,
        &Limits::default(),
    );
    NewSite::new(id.parse().expect("an id"), package.expect("a package"))
        .template(TemplateId::new("site/edge-cluster:v1.0.0").expect("an id"))
        .expect(Expect::Absent)
}

/// Creates the national deployment, the ancestor of all others.
pub(crate) async fn created(server: &Server) -> String {
    let create = server.tko("deployment create topology/national:v1.0.0");
    create.good().await.line().to_owned()
}

/// The expected number of deployments. All but one get prepared.
pub(crate) fn total(edges: usize) -> usize {
    let hubs: usize = (0..4)
        .map(|region| ((edges + 3 - region) / 4).div_ceil(5))
        .sum();
    // The nation; regions; UPFs at edges, stadiums and airports; SMFs at control sites and hubs;
    // AMFs; NWDAF.
    1 + 4 + (edges + 8) + (4 + hubs) + 4 + 1
}

/// All entities of one kind.
pub(crate) async fn all(client: &Client, kind: Kind) -> Vec<std::sync::Arc<Entity>> {
    let mut list = List::new(Select::all(kind)).limit(500);
    let mut entities = Vec::new();
    loop {
        let page = client.list(&list).await.expect("a page");
        entities.extend(page.items.into_iter().map(|record| record.entity));
        list.after = page.next;
        if list.after.is_none() {
            return entities;
        }
    }
}

/// Checks that exactly the expected deployments and sites exist.
pub(crate) async fn is_whole(client: &Client, national: &str, edges: usize) {
    let sites = all(client, Kind::Site).await;
    let place =
        |entity: &Entity, key: &str| entity.metadata.get(key).unwrap_or_default().to_owned();
    let ids = |region: &str, role: &str, tier: &str| {
        let is = |entity: &Entity| {
            place(entity, "Site.region") == region
                && place(entity, "Site.role") == role
                && (tier.is_empty() || place(entity, "Site.tier") == tier)
        };
        let found = sites.iter().filter(|entity| is(entity));
        found.map(|e| e.key.id().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(sites.len(), edges + 12, "sites are doubled or lost");
    let provisioned = sites.iter().filter(|e| place(e, "type") == "provisioned");
    assert_eq!(
        provisioned.count(),
        9,
        "provisioned sites are doubled or lost"
    );

    let there = all(client, Kind::Deployment).await;
    let mut children: BTreeMap<Child, usize> = BTreeMap::new();
    let mut regional = BTreeMap::new();
    for entity in &there {
        let row = entity.deployment().expect("a deployment");
        let text = |id: Option<&str>| id.unwrap_or_default().to_owned();
        let parent = text(row.parent.as_ref().map(tko_core::DeploymentId::as_str));
        let template = text(row.template.as_ref().map(tko_core::TemplateId::as_str));
        let site = text(row.site.as_ref().map(tko_core::SiteId::as_str));
        if template == "topology/regional:v1.0.0" {
            regional.insert(site.clone(), entity.key.id().to_owned());
        }
        let finished = template == "nf/nwdaf:v0.9.0" || row.prepared;
        assert!(finished, "{} of {template} is not prepared", entity.key);
        *children.entry([parent, template, site]).or_default() += 1;
    }
    let mut wanted: BTreeMap<Child, usize> = BTreeMap::new();
    let mut want = |parent: &str, template: &str, site: &str| {
        wanted.insert([parent.into(), template.into(), site.into()], 1);
    };
    want("", "topology/national:v1.0.0", "");
    for region in REGIONS {
        let controls = ids(region, "control", "");
        let [control] = &controls[..] else {
            panic!("{region} has control sites {controls:?}");
        };
        want(national, "topology/regional:v1.0.0", control);
        let parent = regional.get(control).expect("a regional deployment");
        let popups = ids(region, "pop-up", "");
        assert_eq!(popups.len(), 2, "{region}: {popups:?}");
        for site in ids(region, "edge", "").iter().chain(&popups) {
            want(parent, "nf/upf:v1.0.0", site);
        }
        for site in ids(region, "edge", "hub").iter().chain([control]) {
            want(parent, "nf/smf:v1.0.0", site);
        }
        want(parent, "nf/amf:v1.0.0", control);
        if region == "north" {
            want(national, "nf/nwdaf:v0.9.0", control);
        }
    }
    assert_eq!(wanted.len(), total(edges));
    assert_eq!(children, wanted, "children are doubled or lost");
}
