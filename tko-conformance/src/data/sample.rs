//! Short constructors of resources and requests.

use serde_json::{Value, json};
use tko_core::{
    DeploymentId, Enqueue, Entity, Gvk, Key, Kind, Lane, NewDeployment, NewPlugin, NewSite,
    NewTemplate, Package, Pattern, PluginId, PluginType, Resource, Select, SiteId, Stage,
    TemplateId, deployment_resource,
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

/// A package of these resources.
pub(crate) fn named(resources: impl Into<Vec<Value>>) -> Package {
    Package::from_values(resources.into()).expect("each resource is identified and unique")
}

/// A `ConfigMap` with its own name as data.
pub(crate) fn config(name: &str) -> Value {
    config_of(name, name)
}

/// A `ConfigMap` with this data.
pub(crate) fn config_of(name: &str, says: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {"says": says},
    })
}

/// A resource that is only partially valid until `spec.value` is set.
pub(crate) fn need(name: &str, value: Option<&str>) -> Value {
    let mut need = json!({
        "apiVersion": "example.org/v1",
        "kind": "Need",
        "metadata": {"name": name, "annotations": {"nephio.org/merge": "Override"}},
        "spec": {},
    });
    if let Some(value) = value {
        need["spec"]["value"] = json!(value);
    }
    need
}

/// A resource that is never valid.
pub(crate) fn bad(name: &str) -> Value {
    json!({
        "apiVersion": "example.org/v1",
        "kind": "Thing",
        "metadata": {"name": name},
        "spec": {"bad": true},
    })
}

/// A resource whose spec becomes metadata: `KIND.KEY`.
pub(crate) fn facts(kind: &str, spec: Value) -> Value {
    let mut facts = json!({
        "apiVersion": "metadata.nephio.org/v1alpha1",
        "kind": kind,
        "metadata": {"name": "facts"},
    });
    facts["spec"] = spec;
    facts
}

/// A Deployment resource with this spec and these annotations.
pub(crate) fn deployment(spec: Value, annotations: Value) -> Value {
    let mut deployment = json!({
        "apiVersion": "deployment.nephio.org/v1alpha1",
        "kind": "Deployment",
        "metadata": {"name": "deployment"},
    });
    deployment["metadata"]["annotations"] = annotations;
    deployment["spec"] = spec;
    deployment
}

/// The resource with one annotation set.
pub(crate) fn annotated(mut resource: Value, name: &str, value: &str) -> Value {
    resource["metadata"]["annotations"][name] = json!(value);
    resource
}

/// The only Deployment resource of a whole package.
pub(crate) fn head_of(package: &Package) -> &Resource {
    let gvk = deployment_resource::identifier().gvk;
    let mut heads = package.iter().filter(|resource| *resource.gvk() == gvk);
    let head = heads.next().expect("there is a Deployment resource");
    assert!(heads.next().is_none(), "there is one only: {package:?}");
    head
}

/// The package with its Deployment resource changed.
pub(crate) fn with_head(package: &Package, change: impl Fn(&mut Value)) -> Package {
    let gvk = deployment_resource::identifier().gvk;
    let values = package.iter().map(|resource| {
        let mut value = resource.value().clone();
        if *resource.gvk() == gvk {
            change(&mut value);
        }
        value
    });
    Package::from_values(values).expect("it stays a package")
}

/// The package with a resource added, or replaced if one has its identifier.
pub(crate) fn with(package: &Package, resource: Value) -> Package {
    let resource = Resource::new(resource).expect("it is identified");
    package.with(std::sync::Arc::new(resource))
}

pub(crate) fn new_template(id: &str, resources: impl Into<Vec<Value>>) -> NewTemplate {
    NewTemplate::new(template_id(id), named(resources))
}

pub(crate) fn new_site(id: &str, resources: impl Into<Vec<Value>>) -> NewSite {
    NewSite::new(site_id(id), named(resources))
}

pub(crate) fn new_plugin(name: &str) -> NewPlugin {
    NewPlugin::new(
        PluginId::new(PluginType::Prepare, name).expect("the plugin name is valid"),
        "command".to_owned(),
    )
    .arguments(vec!["run".to_owned(), "-v".to_owned()])
    .properties([("key".to_owned(), "value".to_owned())].into())
    .triggers(vec![
        Gvk::new("", "v1", "Pod"),
        Gvk::new("g", "v1", "Thing"),
    ])
}

/// A deployment of a template.
pub(crate) fn of_template(id: &str) -> NewDeployment {
    NewDeployment::new().template(template_id(id))
}

/// A deployment on a site, prepared and approved already.
pub(crate) fn running_on(site: &str) -> NewDeployment {
    NewDeployment::new()
        .site(site_id(site))
        .prepared(true)
        .approved(true)
}

pub(crate) fn enqueue(stage: Stage, key: impl Into<Key>) -> Enqueue {
    Enqueue::now(stage, key, Lane::new(0))
}

pub(crate) fn all(kind: Kind) -> Select {
    Select::all(kind)
}

/// Selects by exactly this metadata value.
pub(crate) fn by(kind: Kind, key: &str, value: &str) -> Select {
    let pattern = Pattern::value(value).expect("the pattern is valid");
    all(kind).metadata_patterns([(key.to_owned(), pattern)].into())
}

/// The value of a metadata key.
pub(crate) fn value_of<'a>(entity: &'a Entity, key: &str) -> Option<&'a str> {
    entity.metadata.get(key)
}
