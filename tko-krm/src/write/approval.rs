//! The permission to approve a deployment by a write of the object itself.
//!
//! The annotation `nephio.org/approved` in its package approves a deployment, as the subresource
//! `approval` does. So a cluster must permit both to the same users.

use super::Write;
use crate::failure::KrmAnswer;
use crate::route::RouteTarget;
use tko_core::annotation::{APPROVED, is_true};
use tko_core::merge::merge;
use tko_core::{Error, Key, Package, TemplateId, Want, deployment_resource};

impl Write<'_> {
    /// Checks that the user of a cluster may approve the deployment, if this package does.
    pub(super) async fn check_approval(&self, name: &str, package: &Package) -> KrmAnswer<()> {
        // The data service refuses a package with several Deployment resources.
        let found = package.resolve(&deployment_resource::identifier());
        let found = found.ok().flatten();
        if !found.is_some_and(|resource| is_true(resource, APPROVED)) {
            return Ok(());
        }
        let target = RouteTarget::Subresource(self.resource, name.to_owned(), "approval");
        self.request.authorize(&target, "update").await
    }

    /// Checks the same for a package that is merged into that of a template.
    pub(super) async fn check_merged_approval(
        &self,
        name: &str,
        template: Option<&TemplateId>,
        package: &Package,
    ) -> KrmAnswer<()> {
        if self.request.delegated.is_none() {
            return Ok(());
        }
        let mut base = Package::default();
        if let Some(id) = template {
            match self.request.data.get(&Key::from(id), Want::PACKAGE).await {
                Ok(record) => base = record.package.unwrap_or_default(),
                // The data service refuses the write.
                Err(Error::NotFound(_)) => {}
                Err(error) => return Err(self.failed(name, &error)),
            }
        }
        let merged = merge(&base, package).map_err(|error| self.failed(name, &error))?;
        self.check_approval(name, &merged).await
    }
}
