//! Storing objects as entities.

use super::patching::Changed;
use super::{Write, desired, preview};
use crate::desired::{self, Desired, key_of};
use crate::failure::{KrmAnswer, KrmFailure, StatusCause};
use crate::managed::{self, Manager};
use crate::names::{self, Named};
use crate::object;
use crate::read::{WHOLE, alias};
use crate::resource::GROUP;
use crate::stored::{NAME, StoredMetadata};
use serde_json::Value;
use std::sync::Arc;
use tko_core::api::approve_one;
use tko_core::metadata::RESERVED;
use tko_core::{
    DataApi, Deployment, DeploymentId, EntityUpdate, Error, Expect, Key, Kind, Metadata,
    NewDeployment, NewPlugin, NewSite, NewTemplate, Package, PackageUpdate, Record, SiteId,
    TemplateId, Want, deployment_resource,
};

/// The changes of an entity.
struct EntityChanges {
    package: Option<Package>,
    metadata: Option<Metadata>,
    is_applied: bool,
}

impl Write<'_> {
    /// The API that stores: in a dry run, one that only checks.
    fn data(&self) -> KrmAnswer<Arc<dyn DataApi>> {
        let data = self.request.data.clone();
        if !self.options.dry_run {
            return Ok(data);
        }
        data.dry_run().ok_or_else(|| {
            KrmFailure::invalid_options("dryRun", "this data service has no dry runs")
        })
    }

    pub(super) fn failed(&self, name: &str, error: &Error) -> Box<KrmFailure> {
        KrmFailure::from_error(error, self.resource, name)
    }

    /// Stores a new object, and returns it as it is stored.
    pub(super) async fn store_new(
        &self,
        name: &str,
        object: &Value,
        managers: &[Manager],
    ) -> KrmAnswer<Value> {
        let named = key_of(self.resource, name).map_err(|cause| self.invalid(name, vec![cause]))?;
        let (key, is_alias) = match named {
            Named::Key(key) => (key, false),
            Named::Alias => (Key::from(&self.context.ids.next()), true),
        };
        let known = (!is_alias).then_some(&key);
        let desired = self.compute(|| desired(self, name, known, object)).await?;
        let stored = StoredMetadata {
            annotations: desired.annotations.clone(),
            finalizers: desired.finalizers.clone(),
            owners: desired.owners.clone(),
            managers: managers.iter().map(Manager::to_value).collect(),
            generate_name: desired.generate_name.clone(),
            deletion: None,
            labels: desired.labels.literal.clone(),
            asked: desired.package.as_ref().map(desired::hash),
        };
        let mut given: Metadata = desired.labels.metadata.clone().into_iter().collect();
        stored.write_into(&mut given);
        if is_alias {
            given.insert(NAME, name);
        }
        let data = self.data()?;
        let package = desired.package.clone().unwrap_or_default();
        match self.resource.entity {
            Kind::Deployment => {
                let (template, none) = (desired.template.as_ref(), Package::default());
                self.check_merged_approval(name, template, &package, &none, false)
                    .await?;
            }
            // Only a deployment can be approved, but it can inherit how.
            Kind::Template => self.check_approval(name, &package, &[], true).await?,
            Kind::Site | Kind::Plugin => {}
        }
        let done = match &key {
            Key::Template(id) => {
                let new = NewTemplate::new(id.clone(), package).metadata(given);
                let done = data.register_template(new.expect(Expect::Absent)).await;
                done.map(|_| ())
            }
            Key::Site(id) => {
                let new = NewSite::new(id.clone(), package)
                    .template(desired.template.clone())
                    .metadata(given);
                let done = data.register_site(new.expect(Expect::Absent)).await;
                done.map(|_| ())
            }
            Key::Plugin(id) => {
                let new =
                    plugin(NewPlugin::new(id.clone(), &desired.executor), &desired).metadata(given);
                let done = data.register_plugin(new.expect(Expect::Absent)).await;
                done.map(|_| ())
            }
            Key::Deployment(id) => {
                let new = NewDeployment::new()
                    .id(id.clone())
                    .template(desired.template.clone())
                    .site(desired.site.clone())
                    .parent(desired.parent.clone())
                    .metadata(given)
                    .merge(package);
                create_deployment(&*data, name, id, new, is_alias).await
            }
        };
        match done {
            Err(Error::Busy(_)) => {
                let why = "object is being deleted: it already exists";
                return Err(KrmFailure::conflict(self.resource, name, why));
            }
            done => done.map_err(|error| self.failed(name, &error))?,
        }
        if self.options.dry_run {
            let id = self.context.ids.next();
            return Ok(preview::of_new(name, object, managers, &id, &self.now()));
        }
        self.read_back(name, &key).await
    }

    /// Stores a changed object, and returns it as it is stored.
    pub(super) async fn store_change(
        &self,
        name: &str,
        live: &Record,
        changed: Changed,
    ) -> KrmAnswer<Value> {
        let entity = &live.entity;
        let key = Some(&entity.key);
        let desired = self.compute(|| desired(self, name, key, &changed.object));
        let desired = desired.await?;
        self.check_immutable(name, live, &desired).await?;
        let old = StoredMetadata::of(entity);
        if entity.deleting {
            let why = "the object is being deleted, and TKO is removing it from its site";
            return Err(KrmFailure::conflict(self.resource, name, why));
        }
        if old.deletion.is_some() {
            self.check_finalizers(name, &old, &desired)?;
            if desired.finalizers.is_empty() {
                return self.finish_deletion(name, live).await;
            }
        }
        let present = live.package.clone().unwrap_or_default();
        let package = desired
            .package
            .clone()
            .filter(|package| *package != present);
        if let Some(package) = &package {
            self.check_changed_approval(name, live, package, changed.is_applied)
                .await?;
        }
        let mut stored = StoredMetadata {
            annotations: desired.annotations.clone(),
            finalizers: desired.finalizers.clone(),
            owners: desired.owners.clone(),
            labels: desired.labels.literal.clone(),
            ..old.clone()
        };
        if let Some(package) = &package {
            // An edited package is the user's own work: the next apply replaces it.
            stored.asked = changed.is_applied.then(|| desired::hash(package));
        }
        if !managed::same(&managed::parse(&old.managers), &changed.managers) {
            stored.managers = changed.managers.iter().map(Manager::to_value).collect();
        }
        let given =
            given(live, &present, &desired, &stored).map_err(|error| self.failed(name, &error))?;
        let changes = EntityChanges {
            package,
            metadata: (given != entity.given).then_some(given),
            is_applied: changed.is_applied,
        };
        let data = self.data()?;
        let Some(done) = write_changes(&*data, live, &desired, changes).await else {
            return Ok(object::object(live));
        };
        done.map_err(|error| self.failed(name, &error))?;
        if self.options.dry_run {
            return Ok(preview::of_change(live, &changed));
        }
        self.read_back(name, &entity.key).await
    }

    async fn check_immutable(&self, name: &str, live: &Record, desired: &Desired) -> KrmAnswer<()> {
        let Some(deployment) = live.entity.deployment() else {
            return Ok(());
        };
        let restored = restored_template(deployment, desired);
        if let Some(id) = restored {
            let found = self.request.data.get(&Key::from(id), Want::ROW).await;
            if let Err(Error::NotFound(_)) = found {
                let why = format!(
                    "the template {:?} was deleted, so that the deployment no longer refers to it; \
                     create the template again, or leave the field out",
                    id.as_str()
                );
                let cause = StatusCause::forbidden("spec.templateId", why);
                return Err(self.invalid(name, vec![cause]));
            }
            found.map_err(|error| self.failed(name, &error))?;
        }
        let mut causes = Vec::new();
        let mut check = |field: &str, same: bool| {
            if !same {
                causes.push(StatusCause::forbidden(
                    format!("spec.{field}"),
                    "cannot change; delete the deployment and create another",
                ));
            }
        };
        let template = desired.template.as_ref();
        check(
            "templateId",
            template.is_none() || template == deployment.template.as_ref() || restored.is_some(),
        );
        let parent = desired.parent.as_ref();
        check(
            "parentDeploymentId",
            parent.is_none() || parent == deployment.parent.as_ref(),
        );
        if causes.is_empty() {
            Ok(())
        } else {
            Err(self.invalid(name, causes))
        }
    }

    fn check_finalizers(
        &self,
        name: &str,
        old: &StoredMetadata,
        desired: &Desired,
    ) -> KrmAnswer<()> {
        let mut finalizers = desired.finalizers.iter();
        let Some(added) = finalizers.find(|one| !old.finalizers.contains(one)) else {
            return Ok(());
        };
        let why =
            format!("no new finalizers can be added if the object is being deleted: {added:?}");
        let cause = StatusCause::forbidden("metadata.finalizers", why);
        Err(self.invalid(name, vec![cause]))
    }

    /// Deletes an object whose last finalizer was removed.
    async fn finish_deletion(&self, name: &str, live: &Record) -> KrmAnswer<Value> {
        let mut object = object::object(live);
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.shift_remove("finalizers");
        }
        if !self.options.dry_run {
            // At the version that was read: others may have added a finalizer since then.
            let entity = &live.entity;
            let done = self.request.data.delete_at(&entity.key, entity.version);
            done.await.map_err(|error| self.failed(name, &error))?;
        }
        Ok(object)
    }

    /// Approves a deployment.
    pub(super) async fn store_approval(&self, name: &str, live: &Record) -> KrmAnswer<Value> {
        let entity = &live.entity;
        match approve_one(&*self.request.data, entity).await {
            Ok(()) => self.read_back(name, &entity.key).await,
            // Its new state decides whether it can be approved.
            Err(error @ (Error::Conflict(_) | Error::NotFound(_))) => {
                Err(self.failed(name, &error).raced())
            }
            Err(Error::Forbidden(_)) => {
                let plural = self.resource.plural;
                let why = format!(
                    "{plural}.{GROUP} {name:?} is forbidden: the caller's role does not cover its approval"
                );
                Err(KrmFailure::forbidden(why).about(self.resource, name))
            }
            Err(error) => Err(self.failed(name, &error)),
        }
    }

    async fn read_back(&self, name: &str, key: &Key) -> KrmAnswer<Value> {
        let read = self.request.data.get(key, WHOLE).await;
        read.map(|record| object::object(&record))
            .map_err(|error| self.failed(name, &error))
    }
}

