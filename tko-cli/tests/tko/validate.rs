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
    assert_eq!(judged.stderr.matches(", valid\n").count(), 3, "{judged}");
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
