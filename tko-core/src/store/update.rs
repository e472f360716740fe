//! Changing parts of an existing entity: its given metadata, its package, or both in one commit.
//!
//! Unlike a registration, an update keeps the relations of the entity, and merges nothing unless it
//! is asked to. The caller names the version that it read; nothing is retried.

use super::draft::{ChangeDraft, inheritable, metadata};
use super::edit::draft_edit;
use super::register::body_of;
use super::{Store, unknown_reference, version_of};
use crate::api::{EntityUpdate, PackageUpdate};
use crate::backend::Backend;
use crate::change::{Ack, Put, Require};
use crate::deployment_resource;
use crate::entity::{Record, Want};
use crate::error::{Error, Result};
use crate::id::{Key, Kind, SiteId};
use crate::limits;
use crate::merge::merge;
use crate::metadata::{Metadata, RESERVED};
use crate::package::Package;
use crate::revision::Version;
use crate::site_scheduler::carried;

impl<B: Backend + ?Sized> Store<B> {
    /// Changes the given metadata and the package of an entity that still has the version
    /// `expect`. Returns the new version, or `expect` if nothing changes.
    ///
    /// # Errors
    /// - `NotFound`: the entity does not exist, or is being deleted.
    /// - `Conflict`: it has another version, at the read or at the commit.
    /// - `Busy`: it is under a modification.
    /// - `BadArgument`: the package is not admitted; or the entity is a plugin, which has no
    ///   package.
    pub(super) async fn change_entity(&self, update: EntityUpdate) -> Result<Version> {
        let key = update.key;
        let before = self
            .find(&key, Want::PACKAGE)
            .await?
            .filter(|record| !record.entity.deleting)
            .ok_or_else(|| Error::not_found(&key))?;
        if before.entity.version != update.expect {
            return Err(Error::Conflict(vec![key]));
        }
        let mut draft = ChangeDraft::because("modified");
        draft.require(Require::At(key.clone(), update.expect));
        let mut put = match update.package {
            None => Put::of(&before.entity),
            Some(PackageUpdate::Replace(package)) => {
                self.draft_replacement(&mut draft, &before, package).await?
            }
            Some(PackageUpdate::Merge { package, site }) => {
                self.draft_restart(&mut draft, &before, &package, site.as_ref())
                    .await?
            }
        };
        if let Some(given) = update.metadata {
            set_given(&mut put, &before, given)?;
        }
        if key.kind() == Kind::Site {
            let package = put.body.clone().unwrap_or_else(|| body_of(&before));
            put.given = carried(Some(&before), &package, put.given);
        }
        limits::check(&put)?;
        draft_edit(&mut draft, &before, put);
        match self.commit(draft, Ack::Numbered).await {
            Ok(done) => Ok(version_of(&done, &key, Some(&before))),
            Err(error) => Err(unknown_reference(error, &key)),
        }
    }

    /// Makes the put of a new package that replaces the old one.
    ///
    /// # Errors
    /// `BadArgument`: as `change_entity`.
    async fn draft_replacement(
        &self,
        draft: &mut ChangeDraft,
        before: &Record,
        package: Package,
    ) -> Result<Put> {
        let entity = &before.entity;
        let complete = match entity.key.kind() {
            Kind::Deployment => return self.draft_package(draft, before, &package).await,
            Kind::Template => false,
            Kind::Site => true,
            Kind::Plugin => {
                return Err(Error::bad(
                    "package",
                    format!("{} has no package; leave it out", entity.key),
                ));
            }
        };
        self.admit(&package, complete).await?;
        Ok(Put {
            metadata: metadata(&entity.inherited, &package, &entity.given)?,
            body: Some(package),
            ..Put::of(entity)
        })
    }

    /// Makes the put of a deployment that starts again, as if it were created with this package.
    ///
    /// # Errors
    /// - `BadArgument`: the entity is not a deployment; the packages cannot be merged; or as
    ///   `draft_package`.
    async fn draft_restart(
        &self,
        draft: &mut ChangeDraft,
        before: &Record,
        package: &Package,
        site: Option<&SiteId>,
    ) -> Result<Put> {
        let entity = &before.entity;
        let Some(deployment) = entity.deployment() else {
            return Err(Error::bad(
                "package",
                format!(
                    "{} is not a deployment: replace its package, or register it again",
                    entity.key
                ),
            ));
        };
        let (mut base, mut inherited, mut origin) = (Package::default(), None, None);
        let present = self.present_template(deployment).await?;
        if let Some(id) = &present {
            let template = self.template(draft, id).await?;
            base = body_of(&template);
            inherited = Some(inheritable(&template.entity));
            origin = Some(template.entity.version);
        }
        let asked = deployment_resource::asked(present.as_ref(), site, false, false);
        let merged = deployment_resource::merged(&merge(&base, package)?, &asked)?;
        let mut put = self.draft_package(draft, before, &merged).await?;
        if let (Some(inherited), crate::entity::Facts::Deployment(facts)) =
            (inherited, &mut put.facts)
        {
            facts.origin = origin;
            put.metadata = metadata(&inherited, &merged, &put.given)?
                .overlaid(&kept(&put.metadata, &Metadata::default()));
            put.inherited = inherited;
        }
        Ok(put)
    }
}

/// Sets the given metadata of a put, and the metadata that selections see.
///
/// # Errors
/// As [`metadata`].
fn set_given(put: &mut Put, before: &Record, given: Metadata) -> Result<()> {
    let body = put.body.clone().unwrap_or_else(|| body_of(before));
    let whole = match &put.facts {
        crate::entity::Facts::Deployment(deployment) => deployment.whole(&body),
        _ => body,
    };
    let kept = kept(&put.metadata, &put.given);
    put.metadata = metadata(&put.inherited, &whole, &given)?.overlaid(&kept);
    put.given = given;
    Ok(())
}

/// The reserved keys that TKO itself writes.
fn kept(metadata: &Metadata, given: &Metadata) -> Metadata {
    let mut kept = metadata.clone();
    kept.retain(|key, _| key.starts_with(RESERVED) && !given.contains_key(key));
    kept
}

impl<B: Backend + ?Sized> Store<B> {
    /// Checks the preconditions of a set that will not be committed.
    ///
    /// # Errors
    /// `NotFound`, `AlreadyExists` or `Conflict`: as a commit of the set.
    pub(super) async fn check_requirements(&self, requirements: &[Require]) -> Result<()> {
        for require in requirements {
            let key: &Key = require.key();
            let found = self.find(key, Want::ROW).await?;
            let present = found.as_ref().filter(|record| !record.entity.deleting);
            match require {
                Require::Absent(_) if found.is_some() => {
                    return Err(Error::AlreadyExists(key.clone()));
                }
                Require::Exists(_) if present.is_none() => return Err(Error::not_found(key)),
                Require::At(_, version) | Require::Current(_, version) => match &found {
                    None => return Err(Error::not_found(key)),
                    Some(record) if record.entity.version != *version => {
                        return Err(Error::Conflict(vec![key.clone()]));
                    }
                    Some(_) => {}
                },
                _ => {}
            }
        }
        Ok(())
    }
}
