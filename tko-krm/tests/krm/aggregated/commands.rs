//! Every command of kubectl, through the cluster.

use super::behind::{Behind, programs};
use crate::kubectl::Output;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};

const TEMPLATE: &str = "\
apiVersion: tko.nephio.org/v1alpha1
kind: Template
metadata:
  name: shop
spec:
  package:
    resources:
    - apiVersion: v1
      kind: ConfigMap
      metadata:
        name: shop
      data:
        colour: blue
";

const SITE: &str = "\
apiVersion: tko.nephio.org/v1alpha1
kind: Site
metadata:
  name: north
  labels:
    tier: edge
spec:
  package:
    resources:
    - apiVersion: v1
      kind: ConfigMap
      metadata:
        name: place
      data:
        colour: COLOUR
";

const DEPLOYMENT: &str = "\
apiVersion: tko.nephio.org/v1alpha1
kind: Deployment
metadata:
  generateName: shop-
spec:
  templateId: shop
  siteId: north
";

fn site(colour: &str) -> String {
    SITE.replace("COLOUR", colour)
}

/// A kubectl of one version, as the administrator.
struct Commands<'a> {
    behind: &'a Behind,
    program: &'a Path,
    editor: &'a Path,
}

impl Commands<'_> {
    async fn with_input(&self, words: &str, input: &str) -> Output {
        let words: Vec<&str> = words.split_whitespace().collect();
        let mut command = self.behind.command(self.program, &words);
        command.env("KUBE_EDITOR", self.editor);
        super::behind::run(command, input).await
    }

    /// Runs a command that must succeed.
    async fn ok(&self, words: &str) -> String {
        let output = self.with_input(words, "").await;
        assert!(output.success, "{:?} {words}: {output:?}", self.program);
        output.stdout
    }

    /// Runs a command with input, which must succeed.
    async fn send(&self, words: &str, input: &str) -> String {
        let output = self.with_input(words, input).await;
        assert!(output.success, "{:?} {words}: {output:?}", self.program);
        output.stdout
    }

    /// Runs a command that must fail.
    async fn fails(&self, words: &str, input: &str) -> String {
        let output = self.with_input(words, input).await;
        assert!(!output.success, "{:?} {words}: {output:?}", self.program);
        output.stdout + &output.stderr
    }

    async fn reads(&self) {
        let id = &self.behind.id;
        let kinds = self
            .ok("api-resources --api-group=tko.nephio.org -o wide")
            .await;
        assert!(kinds.contains("deletecollection"), "{kinds}");
        let versions = self.ok("api-versions").await;
        assert!(versions.contains("tko.nephio.org/v1alpha1"), "{versions}");
        let all = self.ok("get tko").await;
        assert!(
            all.contains(id) && all.contains("plugin.tko.nephio.org/"),
            "{all}"
        );
        let table = self.ok("get deployments.tko.nephio.org -o wide").await;
        assert!(table.contains("waiting for a preparer"), "{table}");
        let name = self.ok(&format!("get deployment.tko {id} -o name")).await;
        assert_eq!(name.trim(), format!("deployment.tko.nephio.org/{id}"));
        let yaml = self.ok("get templates -o yaml").await;
        assert!(yaml.contains("greeting: hello"), "{yaml}");
        let json = self.ok("get sites -o json --chunk-size=1").await;
        assert!(json.contains("india-002fsouth-002d100"), "{json}");
        let sorted = self
            .ok("get sites --sort-by=.metadata.name --show-labels")
            .await;
        assert!(sorted.contains("india-002f"), "{sorted}");
        let words = "get deployment.tko --field-selector spec.siteId=india/south-100 -o name";
        assert_eq!(self.ok(words).await.lines().count(), 1);
        let described = self.ok(&format!("describe deployment.tko {id}")).await;
        assert!(described.contains("NotPrepared"), "{described}");
        let missing = self.fails("get site none", "").await;
        assert!(missing.contains("NotFound"), "{missing}");
        let explained = self.ok("explain sites.spec.templateId").await;
        assert!(
            explained.contains("template into whose package"),
            "{explained}"
        );
        let words = "explain deployment.spec.siteId --api-version=tko.nephio.org/v1alpha1";
        let explained = self.ok(words).await;
        assert!(explained.contains("where it will run"), "{explained}");
        self.ok("explain sites --recursive").await;
        let can = self.ok("auth can-i watch deployments.tko.nephio.org").await;
        assert_eq!(can.trim(), "yes");
    }

    async fn writes(&self) {
        self.send("create -f -", TEMPLATE).await;
        let twice = self.fails("create -f -", TEMPLATE).await;
        assert!(twice.contains("AlreadyExists"), "{twice}");
        let wrong = TEMPLATE.replace("spec:", "spec:\n  unknown: 1");
        let strict = self
            .fails("create -f -", &wrong.replace("shop", "odd"))
            .await;
        assert!(strict.contains("unknown"), "{strict}");
        let created = self.send("apply -f -", &site("red")).await;
        assert!(created.contains("created"), "{created}");
        let same = self.send("apply -f -", &site("red")).await;
        assert!(same.contains("unchanged"), "{same}");
        let version = "get site north -o jsonpath={.metadata.resourceVersion}";
        let before = self.ok(version).await;
        let dry = self
            .send("apply -f - --dry-run=server", &site("green"))
            .await;
        assert!(dry.contains("dry run"), "{dry}");
        self.send("diff -f -", &site("red")).await;
        let differs = self.fails("diff -f -", &site("green")).await;
        assert!(differs.contains("green"), "{differs}");
        assert_eq!(self.ok(version).await, before, "nothing was stored");
        let configured = self.send("apply -f -", &site("green")).await;
        assert!(configured.contains("configured"), "{configured}");

        // Server-side apply: the manager of the client-side apply is kubectl's own.
        self.send("apply --server-side -f -", &site("blue")).await;
        let version_before = self.ok(version).await;
        self.send("apply --server-side -f -", &site("blue")).await;
        assert_eq!(self.ok(version).await, version_before, "a repeated apply");
        let words = "apply --server-side --field-manager=other -f -";
        let conflict = self.fails(words, &site("black")).await;
        assert!(
            conflict.contains("conflict") && conflict.contains("kubectl"),
            "{conflict}"
        );
        let words = "apply --server-side --field-manager=other --force-conflicts -f -";
        self.send(words, &site("black")).await;
        let fields = self
            .ok("get site north -o yaml --show-managed-fields")
            .await;
        assert!(fields.contains("manager: other"), "{fields}");

        let edited = self.ok("edit site north").await;
        assert!(edited.contains("edited"), "{edited}");
        self.ok("label site north tier=core --overwrite").await;
        self.ok("annotate site north example.com/note=new").await;
        let words = "patch site north --type=merge -p {\"metadata\":{\"labels\":{\"a\":\"b\"}}}";
        self.ok(words).await;
        let words =
            "patch site north --type=json -p [{\"op\":\"remove\",\"path\":\"/metadata/labels/a\"}]";
        self.ok(words).await;
        let strategic = self.fails("patch site north -p {}", "").await;
        assert!(strategic.contains("merge-patch+json"), "{strategic}");
        let present = self.ok("get site north -o json").await;
        assert!(present.contains("white"), "the editor's word: {present}");
        let next = present.replace("white", "grey");
        let replaced = self.send("replace -f -", &next).await;
        assert!(replaced.contains("replaced"), "{replaced}");
        let stale = self.fails("replace -f -", &present).await;
        assert!(stale.contains("Conflict"), "{stale}");
        let selected = self.ok("get sites -l tier=core -o name").await;
        assert_eq!(selected.trim(), "site.tko.nephio.org/north");
    }

    async fn watches(&self) {
        let words = ["get", "site", "north", "-w", "--output-watch-events"];
        let command = self.behind.command(self.program, &words);
        let child = tokio::process::Command::from(command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut child = child.expect("kubectl is installed");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut next = async |text: &str| {
            let reading = async {
                while let Some(line) = lines.next_line().await.expect("text") {
                    if line.contains(text) {
                        return;
                    }
                }
                panic!("the watch ended before {text}");
            };
            let found = tokio::time::timeout(Duration::from_mins(2), reading).await;
            found.unwrap_or_else(|_| panic!("no {text}"));
        };
        next("ADDED").await;
        self.ok("label site north seen=yes").await;
        next("MODIFIED").await;
        let words = "wait site north --for=jsonpath={.metadata.labels.seen}=yes --timeout=60s";
        self.ok(words).await;

        let created = self.send("create -f - -o name", DEPLOYMENT).await;
        let deployment = created.trim();
        assert!(
            deployment.starts_with("deployment.tko.nephio.org/shop-"),
            "{created}"
        );
        let words = format!("wait {deployment} --for=condition=Ready --timeout=1s");
        let late = self.fails(&words, "").await;
        assert!(late.contains("timed out"), "{late}");
        self.ok(&format!("delete {deployment} --timeout=60s")).await;
        let words = "wait site north --for=delete --timeout=60s";
        let (_, deleted) = tokio::join!(self.ok(words), self.ok("delete site north --timeout=60s"));
        assert!(deleted.contains("deleted"), "{deleted}");
        next("DELETED").await;
    }

    async fn deletes(&self) {
        let dry = self.send("delete -f - --dry-run=server", TEMPLATE).await;
        assert!(dry.contains("dry run"), "{dry}");
        self.send("delete -f - --timeout=60s", TEMPLATE).await;
        for name in ["one", "two", "three"] {
            self.send("create -f -", &TEMPLATE.replace("shop", name))
                .await;
        }
        self.ok("label template one two sort=fruit").await;
        let deleted = self
            .ok("delete templates -l sort=fruit --timeout=60s")
            .await;
        assert_eq!(deleted.lines().count(), 2, "{deleted}");
        self.ok("delete templates --field-selector metadata.name=three --timeout=60s")
            .await;
        let left = self.ok("get templates -o name").await;
        assert_eq!(left.lines().count(), 1, "{left}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes API server: `bash .ci/long kubernetes`"]
async fn every_command_of_kubectl_works_through_the_cluster() {
    let behind = Behind::start().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let editor = folder.path().join("editor");
    std::fs::write(&editor, "#!/bin/sh\nexec sed -i s/black/white/ \"$1\"\n").expect("a file");
    let mut permissions = std::fs::metadata(&editor).expect("a file").permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
    std::fs::set_permissions(&editor, permissions).expect("a file of ours");
    // The cluster reads OpenAPI some time after the service is available.
    behind.eventually("explain sites.spec.templateId").await;
    behind
        .until("get --raw /openapi/v2", |text| {
            text.contains("/apis/tko.nephio.org/v1alpha1/sites")
        })
        .await;
    for program in programs() {
        let commands = Commands {
            behind: &behind,
            program: &program,
            editor: &editor,
        };
        let version = commands.ok("version --client").await;
        println!("{}", version.lines().next().unwrap_or_default());
        commands.reads().await;
        commands.writes().await;
        commands.watches().await;
        commands.deletes().await;
    }
    let all = behind
        .kubectl("delete plugins --all --timeout=60s", "")
        .await;
    assert_eq!(all.ok().lines().count(), 1);
    behind.stop().await;
}
