//! An invented fleet: templates, sites and deployments in every state, and hostile metadata.

use crate::harness::MemoryStore;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{
    Caller, ClaimRequest, Condition, DataApi, Dialect, Format, Guarded, Gvk, Key, Limits, Metadata,
    NewDeployment, NewPlugin, NewSite, NewTemplate, Outcome, Package, PluginId, PluginType,
    PrepareStep, RoleGuard, ScheduleStep, SiteId, Stage, TemplateId, WorkerApi,
};

/// The tokens of an operator and of a viewer.
pub(crate) const TOKENS: (&str, &str) = ("operator-token-of-the-tour", "viewer-token-of-the-tour");

/// Their lines in a file of callers.
pub(crate) const CALLERS: &str = "\
olga sha256:fcc906b1d098f5034a8eaa8aef26485465ae43d074dca94c077f07ea77005f7d operator
vera sha256:601304c7f8d81ad8171367da7d87a19c1512f1c09954a06bde519ae90328ce97 viewer
";

const REGIONS: [&str; 4] = ["north", "south", "east", "west"];

const FUNCTIONS: [(&str, &str, &str); 4] = [
    ("nf/free5gc/upf:v1.4.0", "UPF", "upf"),
    ("nf/free5gc/smf:v1.4.0", "SMF", "smf"),
    ("nf/free5gc/amf:v1.3.2", "AMF", "amf"),
    ("nf/free5gc/nwdaf:v0.9.0", "NWDAF", "nwdaf"),
];

/// The API as servers give it to others: with roles.
pub(crate) fn guarded(store: &MemoryStore) -> Arc<dyn DataApi> {
    Arc::new(Guarded::new(Arc::new(store.clone()), RoleGuard::new()))
}

fn package(yaml: &str) -> Package {
    Package::decode(
        yaml.as_bytes(),
        Format::Yaml,
        Dialect::People,
        &Limits::default(),
    )
    .expect("YAML")
}

fn function(kind: &str, name: &str) -> Package {
    package(&format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n---\n\
         apiVersion: free5gc.plugin.nephio.org/v1alpha1\nkind: {kind}\n\
         metadata: {{name: {name}, namespace: {name}, annotations: {{nephio.org/prepare: Here}}}}\n\
         spec: {{pool: 10.12.0.0/16, sessions: 20000, dnn: internet, slices: [{{sst: 1, sd: '010203'}}]}}\n---\n\
         apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings, namespace: {name}}}\n\
         data: {{logLevel: info, region: unset}}\n---\n\
         apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: {name}}}\n\
         spec:\n  replicas: 2\n  selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    \
         metadata: {{labels: {{app: {name}}}}}\n    spec:\n      containers:\n      - name: {name}\n        \
         image: free5gc/{name}:v3.4.2\n        ports: [{{containerPort: 8805, protocol: UDP}}]\n---\n\
         apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {name}}}\n\
         spec: {{selector: {{app: {name}}}, ports: [{{port: 8805, protocol: UDP}}]}}\n"
    ))
}

fn metadata(pairs: &[(&str, &str)]) -> Metadata {
    pairs.iter().copied().collect()
}

fn template(id: &str) -> TemplateId {
    TemplateId::new(id).expect("an id")
}

fn site(id: &str) -> SiteId {
    SiteId::new(id).expect("an id")
}

/// Fills a store.
pub(crate) async fn fill(store: &MemoryStore) {
    let ops = Caller::new("ops-team")
        .and_then(|caller| caller.interface("http"))
        .expect("a name");
    let api = Arc::new(store.clone()).worker_with_caller(ops);
    for (id, kind, name) in FUNCTIONS {
        let new = NewTemplate::new(template(id), function(kind, name));
        let new = new.metadata(metadata(&[
            ("NetworkFunction.type", kind),
            ("vendor", "free5gc"),
        ]));
        api.register_template(new).await.expect("valid");
    }
    let topology = NewTemplate::new(
        template("topology/oran/regional:v1.0.0"),
        function("Topology", "cu"),
    );
    api.register_template(topology).await.expect("valid");
    let edge = NewTemplate::new(template("site/edge-cluster:v1.0.0"), Package::default());
    api.register_template(edge.metadata(metadata(&[("Site.tier", "2")])))
        .await
        .expect("valid");
    for (at, region) in REGIONS.into_iter().enumerate() {
        for number in 0..18 {
            let id = site(&format!("india/{region}/edge-{number:04}"));
            let tier = if number % 5 == 0 { "hub" } else { "leaf" };
            let new = NewSite::new(
                id,
                package(&format!(
                    "apiVersion: infra.nephio.org/v1alpha1\nkind: WorkloadCluster\nmetadata: {{name: cluster}}\nspec: {{clusterName: edge-{at}-{number}}}\n"
                )),
            );
            let new = new.template(template("site/edge-cluster:v1.0.0"));
            let new = new.metadata(metadata(&[("Site.region", region), ("Site.tier", tier)]));
            api.register_site(new).await.expect("valid");
        }
    }
    let hostile = metadata(&[
        (
            "<script>alert(1)</script>",
            "\"><img src=x onerror=alert(2)>",
        ),
        ("direction", "abc\u{202e}cba"),
        ("long", &"x".repeat(300)),
    ]);
    let new = NewSite::new(site("lab/hostile"), Package::default()).metadata(hostile.clone());
    api.register_site(new).await.expect("valid");
    for (name, argument) in [
        ("free5gc-smf", "smf.py"),
        ("free5gc-upf", "upf.py"),
        ("helm", "helm template"),
    ] {
        let id = PluginId::new(PluginType::Prepare, name).expect("a name");
        let kind = if name == "helm" { "HelmChart" } else { "SMF" };
        let new = NewPlugin::new(id, "command")
            .argument(argument)
            .property("timeout", "30s");
        let new = new.trigger(Gvk::new("free5gc.plugin.nephio.org", "v1alpha1", kind));
        api.register_plugin(new).await.expect("valid");
    }
    deployments(&*api).await;
    let new = NewDeployment::new()
        .template(template(FUNCTIONS[0].0))
        .site(site("lab/hostile"));
    api.create_deployment(new.metadata(hostile))
        .await
        .expect("valid");
    prepare(&*api).await;
    place(&*api).await;
}

