//! The resource types of the API: their names, and the kinds of entities behind them.

use tko_core::Kind;

/// The API group.
pub const GROUP: &str = "tko.nephio.org";
/// The version of the API.
pub const VERSION: &str = "v1alpha1";
/// The `apiVersion` of every object.
pub const API_VERSION: &str = "tko.nephio.org/v1alpha1";

/// A resource type.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ResourceType {
    /// The kind of entity.
    pub(crate) entity: Kind,
    /// The Kubernetes kind, such as `Template`.
    pub(crate) name: &'static str,
    /// The name in paths, such as `templates`.
    pub(crate) plural: &'static str,
    /// The name for people, such as `template`.
    pub(crate) singular: &'static str,
    /// The description of the type, for `kubectl explain`.
    pub(crate) description: &'static str,
}

/// All resource types.
pub(crate) static RESOURCES: [ResourceType; 4] = [
    ResourceType {
        entity: Kind::Deployment,
        name: "Deployment",
        plural: "deployments",
        singular: "deployment",
        description: "Deployment is a package that is prepared for a site, and placed there once it is \
                      approved.",
    },
    ResourceType {
        entity: Kind::Plugin,
        name: "Plugin",
        plural: "plugins",
        singular: "plugin",
        description: "Plugin is a program that prepares, schedules or validates resources, or a catalog or \
                      an inventory.",
    },
    ResourceType {
        entity: Kind::Site,
        name: "Site",
        plural: "sites",
        singular: "site",
        description: "Site is a place where deployments run, such as a cluster.",
    },
    ResourceType {
        entity: Kind::Template,
        name: "Template",
        plural: "templates",
        singular: "template",
        description: "Template is a package from which deployments and sites are made.",
    },
];

impl ResourceType {
    /// The type with this name in paths.
    pub(crate) fn find(plural: &str) -> Option<&'static Self> {
        RESOURCES.iter().find(|resource| resource.plural == plural)
    }

    /// The type of a kind of entities.
    pub(crate) fn of(entity: Kind) -> &'static Self {
        match entity {
            Kind::Deployment => &RESOURCES[0],
            Kind::Plugin => &RESOURCES[1],
            Kind::Site => &RESOURCES[2],
            Kind::Template => &RESOURCES[3],
        }
    }

    /// The kind of a list, such as `TemplateList`.
    pub(crate) fn list_name(&self) -> String {
        format!("{}List", self.name)
    }

    /// The subresources that are served.
    pub(crate) fn subresources(&self) -> &'static [&'static str] {
        match self.entity {
            Kind::Deployment => &["approval", "status"],
            Kind::Plugin | Kind::Site | Kind::Template => &[],
        }
    }
}
