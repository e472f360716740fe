//! The schema of one kind, compiled on first use.

use crate::compiled::CompiledSchema;
use crate::definitions::{Definitions, rebase_references};
use crate::finding::{Findings, SchemaFinding};
use crate::guard;
use crate::structural::Structural;
use crate::transform::{OBJECT_META, identity, transform, transform_custom, without_prose};
use crate::version::KubernetesVersion;
use serde_json::{Map, Value, json};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tko_core::{Error, Gvk, Resource, Result};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

/// Numbers schemas within the process.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// The schema that a kind's resources must match.
///
/// It is built from a published JSON Schema or a `CustomResourceDefinition`. On first use it is
/// turned into strict rules: unknown properties are refused, null counts as missing, and partial
/// resources have no required properties. Compilation takes milliseconds and runs once, on a
/// blocking thread; keep a `Schema` instead of creating it again.
pub struct Schema {
    number: u64,
    origin: String,
    gvk: Option<Gvk>,
    form: Form,
    complete: OnceCell<CompileResult>,
    partial: OnceCell<CompileResult>,
}

/// A schema that does not compile is cached too, with the reason.
type CompileResult = Result<Arc<CompiledSchema>, String>;

/// The published form.
enum Form {
    /// A definition in a set whose members refer to each other.
    Definition(Arc<Definitions>, String),
    /// A self-contained JSON Schema.
    Document(Value),
    /// `spec.versions[].schema.openAPIV3Schema` of this resource.
    Crd(Arc<Resource>, usize),
}

impl Schema {
    fn new(origin: impl Into<String>, gvk: Option<Gvk>, form: Form) -> Self {
        Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            origin: origin.into(),
            gvk,
            form,
            complete: OnceCell::new(),
            partial: OnceCell::new(),
        }
    }

    /// Creates a schema for resources of this kind from a JSON Schema of any draft that Kubernetes
    /// tools write.
    ///
    /// References must stay within the document. `origin` names the schema in messages.
    pub fn document(origin: impl Into<String>, gvk: Gvk, schema: Value) -> Self {
        Self::new(origin, Some(gvk), Form::Document(schema))
    }

    /// Like [`document`](Self::document), for several kinds.
    pub(crate) fn document_of_any_kind(origin: impl Into<String>, schema: Value) -> Self {
        Self::new(origin, None, Form::Document(schema))
    }

    /// Creates a schema from a set of definitions.
    pub(crate) fn definition(
        origin: impl Into<String>,
        gvk: Gvk,
        definitions: &Arc<Definitions>,
        name: &str,
    ) -> Self {
        let form = Form::Definition(definitions.clone(), name.to_owned());
        Self::new(origin, Some(gvk), form)
    }

    /// Creates the schema of one version of a `CustomResourceDefinition`.
    pub(crate) fn crd(gvk: Gvk, crd: &Arc<Resource>, version: usize) -> Self {
        let origin = crd.identifier().to_string();
        Self::new(origin, Some(gvk), Form::Crd(crd.clone(), version))
    }

    /// Returns the origin of the schema, for people.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns a number that is unique among the schemas of this process.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Validates a resource. Returns at most `limit` findings, and how many more there are.
    ///
    /// # Errors
    /// [`Error::Internal`]: compiling or validating panicked.
    pub(crate) async fn validate(
        self: &Arc<Self>,
        resource: &Arc<Resource>,
        complete: bool,
        limit: usize,
    ) -> Result<Findings> {
        let place = if complete {
            &self.complete
        } else {
            &self.partial
        };
        let outcome = place.get_or_try_init(|| self.compile(complete)).await?;
        Ok(match outcome {
            Ok(compiled) => {
                let rules = || self.rules(complete).unwrap_or_default();
                let quick = compiled.validate_quickly(resource, complete, limit, rules);
                match quick {
                    Some(findings) => findings,
                    None => {
                        self.validate_apart(compiled, resource, complete, limit)
                            .await?
                    }
                }
            }
            Err(reason) => Findings::one(SchemaFinding {
                path: String::new(),
                message: format!(
                    "cannot be validated: the schema of its kind in {} is unusable: {reason}; correct that schema",
                    self.origin
                ),
            }),
        })
    }

    /// Validates a resource on a blocking thread. Rules and many checks may take seconds.
    async fn validate_apart(
        self: &Arc<Self>,
        compiled: &Arc<CompiledSchema>,
        resource: &Arc<Resource>,
        complete: bool,
        limit: usize,
    ) -> Result<Findings> {
        let stop = StopValidationOnDrop::default();
        let flag = Arc::clone(&stop.0);
        let (schema, compiled, resource) = (self.clone(), compiled.clone(), resource.clone());
        spawn_blocking(move || {
            let rules = || schema.rules(complete).unwrap_or_default();
            compiled.validate(&resource, complete, limit, &flag, rules)
        })
        .await
        .map_err(|error| {
            Error::internal(format!("validate by the schema in {}", self.origin), error)
        })
    }

    /// Returns the reason why this schema cannot be used, if any. The compiled schema is not kept:
    /// many schemas are registered long before their first use.
    ///
    /// # Errors
    /// [`Error::Internal`]: compiling panicked.
    pub(crate) async fn fault(self: &Arc<Self>) -> Result<Option<String>> {
        let fault = |outcome: &CompileResult| match outcome {
            Ok(compiled) => compiled.unusable_rule(),
            Err(reason) => Some(reason.clone()),
        };
        match self.complete.get() {
            Some(outcome) => Ok(fault(outcome)),
            None => Ok(fault(&self.compile(true).await?)),
        }
    }

    async fn compile(self: &Arc<Self>, complete: bool) -> Result<CompileResult> {
        let schema = self.clone();
        spawn_blocking(move || {
            let rules = schema.rules(complete)?;
            let compiled = CompiledSchema::new(&rules, schema.structural());
            compiled.map(Arc::new)
        })
        .await
        .map_err(|error| Error::internal(format!("compile the schema in {}", self.origin), error))
    }

    /// Reads the structural schema of a custom kind. Its depth was checked before.
    fn structural(&self) -> Option<Structural> {
        match &self.form {
            Form::Crd(crd, version) => Some(Structural::read(published(crd, *version)?)),
            Form::Definition(..) | Form::Document(_) => None,
        }
    }

    /// Builds the JSON Schema 2020-12 that resources are validated against.
    fn rules(&self, complete: bool) -> Result<Value, String> {
        let mut definitions = Map::new();
        let root = match &self.form {
            Form::Definition(set, name) => {
                set.collect(name, complete, &mut definitions);
                name.as_str()
            }
            Form::Document(published) => {
                let mut schema = published.clone();
                rebase_references(&mut schema, "#", "#/$defs/resource");
                add(schema, complete, false, &mut definitions)?
            }
            Form::Crd(crd, version) => {
                let schema = published(crd, *version);
                let schema = schema.map_or_else(|| json!({}), without_prose);
                if refers(&schema) {
                    return Err(
                        "it uses $ref, which is not allowed in a CustomResourceDefinition"
                            .to_owned(),
                    );
                }
                add(schema, complete, true, &mut definitions)?
            }
        };
        let mut rules = match &self.gvk {
            Some(gvk) => identity(gvk, complete),
            None => Map::new(),
        };
        rules.insert("$ref".to_owned(), json!(format!("#/$defs/{root}")));
        rules.insert("$defs".to_owned(), Value::Object(definitions));
        Ok(Value::Object(rules))
    }
}

