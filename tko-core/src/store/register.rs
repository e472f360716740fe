//! Registering templates, sites and plugins: one operation creates and replaces.
//!
//! Each registration checks the new state, reads the existing entity, and commits a put. The put
//! requires that the entity is still as it was read. It replaces the body, the facts and the
//! metadata. Its conditions stay, and so do the relations of other entities to it.
//!
//! [`Expect`] says which state the caller requires before the registration:
//!
//! - `Any`: the caller requires no state, so a concurrent change is not a conflict. The store reads
//!   again and replaces the newer state.
//! - `Absent`, `At`: a concurrent change of the entity is reported to the caller.
//!
//! Deployments and sites that were made from a template do not change when it is replaced: each
//! keeps the package that it was made with.

use super::draft::{ChangeDraft, inheritable, keep_private, metadata};
use super::{Store, TRIES, unknown_reference, version_of};
use crate::api::{Expect, NewPlugin, NewSite, NewTemplate};
use crate::backend::Backend;
use crate::change::{Ack, Put, Require};
use crate::deployment_resource;
use crate::entity::{Facts, Plugin, Record, Want};
use crate::error::{Error, Result};
use crate::id::{Key, PluginType};
use crate::limits;
use crate::merge::merge;
use crate::metadata::Metadata;
use crate::package::Package;
use crate::resource::Gvk;
use crate::revision::Version;
use crate::site_scheduler::carried;
use std::sync::Arc;

impl<B: Backend + ?Sized> Store<B> {
    /// Creates or replaces a template, and returns its version. The package may be incomplete.
    ///
    /// The package is admitted once, before the first attempt, because admission does not depend on
    /// the existing template.
    ///
    /// # Errors
    /// - `BadArgument`: the package is not admitted.
    /// - `Conflict`: the template kept changing for all attempts.
    /// - As `expected`.
    pub(super) async fn put_template(&self, new: NewTemplate) -> Result<Version> {
        self.admit(&new.package, false).await?;
        let key = Key::from(&new.id);
        let put = Put {
            key: key.clone(),
            inherited: Metadata::default(),
            given: new.metadata.clone(),
            metadata: metadata(&Metadata::default(), &new.package, &new.metadata)?,
            facts: Facts::Template,
            deleting: false,
            beside_modification: false,
            conditions: Vec::new(),
            body: Some(new.package),
        };
        limits::check(&put)?;
        for _ in 0..TRIES {
            let mut draft = ChangeDraft::because("registered");
            let before = self.expected(&mut draft, &key, new.expect).await?;
            let put = Put {
                given: keep_private(before.as_ref(), &new.metadata),
                ..put.clone()
            };
            draft.put(before.as_ref().map(|r| &*r.entity), put);
            match self.commit(draft, Ack::Numbered).await {
                Ok(done) => return Ok(version_of(&done, &key, before.as_ref())),
                Err(error) => moved(error, &key, new.expect)?,
            }
        }
        Err(Error::Conflict(vec![key]))
    }

    /// Creates or replaces a site, and returns its version.
    ///
    /// Each attempt merges the site with its template again, because the template may have been
    /// registered again. A conflict on the template is retried whatever the caller expects of the
    /// site.
    ///
    /// # Errors
    /// - `Conflict`: the site or its template kept changing for all attempts.
    /// - As `draft_site`.
    pub(super) async fn put_site(&self, new: NewSite) -> Result<Version> {
        let key = Key::from(&new.id);
        for _ in 0..TRIES {
            let mut draft = ChangeDraft::because("registered");
            let before = self.draft_site(&mut draft, &new).await?;
            match self.commit(draft, Ack::Numbered).await {
                Ok(done) => return Ok(version_of(&done, &key, before.as_ref())),
                Err(Error::Conflict(keys)) if !keys.contains(&key) => {}
                Err(error) => moved(unknown_reference(error, &key), &key, new.expect)?,
            }
        }
        Err(Error::Conflict(vec![key]))
    }

    /// Creates or replaces a plugin, and returns its version.
    ///
    /// # Errors
    /// - `BadArgument`: the executor is empty, a trigger lacks a version or kind or never triggers
    ///   the plugin, or the plugin is not admitted.
    /// - `Busy`: the plugin is being deleted.
    /// - `Conflict`: the plugin kept changing for all attempts.
    /// - As `expected`.
    pub(super) async fn put_plugin(&self, new: NewPlugin) -> Result<Version> {
        if new.executor.is_empty() {
            return Err(Error::bad(
                "executor",
                format!("plugin {} has none; name one, such as command", new.id),
            ));
        }
        for trigger in &new.triggers {
            trigger.check_trigger()?;
            check_is_prepared(new.id.plugin_type(), trigger)?;
        }
        self.admission.admit_plugin(&new).await?;
        let key = Key::from(&new.id);
        let facts = Facts::Plugin(Arc::new(Plugin {
            executor: new.executor,
            arguments: new.arguments,
            properties: new.properties,
            triggers: new.triggers,
        }));
        for _ in 0..TRIES {
            let mut draft = ChangeDraft::because("registered");
            let before = self.expected(&mut draft, &key, new.expect).await?;
            let put = Put {
                key: key.clone(),
                inherited: Metadata::default(),
                given: keep_private(before.as_ref(), &new.metadata),
                metadata: metadata(&Metadata::default(), &Package::default(), &new.metadata)?,
                facts: facts.clone(),
                deleting: false,
                beside_modification: false,
                conditions: Vec::new(),
                body: None,
            };
            limits::check(&put)?;
            draft.put(before.as_ref().map(|r| &*r.entity), put);
            match self.commit(draft, Ack::Numbered).await {
                Ok(done) => return Ok(version_of(&done, &key, before.as_ref())),
                Err(error) => moved(error, &key, new.expect)?,
            }
        }
        Err(Error::Conflict(vec![key]))
    }

