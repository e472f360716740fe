//! Faults of the calls of users.

use crate::broken::Broken;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use std::sync::Arc;
use tko_core::{
    Bulk, DeploymentId, Error, Event, Expect, Facts, Key, Kind, List, NewDeployment, NewSite,
    NewTemplate, Package, Page, Record, Resource, Result, Select, Subject, Token, Version, Want,
    Watch,
};

fn changed(package: &Package, change: impl Fn(&mut Value)) -> Package {
    let values = package.iter().map(|resource| {
        let mut value = resource.value().clone();
        change(&mut value);
        value
    });
    Package::from_values(values).expect("it stays a package")
}

/// Turns numbers into floats, as many JSON systems do.
fn floated(value: &mut Value) {
    match value {
        Value::Number(number) => *value = json!(number.as_f64()),
        Value::Array(items) => items.iter_mut().for_each(floated),
        Value::Object(map) => map.values_mut().for_each(floated),
        _ => {}
    }
}

impl Broken {
    fn spoilt(&self, mut record: Record) -> Record {
        if let Some(package) = &record.package {
            if self.is("packages are reversed") {
                let mut resources: Vec<Arc<Resource>> = package.resources().to_vec();
                resources.reverse();
                record.package = Some(Package::new(resources).expect("it stays a package"));
            } else if self.is("numbers become floats") {
                record.package = Some(changed(package, floated));
            }
        }
        let entity = Arc::make_mut(&mut record.entity);
        if self.is("given metadata lose against the package") {
            entity.metadata = entity.metadata.overlaid(&entity.inherited);
        }
        if self.is("parents are lost")
            && let Facts::Deployment(deployment) = &mut entity.facts
        {
            deployment.parent = None;
        }
        record
    }

    pub(crate) fn selected(&self, select: &Select) -> Select {
        let mut select = select.clone();
        if self.is("executors do not filter") {
            select.executor = None;
        }
        if self.is("parents do not filter") {
            select.parent = None;
        }
        if self.is("entities under deletion are shown") {
            select.deleting = true;
        }
        select
    }

    pub(crate) async fn broken_template(&self, mut new: NewTemplate) -> Result<Version> {
        let key = Key::from(&new.id);
        let there = self.inner.get(&key, Want::ROW).await.is_ok();
        if self.is("an existing entity cannot be registered") && there {
            return Err(Error::AlreadyExists(key));
        }
        if self.is("expectations are ignored") {
            new.expect = Expect::Any;
        }
        if self.is("annotations are dropped") {
            new.package = changed(&new.package, |value| {
                value["metadata"]["annotations"] = Value::Null;
            });
        }
        let version = self.inner.register_template(new).await?;
        if self.is("deployments follow their template") {
            let list = List::new(Select::all(Kind::Deployment))
                .limit(0)
                .want(Want::PACKAGE);
            for record in self.inner.list(&list).await?.items {
                let id = record
                    .entity
                    .key
                    .deployment()
                    .expect("deployments are listed");
                let package = record.package.clone().unwrap_or_default();
                let noise = json!({"apiVersion": "v1", "kind": "New", "metadata": {"name": "n"}});
                let package = package.with(Arc::new(Resource::new(noise)?));
                self.inner
                    .update(id, record.entity.version, package)
                    .await?;
            }
        }
        Ok(version)
    }

    pub(crate) async fn broken_site(&self, mut new: NewSite) -> Result<Version> {
        if self.is("expectations are ignored") {
            new.expect = Expect::Any;
        }
        if self.is("sites ignore their template") {
            new.template = None;
        }
        match self.inner.register_site(new).await {
            Err(Error::Busy(_)) if self.is("an entity under deletion is registered") => {
                Ok(Version(1))
            }
            registered => registered,
        }
    }

    pub(crate) async fn broken_creation(&self, mut new: NewDeployment) -> Result<DeploymentId> {
        if self.is("deployments ignore their template") {
            new.template = None;
        }
        if self.is("given ids are ignored") {
            new.id = None;
        }
        if self.is("approved implies prepared") {
            new.prepared |= new.approved;
        }
        if self.is("a prepared deployment waits for a person") && new.prepared {
            new.merge = changed(&new.merge, |value| {
                value["metadata"]["annotations"] = Value::Null;
            });
        }
        if self.is("idempotency keys are ignored") {
            new.idempotency_key = None;
        }
        if self.is("keys of children can be taken") {
            new.idempotency_key = new.idempotency_key.map(|key| key.replace('|', "/").into());
        }
        let parent = new.parent.clone();
        match self.inner.create_deployment(new).await {
            Err(Error::BadArgument { .. }) if self.is("an unknown reference is not found") => {
                let missing = DeploymentId::new("missing").expect("an id");
                Err(Error::not_found(parent.unwrap_or(missing)))
            }
            made => made,
        }
    }

    pub(crate) async fn broken_get(&self, key: &Key, mut want: Want) -> Result<Record> {
        want.deleting |= self.is("entities under deletion are shown");
        want.kept &= !self.is("sites read unapproved edits");
        let record = self.inner.get(key, want).await?;
        Ok(self.spoilt(record))
    }