/// The template that a deployment is to refer to again: its deletion cleared the relation, and the
/// package still names it.
fn restored_template<'a>(deployment: &Deployment, desired: &'a Desired) -> Option<&'a TemplateId> {
    let template = desired.template.as_ref();
    template.filter(|id| {
        deployment.template.is_none() && deployment.resource.template.as_ref() == Some(*id)
    })
}

/// Creates a deployment. If its name differs from its id, the name is also the idempotency key, so
/// that no two deployments can have the same name.
async fn create_deployment(
    data: &dyn DataApi,
    name: &str,
    id: &DeploymentId,
    mut new: NewDeployment,
    is_alias: bool,
) -> Result<(), Error> {
    let taken = || Error::AlreadyExists(Key::from(id));
    if is_alias {
        if alias(data, name).await?.is_some() {
            return Err(taken());
        }
        new = new.idempotency_key(format!("kubernetes/{name}"));
    }
    let created = data.create_deployment(new).await?;
    if created == *id { Ok(()) } else { Err(taken()) }
}

/// Writes the changes of an entity in one commit; `None` if there are none.
async fn write_changes(
    data: &dyn DataApi,
    live: &Record,
    desired: &Desired,
    changes: EntityChanges,
) -> Option<Result<(), Error>> {
    let entity = &live.entity;
    let expect = entity.version;
    let EntityChanges {
        package,
        metadata,
        is_applied,
    } = changes;
    let present = || live.package.clone().unwrap_or_default();
    let package = match &entity.key {
        Key::Plugin(id) => {
            let new = plugin(NewPlugin::new(id.clone(), &desired.executor), desired);
            let same = entity.plugin().is_some_and(|facts| {
                facts.executor == new.executor
                    && facts.arguments == new.arguments
                    && facts.properties == new.properties
                    && facts.triggers == new.triggers
            });
            if !same {
                let given = metadata.unwrap_or_else(|| entity.given.clone());
                let new = new.metadata(given).expect(Expect::At(expect));
                return Some(data.register_plugin(new).await.map(|_| ()));
            }
            // A registration is admitted again, which may refuse what earlier versions stored.
            None
        }
        Key::Site(id) => {
            let moved = entity.template() != desired.template.as_ref();
            if moved || (is_applied && package.is_some()) {
                let given = metadata.unwrap_or_else(|| entity.given.clone());
                let new = NewSite::new(id.clone(), package.unwrap_or_else(present))
                    .template(desired.template.clone())
                    .metadata(given)
                    .expect(Expect::At(expect));
                return Some(data.register_site(new).await.map(|_| ()));
            }
            package.map(PackageUpdate::Replace)
        }
        Key::Template(_) => package.map(PackageUpdate::Replace),
        Key::Deployment(_) => {
            let site = entity.deployment().and_then(|d| d.site.as_ref());
            let moved = (site != desired.site.as_ref()).then_some(desired.site.as_ref());
            let is_restored = entity
                .deployment()
                .is_some_and(|deployment| restored_template(deployment, desired).is_some());
            match package {
                Some(package) if is_applied => Some(PackageUpdate::Merge {
                    package,
                    site: desired.site.clone(),
                }),
                None if moved.is_none() && !is_restored => None,
                package => match on_site(package.unwrap_or_else(present), &present(), moved) {
                    Ok(package) => Some(PackageUpdate::Replace(package)),
                    Err(error) => return Some(Err(error)),
                },
            }
        }
    };
    if metadata.is_none() && package.is_none() {
        return None;
    }
    let update = EntityUpdate::new(&entity.key, expect)
        .metadata(metadata)
        .package(package);
    Some(data.update_entity(update).await.map(|_| ()))
}