    /// Adds the put of a site, merged with its template. Returns the existing site.
    ///
    /// The package of the site is merged into that of the template, and the result must be
    /// complete. The site inherits the template's metadata, apart from reserved keys and those of
    /// the template's provenance, and records the template's version as its `origin`. A prepare
    /// step registers sites by this function, too.
    ///
    /// # Errors
    /// - `BadArgument`: the template does not exist; the packages cannot be merged; or the result
    ///   is not admitted.
    /// - As `expected`.
    pub(super) async fn draft_site(
        &self,
        draft: &mut ChangeDraft,
        new: &NewSite,
    ) -> Result<Option<Record>> {
        let key = Key::from(&new.id);
        let before = self.expected(draft, &key, new.expect).await?;
        let mut package = new.package.clone();
        let mut inherited = Metadata::default();
        let mut origin = None;
        if let Some(id) = &new.template {
            let template = self.template(draft, id).await?;
            package = merge(&body_of(&template), &package)?;
            inherited = inheritable(&template.entity);
            origin = Some(template.entity.version);
        }
        self.admit(&package, true).await?;
        let put = Put {
            key,
            metadata: metadata(&inherited, &package, &new.metadata)?,
            inherited,
            given: carried(
                before.as_ref(),
                &package,
                keep_private(before.as_ref(), &new.metadata),
            ),
            facts: Facts::Site {
                template: new.template.clone(),
                origin,
            },
            deleting: false,
            beside_modification: false,
            conditions: Vec::new(),
            body: Some(package),
        };
        limits::check(&put)?;
        draft.put(before.as_ref().map(|r| &*r.entity), put);
        Ok(before)
    }

    /// Reads the existing entity with its body, and requires that it does not change.
    ///
    /// If there is none, it returns `None` and requires that the entity still does not exist.
    ///
    /// # Errors
    /// - `Busy`: the entity is being deleted. Its id is free once the deletion has finished.
    /// - `AlreadyExists`: the entity exists, and must be absent.
    /// - `Conflict`: the entity has another version than it must have.
    /// - `NotFound`: the entity does not exist, and must have a version.
    pub(super) async fn expected(
        &self,
        draft: &mut ChangeDraft,
        key: &Key,
        expect: Expect,
    ) -> Result<Option<Record>> {
        let before = self.find(key, Want::PACKAGE).await?;
        match (&before, expect) {
            (Some(record), _) if record.entity.deleting => {
                return Err(Error::Busy(key.clone()));
            }
            (Some(_), Expect::Absent) => return Err(Error::AlreadyExists(key.clone())),
            (Some(record), Expect::At(version)) if record.entity.version != version => {
                return Err(Error::Conflict(vec![key.clone()]));
            }
            (None, Expect::At(_)) => return Err(Error::not_found(key)),
            (Some(record), _) => draft.require(Require::At(key.clone(), record.entity.version)),
            (None, _) => draft.require(Require::Absent(key.clone())),
        }
        Ok(before)
    }
}

/// Refuses a trigger of a prepare plugin that would never be called for it.
///
/// # Errors
/// `BadArgument`: it is the kind of the Deployment resource, which has no preparers.
fn check_is_prepared(plugin: PluginType, trigger: &Gvk) -> Result<()> {
    let own = deployment_resource::identifier().gvk;
    if plugin == PluginType::Prepare && *trigger == own {
        return Err(Error::bad(
            "trigger",
            format!(
                "{own} never triggers a prepare plugin, because its mark says that the whole package \
                 is prepared; name the kind of another resource"
            ),
        ));
    }
    Ok(())
}

/// The package of a record that was read with its package; empty if the record has none.
pub(super) fn body_of(record: &Record) -> Package {
    record.package.clone().unwrap_or_default()
}

/// Whether to read again: the entity changed, and the caller expects no particular state.
///
/// `Ok` means to read again.
///
/// # Errors
/// The error for the caller. `NotFound` becomes `Conflict` if the caller requires a version,
/// because the entity existed when it was read.
fn moved(error: Error, key: &Key, expect: Expect) -> Result<()> {
    let moved = matches!(
        &error,
        Error::Conflict(_) | Error::AlreadyExists(_) | Error::NotFound(_)
    );
    if moved && expect == Expect::Any {
        return Ok(());
    }
    // The expected state changed between the read and the commit.
    match (error, expect) {
        (Error::NotFound(_), Expect::At(_)) => Err(Error::Conflict(vec![key.clone()])),
        (error, _) => Err(error),
    }
}
