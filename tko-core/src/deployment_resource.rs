//! The Deployment resource: the part of a deployment's package that lives in its row.
//!
//! Each deployment's package has exactly one `deployment.nephio.org/v1alpha1` Deployment named
//! `deployment`. Four facts of the deployment are written there: its template, its site, and
//! whether it is prepared and approved.
//!
//! The row keeps this resource apart from the body, as a [`DeploymentResource`]: the facts, and a
//! *skeleton* in which the facts are blanked. All deployments of a template can share a skeleton.
//! Approving or moving a deployment therefore changes no body, and the bodies of a fleet are equal.
//!
//! [`split`] takes a package apart, and [`join`] reassembles it. If no fact changed, the result is
//! identical.
//!
//! ```
//! use tko_core::{Package, SiteId, deployment_resource};
//!
//! let site = SiteId::new("south-100")?;
//! let resource = deployment_resource::asked(None, Some(&site), true, false);
//! let package = Package::new(vec![resource.into()])?;
//! let split = deployment_resource::split(&package)?;
//! assert_eq!(split.resource.site, Some(site));
//! assert!(split.body.is_empty());
//!
//! let joined =
//!     deployment_resource::join(&split.resource, split.prepared, split.approved, &split.body);
//! assert_eq!(joined, package);
//! # Ok::<(), tko_core::Error>(())
//! ```

use crate::annotation::{self, APPROVED, PREPARED};
use crate::approved_package;
use crate::builder::chainable;
use crate::error::{Error, Result};
use crate::id::{SiteId, TemplateId};
use crate::merge::overlay;
use crate::package::Package;
use crate::resource::{Gvk, Identifier, Resource, map_in};
use serde_json::{Map, Value, json};
use std::sync::{Arc, LazyLock};

/// The placeholder of a fact in a skeleton. No id and no annotation value can be this text.
const BLANK: &str = "\0";

/// The identifier of the Deployment resource. As a reference it has no namespace, because a function
/// may have set one.
pub fn identifier() -> Identifier {
    Identifier::new(
        Gvk::new("deployment.nephio.org", "v1alpha1", "Deployment"),
        "deployment",
    )
}

/// The index of the Deployment resource in a package, whatever its namespace; `None` if the package
/// has none.
///
/// # Errors
/// [`Error::BadArgument`]: the package has several. A reference without a namespace would denote
/// the one without a namespace, and the annotations of the others would have no effect.
pub(crate) fn place(package: &Package) -> Result<Option<usize>> {
    let own = identifier();
    let mut places = package
        .iter()
        .enumerate()
        .filter(|(_, resource)| {
            let found = resource.identifier();
            found.gvk == own.gvk && found.name == own.name
        })
        .map(|(at, _)| at);
    let first = places.next();
    if places.next().is_some() {
        return Err(Error::bad(
            "package",
            "has several Deployment resources named deployment; keep one",
        ));
    }
    Ok(first)
}

/// The Deployment resource in parts: the skeleton, its place in the package, and the ids in it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DeploymentResource {
    /// The resource with the four facts blanked if they are plain text.
    pub skeleton: Arc<Resource>,
    /// The index of the resource in the whole package.
    pub at: usize,
    /// The id in `spec.templateId`. The relation may have been cleared since.
    pub template: Option<TemplateId>,
    /// The id in `spec.siteId`. The relation may have been cleared since.
    pub site: Option<SiteId>,
}

impl DeploymentResource {
    /// A resource from its parts; backends decode them.
    pub fn new(skeleton: Arc<Resource>, at: usize) -> Self {
        Self {
            skeleton,
            at,
            template: None,
            site: None,
        }
    }

    chainable! {
        /// Sets the index of the resource in the whole package.
        at: usize;
        /// Sets the template that the resource names.
        template: into Option<TemplateId>;
        /// Sets the site that the resource names.
        site: into Option<SiteId>;
    }

    /// The whole Deployment resource, with its facts.
    pub fn to_resource(&self, prepared: bool, approved: bool) -> Arc<Resource> {
        let filled = self.skeleton.edited_shallowly(|content| {
            fill_id(
                content,
                "templateId",
                self.template.as_ref().map(TemplateId::as_str),
            );
            fill_id(content, "siteId", self.site.as_ref().map(SiteId::as_str));
            fill_mark(content, PREPARED, prepared);
            fill_mark(content, APPROVED, approved);
        });
        Arc::new(filled.expect("facts do not touch what identifies the resource"))
    }
}

/// A Deployment resource at the start of the package that names nothing.
impl Default for DeploymentResource {
    fn default() -> Self {
        static PLAIN: LazyLock<Arc<Resource>> =
            LazyLock::new(|| Arc::new(asked(None, None, false, false)));
        Self::new(PLAIN.clone(), 0)
    }
}

/// Creates the resource that overlays the Deployment resource of a new deployment. It has only the
/// facts that the request for the creation sets.
pub fn asked(
    template: Option<&TemplateId>,
    site: Option<&SiteId>,
    prepared: bool,
    approved: bool,
) -> Resource {
    let mut content = json!({
        "apiVersion": "deployment.nephio.org/v1alpha1",
        "kind": "Deployment",
        "metadata": {"name": "deployment"},
        "spec": {},
    });
    if let Value::Object(content) = &mut content {
        let spec = map_in(content, "spec");
        if let Some(id) = template {
            spec.insert("templateId".to_owned(), json!(id.as_str()));
        }
        if let Some(id) = site {
            spec.insert("siteId".to_owned(), json!(id.as_str()));
        }
        for (name, wanted) in [(PREPARED, prepared), (APPROVED, approved)] {
            if wanted {
                map_in(map_in(content, "metadata"), "annotations")
                    .insert(name.to_owned(), json!("true"));
            }
        }
    }
    Resource::new(content).expect("it is identified above")
}

