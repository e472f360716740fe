//! Calls of the sound API that several faults make.

use crate::broken::Broken;
use tko_core::{DeploymentId, Key, Kind, List, Pattern, Result, Select};

impl Broken {
    /// The deployments that name this entity as template, site or parent; at most a thousand.
    pub(crate) async fn referrers(&self, key: &Key) -> Result<Vec<DeploymentId>> {
        let all = Select::all(Kind::Deployment);
        let select = match key {
            Key::Template(id) => all.template_id(Pattern::literal(id.as_str())),
            Key::Site(id) => all.concerning(id.clone()),
            Key::Deployment(id) => all.parent(id.clone()),
            Key::Plugin(_) => return Ok(Vec::new()),
        };
        let page = self.inner.list(&List::new(select)).await?;
        let keys = page.items.iter().map(|record| &record.entity.key);
        Ok(keys.filter_map(Key::deployment).cloned().collect())
    }
}
