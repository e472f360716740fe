//! The input of the demo: templates, existing sites, and one deployment.

use super::fleet::Fleet;
use super::observer::FleetObserver;
use super::progress::DemoProgress;
use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use tko_core::{
    DataApi, DeploymentId, Expect, NewDeployment, NewSite, NewTemplate, Package, TemplateId,
};
use tko_source::SourceFile;

/// Folders of `examples/packages` and the template ids under which they are registered.
pub(super) const TEMPLATES: [(&str, &str); 7] = [
    ("upf", "nf/upf:v1.0.0"),
    ("smf", "nf/smf:v1.0.0"),
    ("amf", "nf/amf:v1.0.0"),
    ("nwdaf", "nf/nwdaf:v0.9.0"),
    ("edge-cluster", SITE_TEMPLATE),
    ("regional-topology", "topology/regional:v1.0.0"),
    ("national-topology", NATIONAL),
];
const SITE_TEMPLATE: &str = "site/edge-cluster:v1.0.0";
const NATIONAL: &str = "topology/national:v1.0.0";

/// Maximum number of sites that are registered at the same time.
const AT_ONCE: usize = 64;

/// Registers the templates and the existing sites.
pub(super) async fn register(
    data: &dyn DataApi,
    fleet: Fleet,
    observer: &FleetObserver,
    progress: &mut DemoProgress,
) -> anyhow::Result<()> {
    for (folder, id) in TEMPLATES {
        let new = NewTemplate::new(id.parse()?, example(folder)?).expect(Expect::Absent);
        let registered = data.register_template(new).await;
        registered.with_context(|| format!("cannot register template {id}"))?;
    }
    let template: TemplateId = SITE_TEMPLATE.parse()?;
    let mut sites = stream::iter(fleet.existing())
        .map(|site| {
            let template = template.clone();
            async move {
                let new = NewSite::new(site.site_id()?, site.package()?)
                    .template(template)
                    .expect(Expect::Absent);
                let registered = data.register_site(new).await;
                registered.with_context(|| format!("cannot register site {}", site.id))
            }
        })
        .buffer_unordered(AT_ONCE);
    while sites.try_next().await?.is_some() {
        progress.show(&observer.now());
    }
    Ok(())
}

fn example(folder: &str) -> anyhow::Result<Package> {
    let files = tko_examples::package(folder)
        .into_iter()
        .map(|(path, bytes)| SourceFile {
            name: path.to_owned(),
            bytes: bytes.to_vec(),
        });
    Ok(tko_source::package_of(files)?)
}

/// Creates the national deployment, the ancestor of all others.
pub(super) async fn create(data: &dyn DataApi) -> anyhow::Result<DeploymentId> {
    let new = NewDeployment::new().template(TemplateId::new(NATIONAL)?);
    Ok(data.create_deployment(new).await?)
}