/// The parts of a deployment's package.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Split {
    /// The part that is kept in the row.
    pub resource: DeploymentResource,
    /// Whether the annotation `nephio.org/prepared` is `true`.
    pub prepared: bool,
    /// Whether the annotation `nephio.org/approved` is `true`.
    pub approved: bool,
    /// The other resources.
    pub body: Package,
}

/// Splits a whole package into the Deployment resource and the body.
///
/// # Errors
/// [`Error::BadArgument`]: the package has no Deployment resource, or several; an id in it is
/// malformed; or it has a resource that only TKO itself writes.
pub fn split(package: &Package) -> Result<Split> {
    if let Some(internal) = package.iter().find(|r| approved_package::is_internal(r)) {
        return Err(Error::bad(
            "package",
            format!(
                "has {} ({}), which only TKO itself writes; leave it out",
                internal.identifier(),
                internal.gvk()
            ),
        ));
    }
    let at = place(package)?.ok_or_else(|| Error::bad("package", "has no Deployment resource"))?;
    let resource = &package.resources()[at];
    let template = named(resource, "templateId")?
        .map(|id| TemplateId::new(&id))
        .transpose()?;
    let site = named(resource, "siteId")?
        .map(|id| SiteId::new(&id))
        .transpose()?;
    let skeleton = blanked(resource);
    let mut body = package.resources().to_vec();
    body.remove(at);
    Ok(Split {
        prepared: annotation::is_true(resource, PREPARED),
        approved: annotation::is_true(resource, APPROVED),
        resource: DeploymentResource {
            skeleton,
            at,
            template,
            site,
        },
        body: Package::unchecked(body),
    })
}

/// Joins the parts that [`split`] made. Leaves out what TKO itself adds to a stored body.
pub fn join(
    resource: &DeploymentResource,
    prepared: bool,
    approved: bool,
    body: &Package,
) -> Package {
    let mut resources = Vec::with_capacity(body.len() + 1);
    resources.extend_from_slice(approved_package::visible(body));
    let at = resource.at.min(resources.len());
    resources.insert(at, resource.to_resource(prepared, approved));
    Package::unchecked(resources)
}

fn named(resource: &Resource, field: &str) -> Result<Option<String>> {
    match resource.get(&["spec", field]) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) if id.is_empty() => Ok(None),
        Some(Value::String(id)) => Ok(Some(id.clone())),
        Some(other) => Err(Error::bad(
            "package",
            format!(
                "{}: spec.{field} is {other}, not an id in text",
                resource.identifier()
            ),
        )),
    }
}

fn blanked(resource: &Arc<Resource>) -> Arc<Resource> {
    let skeleton = resource.edited_shallowly(|content| {
        if let Some(spec) = content.get_mut("spec").and_then(Value::as_object_mut) {
            blank(spec, "templateId", |id| !id.is_empty());
            blank(spec, "siteId", |id| !id.is_empty());
        }
        let annotations = content
            .get_mut("metadata")
            .and_then(|metadata| metadata.get_mut("annotations"))
            .and_then(Value::as_object_mut);
        if let Some(annotations) = annotations {
            for name in [PREPARED, APPROVED] {
                blank(annotations, name, |value| matches!(value, "true" | "false"));
            }
        }
    });
    Arc::new(skeleton.expect("facts do not touch what identifies the resource"))
}

fn blank(map: &mut Map<String, Value>, key: &str, plain: fn(&str) -> bool) {
    if let Some(Value::String(text)) = map.get_mut(key)
        && plain(text)
    {
        BLANK.clone_into(text);
    }
}

fn fill_id(content: &mut Map<String, Value>, field: &str, id: Option<&str>) {
    let Some(id) = id else { return };
    map_in(content, "spec").insert(field.to_owned(), json!(id));
}

fn fill_mark(content: &mut Map<String, Value>, name: &str, value: bool) {
    let said = content
        .get("metadata")
        .and_then(|metadata| metadata.get("annotations"))
        .and_then(|annotations| annotations.get(name));
    // A value in another form, such as a boolean or an absent one, stays as long as it is correct.
    let right = match said {
        Some(Value::String(text)) if text == BLANK => false,
        Some(Value::String(text)) => (text == "true") == value,
        Some(Value::Bool(said)) => *said == value,
        _ => !value,
    };
    if !right {
        let text = if value { "true" } else { "false" };
        map_in(map_in(content, "metadata"), "annotations").insert(name.to_owned(), json!(text));
    }
}

/// Overlays the Deployment resource of a package with `asked`, or appends it.
///
/// # Errors
/// [`Error::BadArgument`]: the package has several Deployment resources.
pub fn merged(package: &Package, asked: &Resource) -> Result<Package> {
    let mut resources = package.resources().to_vec();
    match place(package)? {
        Some(at) => {
            let Value::Object(over) = asked.value() else {
                unreachable!("a resource is a map")
            };
            resources[at] = Arc::new(resources[at].edited_shallowly(|under| overlay(under, over))?);
        }
        None => resources.push(Arc::new(Resource::new(asked.value().clone())?)),
    }
    Ok(Package::unchecked(resources))
}