    pub(crate) async fn broken_list(&self, list: &List) -> Result<Page> {
        let mut list = list.clone().select(self.selected(&list.select));
        list.want.kept &= !self.is("sites read unapproved edits");
        if self.is("the cursor is ignored") {
            list.after = None;
        }
        let mut page = self.inner.list(&list).await?;
        let items = std::mem::take(&mut page.items);
        page.items = items
            .into_iter()
            .map(|record| self.spoilt(record))
            .collect();
        Ok(page)
    }

    pub(crate) async fn broken_delete(&self, key: &Key) -> Result<()> {
        if self.is("relations are not cleared") && key.kind() == Kind::Template {
            // Reports success without deleting anything.
            return match self.inner.get(key, Want::ROW).await {
                Ok(_) => Ok(()),
                Err(error) => Err(error),
            };
        }
        if self.is("deployments go with their parent")
            && let Key::Deployment(id) = key
        {
            let select = Select::all(Kind::Deployment).parent(id.clone());
            self.inner.purge(&select).await?;
        }
        match self.inner.delete(key).await {
            Err(Error::NotFound(_)) if self.is("deleting an absent entity succeeds") => Ok(()),
            deleted => deleted,
        }
    }

    pub(crate) async fn broken_delete_at(&self, key: &Key, expect: Version) -> Result<()> {
        if self.is("deletions ignore versions") {
            return self.inner.delete(key).await;
        }
        if self.is("a version is checked before the deletion") {
            let read = self.inner.get(key, Want::ROW).await?;
            if read.entity.version != expect {
                return Err(Error::Conflict(vec![key.clone()]));
            }
            tokio::task::yield_now().await;
            return self.inner.delete(key).await;
        }
        self.inner.delete_at(key, expect).await
    }

    pub(crate) async fn broken_approval(&self, select: &Select) -> Result<Bulk> {
        let mut select = select.clone();
        if self.is("everything is approved") {
            select.metadata.clear();
        }
        if self.is("other kinds are approved") && select.kind != Kind::Deployment {
            return Ok(Bulk::default());
        }
        if !self.is("a hundred are approved") {
            return self.inner.approve(&select).await;
        }
        let list = List::new(select).limit(100);
        let mut bulk = Bulk::default();
        for record in self.inner.list(&list).await?.items {
            let mut one = list.select.clone();
            one.ids = vec![tko_core::Pattern::literal(record.entity.key.id())];
            bulk.done += self.inner.approve(&one).await?.done;
        }
        Ok(bulk)
    }

    pub(crate) async fn broken_end(&self, token: &Token, mut package: Package) -> Result<Version> {
        if self.is("a removed template returns") {
            let old = self.inner.get(&token.key, Want::ROW).await?.entity;
            let named = old.template().map(ToString::to_string);
            package = changed(&package, |value| {
                if value["kind"] == "Deployment" {
                    value["spec"]["templateId"] = json!(named);
                }
            });
        }
        let ended = self.inner.end_modification(token, package).await;
        match ended {
            Err(error) if self.is("a refusal ends the modification") => {
                self.inner.cancel_modification(token).await?;
                Err(error)
            }
            Err(Error::ClaimExpired(key)) if self.is("an expired token is not found") => {
                Err(Error::NotFound(Subject::Claim(key)))
            }
            Err(Error::NotFound(Subject::Claim(key)))
                if self.is("an unknown token has expired") =>
            {
                Err(Error::ClaimExpired(key))
            }
            ended => ended,
        }
    }

    pub(crate) fn broken_watch(&self, mut watch: Watch) -> BoxStream<'static, Result<Event>> {
        if self.is("a watch ignores metadata filters") {
            watch.select.metadata.clear();
        }
        if self.is("joins are watched") {
            watch.select.template_metadata.clear();
            watch.select.site_metadata.clear();
        }
        if self.is("a watch begins one late") {
            watch.after.0 += 1;
        }
        if self.is("a watch begins ten late") {
            watch.after.0 += 10;
        }
        let stale = self.is("an entity that starts to match has not entered");
        if self.is("expired changes are skipped") {
            return resumed(self.inner.clone(), watch);
        }
        let events = self.inner.watch(watch).map(move |event| match event? {
            Event::Put {
                revision, record, ..
            } if stale => Ok(Event::Put {
                revision,
                record,
                entered: false,
            }),
            event => Ok(event),
        });
        events.boxed()
    }
}

/// Continues from the oldest position wherever the feed has expired.
fn resumed(inner: Arc<dyn tko_core::WorkerApi>, watch: Watch) -> BoxStream<'static, Result<Event>> {
    let events = inner.watch(watch.clone());
    events
        .flat_map(move |item| match item {
            Err(Error::Expired { oldest }) => {
                let after = oldest;
                resumed(inner.clone(), watch.clone().after(after))
            }
            item => stream::once(async { item }).boxed(),
        })
        .boxed()
}
