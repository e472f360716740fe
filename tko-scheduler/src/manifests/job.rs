//! The manifests to write for one site.

use super::fence::Fence;
use super::folder::WriteSummary;
use super::names;
use tko_core::{
    Condition, DeploymentId, Error, Generation, Key, Package, Result, ScheduleCall, SiteId,
    Timestamp,
};

/// Kind of the condition that says where the manifests of a site are.
pub const CONDITION: &str = "Manifests";

/// The manifests to write for one site. They are owned, because another thread writes them.
pub(super) struct SiteManifests {
    pub(super) site: SiteId,
    /// Name of the site's folder.
    pub(super) name: String,
    /// Whether the site is being deleted, and its folder with it.
    pub(super) deleting: bool,
    pub(super) wanted: Vec<(DeploymentId, Package)>,
    pub(super) removed: Vec<DeploymentId>,
    generation: Generation,
    created: Timestamp,
    fence: u64,
}

impl SiteManifests {
    /// The manifests that a call asks for.
    ///
    /// # Errors
    ///
    /// `BadArgument` if the call is not for a site.
    pub(super) fn of(call: &ScheduleCall<'_>) -> Result<Self> {
        let entity = &call.site.entity;
        let Key::Site(site) = &entity.key else {
            return Err(Error::bad("site", format!("{} is not a site", entity.key)));
        };
        let wanted = call.wanted.iter().filter_map(|record| {
            let package = record.package.clone().unwrap_or_default();
            Some((record.entity.key.deployment()?.clone(), package))
        });
        let removed = call.removed.iter();
        Ok(Self {
            name: names::folder(site.as_str()),
            deleting: entity.deleting,
            wanted: wanted.collect(),
            removed: removed
                .filter_map(|record| record.entity.key.deployment().cloned())
                .collect(),
            site: site.clone(),
            generation: entity.generation,
            created: entity.created,
            fence: call.fence,
        })
    }

    /// The fence of the claim under which they are written.
    pub(super) fn fence(&self) -> Fence {
        Fence {
            site: self.site.clone(),
            created: self.created,
            number: self.fence,
        }
    }

    /// The condition of the site after they were written. Its message changes only when the site
    /// does, because every new message causes a write.
    pub(super) fn condition(&self, written: WriteSummary) -> Condition {
        let message = format!(
            "{} resources of {} deployments in folder {}",
            written.resources,
            self.wanted.len(),
            self.name
        );
        Condition::new(CONDITION, true, "Written", message, self.generation)
    }
}
