//! Changing a deployment's package: with its version, or under a modification's token.

use super::draft::{ChangeDraft, approval_condition, metadata};
use super::{Store, TRIES, unknown_reference, version_of};
use crate::annotation::APPROVED;
use crate::backend::Backend;
use crate::change::{Ack, Put, Require};
use crate::deployment_resource::{self, Split};
use crate::entity::{Deployment, Entity, Facts, Record, Want};
use crate::error::{Error, Result, Subject};
use crate::id::{DeploymentId, Key};
use crate::metadata::{Metadata, RESERVED};
use crate::package::Package;
use crate::revision::Version;
use crate::subscription;
use crate::work::Token;

impl<B: Backend + ?Sized> Store<B> {
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
        draft.put(Some(&before.entity), put);
        match self.commit(draft, Ack::Numbered).await {
            Ok(done) => Ok(version_of(&done, &key, Some(&before))),
            Err(error) => Err(unknown_reference(error, &key)),
        }
    }

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
            draft.put(Some(&before.entity), put);
            match self.commit(draft, Ack::Numbered).await {
                Ok(done) => return Ok(version_of(&done, key, Some(&before))),
                Err(Error::Conflict(keys)) if keys.contains(key) => {}
                Err(error) => return Err(unknown_reference(error, key)),
            }
        }
        Err(Error::Conflict(vec![key.clone()]))
    }

    /// Adds the put of a deployment's complete new package, after admission. New references are
    /// required to exist.
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
        let mut new = Deployment {
            // A package determines the relation from the moment it names another entity than
            // before.
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
            // Approving changed the fields beside the skeleton, and the package now has the same
            // values: no change.
            new.resource.clone_from(&old.resource);
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
        let conditions = approval_condition(entity, new.approved);
        Ok(Put {
            metadata: metadata(&entity.inherited, &whole, &entity.given).overlaid(&kept),
            conditions,
            facts: Facts::Deployment(Box::new(new)),
            body: Some(body),
            ..Put::of(entity)
        })
    }
}

/// The package, with the Deployment resource of before if it has none.
fn restored(package: &Package, old: &Deployment) -> Result<Package> {
    let lacks = package
        .position(&deployment_resource::identifier())?
        .is_none();
    Ok(if lacks {
        old.whole(package)
    } else {
        package.clone()
    })
}

/// Whether both show the same Deployment resource at the same position.
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
fn approval(old: &Deployment, prepared: bool, approved: bool) -> Result<bool> {
    if approved && !prepared && !old.approved {
        return Err(Error::bad(
            APPROVED,
            "a deployment cannot be approved while it is not prepared",
        ));
    }
    Ok(approved && prepared)
}
