//! Changing a deployment's package: with its version, or under a modification's token.
//!
//! - `replace_package` is optimistic: the caller names the version that it read. It does not retry,
//!   because another version means that the caller has not seen the current package.
//! - `commit_modification` is exclusive: nobody else can have changed the package, so it retries
//!   when other parts of the row changed.
//!
//! Both make the new row by `draft_package`, as does a prepare step.
//!
//! # Relations
//!
//! A package *names* a template and a site in its Deployment resource. The row keeps the
//! *relations* to them separately, because deleting a template or site clears the relation but
//! leaves the package alone. A new package changes a relation only if it names another entity than
//! the old package. So a package that still names a deleted template or site is accepted. Once that
//! is registered again, the next package that names it restores the relation.
//!
//! The template is the origin of the content, so a new package cannot name another one. It must
//! name the template as long as the relation exists.
//!
//! # Approval
//!
//! Only a prepared deployment can be approved. A package that removes the `prepared` annotation of
//! an approved deployment also withdraws the approval. `edit` has the rules for people.

use super::draft::{ChangeDraft, approval_condition, metadata, prepared_condition};
use super::edit::{check_template, draft_edit};
use super::{Store, TRIES, unknown_reference, version_of};
use crate::annotation::APPROVED;
use crate::approved_package::{self, ApprovedPackage};
use crate::backend::Backend;
use crate::change::{Ack, Put, Require};
use crate::deployment_resource::{self, Split};
use crate::entity::{Deployment, Entity, Facts, Record, Want};
use crate::error::{Error, Result, Subject};
use crate::id::{DeploymentId, Key, TemplateId};
use crate::limits;
use crate::metadata::{Metadata, RESERVED};
use crate::package::Package;
use crate::revision::Version;
use crate::subscription;
use crate::work::Token;

impl<B: Backend + ?Sized> Store<B> {
    /// Replaces the package of a deployment that still has the version `expect`. Returns the new
    /// version, or `expect` if the package is the same as before.
    ///
    /// # Errors
    /// - `NotFound`: the deployment does not exist, or is being deleted.
    /// - `Conflict`: it has another version, at the read or at the commit.
    /// - `Busy`: it is under a modification.
    /// - `BadArgument`: as `draft_package`; or a newly named template or site does not exist.
    pub(super) async fn replace_package(
        &self,
        id: &DeploymentId,
        expect: Version,
        package: &Package,
    ) -> Result<Version> {
        let key = Key::from(id);
        let before = self
            .find(&key, Want::PACKAGE)
            .await?
            .filter(|record| !record.entity.deleting)
            .ok_or_else(|| Error::not_found(&key))?;
        if before.entity.version != expect {
            return Err(Error::Conflict(vec![key]));
        }
        let mut draft = ChangeDraft::because("modified");
        draft.require(Require::At(key.clone(), expect));
        let put = self.draft_package(&mut draft, &before, package).await?;
        draft_edit(&mut draft, &before, put);
        match self.commit(draft, Ack::Numbered).await {
            Ok(done) => Ok(version_of(&done, &key, Some(&before))),
            Err(error) => Err(unknown_reference(error, &key)),
        }
    }

    /// Commits the package of a modification, which ends with the commit. Returns the new version.
    ///
    /// If the package is refused, nothing is committed, so the modification stays open.
    ///
    /// # Errors
    /// - `NotFound` (of the claim): the token is unknown, or its key is not that of an existing
    ///   deployment.
    /// - `ClaimExpired`: the modification has expired.
    /// - `Conflict`: other parts of the row kept changing for all attempts.
    /// - `BadArgument`: as `draft_package`; or a newly named template or site does not exist.
    pub(super) async fn commit_modification(
        &self,
        token: &Token,
        package: &Package,
    ) -> Result<Version> {
        let key = &token.key;
        // The modification excludes other packages, but not other changes of the row, such as
        // conditions and placement. So each attempt uses the current version.
        for _ in 0..TRIES {
            let before = self
                .find(key, Want::PACKAGE)
                .await?
                .filter(|record| record.entity.deployment().is_some())
                .ok_or_else(|| Error::NotFound(Subject::Claim(key.clone())))?;
            let mut draft = ChangeDraft::because("modified");
            draft.set.under = Some(token.clone());
            draft.require(Require::At(key.clone(), before.entity.version));
            let put = self.draft_package(&mut draft, &before, package).await?;
            draft_edit(&mut draft, &before, put);
            match self.commit(draft, Ack::Numbered).await {
                Ok(done) => return Ok(version_of(&done, key, Some(&before))),
                Err(Error::Conflict(keys)) if keys.contains(key) => {}
                Err(error) => return Err(unknown_reference(error, key)),
            }
        }
        Err(Error::Conflict(vec![key.clone()]))
    }

