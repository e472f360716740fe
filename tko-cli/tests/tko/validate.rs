//! `tko validate` checks packages without a server.

use crate::harness::{example, tko};
use std::fs;

const SERVICE: &str = "\
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  ports: [{port: 80}]
";

#[tokio::test]
async fn a_valid_package_passes_from_every_source() {
    let judged = tko("validate -").stdin(SERVICE).good().await;
    assert!(judged.stdout.is_empty());
    assert_eq!(judged.stderr, "-: 1 resource, valid\n");
    let folders = ["upf", "smf", "amf"].map(|name| example(&format!("packages/{name}")));
    let judged = tko("validate")
        .arg(&folders[0])
        .arg(&folders[1])
        .arg(&folders[2]);
    let judged = judged.good().await;
    assert_eq!(
        judged.stderr.matches(" resources, valid").count(),
        3,
        "{judged}"
    );
    let quiet = tko("validate -q -").stdin(SERVICE).good().await;
    assert!(quiet.stderr.is_empty(), "{quiet}");
}

#[tokio::test]
async fn missing_properties_count_only_in_complete_packages() {
    let nwdaf = example("packages/nwdaf");
    tko("validate --partial").arg(&nwdaf).good().await;
    let error = tko("validate").arg(&nwdaf).bad(2).await;
    for missing in [
        "Deployment nwdaf/nwdaf: spec.selector: ",
        "spec.template.spec.containers[0].name: ",
        "Service nwdaf/nwdaf: spec.ports[0].port: ",
    ] {
        assert!(error.contains(missing), "{error}");
    }
    assert!(error.contains("3 violations"), "{error}");
}

#[tokio::test]
async fn wrong_properties_always_count_and_are_reported_together() {
    let wrong = SERVICE
        .replace("80", "high")
        .replace("spec:", "spec:\n  prots: []");
    for flags in ["", "--partial"] {
        let judge = tko(&format!("validate {flags} -")).stdin(&*wrong);
        let error = judge.bad(2).await;
        for part in [
            "Service web: spec.ports[0].port: ",
            "spec.prots: ",
            "2 violations",
        ] {
            assert!(error.contains(part), "{error}");
        }
    }
}

#[tokio::test]
async fn own_schemas_are_used_and_missing_ones_can_be_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let crd = folder.path().join("crd.yaml");
    let definition = "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: routers.example.org}
spec:
  group: example.org
  scope: Namespaced
  names: {kind: Router, plural: routers}
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec: {type: object, properties: {ports: {type: integer}}}
";
    fs::write(&crd, definition).expect("a file");
    let router =
        "apiVersion: example.org/v1\nkind: Router\nmetadata: {name: r}\nspec: {ports: many}\n";
    tko("validate -").stdin(router).good().await;
    let strict = tko("validate --missing-schemas refuse -").stdin(router);
    let error = strict.bad(2).await;
    assert!(
        error.contains("Router r") && error.contains("schema"),
        "{error}"
    );
    let known = tko("validate - --schema-location").arg(&crd).stdin(router);
    let error = known.bad(2).await;
    assert!(error.contains("Router r: spec.ports: "), "{error}");
}

/// A folder with a definition, a resource of its kind that breaks a rule, a file that is not YAML,
/// and JSON.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let write =
        |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
    write(
        "a-range.yaml",
        "# one\n---\napiVersion: example.org/v1\nkind: Range\nmetadata: {name: a}\nspec:\n  min: 5\n  max: 1\n---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: Wrong_Name\n",
    );
    write(
        "b-broken.yml",
        "apiVersion: v1\nkind: ConfigMap\n  metadata: x\n",
    );
    write(
        "c-crd.yaml",
        "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ranges.example.org}
spec:
  group: example.org
  scope: Namespaced
  names: {kind: Range, plural: ranges}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties: {min: {type: integer}, max: {type: integer}}
            x-kubernetes-validations:
            - {rule: self.min <= self.max, message: min above max}
            - {rule: self == oldSelf}
",
    );
    write(
        "d.json",
        "{\n  \"apiVersion\": \"v1\",\n  \"kind\": \"Service\",\n  \"metadata\": {\"name\": \"s\"},\n  \"spec\": {\"prots\": []}\n}\n",
    );
    write(
        "e.yaml",
        "apiVersion: example.com/v1\nkind: Unknown\nmetadata: {name: u}\n",
    );
    folder
}

#[tokio::test]
async fn every_file_is_checked_and_each_violation_has_file_and_line() {
    let folder = folder();
    let path = folder.path().display();
    let error = tko("validate").arg(folder.path()).bad(2).await;
    for line in [
        format!("{path}/a-range.yaml:6: Range a: spec: min above max"),
        format!("{path}/a-range.yaml:13: ConfigMap Wrong_Name: metadata.name: must be a DNS name"),
        format!("{path}/b-broken.yml:"),
        format!("{path}/d.json:5: Service s: spec.prots: is not a known property"),
        "not checked: 1 without a schema (example.com/v1/Unknown), 1 validation rule".to_owned(),
        "3 violations, 1 error".to_owned(),
    ] {
        assert!(error.contains(&line), "{line}\n{error}");
    }
    let first = tko("validate --exit-on-error")
        .arg(folder.path())
        .bad(2)
        .await;
    assert!(
        first.contains("1 violation") && !first.contains("Wrong_Name"),
        "{first}"
    );
}

