//! Added sources and their order.

use crate::fixture::{found_by, package};
use async_trait::async_trait;
use serde_json::json;
use std::sync::Arc;
use tko_core::{Error, ErrorKind, Gvk, Result, Validator};
use tko_validate::{Directory, MissingSchema, Schema, SchemaSource, SchemaValidator};

/// Knows one kind and requires one property.
struct Asks(Gvk, Arc<Schema>);

impl Asks {
    fn new(api_version: &str, kind: &str, property: &str) -> Arc<Self> {
        let gvk = Gvk::of(api_version, kind);
        let schema =
            json!({"type": "object", "properties": {property: {}}, "required": [property]});
        let schema = Schema::document(
            format!("the source that asks for {property}"),
            gvk.clone(),
            schema,
        );
        Arc::new(Self(gvk, Arc::new(schema)))
    }
}

#[async_trait]
impl SchemaSource for Asks {
    async fn find(&self, gvk: &Gvk) -> Result<Option<Arc<Schema>>> {
        Ok((*gvk == self.0).then(|| self.1.clone()))
    }
}

/// A source that is always unavailable.
struct Down;

#[async_trait]
impl SchemaSource for Down {
    async fn find(&self, _: &Gvk) -> Result<Option<Arc<Schema>>> {
        Err(Error::unavailable("fetch a schema", "nobody is there"))
    }
}

const BAR: &str = "{apiVersion: example.com/v1, kind: Bar, metadata: {name: a}}";

#[tokio::test]
async fn added_sources_are_asked_before_the_built_in_one() {
    let built = |kind: &str, api_version: &str| {
        SchemaValidator::builder()
            .source(Asks::new(api_version, kind, "first"))
            .source(Asks::new(api_version, kind, "second"))
            .build()
            .expect("sound")
    };
    let found = found_by(built("Bar", "example.com/v1"), BAR, true).await;
    assert_eq!(found, ["Bar a: first: is required and missing"]);
    let config = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}";
    let found = found_by(built("ConfigMap", "v1"), config, true).await;
    assert_eq!(found, ["ConfigMap a: first: is required and missing"]);
}

#[tokio::test]
async fn an_unavailable_source_admits_nothing() {
    let validator = SchemaValidator::builder()
        .source(Arc::new(Down))
        .build()
        .expect("sound");
    let bar = package(BAR);
    let error = validator
        .validate(&bar, bar.resources()[0].identifier(), false)
        .await;
    assert_eq!(error.expect_err("down").kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn folders_are_sources() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("example.com")).expect("made");
    let schema = r#"{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "properties": {"size": {"type": "integer"}}}"#;
    std::fs::write(folder.path().join("example.com/bar_v1.json"), schema).expect("written");
    let validator = SchemaValidator::builder()
        .source(Arc::new(Directory::open(folder.path()).expect("read")))
        .missing(MissingSchema::Refuse)
        .build()
        .expect("sound");
    let yaml = "{apiVersion: example.com/v1, kind: Bar, metadata: {name: a}, size: x}";
    let found = found_by(validator, yaml, false).await;
    assert_eq!(
        found,
        ["Bar a: size: must be an integer, but is the text \"x\""]
    );
}

#[tokio::test]
async fn a_kind_of_another_group_does_not_affect_the_one_with_the_same_file_name() {
    const VIOLATION: &str = "Deployment a: spec.size: must be an integer, but is the text \"x\"";
    let stated = r#""apiVersion": {"type": "string", "enum": ["apps/v1"]}, "#;
    // A schema that states its group is of no other.
    for (stated, foreign) in [(stated, None), ("", Some(VIOLATION))] {
        let folder = tempfile::tempdir().expect("a folder");
        let schema = format!(
            r#"{{"type": "object", "properties": {{{stated}"spec": {{"type": "object", "properties": {{"size": {{"type": "integer"}}}}}}}}}}"#
        );
        let file = folder.path().join("deployment-apps-v1.json");
        std::fs::write(file, schema).expect("written");
        let source = Arc::new(Directory::open(folder.path()).expect("read"));
        for (api_version, size, expected) in [
            ("apps.example.com/v1", "x", foreign),
            ("apps/v1", "1", None),
            ("apps/v1", "x", Some(VIOLATION)),
        ] {
            let validator = SchemaValidator::builder().source(source.clone());
            let yaml = format!(
                "{{apiVersion: {api_version}, kind: Deployment, metadata: {{name: a}}, spec: {{size: {size}}}}}"
            );
            let found = found_by(validator.build().expect("sound"), &yaml, true).await;
            assert_eq!(found, Vec::from_iter(expected), "{api_version}");
        }
    }
}

/// The kinds of a running cluster, as `kubectl get --raw /openapi/v2` prints them.
const CLUSTER: &str = r##"{"swagger": "2.0", "info": {"title": "Kubernetes", "version": "v1.34.0"}, "paths": {}, "definitions": {
    "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta": {"type": "object", "properties": {"name": {"type": "string"}}},
    "com.example.v1.Bar": {
        "type": "object",
        "properties": {
            "apiVersion": {"description": "The version.", "type": "string"},
            "kind": {"description": "The kind.", "type": "string"},
            "metadata": {"description": "Metadata.", "$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"},
            "spec": {"type": "object", "required": ["size"], "properties": {"size": {"type": "integer"}}}
        },
        "x-kubernetes-group-version-kind": [{"group": "example.com", "kind": "Bar", "version": "v1"}]
    }
}}"##;

#[tokio::test]
async fn the_saved_kinds_of_a_cluster_are_a_source() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("cluster-swagger.json");
    std::fs::write(&file, CLUSTER).expect("written");
    let cluster = Arc::new(Directory::open(&file).expect("read"));
    for (spec, expected) in [
        ("{size: 1}", None),
        (
            "{size: x}",
            Some("Bar a: spec.size: must be an integer, but is the text \"x\""),
        ),
        (
            "{size: 1, colour: red}",
            Some("Bar a: spec.colour: is not a known property"),
        ),
        ("{}", Some("Bar a: spec.size: is required and missing")),
    ] {
        let validator = SchemaValidator::builder()
            .source(cluster.clone())
            .missing(MissingSchema::Refuse)
            .build()
            .expect("sound");
        let yaml = format!(
            "{{apiVersion: example.com/v1, kind: Bar, metadata: {{name: a}}, spec: {spec}}}"
        );
        let found = found_by(validator, &yaml, true).await;
        assert_eq!(found.len(), usize::from(expected.is_some()), "{found:?}");
        let is_expected = |text: &String| expected.is_some_and(|start| text.starts_with(start));
        assert!(found.iter().all(is_expected), "{found:?}");
    }
}

#[tokio::test]
async fn a_kubernetes_version_without_schemas_is_refused_when_built() {
    let old = SchemaValidator::builder().kubernetes("1.12".parse().expect("a version"));
    assert!(old.build().is_err());
}