    /// Makes the put of a deployment's complete new package, after admission. New references are
    /// required to exist.
    ///
    /// The caller adds the put to the draft, with a precondition on the row. A package without a
    /// Deployment resource keeps the old Deployment resource. The `origin` is kept as long as the
    /// package names the same template.
    ///
    /// # Errors
    /// - `BadArgument`: the entity is not a deployment, or the package is not admitted. Also if the
    ///   Deployment resource is malformed, or is approved but not prepared, or if there are
    ///   several; and as `check_template`.
    /// - Any error of the admission.
    pub(super) async fn draft_package(
        &self,
        draft: &mut ChangeDraft,
        before: &Record,
        package: &Package,
    ) -> Result<Put> {
        let entity = &before.entity;
        let old = entity
            .deployment()
            .ok_or_else(|| Error::bad("id", format!("{} is not a deployment", entity.key)))?;
        let Split {
            resource: head,
            prepared,
            approved,
            body,
        } = deployment_resource::split(&restored(package, old)?)?;
        check_template(head.template.as_ref(), old)?;
        let mut new = Deployment {
            // A package determines the relation once it names another entity than before.
            template: related(
                head.template.as_ref(),
                old.resource.template.as_ref(),
                old.template.as_ref(),
            ),
            origin: old
                .origin
                .filter(|_| head.template == old.resource.template),
            site: related(
                head.site.as_ref(),
                old.resource.site.as_ref(),
                old.site.as_ref(),
            ),
            prepared,
            approved: approval(old, prepared, approved)?,
            resource: head,
            ..old.clone()
        };
        if shows_the_same(&new, old) {
            // Approving changed the fields that are stored next to the skeleton, and the package
            // now has the same values: no change.
            new.resource.clone_from(&old.resource);
        }
        new.template = self.present_template(&new).await?;
        // The named site was deleted, which cleared the relation, and may be registered again.
        if new.site.is_none()
            && let Some(id) = &new.resource.site
            && let Some(site) = self.find(&Key::from(id), Want::ROW).await?
            && !site.entity.deleting
        {
            new.site = Some(id.clone());
        }
        if new.template != old.template
            && let Some(id) = &new.template
        {
            draft.refer(id.into());
        }
        if new.site != old.site
            && let Some(id) = &new.site
        {
            draft.refer(id.into());
        }
        let whole = new.whole(&body);
        self.admit(&whole, new.prepared).await?;
        let kept = kept_subscriptions(entity, new.prepared);
        let mut conditions = approval_condition(entity, new.approved);
        conditions.extend(prepared_condition(entity, new.prepared));
        let put = Put {
            metadata: metadata(&entity.inherited, &whole, &entity.given)?.overlaid(&kept),
            conditions,
            facts: Facts::Deployment(Box::new(new)),
            body: Some(with_kept(before, body)),
            ..Put::of(entity)
        };
        limits::check(&put)?;
        Ok(put)
    }

    /// The template of a deployment; also the one that its package names, if that was deleted, which
    /// cleared the relation, and is registered again.
    pub(super) async fn present_template(
        &self,
        deployment: &Deployment,
    ) -> Result<Option<TemplateId>> {
        let (None, Some(named)) = (&deployment.template, &deployment.resource.template) else {
            return Ok(deployment.template.clone());
        };
        let found = self.find(&Key::from(named), Want::ROW).await?;
        let is_present = found.is_some_and(|record| !record.entity.deleting);
        Ok(is_present.then(|| named.clone()))
    }
}

/// The new body, with the approved package that the site may keep, if there is one. If the resources are
/// the same as before, the body is the same, too, so that nothing changes.
fn with_kept(before: &Record, new: Package) -> Package {
    let Some(old) = &before.package else {
        return new;
    };
    if approved_package::visible(old) == new.resources() {
        return old.clone();
    }
    match ApprovedPackage::needed(&before.entity, old) {
        Some(kept) => kept.added_to(&new),
        None => new,
    }
}

/// The package, with the old Deployment resource if it has none.
///
/// # Errors
/// `BadArgument`: the package has several Deployment resources.
fn restored(package: &Package, old: &Deployment) -> Result<Package> {
    let lacks = deployment_resource::place(package)?.is_none();
    Ok(if lacks {
        old.whole(package)
    } else {
        package.clone()
    })
}

/// Whether both show the same Deployment resource at the same position, although they store it
/// differently.
///
/// This happens after a bulk approval, which sets the fact in the row and leaves the skeleton
/// alone. The client then reads a whole package with the annotation, and sends it back unchanged.
fn shows_the_same(new: &Deployment, old: &Deployment) -> bool {
    let seen = |deployment: &Deployment| {
        let Deployment {
            resource: head,
            prepared,
            approved,
            ..
        } = deployment;
        head.to_resource(*prepared, *approved)
    };
    new.resource.at == old.resource.at && new.resource != old.resource && seen(new) == seen(old)
}

/// The subscriptions to keep: persistent ones and, until the deployment is prepared, all others.
///
/// Reserved keys that are not subscriptions are kept as well, because TKO itself writes them.
fn kept_subscriptions(entity: &Entity, prepared: bool) -> Metadata {
    let mut kept = entity.metadata.clone();
    kept.retain(|key, _| {
        key.starts_with(RESERVED)
            && (!prepared
                || !subscription::is_subscription(key)
                || subscription::is_persistent(key))
    });
    kept
}

/// The relation after a new package: the named entity if the package names another one than before,
/// otherwise the relation as it is.
///
/// - `named` is the entity that the new package names, and `named_before` that of the old one.
/// - `relation` is the relation of the row, which may have been cleared since.
fn related<T: Clone + PartialEq>(
    named: Option<&T>,
    named_before: Option<&T>,
    relation: Option<&T>,
) -> Option<T> {
    if named == named_before {
        relation.cloned()
    } else {
        named.cloned()
    }
}

/// The new approval. Removing `prepared` also removes `approved`; setting `approved` without it is
/// an error.
///
/// # Errors
/// `BadArgument`: the package approves a deployment that is neither prepared nor approved before.
fn approval(old: &Deployment, prepared: bool, approved: bool) -> Result<bool> {
    if approved && !prepared && !old.approved {
        return Err(Error::bad(
            APPROVED,
            "a deployment cannot be approved while it is not prepared",
        ));
    }
    Ok(approved && prepared)
}
