//! Builds the documents from the schemas.

use crate::delete::MEDIA_TYPES;
use crate::resource::{API_VERSION, GROUP, RESOURCES, ResourceType, VERSION};
use crate::schema::{object_meta, object_schema, other_schemas};
use crate::write::{PATCHES, SUBRESOURCE_PATCHES};
use serde_json::{Map, Value, json};

/// The version of OpenAPI.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavor {
    V2,
    V3,
}

/// The names of schemas that Kubernetes has, too.
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";
const OWN: &str = "org.nephio.tko.v1alpha1.";

impl Flavor {
    fn reference(self, name: &str) -> Value {
        let folder = match self {
            Self::V2 => "#/definitions/",
            Self::V3 => "#/components/schemas/",
        };
        json!({"$ref": format!("{folder}{name}")})
    }

    /// A reference together with a description.
    fn described(self, name: &str, description: &str) -> Value {
        match self {
            Self::V2 => {
                let mut value = self.reference(name);
                value["description"] = description.into();
                value
            }
            Self::V3 => json!({
                "allOf": [self.reference(name)],
                "default": {},
                "description": description,
            }),
        }
    }

    fn response(self, name: &str) -> Value {
        match self {
            Self::V2 => json!({"description": "OK", "schema": self.reference(name)}),
            Self::V3 => json!({
                "description": "OK",
                "content": {"application/json": {"schema": self.reference(name)}},
            }),
        }
    }

    fn parameter(self, place: &str, name: &str, of: &str, description: &str) -> Value {
        let required = place == "path";
        match self {
            Self::V2 => json!({
                "name": name, "in": place, "type": of, "description": description,
                "required": required, "uniqueItems": true,
            }),
            Self::V3 => json!({
                "name": name, "in": place, "description": description, "required": required,
                "schema": {"type": of, "uniqueItems": true},
            }),
        }
    }

    fn body(self, operation: &mut Value, name: &str, media: &[&str]) {
        match self {
            Self::V2 => {
                let body = json!({
                    "name": "body", "in": "body", "required": true, "schema": self.reference(name),
                });
                if let Some(parameters) = operation["parameters"].as_array_mut() {
                    parameters.push(body);
                }
                operation["consumes"] = json!(media);
            }
            Self::V3 => {
                let content: Map<String, Value> = media
                    .iter()
                    .map(|media| {
                        let schema = json!({"schema": self.reference(name)});
                        ((*media).to_owned(), schema)
                    })
                    .collect();
                operation["requestBody"] = json!({"content": content, "required": true});
            }
        }
    }
}

/// Builds the whole document.
pub(super) fn document(flavor: Flavor) -> Value {
    let mut paths = Map::new();
    let mut schemas = Map::new();
    schemas.insert(format!("{META}ObjectMeta"), object_meta().clone());
    for (name, schema) in other_schemas() {
        schemas.insert(format!("{META}{name}"), schema);
    }
    for resource in &RESOURCES {
        add_schemas(flavor, resource, &mut schemas);
        add_paths(flavor, resource, &mut paths);
    }
    let info = json!({"title": "TKO", "version": VERSION});
    match flavor {
        Flavor::V2 => json!({
            "swagger": "2.0", "info": info, "paths": paths, "definitions": schemas,
        }),
        Flavor::V3 => json!({
            "openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": schemas},
        }),
    }
}

fn gvk(kind: &str) -> Value {
    json!({"group": GROUP, "version": VERSION, "kind": kind})
}

fn add_schemas(flavor: Flavor, resource: &ResourceType, schemas: &mut Map<String, Value>) {
    let metadata = flavor.described(
        &format!("{META}ObjectMeta"),
        "Metadata is the metadata that all objects have.",
    );
    let name = format!("{OWN}{}", resource.name);
    let mut schema = object_schema(resource, metadata);
    schema["x-kubernetes-group-version-kind"] = json!([gvk(resource.name)]);
    let list_name = resource.list_name();
    let list = json!({
        "type": "object",
        "description": format!("{list_name} is a list of objects."),
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string", "description": "APIVersion is the group and version."},
            "kind": {"type": "string", "description": "Kind is the type of the list."},
            "metadata": flavor.described(&format!("{META}ListMeta"), "Metadata is the metadata of the list."),
            "items": {"type": "array", "description": "Items are the objects.", "items": flavor.reference(&name)},
        },
        "x-kubernetes-group-version-kind": [gvk(&list_name)],
    });
    schemas.insert(format!("{OWN}{list_name}"), list);
    schemas.insert(name, schema);
}

