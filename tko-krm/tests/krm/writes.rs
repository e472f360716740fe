//! kubectl writes: every line of the table of commands.

use crate::kubectl::Kubectl;
use crate::serving::Serving;
use std::time::Duration;
use tko_core::{DataApi, Key, Kind, Pattern, Select};

const TEMPLATE: &str = "\
apiVersion: tko.nephio.org/v1alpha1
kind: Template
metadata:
  name: demo-002fsmall-003av1
  labels:
    app.kubernetes.io/name: small
    tier: front-end
    NetworkFunction.type: UPF
  annotations:
    example.com/note: \"byte for byte: ü\"
spec:
  package:
    resources:
    - apiVersion: v1
      kind: ConfigMap
      metadata:
        name: small
      data:
        a: \"1\"
";

fn deployment(name: &str, extra: &str) -> String {
    format!(
        "apiVersion: tko.nephio.org/v1alpha1\nkind: Deployment\nmetadata:\n  name: {name}\nspec:\n  \
         templateId: demo/small:v1\n  package:\n    resources:\n    - apiVersion: v1\n      kind: \
         ConfigMap\n      metadata:\n        name: own\n      data:\n        key: value{extra}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_creates_edits_and_deletes() {
    let serving = Serving::start().await;
    for kubectl in Kubectl::all(&serving) {
        let created = kubectl
            .with_input(&["create", "-f", "-"], TEMPLATE)
            .await
            .ok();
        assert!(
            created.contains("template.tko.nephio.org/demo-002fsmall-003av1 created"),
            "{created}"
        );
        let twice = kubectl
            .with_input(&["create", "-f", "-"], TEMPLATE)
            .await
            .failed();
        assert!(twice.contains("AlreadyExists"), "{twice}");
        let labels = kubectl
            .run("get template demo-002fsmall-003av1 -o jsonpath={.metadata.labels}")
            .await
            .ok();
        for label in [
            "\"app.kubernetes.io/name\":\"small\"",
            "\"tier\":\"front-end\"",
            "\"NetworkFunction.type\":\"UPF\"",
        ] {
            assert!(labels.contains(label), "{labels}");
        }
        let note = kubectl
            .run("get template demo-002fsmall-003av1 -o jsonpath={.metadata.annotations}")
            .await
            .ok();
        assert!(note.contains("byte for byte: ü"), "{note}");
        kubectl
            .run("label template demo-002fsmall-003av1 tier=back-end --overwrite")
            .await
            .ok();
        kubectl
            .run("annotate template demo-002fsmall-003av1 example.com/note-")
            .await
            .ok();
        let selected = kubectl
            .run("get templates -l tier=back-end,app.kubernetes.io/name -o name")
            .await
            .ok();
        assert_eq!(
            selected.trim(),
            "template.tko.nephio.org/demo-002fsmall-003av1"
        );
        let none = kubectl
            .run("get templates -l tier!=back-end -o name")
            .await
            .ok();
        assert_eq!(none.trim(), "");
        let patched = kubectl
            .with_input(
                &[
                    "patch",
                    "template",
                    "demo-002fsmall-003av1",
                    "--type=json",
                    "-p",
                    r#"[{"op":"replace","path":"/spec/package/resources/0/data/a","value":"2"}]"#,
                ],
                "",
            )
            .await
            .ok();
        assert!(patched.contains("patched"), "{patched}");
        let generation = kubectl
            .run("get template demo-002fsmall-003av1 -o jsonpath={.metadata.generation}")
            .await
            .ok();
        assert_eq!(
            generation, "2",
            "labels do not change the generation, packages do"
        );
        let strategic = kubectl
            .with_input(
                &[
                    "patch",
                    "template",
                    "demo-002fsmall-003av1",
                    "--type=strategic",
                    "-p",
                    "{}",
                ],
                "",
            )
            .await
            .failed();
        assert!(
            strategic.contains("415")
                || strategic.contains("unknown format")
                || strategic.contains("strategic"),
            "{strategic}"
        );
        let yaml = kubectl
            .run("get template demo-002fsmall-003av1 -o yaml")
            .await
            .ok();
        let replaced = yaml.replace("a: \"2\"", "a: \"3\"");
        assert_ne!(yaml, replaced);
        kubectl
            .with_input(&["replace", "-f", "-"], &replaced)
            .await
            .ok();
        let stale = kubectl
            .with_input(&["replace", "-f", "-"], &yaml)
            .await
            .failed();
        assert!(
            stale.contains("Conflict") || stale.contains("modified"),
            "{stale}"
        );
        let unknown = TEMPLATE
            .replace("spec:", "spec:\n  wrong: 1")
            .replace("small-003av1", "other");
        let refused = kubectl
            .with_input(&["create", "-f", "-"], &unknown)
            .await
            .failed();
        assert!(refused.contains("unknown field"), "{refused}");
        let name = TEMPLATE.replace("demo-002fsmall-003av1", "hello-world");
        let refused = kubectl
            .with_input(&["create", "-f", "-"], &name)
            .await
            .failed();
        assert!(refused.contains("hello-002dworld"), "{refused}");
        let invalid = TEMPLATE
            .replace("name: small\n      data", "name: refused\n      data")
            .replace("small-003av1", "other");
        let refused = kubectl
            .with_input(&["create", "-f", "-"], &invalid)
            .await
            .failed();
        assert!(refused.contains("this name is refused"), "{refused}");
        let dry = kubectl
            .with_input(&["create", "--dry-run=server", "-f", "-"], &invalid)
            .await
            .failed();
        assert!(
            dry.contains("this name is refused"),
            "a dry run validates: {dry}"
        );
        let deleted = kubectl
            .run("delete template demo-002fsmall-003av1")
            .await
            .ok();
        assert!(deleted.contains("deleted"), "{deleted}");
        kubectl
            .run("get template demo-002fsmall-003av1")
            .await
            .failed();
        kubectl
            .with_input(&["create", "-f", "-"], TEMPLATE)
            .await
            .ok();
        let all = kubectl.run("delete templates --all").await.ok();
        assert!(all.contains("demo-002fsmall"), "{all}");
    }
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_applies_on_the_client_and_on_the_server() {
    let serving = Serving::start().await;
    for kubectl in Kubectl::all(&serving) {
        kubectl
            .with_input(&["apply", "-f", "-"], TEMPLATE)
            .await
            .ok();
        let unchanged = kubectl
            .with_input(&["apply", "-f", "-"], TEMPLATE)
            .await
            .ok();
        assert!(unchanged.contains("unchanged"), "{unchanged}");
        let diff = kubectl.with_input(&["diff", "-f", "-"], TEMPLATE).await;
        assert!(diff.success, "there is no difference: {diff:?}");
        let changed = TEMPLATE.replace("a: \"1\"", "a: \"9\"");
        let diff = kubectl.with_input(&["diff", "-f", "-"], &changed).await;
        assert!(
            !diff.success && diff.stdout.contains("+        a: \"9\""),
            "{diff:?}"
        );
        kubectl
            .with_input(&["apply", "-f", "-"], &changed)
            .await
            .ok();

        let name = "upf-of-a-site";
        let manifest = deployment(name, "");
        kubectl
            .with_input(&["apply", "--server-side", "-f", "-"], &manifest)
            .await
            .ok();
        let get = |path: &str| format!("get deployment.tko {name} -o jsonpath={{{path}}}");
        let version = kubectl.run(&get(".metadata.resourceVersion")).await.ok();
        let resources = kubectl
            .run(&get(".spec.package.resources[*].metadata.name"))
            .await
            .ok();
        assert_eq!(
            resources, "small own deployment",
            "the package is merged into the template's"
        );
        kubectl
            .with_input(&["apply", "--server-side", "-f", "-"], &manifest)
            .await
            .ok();
        assert_eq!(
            kubectl.run(&get(".metadata.resourceVersion")).await.ok(),
            version,
            "a no-op apply changes nothing"
        );
        let other = kubectl
            .with_input(
                &["apply", "--server-side", "--field-manager=other", "-f", "-"],
                &deployment(name, "2"),
            )
            .await
            .failed();
        assert!(
            other.contains("conflict") && other.contains("spec.package.resources"),
            "{other}"
        );
        kubectl
            .with_input(
                &[
                    "apply",
                    "--server-side",
                    "--field-manager=other",
                    "--force-conflicts",
                    "-f",
                    "-",
                ],
                &deployment(name, "2"),
            )
            .await
            .ok();
        let data = kubectl
            .run(&get(".spec.package.resources[1].data.key"))
            .await
            .ok();
        assert_eq!(data, "value2");
        let id = kubectl.run(&get(".spec.deploymentId")).await.ok();
        assert_ne!(id, name);
        let key = Key::new(Kind::Deployment, &id).expect("an id");
        assert!(serving.data.get(&key, tko_core::Want::ROW).await.is_ok());
        kubectl
            .run(&format!("label deployment.tko {name} team=core"))
            .await
            .ok();
        assert_eq!(
            kubectl.run(&get(".metadata.labels.team")).await.ok(),
            "core"
        );
        let approval = kubectl
            .with_input(
                &[
                    "patch",
                    "deployment.tko",
                    name,
                    "--subresource=status",
                    "--type=merge",
                    "-p",
                    r#"{"status":{"approved":true}}"#,
                ],
                "",
            )
            .await
            .failed();
        assert!(approval.contains("not prepared"), "{approval}");
        let moved = kubectl
            .with_input(
                &[
                    "patch",
                    "deployment.tko",
                    name,
                    "--type=merge",
                    "-p",
                    r#"{"spec":{"templateId":"other"}}"#,
                ],
                "",
            )
            .await
            .failed();
        assert!(moved.contains("cannot change"), "{moved}");
        let taken = kubectl
            .with_input(&["create", "-f", "-"], &manifest)
            .await
            .failed();
        assert!(taken.contains("AlreadyExists"), "{taken}");
        let generated = manifest.replace(&format!("name: {name}"), "generateName: upf-");
        let created = kubectl
            .with_input(&["create", "-f", "-"], &generated)
            .await
            .ok();
        assert!(
            created.contains("deployment.tko.nephio.org/upf-"),
            "{created}"
        );
        kubectl
            .run("delete deployments.tko.nephio.org --all")
            .await
            .ok();
        kubectl.run("delete templates --all").await.ok();
        let left = serving
            .data
            .count(
                &Select::all(Kind::Deployment).id(Pattern::literal(&id)),
                1,
                tko_core::Want::ROW,
            )
            .await;
        assert_eq!(left.expect("counted").found, 0);
    }
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_waits_and_watches() {
    use tokio::io::{AsyncBufReadExt, BufReader};
    let serving = Serving::start().await;
    let id = serving.fill().await;
    for kubectl in Kubectl::all(&serving) {
        let mut watching = kubectl
            .command(&["get", "deployment.tko", "-w", "--output-watch-events"])
            .spawn()
            .expect("it is installed");
        let mut lines = BufReader::new(watching.stdout.take().expect("a pipe")).lines();
        let mut line = async |wanted: &str| {
            let found = async {
                loop {
                    let line = lines.next_line().await.expect("text").expect("it goes on");
                    if line.contains(wanted) {
                        return line;
                    }
                }
            };
            tokio::time::timeout(Duration::from_secs(30), found)
                .await
                .unwrap_or_else(|_| panic!("no {wanted}"))
        };
        line(&format!("ADDED      {id}")).await;
        kubectl
            .run(&format!("label deployment.tko {id} seen=yes --overwrite"))
            .await
            .ok();
        line(&format!("MODIFIED   {id}")).await;
        let words = format!(
            "wait deployment.tko {id} --for=jsonpath={{.metadata.labels.seen}}=no --timeout=30s"
        );
        let waiting = kubectl.run(&words);
        let changing = async {
            kubectl
                .run(&format!("label deployment.tko {id} seen=no --overwrite"))
                .await
                .ok();
        };
        let (waited, ()) = tokio::join!(waiting, changing);
        assert!(waited.ok().contains("condition met"));
        kubectl
            .run(&format!("label deployment.tko {id} seen-"))
            .await
            .ok();
        watching.kill().await.expect("our own process");
        let words = format!("wait deployment.tko {id} --for=condition=Ready=false --timeout=30s");
        let named = kubectl.run(&words);
        assert!(named.await.ok().contains("condition met"));
    }
    serving.stop().await;
}
