//! The preparer of charts: renders those with `spec.render: true`.

use crate::chart::{self, HelmChart};
use crate::manifests::{joined, resources};
use crate::settings::HelmSettings;
use crate::site::SiteKubernetes;
use crate::template::{identity, template};
use async_trait::async_trait;
use serde_json::json;
use std::sync::Arc;
use tko_core::{
    Answer, ContentHash, Error, Identifier, Package, PrepareCall, Preparer, Registry, Resource,
    Result, annotation,
};
use tko_plugin::log::LogSubject;

/// Prepares charts.
///
/// A chart with `spec.render: true` is rendered by `helm template`, and the rendered resources are
/// added to the package after it. The chart sees the version and the APIs of Kubernetes that the
/// package of the deployment's site describes. Other charts are left to a scheduler. A chart whose
/// condition `spec.when` does not hold is skipped.
#[derive(Clone, Debug, Default)]
pub struct HelmPreparer {
    settings: Arc<HelmSettings>,
}

impl HelmPreparer {
    /// The name that conditions show.
    pub const NAME: &'static str = "helm";

    /// A preparer with these settings.
    pub fn new(settings: HelmSettings) -> Self {
        Self {
            settings: Arc::new(settings),
        }
    }

    /// Adds the preparer to a registry.
    #[must_use]
    pub fn add_to(self, registry: Registry<dyn Preparer>) -> Registry<dyn Preparer> {
        registry.with(chart::gvk(), Self::NAME, Arc::new(self))
    }
}

#[async_trait]
impl Preparer for HelmPreparer {
    async fn prepare(&self, call: PrepareCall<'_>) -> Result<Answer> {
        let target = target(&call)?;
        let is_rendered = HelmChart::is_rendered(target)?;
        if is_rendered
            && HelmChart::is_dependent(target)
            && let Some(other) = unprepared(&call)
        {
            return Ok(Answer::NotYet {
                reason: format!(
                    "its expressions see the package, and {other} ({}) is prepared first",
                    other.gvk
                ),
                waits_for: Vec::new(),
            });
        }
        let chart = if is_rendered {
            read(target, call.package).await?
        } else {
            None
        };
        let rendered = match chart {
            None => Vec::new(),
            Some(mut chart) => {
                let site = SiteKubernetes::of(call.deployment, call.data).await?;
                site.complete(&mut chart);
                let subject = LogSubject {
                    plugin: Self::NAME.to_owned(),
                    deployment: Some(call.deployment.entity.key.id().to_owned()),
                    site: None,
                    resource: Some(call.target.to_string()),
                };
                let manifests = template(&self.settings, &chart, &subject).await?;
                let origin = call.target.clone();
                let limit = self.settings.output;
                blocking(move || resources(&chart, &origin, &manifests, limit)).await?
            }
        };
        let package = joined(call.package, call.target, rendered)?;
        Ok(Answer::Done {
            package: package.with(annotation::prepared(target)),
            effects: Vec::new(),
        })
    }

    async fn pure_identity(&self, call: &PrepareCall<'_>) -> Option<ContentHash> {
        let target = target(call).ok()?;
        if !HelmChart::is_rendered(target).ok()? {
            return None;
        }
        let chart = read(target, call.package).await.ok()??;
        let site = SiteKubernetes::of(call.deployment, call.data).await.ok()?;
        let settings = self.settings.clone();
        let identity = blocking(move || Ok(identity(&settings, &chart))).await;
        Some(ContentHash::of(&json!([
            Self::NAME,
            identity.ok()??,
            site.to_value()
        ])))
    }
}

fn target<'a>(call: &PrepareCall<'a>) -> Result<&'a Arc<Resource>> {
    let found = call.package.find(call.target);
    found.ok_or_else(|| Error::bad("resource", format!("{} is not in the package", call.target)))
}

/// A resource of another kind that is still to be prepared.
fn unprepared<'a>(call: &PrepareCall<'a>) -> Option<&'a Identifier> {
    let mut pending = call.pending.iter();
    pending.find(|pending| pending.gvk != call.target.gvk)
}

async fn read(target: &Arc<Resource>, package: &Package) -> Result<Option<HelmChart>> {
    let (target, package) = (target.clone(), package.clone());
    blocking(move || HelmChart::read(&target, &package)).await
}

/// Runs work that takes much processor time on a blocking thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::internal("prepare a chart", error))?
}
