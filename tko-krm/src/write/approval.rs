//! The permission to approve a deployment by a write of an object itself.
//!
//! The annotation `nephio.org/approved` in its package approves a deployment, as the subresource
//! `approval` does, and `nephio.org/approve: Auto` lets the preparer do so. So a cluster must permit
//! all of them to the same users. A template may give `Auto` to its deployments, so a write of a
//! template is checked for it, too.

use super::Write;
use crate::failure::KrmAnswer;
use crate::resource::ResourceType;
use crate::route::RouteTarget;
use tko_core::annotation::{APPROVED, Approve, approve, is_true};
use tko_core::merge::merge;
use tko_core::{Error, Key, Kind, Package, Record, TemplateId, Want, deployment_resource};

impl Write<'_> {
    /// Checks that the user of a cluster may approve the deployment, if this package needs the
    /// permission. It does if it approves a deployment that was not approved, or if it says `Auto`
    /// and none of the packages `before` does.
    pub(super) async fn check_approval(
        &self,
        name: &str,
        package: &Package,
        before: &[&Package],
        was_approved: bool,
    ) -> KrmAnswer<()> {
        let approves = !was_approved && is_approved(package);
        let is_automatic = is_auto(package) && !before.iter().any(|before| is_auto(before));
        if !approves && !is_automatic {
            return Ok(());
        }
        let deployments = ResourceType::of(Kind::Deployment);
        // With a template, the package gets into deployments of any name.
        let is_deployment = self.resource.entity == Kind::Deployment;
        let name = if is_deployment { name } else { "" };
        let target = RouteTarget::Subresource(deployments, name.to_owned(), "approval");
        self.request.authorize(&target, "update").await
    }

    /// Makes the same check for a new package of an existing object. `is_applied` says whether the
    /// package is merged into that of the template.
    pub(super) async fn check_changed_approval(
        &self,
        name: &str,
        live: &Record,
        package: &Package,
        is_applied: bool,
    ) -> KrmAnswer<()> {
        let entity = &live.entity;
        let present = live.package.clone().unwrap_or_default();
        match (entity.key.kind(), entity.deployment()) {
            (Kind::Template, _) => self.check_approval(name, package, &[&present], true).await,
            (_, None) => Ok(()),
            (_, Some(deployment)) if is_applied => {
                let named = deployment.resource.template.as_ref();
                let template = deployment.template.as_ref().or(named);
                self.check_merged_approval(name, template, package, &present, deployment.approved)
                    .await
            }
            (_, Some(deployment)) => {
                self.check_approval(name, package, &[&present], deployment.approved)
                    .await
            }
        }
    }

    /// Makes the same check for a package that is merged into that of a template. `present` is the
    /// package that the deployment has.
    pub(super) async fn check_merged_approval(
        &self,
        name: &str,
        template: Option<&TemplateId>,
        package: &Package,
        present: &Package,
        was_approved: bool,
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
        self.check_approval(name, &merged, &[&base, present], was_approved)
            .await
    }
}

fn is_approved(package: &Package) -> bool {
    // The data service refuses a package with several Deployment resources.
    let found = package.resolve(&deployment_resource::identifier());
    let found = found.ok().flatten();
    found.is_some_and(|resource| is_true(resource, APPROVED))
}

/// Whether a Deployment resource says `Auto`. One of any name counts: a Placement can merge it into
/// its children under another name.
fn is_auto(package: &Package) -> bool {
    let kind = deployment_resource::identifier().gvk;
    package
        .of(&kind)
        .any(|resource| approve(resource) == Approve::Auto)
}
