//! Short constructors of entities and change sets.

use serde_json::json;
use std::sync::Arc;
use tko_core::{
    Change, ChangeSet, Condition, Deployment, DeploymentId, Entity, Facts, Generation, Gvk, Key,
    Kind, Package, Pattern, Plugin, PluginId, PluginType, Put, Select, SiteId, TemplateId, Version,
    deployment_resource,
};

pub(crate) fn template_id(id: &str) -> TemplateId {
    TemplateId::new(id).expect("the template id is valid")
}

pub(crate) fn site_id(id: &str) -> SiteId {
    SiteId::new(id).expect("the site id is valid")
}

pub(crate) fn deployment_id(id: &str) -> DeploymentId {
    DeploymentId::new(id).expect("the deployment id is valid")
}

pub(crate) fn template(id: &str) -> Put {
    put(template_id(id), Facts::Template)
}

pub(crate) fn site(id: &str) -> Put {
    let facts = Facts::Site {
        template: None,
        origin: None,
    };
    put(site_id(id), facts)
}

pub(crate) fn deployment(id: &str) -> Put {
    let asked = deployment_resource::asked(None, None, false, false);
    let package = Package::new(vec![Arc::new(asked)]).expect("one resource");
    let head = deployment_resource::split(&package)
        .expect("it exists")
        .resource;
    let facts = Deployment::new(head);
    put(deployment_id(id), Facts::Deployment(Box::new(facts)))
}

pub(crate) fn plugin(plugin: PluginType, name: &str) -> Put {
    let facts = Plugin::default()
        .executor("command".to_owned())
        .triggers(vec![Gvk::new("example.org", "v1", name)]);
    let id = PluginId::new(plugin, name).expect("the plugin name is valid");
    put(id, Facts::Plugin(Arc::new(facts)))
}

fn put(key: impl Into<Key>, facts: Facts) -> Put {
    Put::new(key).facts(facts)
}

/// Short methods that set fields of a put.
pub(crate) trait PutBuilder: Sized {
    fn with_resources(self, names: &[&str]) -> Self;
    fn with_given(self, key: &str, value: &str) -> Self;
    fn with_inherited(self, key: &str, value: &str) -> Self;
    fn with_label(self, key: &str, value: &str) -> Self;
    fn template(self, id: &str) -> Self;
    fn site(self, id: &str) -> Self;
    fn parent(self, id: &str) -> Self;
    fn placed(self, id: &str) -> Self;
    fn placed_as_of(self, id: &str, generation: u64) -> Self;
    fn origin(self, version: u64) -> Self;
    fn idempotency_key(self, key: &str) -> Self;
    fn prepared(self) -> Self;
    fn approved(self) -> Self;
    fn being_deleted(self) -> Self;
    fn with_condition(self, condition: Condition) -> Self;
}

impl PutBuilder for Put {
    fn with_resources(self, names: &[&str]) -> Self {
        self.body(package(names))
    }

    fn with_given(mut self, key: &str, value: &str) -> Self {
        self.given.insert(key, value);
        self
    }

    fn with_inherited(mut self, key: &str, value: &str) -> Self {
        self.inherited.insert(key, value);
        self
    }

    fn with_label(mut self, key: &str, value: &str) -> Self {
        self.metadata.insert(key, value);
        self
    }

    fn template(mut self, id: &str) -> Self {
        match &mut self.facts {
            Facts::Site { template, .. } => *template = Some(template_id(id)),
            _ => return with(self, |d| d.template = Some(template_id(id))),
        }
        self
    }

    fn site(self, id: &str) -> Self {
        with(self, |d| d.site = Some(site_id(id)))
    }

    fn parent(self, id: &str) -> Self {
        with(self, |d| d.parent = Some(deployment_id(id)))
    }

    fn placed(self, id: &str) -> Self {
        self.placed_as_of(id, 1)
    }

    fn placed_as_of(self, id: &str, generation: u64) -> Self {
        with(self, |d| {
            d.placed = Some((site_id(id), Generation(generation)));
        })
    }

    fn origin(mut self, version: u64) -> Self {
        match &mut self.facts {
            Facts::Site { origin, .. } => *origin = Some(Version(version)),
            _ => return with(self, |d| d.origin = Some(Version(version))),
        }
        self
    }

    fn idempotency_key(self, key: &str) -> Self {
        with(self, |d| d.idempotency_key = Some(key.into()))
    }

    fn prepared(self) -> Self {
        with(self, |d| d.prepared = true)
    }

    fn approved(self) -> Self {
        with(self, |d| d.approved = true)
    }

    fn being_deleted(self) -> Self {
        self.deleting(true)
    }

    fn with_condition(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }
}

fn with(mut put: Put, change: impl FnOnce(&mut Deployment)) -> Put {
    match &mut put.facts {
        Facts::Deployment(deployment) => change(deployment),
        other => panic!("of deployments only, not of {other:?}"),
    }
    put
}

/// A package with one `ConfigMap` for each name.
pub(crate) fn package(names: &[&str]) -> Package {
    let resource = |name: &&str| {
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name},
            "data": {"name": name},
        })
    };
    Package::from_values(names.iter().map(resource)).expect("the names are unique")
}

/// A condition of this kind, status and reason.
pub(crate) fn condition(kind: &str, status: bool, reason: &str) -> Condition {
    Condition::new(kind, status, reason, "in words", Generation(1))
}

pub(crate) fn all(kind: Kind) -> Select {
    Select::all(kind)
}

pub(crate) fn id_pattern(text: &str) -> Pattern {
    Pattern::id(text).expect("the pattern is valid")
}

pub(crate) fn value_pattern(text: &str) -> Pattern {
    Pattern::value(text).expect("the pattern is valid")
}

/// The value of a metadata key.
pub(crate) fn value_of<'a>(entity: &'a Entity, key: &str) -> Option<&'a str> {
    entity.metadata.get(key)
}

/// A change set of these puts.
pub(crate) fn set(puts: impl IntoIterator<Item = Put>) -> ChangeSet {
    ChangeSet::new().changes(puts.into_iter().map(Change::Put).collect())
}

/// A change set of these changes.
pub(crate) fn changes(changes: impl IntoIterator<Item = Change>) -> ChangeSet {
    ChangeSet::new().changes(changes.into_iter().collect())
}

/// The key of a template.
pub(crate) fn t(id: &str) -> Key {
    Key::from(template_id(id))
}

/// The key of a site.
pub(crate) fn s(id: &str) -> Key {
    Key::from(site_id(id))
}

/// The key of a deployment.
pub(crate) fn d(id: &str) -> Key {
    Key::from(deployment_id(id))
}
