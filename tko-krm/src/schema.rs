//! The schemas of objects: one source for OpenAPI, field validation and server-side apply.

use crate::resource::ResourceType;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;
use tko_core::Kind;

/// The schema of `metadata`.
static OBJECT_META: LazyLock<Value> = LazyLock::new(object_meta_schema);

/// The schemas of whole objects, in the order of [`Kind::ALL`], with `metadata` inlined.
static OBJECTS: LazyLock<[Value; 4]> = LazyLock::new(|| {
    Kind::ALL.map(|kind| object_schema(ResourceType::of(kind), OBJECT_META.clone()))
});

/// The schema of the objects of a kind, without references.
pub(crate) fn schema(kind: Kind) -> &'static Value {
    match kind {
        Kind::Template => &OBJECTS[0],
        Kind::Site => &OBJECTS[1],
        Kind::Deployment => &OBJECTS[2],
        Kind::Plugin => &OBJECTS[3],
    }
}

/// The schema of `metadata`.
pub(crate) fn object_meta() -> &'static Value {
    &OBJECT_META
}

/// The schema of an object, with this schema as that of `metadata`.
#[expect(
    clippy::needless_pass_by_value,
    reason = "calls read like the JSON that they make"
)]
pub(crate) fn object_schema(resource: &ResourceType, metadata: Value) -> Value {
    json!({
        "type": "object",
        "description": resource.description,
        "properties": {
            "apiVersion": text("APIVersion is the group and version: tko.nephio.org/v1alpha1."),
            "kind": text("Kind is the type of the object."),
            "metadata": metadata,
            "spec": spec(resource.entity),
            "status": status(resource.entity),
        },
    })
}

fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

fn boolean(description: &str) -> Value {
    json!({"type": "boolean", "description": description})
}

fn number(description: &str) -> Value {
    json!({"type": "integer", "format": "int64", "description": description})
}

fn date(description: &str) -> Value {
    json!({"type": "string", "format": "date-time", "description": description})
}

fn text_map(description: &str) -> Value {
    json!({
        "type": "object",
        "description": description,
        "additionalProperties": {"type": "string", "default": ""},
    })
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "calls read like the JSON that they make"
)]
fn object(description: &str, properties: Value) -> Value {
    json!({"type": "object", "description": description, "properties": properties})
}

fn spec(kind: Kind) -> Value {
    let (description, own) = match kind {
        Kind::Template => (
            "Spec is the template.",
            json!({"templateId": text("TemplateId is the id of the template. It determines the name and cannot change.")}),
        ),
        Kind::Site => (
            "Spec is the site.",
            json!({
                "siteId": text("SiteId is the id of the site. It determines the name and cannot change."),
                "templateId": text("TemplateId is the id of the template into whose package this package is merged."),
            }),
        ),
        Kind::Deployment => (
            "Spec is what to deploy, and where.",
            json!({
                "deploymentId": text("DeploymentId is the id of the deployment. TKO chooses it unless the name is a possible id."),
                "parentDeploymentId": text("ParentDeploymentId is the id of the deployment whose preparation created this one. It cannot change."),
                "templateId": text("TemplateId is the id of the template whose package the deployment starts with. It cannot change."),
                "siteId": text("SiteId is the id of the site where it will run."),
            }),
        ),
        Kind::Plugin => (
            "Spec is the plugin.",
            json!({
                "type": text("Type is prepare, schedule, validate, catalog or inventory. With the plugin's id it determines the name and cannot change."),
                "pluginId": text("PluginId is the name of the plugin among those of its type. It cannot change."),
                "executor": text("Executor is the executor that runs the plugin, such as command."),
                "arguments": json!({
                    "type": "array",
                    "description": "Arguments are given to the executor.",
                    "items": {"type": "string", "default": ""},
                    "x-kubernetes-list-type": "atomic",
                }),
                "properties": text_map("Properties configure the executor, if their names begin with _, and the plugin."),
                "triggers": json!({
                    "type": "array",
                    "description": "Triggers are the kinds of resources that the plugin is called for.",
                    "items": object("A kind of resources.", json!({
                        "group": text("Group is the API group; empty for the core group."),
                        "version": text("Version is the version of the API."),
                        "kind": text("Kind is the kind of the resources."),
                    })),
                    "x-kubernetes-list-type": "atomic",
                }),
            }),
        ),
    };
    let mut schema = object(description, own);
    if kind != Kind::Plugin {
        let description = match kind {
            Kind::Deployment => {
                "Package is the package as it is now. Applying a package merges it into that of the \
                 template; editing it changes it as it is."
            }
            Kind::Site => "Package is the package, merged into that of the template.",
            Kind::Template | Kind::Plugin => "Package is the package.",
        };
        schema["properties"]["package"] = object(
            description,
            json!({"resources": {
                "type": "array",
                "description": "Resources are Kubernetes resources of any kind.",
                "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "x-kubernetes-list-type": "atomic",
            }}),
        );
    }
    schema
}

