//! Sites, plugins and calls for the tests.

use serde_json::json;
use std::sync::Arc;
use tko_ansible::{AnsibleExecutor, AnsibleSettings};
use tko_core::{
    Condition, Deployment, DeploymentId, Entity, Executor, Facts, Key, Package, Plugin, PluginId,
    Record, Result, ScheduleCall, Scheduler, SiteId,
};

/// A package with one ConfigMap.
pub(crate) fn package(text: &str) -> Package {
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "config"},
        "data": {"text": text},
    });
    Package::from_values([map]).expect("it is a package")
}

/// A site with a package.
pub(crate) fn site(id: &str, text: &str) -> Record {
    let id = SiteId::new(id).expect("an id");
    let mut record = Record::new(Entity::new(Key::Site(id), Facts::site(None, None)));
    record.package = Some(package(text));
    record
}

/// A deployment with a package.
pub(crate) fn deployment(id: &str, text: &str) -> Record {
    let id = DeploymentId::new(id).expect("an id");
    let facts = Deployment::default();
    let mut record = Record::new(Entity::new(Key::Deployment(id), facts));
    record.package = Some(package(text));
    record
}

/// A scheduler of a plugin with these arguments and properties.
pub(crate) fn scheduler(
    settings: AnsibleSettings,
    arguments: &[&str],
    properties: &[(&str, &str)],
) -> Result<Arc<dyn Scheduler>> {
    let mut plugin = Plugin::new("ansible");
    plugin.arguments = arguments.iter().map(|text| (*text).to_owned()).collect();
    plugin.properties = properties
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let id = PluginId::new(tko_core::PluginType::Schedule, "network").expect("an id");
    let record = Record::new(Entity::new(Key::Plugin(id), plugin));
    AnsibleExecutor::new(settings).scheduler(&record)
}

/// Schedules a site with these deployments.
pub(crate) async fn schedule(
    scheduler: &dyn Scheduler,
    site: &Record,
    wanted: &[Record],
    fence: u64,
) -> Result<Vec<Condition>> {
    scheduler
        .schedule(ScheduleCall::new(site, fence).wanted(wanted))
        .await
}
