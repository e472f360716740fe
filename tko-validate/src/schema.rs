//! One kind's schema, compiled when it is first needed.

use crate::compiled::{Compiled, Finding, Findings};
use crate::definitions::{Definitions, rebase_references};
use crate::guard;
use crate::transform::{OBJECT_META, identity, transform, without_prose};
use crate::version::KubernetesVersion;
use serde_json::{Map, Value, json};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tko_core::{Error, Gvk, Resource, Result};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

/// Tells schemas apart within the process.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// What a kind's resources must be like.
///
/// Made of what was published (a JSON Schema, a `CustomResourceDefinition`) and turned, when first
/// used, into what is validated against: unknown properties are refused, null stands for missing,
/// and for partial resources nothing is required. Compiling takes milliseconds, is done apart from
/// the async workers, and once: keep a `Schema` rather than making it again.
pub struct Schema {
    number: u64,
    origin: String,
    gvk: Option<Gvk>,
    form: Form,
    complete: OnceCell<Outcome>,
    partial: OnceCell<Outcome>,
}

/// A schema that does not compile is remembered too, with the reason.
type Outcome = Result<Compiled, String>;

/// As published.
enum Form {
    /// One of a set that refer to each other.
    Definition(Arc<Definitions>, String),
    /// A JSON Schema that stands for itself.
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

    /// A JSON Schema for resources of this kind, of any draft that Kubernetes tools write.
    /// References may only lead within it. `origin` names it in messages.
    pub fn document(origin: impl Into<String>, gvk: Gvk, schema: Value) -> Self {
        Self::new(origin, Some(gvk), Form::Document(schema))
    }

    /// As [`document`](Self::document), for several kinds.
    pub(crate) fn document_of_any_kind(origin: impl Into<String>, schema: Value) -> Self {
        Self::new(origin, None, Form::Document(schema))
    }

    /// One of a set of definitions.
    pub(crate) fn definition(
        origin: impl Into<String>,
        gvk: Gvk,
        definitions: &Arc<Definitions>,
        name: &str,
    ) -> Self {
        let form = Form::Definition(definitions.clone(), name.to_owned());
        Self::new(origin, Some(gvk), form)
    }

    /// One version of a `CustomResourceDefinition`.
    pub(crate) fn crd(gvk: Gvk, crd: &Arc<Resource>, version: usize) -> Self {
        let origin = crd.identifier().to_string();
        Self::new(origin, Some(gvk), Form::Crd(crd.clone(), version))
    }

    /// Where it comes from, for people.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Different for every schema that was made in this process.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Validates a resource; at most `limit` findings, and how many more there are.
    ///
    /// # Errors
    /// [`Error::Internal`]: compiling panicked.
    pub(crate) async fn validate(
        self: &Arc<Self>,
        resource: &Resource,
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
                compiled.validate(resource, limit, || self.rules(complete).unwrap_or_default())
            }
            Err(reason) => Findings::one(Finding {
                path: String::new(),
                message: format!(
                    "cannot be validated, because the schema of its kind in {} cannot be used: {reason}; mend that schema",
                    self.origin
                ),
            }),
        })
    }

    /// Why this schema cannot be used, if so. What was compiled to find out is not kept: many a
    /// schema is registered long before it is used.
    ///
    /// # Errors
    /// [`Error::Internal`]: compiling panicked.
    pub(crate) async fn fault(self: &Arc<Self>) -> Result<Option<String>> {
        match self.complete.get() {
            Some(outcome) => Ok(outcome.as_ref().err().cloned()),
            None => Ok(self.compile(true).await?.err()),
        }
    }

    async fn compile(self: &Arc<Self>, complete: bool) -> Result<Outcome> {
        let schema = self.clone();
        spawn_blocking(move || Compiled::new(&schema.rules(complete)?))
            .await
            .map_err(|error| {
                Error::internal(format!("compile the schema in {}", self.origin), error)
            })
    }

    /// The JSON Schema 2020-12 that resources are validated against.
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
                add(schema, complete, &mut definitions)?
            }
            Form::Crd(crd, version) => {
                let place = format!("/spec/versions/{version}/schema/openAPIV3Schema");
                let schema = crd.value().pointer(&place);
                let schema = schema.map_or_else(|| json!({}), without_prose);
                if refers(&schema) {
                    return Err("it uses $ref, which no CustomResourceDefinition may".to_owned());
                }
                add(schema, complete, &mut definitions)?
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

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema")
            .field("origin", &self.origin)
            .field("gvk", &self.gvk)
            .finish_non_exhaustive()
    }
}

/// Adds the schema of a whole resource, with what every resource has, under the name `resource`.
fn add(
    mut schema: Value,
    complete: bool,
    definitions: &mut Map<String, Value>,
) -> Result<&'static str, String> {
    if !guard::is_shallow(&schema) {
        return Err("it is nested too deep".to_owned());
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
        // Without properties everything is free, which must stay so.
        keywords.insert(
            "properties".to_owned(),
            json!({"metadata": metadata(Value::Null)}),
        );
        keywords
            .entry("additionalProperties")
            .or_insert(Value::Bool(true));
    }
    transform(&mut schema, complete);
    definitions.insert("resource".to_owned(), schema);
    Definitions::built_in(KubernetesVersion::default())
        .map_err(|error| error.to_string())?
        .collect(OBJECT_META, complete, definitions);
    Ok("resource")
}

/// What metadata must be like: as everywhere in Kubernetes, and as the kind's own schema says.
fn metadata(mut own: Value) -> Value {
    let common = json!({"$ref": format!("#/$defs/{OBJECT_META}")});
    let properties = own.get_mut("properties").and_then(Value::as_object_mut);
    if let Some(annotations) =
        properties.and_then(|properties| properties.shift_remove("annotations"))
    {
        // Dropped: the common schema has it, and lets TKO's own annotations be bare.
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