async fn deployments(api: &dyn WorkerApi) {
    for region in REGIONS {
        let new = NewDeployment::new().template(template("topology/oran/regional:v1.0.0"));
        let new = new
            .prepared(true)
            .approved(true)
            .metadata(metadata(&[("region", region)]));
        let parent = api.create_deployment(new).await.expect("valid");
        for number in 0..18 {
            let on = site(&format!("india/{region}/edge-{number:04}"));
            for (at, (id, _, _)) in FUNCTIONS.into_iter().enumerate() {
                // The core is on hubs only; analytics on one site of each region.
                if (at == 1 && number % 5 != 0)
                    || (at == 2 && number % 9 != 0)
                    || (at == 3 && number != 3)
                {
                    continue;
                }
                let is_waiting = at == 2;
                let is_unprepared =
                    at == 3 || (at == 0 && number % 17 == 11) || (at == 1 && region == "south");
                let new = NewDeployment::new()
                    .template(template(id))
                    .site(on.clone())
                    .parent(parent.clone())
                    .metadata(metadata(&[("Site.region", region)]))
                    .prepared(!is_unprepared)
                    .approved(!is_unprepared && !is_waiting);
                api.create_deployment(new).await.expect("valid");
            }
        }
    }
}

/// Lets some preparations fail and others wait.
async fn prepare(api: &dyn WorkerApi) {
    let request = ClaimRequest::new(Stage::Prepare, "preparer")
        .max(500)
        .lease(Duration::from_mins(10));
    for claim in api.claim(&request).await.expect("claims") {
        let Key::Deployment(id) = claim.work.key.clone() else {
            continue;
        };
        let record = api
            .get(&claim.work.key, tko_core::Want::ROW)
            .await
            .expect("it exists");
        let template = record
            .entity
            .template()
            .map(ToString::to_string)
            .unwrap_or_default();
        let (reason, message) = if template.contains("smf") {
            (
                "Failed",
                "SMF smf/smf: preparer free5gc-smf failed: no address pool left in region south",
            )
        } else if template.contains("nwdaf") {
            (
                "Invalid",
                "Deployment nwdaf/nwdaf: spec.template.spec.containers[0].image: is required and missing",
            )
        } else {
            (
                "Waiting",
                "waits for the site selection Site.region=west, Site.tier=hub: no site matches",
            )
        };
        let condition =
            Condition::new("Prepared", false, reason, message, record.entity.generation);
        let step = PrepareStep::new(id, record.entity.generation)
            .condition(condition)
            .settle(Outcome::Retry {
                after: Duration::from_secs(130),
                reason: message.to_owned(),
            });
        api.commit_prepared(&claim.token, step)
            .await
            .expect("a step");
    }
}

/// Places what is approved, except on sites that cannot be reached.
async fn place(api: &dyn WorkerApi) {
    let request = ClaimRequest::new(Stage::Schedule, "scheduler")
        .max(500)
        .lease(Duration::from_mins(10));
    for claim in api.claim(&request).await.expect("claims") {
        let Key::Site(id) = claim.work.key.clone() else {
            continue;
        };
        let generation = tko_core::Generation(1);
        let refused = match id.as_str() {
            "india/south/edge-0007" => Some("cluster refused: connection timed out (attempt 7)"),
            "india/east/edge-0002" => Some("quota exceeded in namespace upf: pods 20 of 20"),
            _ => None,
        };
        let mut select = tko_core::Select::all(tko_core::Kind::Deployment).approved(true);
        select.concerning = Some(id.clone());
        let page = api
            .list(&tko_core::List::new(select))
            .await
            .expect("a page");
        let mut step = ScheduleStep::new();
        let condition = match refused {
            Some(why) => Condition::new("Scheduled", false, "SchedulerFailed", why, generation),
            None => Condition::new(
                "Scheduled",
                true,
                "Scheduled",
                "all schedulers succeeded",
                generation,
            ),
        };
        step = step.conditions(Key::from(&id), vec![condition]);
        if refused.is_none() && !id.as_str().ends_with("edge-0009") {
            for record in &page.items {
                let Key::Deployment(deployment) = record.entity.key.clone() else {
                    continue;
                };
                let said = format!("on site {id}");
                let condition = Condition::new(
                    "Scheduled",
                    true,
                    "Scheduled",
                    said,
                    record.entity.generation,
                );
                step = step.placed(deployment.clone(), record.entity.generation);
                step = step.conditions(&deployment, vec![condition]);
            }
        }
        api.commit_placed(&claim.token, step.settle(Outcome::Done))
            .await
            .expect("a step");
    }
}