#[tokio::test]
async fn reports_have_the_formats_of_kubeconform() {
    let folder = folder();
    let run = |flags: &str| tko(&format!("validate {flags}")).arg(folder.path()).run();
    let json = run("-o json").await;
    assert_eq!(json.code(), Some(2));
    let report: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(
        report["resources"].as_array().map(Vec::len),
        Some(4),
        "{report}"
    );
    assert_eq!(report["resources"][0]["status"], "statusInvalid");
    assert_eq!(
        report["resources"][0]["validationErrors"][0]["msg"],
        "min above max"
    );
    assert_eq!(report["summary"]["valid"], 1);
    assert_eq!(report["summary"]["withoutSchema"], 1);
    assert_eq!(report["summary"]["rulesNotChecked"], 1);
    let tap = run("-o tap").await;
    for part in [
        "TAP version 13\n",
        "not ok 1 - ",
        "# SKIP no schema\n",
        "\n1..6\n",
    ] {
        assert!(tap.text().contains(part), "{}", tap.text());
    }
    let junit = run("-o junit").await;
    for part in [
        "<testsuites",
        "failures=\"2\"",
        "<skipped message=\"no schema\"/>",
        "</testsuites>\n",
    ] {
        assert!(junit.text().contains(part), "{}", junit.text());
    }
    let text = run("--summary").await;
    assert!(
        text.text().starts_with(
            "Summary: 6 resources found in 5 files - Valid: 1, Invalid: 3, Errors: 1, Skipped: 0"
        ),
        "{}",
        text.text()
    );
    let wrong = tko("validate -o xml").arg(folder.path()).bad(2).await;
    assert!(wrong.contains("junit"), "{wrong}");
    let elsewhere = tko("kube to a -o tap").run().await;
    assert_eq!(
        elsewhere.code(),
        Some(0),
        "formats without effect are allowed"
    );
}

#[tokio::test]
async fn kinds_and_files_can_be_left_out_or_refused() {
    let folder = folder();
    let skipped =
        tko("validate --skip Range,v1/ConfigMap,Service --ignore-filename-pattern broken")
            .arg(folder.path())
            .good()
            .await;
    assert!(skipped.stderr.contains("3 skipped"), "{skipped}");
    let rejected = tko("validate --reject v1/Service -")
        .stdin(SERVICE)
        .bad(2)
        .await;
    assert!(
        rejected.contains("stdin:1: Service web: kind: is refused"),
        "{rejected}"
    );
    tko("validate --skip a//b/ -").stdin(SERVICE).bad(2).await;
}

#[tokio::test]
async fn only_regular_files_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("pipe.yaml");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.is_ok_and(|status| status.success()), "mkfifo works");
    fs::write(folder.path().join("service.yaml"), SERVICE).expect("written");
    let checked = tko("validate").arg(folder.path()).good().await;
    assert!(
        checked.stderr.contains("pipe.yaml is not a regular file"),
        "{checked}"
    );
    let error = tko("validate").arg(&pipe).bad(2).await;
    assert!(error.contains("not a regular file"), "{error}");
}

#[tokio::test]
async fn schema_locations_may_be_templates_and_useless_ones_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let schema = r#"{"type": "object", "properties": {"spec": {"type": "object", "properties": {"ports": {"type": "integer"}}}}}"#;
    fs::write(folder.path().join("router_v1.json"), schema).expect("written");
    let template = format!(
        "{}/{{{{.ResourceKind}}}}_{{{{.ResourceAPIVersion}}}}.json",
        folder.path().display()
    );
    let router =
        "apiVersion: example.org/v1\nkind: Router\nmetadata: {name: r}\nspec: {ports: many}\n";
    let judged = tko("validate - --schema-location default --schema-location")
        .arg(&template)
        .stdin(router);
    let error = judged.bad(2).await;
    assert!(
        error.contains("Router r: spec.ports: must be an integer"),
        "{error}"
    );
    let empty = tempfile::tempdir().expect("a folder");
    let warned = tko("validate - --schema-location")
        .arg(empty.path())
        .stdin(SERVICE)
        .good()
        .await;
    assert!(
        warned.stderr.contains("has no CustomResourceDefinition"),
        "{warned}"
    );
}

#[tokio::test]
async fn a_version_without_schemas_of_its_own_is_warned_of() {
    let validate = |version: &str| {
        let flags = format!("validate - --kubernetes-version {version}");
        tko(&flags).stdin(SERVICE)
    };
    let warned = validate("9.9").good().await;
    let warning = "no schemas of Kubernetes 9.9 are built in, only those of 1.25 to 1.37; those of 1.37 are used";
    assert!(warned.stderr.contains(warning), "{warned}");
    for known in ["1.25", "v1.30.7", "1.37"] {
        let judged = validate(known).good().await;
        assert_eq!(judged.stderr, "-: 1 resource, valid\n");
    }
    let error = validate("1.24").bad(2).await;
    assert!(error.contains("1.25"), "{error}");
}

#[tokio::test]
async fn a_resource_that_is_there_twice_is_a_violation() {
    let twice = format!("{SERVICE}---\n{SERVICE}");
    let error = tko("validate -").stdin(&*twice).bad(2).await;
    assert!(
        error.contains("stdin:8: Service web: is there twice, the first time at stdin:1"),
        "{error}"
    );
}

#[tokio::test]
async fn unknown_kinds_of_tko_are_refused_by_server_and_command() {
    let server = crate::harness::Server::data().await;
    let wrong = "apiVersion: topology.nephio.org/v1alpha1\nkind: Plaecment\nmetadata: {name: a}\n";
    let error = server
        .tko("template register t --stdin")
        .stdin(wrong)
        .bad(2)
        .await;
    assert!(error.contains("did you mean Placement?"), "{error}");
    let error = tko("validate -").stdin(wrong).bad(2).await;
    assert!(error.contains("did you mean Placement?"), "{error}");
}