fn add_paths(flavor: Flavor, resource: &ResourceType, paths: &mut Map<String, Value>) {
    let root = format!("/apis/{API_VERSION}/{}", resource.plural);
    let object = format!("{OWN}{}", resource.name);
    let list = format!("{OWN}{}", resource.list_name());
    let status = format!("{META}Status");
    let operation = |action: &str, verb: &str, returns: &str, parameters: &[Value]| {
        let mut operation = json!({
            "description": format!("{verb} objects of kind {}", resource.name),
            "operationId": format!("{verb}TkoNephioOrgV1alpha1{}", resource.name),
            "tags": ["tkoNephioOrg_v1alpha1"],
            "parameters": parameters,
            "responses": {"200": flavor.response(returns)},
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": gvk(resource.name),
        });
        if flavor == Flavor::V2 {
            operation["produces"] = json!(["application/json"]);
            operation["schemes"] = json!(["https"]);
        }
        operation
    };
    let lists = list_parameters(flavor);
    let writes = write_parameters(flavor);
    let mut patches = writes.clone();
    patches.push(flavor.parameter(
        "query",
        "force",
        "boolean",
        "Force takes over fields of other managers; for apply only.",
    ));
    let mut create = operation("post", "create", &object, &writes);
    flavor.body(
        &mut create,
        &object,
        &["application/json", "application/yaml"],
    );
    let mut delete_all = operation("deletecollection", "deleteCollection", &status, &lists);
    flavor.body(
        &mut delete_all,
        &format!("{META}DeleteOptions"),
        &MEDIA_TYPES,
    );
    paths.insert(
        root.clone(),
        json!({
            "get": operation("list", "list", &list, &lists),
            "post": create,
            "delete": delete_all,
        }),
    );
    let name = flavor.parameter("path", "name", "string", "Name of the object");
    let writable = |suffix: &str, parameters: &[Value], media: &[&str]| {
        let mut replace = operation("put", &format!("replace{suffix}"), &object, &writes);
        flavor.body(
            &mut replace,
            &object,
            &["application/json", "application/yaml"],
        );
        let mut patch = operation("patch", &format!("patch{suffix}"), &object, parameters);
        flavor.body(&mut patch, &format!("{META}Patch"), media);
        json!({
            "get": operation("get", &format!("read{suffix}"), &object, &[]),
            "put": replace,
            "patch": patch,
            "parameters": [name],
        })
    };
    let mut item = writable("", &patches, &PATCHES);
    let mut delete = operation("delete", "delete", &status, &[]);
    flavor.body(&mut delete, &format!("{META}DeleteOptions"), &MEDIA_TYPES);
    item["delete"] = delete;
    paths.insert(format!("{root}/{{name}}"), item);
    for subresource in resource.subresources() {
        let mut suffix = (*subresource).to_owned();
        suffix[..1].make_ascii_uppercase();
        let operations = writable(&suffix, &writes, &SUBRESOURCE_PATCHES);
        paths.insert(format!("{root}/{{name}}/{subresource}"), operations);
    }
}

fn list_parameters(flavor: Flavor) -> Vec<Value> {
    [
        (
            "allowWatchBookmarks",
            "boolean",
            "Whether a watch may send bookmarks",
        ),
        (
            "continue",
            "string",
            "Token of the previous part of the list",
        ),
        ("fieldSelector", "string", "Selection by fields"),
        ("labelSelector", "string", "Selection by labels"),
        ("limit", "integer", "Most objects of the answer"),
        ("resourceVersion", "string", "Version of the state to read"),
        ("resourceVersionMatch", "string", "Exact or NotOlderThan"),
        (
            "sendInitialEvents",
            "boolean",
            "Whether a watch begins with the present objects",
        ),
        ("timeoutSeconds", "integer", "Longest duration of a watch"),
        ("watch", "boolean", "Whether to watch for changes"),
    ]
    .map(|(name, of, description)| flavor.parameter("query", name, of, description))
    .into()
}

fn write_parameters(flavor: Flavor) -> Vec<Value> {
    [
        ("dryRun", "All: validate and store nothing"),
        ("fieldManager", "Name of the program that writes"),
        (
            "fieldValidation",
            "Ignore, Warn or Strict: how to treat unknown and duplicate fields",
        ),
    ]
    .map(|(name, description)| flavor.parameter("query", name, "string", description))
    .into()
}

#[cfg(test)]
mod tests {
    use super::{Flavor, document};

    #[test]
    fn only_objects_themselves_take_apply_patches() {
        let document = document(Flavor::V3);
        let apply = "application/apply-patch+yaml";
        let root = "/apis/tko.nephio.org/v1alpha1/deployments/{name}";
        for (suffix, expected) in [("", 3), ("/status", 2), ("/approval", 2)] {
            let patch = &document["paths"][format!("{root}{suffix}")]["patch"];
            let content = patch["requestBody"]["content"].as_object();
            let content = content.expect("media types");
            assert_eq!(content.len(), expected, "{suffix}: {patch}");
            assert_eq!(content.contains_key(apply), suffix.is_empty(), "{suffix}");
            let takes_force = patch["parameters"].to_string().contains("force");
            assert_eq!(takes_force, suffix.is_empty(), "{suffix}: {patch}");
        }
    }
}