fn status(kind: Kind) -> Value {
    let condition = object(
        "A condition.",
        json!({
            "type": text("Type is the type of the condition, such as Prepared."),
            "status": text("Status is True, False or Unknown."),
            "reason": text("Reason is one word for programs."),
            "message": text("Message says what happened, to which thing, and what to do."),
            "observedGeneration": number("ObservedGeneration is the generation that the condition is about."),
            "lastTransitionTime": date("LastTransitionTime is when the status last changed."),
        }),
    );
    let mut properties = json!({
        "conditions": {
            "type": "array",
            "description": "Conditions say what stops progress, and what to do.",
            "items": condition,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
    });
    properties["metadata"] = text_map(
        "Metadata is all metadata by which TKO selects: inherited from the template, gathered from \
         the package, and given by labels, or by the sync of a catalog or an inventory.",
    );
    if kind == Kind::Deployment {
        properties["prepared"] = boolean("Prepared says whether every resource is prepared.");
        properties["approved"] = boolean(
            "Approved says whether it may be placed on its site. Write it to the subresources \
             approval or status.",
        );
        properties["placedOn"] = text("PlacedOn is the id of the site that runs it.");
        properties["placedGeneration"] =
            number("PlacedGeneration is the generation that is there.");
    }
    object("Status is the state that TKO reports.", properties)
}

fn object_meta_schema() -> Value {
    let owner = object(
        "A reference to an owner.",
        json!({
            "apiVersion": text("APIVersion is the group and version of the owner."),
            "kind": text("Kind is the kind of the owner."),
            "name": text("Name is the name of the owner."),
            "uid": text("UID is the UID of the owner."),
            "controller": boolean("Controller says whether the owner is the managing controller."),
            "blockOwnerDeletion": boolean("BlockOwnerDeletion says whether the owner waits for this object when it is deleted in the foreground."),
        }),
    );
    let managed = object(
        "The fields that one manager manages.",
        json!({
            "manager": text("Manager is the name of the manager."),
            "operation": text("Operation is Apply or Update."),
            "apiVersion": text("APIVersion is the version of the fields."),
            "time": date("Time is when they last changed."),
            "fieldsType": text("FieldsType is FieldsV1."),
            "fieldsV1": {"type": "object", "description": "FieldsV1 is the set of fields.", "x-kubernetes-preserve-unknown-fields": true},
            "subresource": text("Subresource is the subresource that was used."),
        }),
    );
    object(
        "ObjectMeta is the metadata that all objects have.",
        json!({
            "name": text("Name is the name of the object. For templates, sites and plugins it is the encoded id: every character but letters, digits and dots is - and its four hexadecimal digits."),
            "generateName": text("GenerateName is the beginning of a name that the server completes, if there is no name."),
            "namespace": text("Namespace is not used: objects have no namespaces."),
            "selfLink": text("SelfLink is not used."),
            "uid": text("UID identifies this object as long as it exists."),
            "resourceVersion": text("ResourceVersion changes with every change of the object."),
            "generation": number("Generation changes with every change of the spec."),
            "creationTimestamp": date("CreationTimestamp is when the object was created."),
            "deletionTimestamp": date("DeletionTimestamp is when the deletion of the object was requested."),
            "deletionGracePeriodSeconds": number("DeletionGracePeriodSeconds is always 0."),
            "labels": text_map("Labels are metadata by which objects are selected."),
            "annotations": text_map("Annotations are data for other tools."),
            "ownerReferences": {
                "type": "array",
                "description": "OwnerReferences are the objects that this one depends on.",
                "items": owner,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["uid"],
            },
            "finalizers": {
                "type": "array",
                "description": "Finalizers keep the object from being removed until the list is empty.",
                "items": {"type": "string", "default": ""},
                "x-kubernetes-list-type": "set",
            },
            "managedFields": {
                "type": "array",
                "description": "ManagedFields says who manages which fields.",
                "items": managed,
                "x-kubernetes-list-type": "atomic",
            },
        }),
    )
}

/// The schemas of other types that OpenAPI refers to, by their short names.
pub(crate) fn other_schemas() -> Map<String, Value> {
    let schemas = json!({
        "ListMeta": object("ListMeta is the metadata of a list.", json!({
            "resourceVersion": text("ResourceVersion is the version of the list."),
            "continue": text("Continue is the token for the rest of the list."),
            "selfLink": text("SelfLink is not used."),
        })),
        "Status": object("Status is the result of a request.", json!({
            "apiVersion": text("APIVersion is v1."),
            "kind": text("Kind is Status."),
            "metadata": {"type": "object", "description": "Metadata is the metadata of a list.", "x-kubernetes-preserve-unknown-fields": true},
            "status": text("Status is Success or Failure."),
            "message": text("Message is for people."),
            "reason": text("Reason is one word for programs."),
            "code": {"type": "integer", "format": "int32", "description": "Code is the HTTP status."},
            "details": {"type": "object", "description": "Details are about the object and the causes.", "x-kubernetes-preserve-unknown-fields": true},
        })),
        "DeleteOptions": object("DeleteOptions are the options of a deletion.", json!({
            "apiVersion": text("APIVersion is the version of the options."),
            "kind": text("Kind is DeleteOptions."),
            "dryRun": {"type": "array", "description": "DryRun is All, or nothing.", "items": {"type": "string", "default": ""}},
            "gracePeriodSeconds": number("GracePeriodSeconds is ignored."),
            "orphanDependents": boolean("OrphanDependents is deprecated; use propagationPolicy."),
            "propagationPolicy": text("PropagationPolicy is Background, Foreground or Orphan."),
            "preconditions": object("Preconditions must hold.", json!({
                "uid": text("UID is the UID that the object must have."),
                "resourceVersion": text("ResourceVersion is the version that the object must have."),
            })),
        })),
        "Patch": {"type": "object", "description": "Patch is a patch of one of the accepted types."},
    });
    match schemas {
        Value::Object(schemas) => schemas,
        _ => Map::new(),
    }
}
