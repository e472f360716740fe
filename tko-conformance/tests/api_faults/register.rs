//! Faults of registrations.

use crate::broken::Broken;
use crate::packages::changed;
use serde_json::{Value, json};
use std::sync::Arc;
use tko_core::{
    Error, Expect, Key, Kind, List, Metadata, NewPlugin, NewSite, NewTemplate, Package, Resource,
    Result, Select, Stage, Version, Want,
};

impl Broken {
    pub(crate) async fn broken_template(&self, mut new: NewTemplate) -> Result<Version> {
        let key = Key::from(&new.id);
        let there = self.inner.get(&key, Want::ROW).await.is_ok();
        if self.is("an existing entity cannot be registered") && there {
            return Err(Error::AlreadyExists(key));
        }
        if self.is("a deleted id stays taken") {
            let last = self.inner.history(&key, None, 1).await?;
            if last.iter().any(|change| change.after.is_none()) {
                return Err(Error::Busy(key));
            }
        }
        if self.is("expectations are ignored") {
            new.expect = Expect::Any;
        }
        if self.is("annotations are dropped") {
            new.package = changed(&new.package, |value| {
                value["metadata"]["annotations"] = Value::Null;
            });
        }
        if self.is("leaves become JSON") {
            new.metadata = json_leaves(&new.package).overlaid(&new.metadata);
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
        let key = Key::from(&new.id);
        let there = self.inner.get(&key, Want::ROW).await.is_ok();
        if self.is("a site is deleted before it is registered again") && there {
            self.inner.delete(&key).await?;
        }
        let registered = self.inner.register_site(new).await;
        if self.is("every registration makes the site due") {
            self.make_due(Stage::Schedule, &key).await?;
        }
        match registered {
            Err(Error::Busy(_)) if self.is("an entity under deletion is registered") => {
                Ok(Version(1))
            }
            registered => registered,
        }
    }

    pub(crate) async fn broken_plugin(&self, mut new: NewPlugin) -> Result<Version> {
        if self.is("arguments are lost") {
            new.arguments.clear();
        }
        if self.is("an executor may be empty") && new.executor.is_empty() {
            new.executor.push('?');
        }
        self.inner.register_plugin(new).await
    }
}

/// The values of each `spec` as JSON, without looking into them.
fn json_leaves(package: &Package) -> Metadata {
    let mut leaves = Metadata::default();
    for resource in package {
        let spec = resource.get(&["spec"]).and_then(Value::as_object);
        for (key, value) in spec.into_iter().flatten() {
            let key = format!("{}.{key}", resource.gvk().kind);
            leaves.insert(key, value.to_string());
        }
    }
    leaves
}
