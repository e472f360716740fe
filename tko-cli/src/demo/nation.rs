//! What the demo starts from: templates, the sites that are there already, and one deployment.

use super::fleet::Fleet;
use super::observer::Observer;
use super::progress::Progress;
use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use tko_core::{
    DataApi, DeploymentId, Expect, Metadata, NewDeployment, NewSite, NewTemplate, Package,
    TemplateId,
};
use tko_source::SourceFile;

/// Templates by the folder of their package, in `examples/packages`.
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

/// Registrations at once.
const AT_ONCE: usize = 64;

/// Registers templates and sites.
pub(super) async fn register(
    data: &dyn DataApi,
    fleet: Fleet,
    observer: &Observer,
    progress: &mut Progress,
) -> anyhow::Result<()> {
    for (folder, id) in TEMPLATES {
        let new = NewTemplate {
            id: id.parse()?,
            metadata: Metadata::default(),
            package: example(folder)?,
            expect: Expect::Absent,
        };
        let registered = data.register_template(new).await;
        registered.with_context(|| format!("template {id}"))?;
    }
    let template: TemplateId = SITE_TEMPLATE.parse()?;
    let mut sites = stream::iter(fleet.existing())
        .map(|site| {
            let template = template.clone();
            async move {
                let new = NewSite {
                    id: site.site_id()?,
                    template: Some(template),
                    metadata: Metadata::default(),
                    package: site.package()?,
                    expect: Expect::Absent,
                };
                let registered = data.register_site(new).await;
                registered.with_context(|| format!("site {}", site.id))
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

/// Creates the deployment that all others come out of.
pub(super) async fn create(data: &dyn DataApi) -> anyhow::Result<DeploymentId> {
    let new = NewDeployment {
        template: Some(NATIONAL.parse()?),
        ..NewDeployment::default()
    };
    Ok(data.create_deployment(new).await?)
}
