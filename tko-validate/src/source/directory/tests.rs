use super::Directory;
use crate::source::SchemaSource;
use std::fs;
use tko_core::Gvk;

const CRD: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: foos.example.com}
spec:
  group: example.com
  names: {kind: Foo}
  versions: [{name: v1, schema: {openAPIV3Schema: {type: object}}}]
---
not: a resource
";

async fn origin(directory: &Directory, api_version: &str, kind: &str) -> Option<String> {
    let found = directory.find(&Gvk::of(api_version, kind)).await;
    Some(found.expect("readable")?.origin().to_owned())
}

#[tokio::test]
async fn every_form_is_found_in_folders_within_folders() {
    let folder = tempfile::tempdir().expect("a folder");
    let within = folder.path().join("cert-manager.io");
    fs::create_dir(&within).expect("created");
    fs::write(folder.path().join("crds.yaml"), CRD).expect("written");
    fs::write(within.join("issuer_v1.json"), "{}").expect("written");
    fs::write(folder.path().join("job-batch-v1.json"), "{}").expect("written");
    fs::write(
        folder.path().join("swagger.json"),
        r#"{"definitions": {"x": {"x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "X"}]}}}"#,
    )
    .expect("written");
    fs::write(folder.path().join("README.md"), "not a schema").expect("written");
    let directory = Directory::open(folder.path()).expect("readable");
    for (api_version, kind, file) in [
        (
            "example.com/v1",
            "Foo",
            "CustomResourceDefinition foos.example.com",
        ),
        ("cert-manager.io/v1", "Issuer", "issuer_v1.json"),
        ("batch/v1", "Job", "job-batch-v1.json"),
        ("v1", "X", "swagger.json"),
    ] {
        let found = origin(&directory, api_version, kind).await;
        assert!(
            found.as_ref().is_some_and(|found| found.ends_with(file)),
            "{found:?}"
        );
    }
    assert_eq!(origin(&directory, "example.com/v2", "Foo").await, None);
    assert_eq!(origin(&directory, "other.io/v1", "Issuer").await, None);
}

#[test]
fn a_folder_without_schemas_is_empty() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("a.yaml"), "a: b").expect("written");
    assert!(Directory::open(folder.path()).expect("readable").is_empty());
    fs::write(folder.path().join("crds.yaml"), CRD).expect("written");
    assert!(!Directory::open(folder.path()).expect("readable").is_empty());
}

#[tokio::test]
async fn a_schema_is_read_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("job-batch-v1.json");
    fs::write(&file, "{}").expect("written");
    let directory = Directory::open(folder.path()).expect("readable");
    let job = Gvk::of("batch/v1", "Job");
    let first = directory.find(&job).await.expect("read").expect("found");
    fs::remove_file(&file).expect("removed");
    let second = directory.find(&job).await.expect("read").expect("found");
    assert_eq!(first.number(), second.number());
}

#[tokio::test]
async fn kinds_that_share_a_file_have_schemas_of_their_own() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("job-batch-v1.json"), "{}").expect("written");
    let directory = Directory::open(folder.path()).expect("readable");
    let mut numbers = Vec::new();
    // The name of the file is in lower case.
    for (api_version, kind) in [
        ("batch.example.com/v1", "Job"),
        ("batch/v1", "JOB"),
        ("batch/v1", "Job"),
    ] {
        let found = directory.find(&Gvk::of(api_version, kind)).await;
        numbers.push(found.expect("read").expect("found").number());
    }
    let count = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), count);
}

#[tokio::test]
async fn a_file_that_states_its_group_is_of_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let shared = folder.path().join("job-batch-v1.json");
    let schema = r#"{"properties": {"apiVersion": {"enum": ["batch/v1"]}}}"#;
    fs::write(&shared, schema).expect("written");
    let own = folder.path().join("job-batch.example.com-v1.json");
    fs::write(&own, "{}").expect("written");
    let directory = Directory::open(folder.path()).expect("readable");
    for (api_version, file) in [
        ("batch.example.org/v1", None),
        ("batch.example.com/v1", Some(own)),
        ("batch/v1", Some(shared)),
    ] {
        let file = file.map(|file| file.display().to_string());
        for _ in 0..2 {
            assert_eq!(origin(&directory, api_version, "Job").await, file);
        }
    }
}

#[tokio::test]
async fn a_file_with_the_wrong_content_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(Directory::open(folder.path().join("missing")).is_err());
    let file = folder.path().join("job-batch-v1.json");
    fs::write(&file, "{").expect("written");
    let directory = Directory::open(folder.path()).expect("not read yet");
    let error = directory
        .find(&Gvk::of("batch/v1", "Job"))
        .await
        .expect_err("bad");
    assert!(error.to_string().contains("job-batch-v1.json"), "{error}");
    fs::write(folder.path().join("bad.yaml"), "a: [").expect("written");
    let error = Directory::open(folder.path()).err().expect("bad");
    assert!(error.to_string().contains("bad.yaml"), "{error}");
}