/// Sets its flag when it is dropped, as with a future that timed out. The blocking thread that
/// validates for the future cannot be aborted, but reads the flag.
#[derive(Default)]
struct StopValidationOnDrop(Arc<AtomicBool>);

impl Drop for StopValidationOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema")
            .field("origin", &self.origin)
            .field("gvk", &self.gvk)
            .finish_non_exhaustive()
    }
}

/// Returns the schema of one version as the definition states it.
fn published(crd: &Resource, version: usize) -> Option<&Value> {
    let place = format!("/spec/versions/{version}/schema/openAPIV3Schema");
    crd.value().pointer(&place)
}

/// Adds the schema of a whole resource, including the fields of every resource, under the name
/// `resource`.
fn add(
    mut schema: Value,
    complete: bool,
    is_custom: bool,
    definitions: &mut Map<String, Value>,
) -> Result<&'static str, String> {
    if !guard::is_shallow(&schema) {
        return Err("it is nested too deeply".to_owned());
    }
    if is_custom
        && schema.get("type").is_some_and(|one| one == "object")
        && let Some(keywords) = schema.as_object_mut()
    {
        keywords.entry("properties").or_insert_with(|| json!({}));
    }
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for name in ["apiVersion", "kind"] {
            properties
                .entry(name)
                .or_insert_with(|| json!({"type": "string"}));
        }
        let own = properties.shift_remove("metadata").unwrap_or_default();
        properties.insert("metadata".to_owned(), metadata(own));
    } else if let Some(keywords) = schema.as_object_mut() {
        // A schema without properties allows everything, and must keep doing so.
        keywords.insert(
            "properties".to_owned(),
            json!({"metadata": metadata(Value::Null)}),
        );
        keywords
            .entry("additionalProperties")
            .or_insert(Value::Bool(true));
    }
    if is_custom {
        transform_custom(&mut schema, complete);
    } else {
        transform(&mut schema, complete);
    }
    definitions.insert("resource".to_owned(), schema);
    Definitions::built_in(KubernetesVersion::default())
        .map_err(|error| error.to_string())?
        .collect(OBJECT_META, complete, definitions);
    Ok("resource")
}

/// Combines the rules for metadata of all Kubernetes kinds with those of the kind's own schema.
fn metadata(mut own: Value) -> Value {
    let common = json!({"$ref": format!("#/$defs/{OBJECT_META}")});
    let properties = own.get_mut("properties").and_then(Value::as_object_mut);
    if let Some(annotations) =
        properties.and_then(|properties| properties.shift_remove("annotations"))
    {
        // The common schema covers annotations and lets TKO's own be unquoted.
        drop(annotations);
    }
    match own {
        Value::Object(own) if own.keys().any(|keyword| keyword != "type") => {
            json!({"allOf": [common, own]})
        }
        _ => common,
    }
}

fn refers(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => map.iter().any(|(key, value)| {
            let is_reference = ["$ref", "$dynamicRef", "$recursiveRef"].contains(&key.as_str());
            (is_reference && value.is_string()) || refers(value)
        }),
        Value::Array(list) => list.iter().any(refers),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