/// The metadata to give to an entity: its labels, except those that it already inherits, and the
/// metadata that labels cannot express.
///
/// # Errors
/// As [`Metadata::gather`].
fn given(
    live: &Record,
    package: &Package,
    desired: &Desired,
    stored: &StoredMetadata,
) -> Result<Metadata, Error> {
    let entity = &live.entity;
    let old = &entity.given;
    let base = entity.inherited.overlaid(&Metadata::gather(package)?);
    let before = StoredMetadata::of(entity);
    let is_shown = |key: &str, value: &str| {
        let one = Metadata::from_iter([(key, value)]);
        !names::labels(&one, &before).is_empty()
    };
    let labels = desired
        .labels
        .metadata
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .filter(|(key, value)| old.contains_key(key) || base.get(key) != Some(*value));
    let hidden = old
        .iter()
        .filter(|(key, value)| key.starts_with(RESERVED) || !is_shown(key, value));
    let mut given: Metadata = hidden.chain(labels).collect();
    stored.write_into(&mut given);
    Ok(given)
}

fn plugin(new: NewPlugin, desired: &Desired) -> NewPlugin {
    new.arguments(desired.arguments.clone())
        .properties(desired.properties.clone())
        .triggers(desired.triggers.clone())
}

/// The package of a deployment, whose Deployment resource names this site; `None` leaves it
/// unchanged. A package without a Deployment resource gets that of `present`.
#[expect(clippy::option_option, reason = "no change differs from no site")]
fn on_site(
    package: Package,
    present: &Package,
    site: Option<Option<&SiteId>>,
) -> Result<Package, Error> {
    let Some(site) = site else {
        return Ok(package);
    };
    let own = deployment_resource::identifier();
    let resource = match package.resolve(&own)? {
        Some(resource) => Some(resource),
        None => present.resolve(&own)?,
    };
    let Some(resource) = resource else {
        let asked = deployment_resource::asked(None, site, false, false);
        return deployment_resource::merged(&package, &asked);
    };
    let moved = resource.edited(|content| {
        let spec = tko_core::resource::map_in(content, "spec");
        match site {
            Some(site) => {
                spec.insert("siteId".to_owned(), site.as_str().into());
            }
            None => {
                spec.shift_remove("siteId");
            }
        }
    })?;
    Ok(package.with(Arc::new(moved)))
}
