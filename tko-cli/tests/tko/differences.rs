//! `tko deployment diff`: the changes that an approval is about.

use crate::harness::{CONFIG, Output, Server};
use serde_json::{Value, json};

/// A package that only a person approves.
const PACKAGE: &str = "\
apiVersion: v1
kind: ConfigMap
metadata:
  name: config
data:
  a: b
---
apiVersion: v1
kind: Secret
metadata:
  name: login
stringData:
  user: operator
  password: hush
---
apiVersion: deployment.nephio.org/v1alpha1
kind: Deployment
metadata:
  name: deployment
  annotations:
    nephio.org/approve: Manual
";

const EDITED: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: more\n---\n";

async fn diff(server: &Server, id: &str, flags: &str) -> Output {
    let diff = format!("deployment diff {id} {flags}");
    server.tko(&diff).good().await
}

/// Edits a package by a modification.
async fn edit(server: &Server, id: &str, edit: impl FnOnce(&str) -> String) {
    let start = format!("deployment mod start {id} --time 1m");
    let started = server.tko(&start).good().await;
    let (token, package) = started.text().split_once('\n').expect("a token first");
    let end = server.tko("deployment mod end --stdin").arg(token);
    end.stdin(edit(package)).good().await;
}

async fn approve(server: &Server, id: &str) {
    let approve = format!("deployment approve {id}");
    server.tko(&approve).good().await;
    let wait = format!("deployment wait {id} --for placed");
    server.tko(&wait).good().await;
}

/// The revisions of a deployment's changes, newest first.
async fn revisions(server: &Server, id: &str) -> Vec<u64> {
    let history = format!("history deployment {id} -ojson");
    let history = server.tko(&history).good().await;
    let changes = history.text().lines().map(|line| {
        let change: Value = serde_json::from_str(line).expect("JSON");
        change["revision"].as_u64().expect("a number")
    });
    changes.collect()
}

#[tokio::test]
async fn an_edit_is_compared_with_what_the_site_keeps_and_then_with_history() {
    let folder = tempfile::tempdir().expect("a folder");
    let up = format!("up --manifests {}", folder.path().join("out").display());
    let server = Server::start(&up).await;
    server.tko("site register lab").good().await;
    let create = server.tko("deployment create --site lab --prepared --stdin");
    let id = create.stdin(PACKAGE).good().await.line().to_owned();
    approve(&server, &id).await;
    edit(&server, &id, |package| {
        EDITED.to_owned()
            + &package
                .replace("a: b", "a: c")
                .replace("password: hush", "password: hush hush")
    })
    .await;

    let shown = diff(&server, &id, "").await;
    let expected = format!(
        "deployment {id}: from generation 2, which site lab keeps, to generation 3, which waits \
         for approval\n\
         --- /dev/null\n\
         +++ v1 ConfigMap more\n\
         @@ -0,0 +1,4 @@\n\
         +apiVersion: v1\n\
         +kind: ConfigMap\n\
         +metadata:\n\
         +  name: more\n\
         --- v1 ConfigMap config\n\
         +++ v1 ConfigMap config\n\
         @@ -3,4 +3,4 @@\n \
         metadata:\n   \
         name: config\n \
         data:\n\
         -  a: b\n\
         +  a: c\n\
         --- v1 Secret login\n\
         +++ v1 Secret login\n\
         @@ -4,4 +4,4 @@\n   \
         name: login\n \
         stringData:\n   \
         user: (hidden)\n\
         -  password: (hidden)\n\
         +  password: (changed)\n"
    );
    assert_eq!(shown.text(), expected, "{shown}");
    assert_eq!(shown.stderr, "");
    let secrets = diff(&server, &id, "--show-secrets").await;
    assert!(
        secrets
            .text()
            .ends_with("   user: operator\n-  password: hush\n+  password: hush hush\n"),
        "{secrets}"
    );
    let list = diff(&server, &id, "-ojson").await;
    assert_eq!(list.column("change"), ["added", "changed", "changed"]);
    let secret = &list.json()[2];
    assert_eq!(
        secret["resource"],
        json!({"apiVersion": "v1", "kind": "Secret", "name": "login"})
    );
    let lines = secret["diff"].as_str().expect("a text");
    assert!(expected.ends_with(lines), "{list}");
    let exit = server.tko(&format!("deployment diff {id} --exit-code"));
    let exit = exit.run().await;
    assert_eq!(exit.code(), Some(7), "{exit}");
    assert_eq!(exit.text(), expected, "{exit}");

    approve(&server, &id).await;
    let shown = diff(&server, &id, "").await;
    let (first, rest) = shown.text().split_once('\n').expect("lines");
    assert!(
        first.starts_with(&format!(
            "deployment {id}: from generation 2, before revision "
        )) && first.ends_with(", to generation 4, for site lab"),
        "{shown}"
    );
    assert!(expected.ends_with(rest), "{shown}");

    // Revisions: the creation, and the state now.
    let revisions = revisions(&server, &id).await;
    let (newest, oldest) = (revisions[0], revisions[revisions.len() - 1]);
    let since = diff(&server, &id, &format!("--revision {oldest}")).await;
    assert!(
        since.text().starts_with(&format!(
            "deployment {id}: from generation 1, at revision {oldest}, "
        )) && since.text().ends_with(rest),
        "{since}"
    );
    let same = diff(&server, &id, &format!("--exit-code --revision {newest}")).await;
    assert_eq!(same.text().lines().count(), 1, "{same}");
    assert!(same.stderr.contains("the packages are the same"), "{same}");
    let early = server.tko(&format!("deployment diff {id} --revision 0"));
    let early = early.bad(2).await;
    assert!(
        early.contains(&format!("it was created at revision {oldest}")),
        "{early}"
    );
    server.service.stop().await;
}

#[tokio::test]
async fn a_package_without_a_change_has_no_difference() {
    let server = Server::data().await;
    let create = server.tko("deployment create --stdin");
    let id = create.stdin(CONFIG).good().await.line().to_owned();
    let shown = diff(&server, &id, "--exit-code").await;
    assert_eq!(shown.text(), "");
    assert!(
        shown
            .stderr
            .contains("the package has not changed since it was created"),
        "{shown}"
    );
    let list = diff(&server, &id, "-ojson").await;
    assert_eq!(list.json(), json!([]));
    let unknown = server.tko("deployment diff 0123").bad(3).await;
    assert!(unknown.contains("0123"), "{unknown}");
    let refused = server.tko(&format!("deployment diff {id} -o tap"));
    assert!(refused.bad(2).await.contains("format"));
}

/// Escape sequences in a package could hide an edit on the terminal of the approver.
#[tokio::test]
async fn an_edit_cannot_hide_itself_from_the_approver() {
    let server = Server::data().await;
    let create = server.tko("deployment create --stdin");
    let id = create.stdin(CONFIG).good().await.line().to_owned();
    edit(&server, &id, |package| {
        package.replace("a: b", "a: \"c \\u202e \\e[2K\"")
    })
    .await;
    let shown = diff(&server, &id, "").await;
    assert!(
        shown
            .text()
            .contains(&format!("deployment {id}: from generation 1, before "))
            && shown.text().contains("without a site\n"),
        "{shown}"
    );
    let hidden = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
    assert!(!shown.text().contains(hidden), "{shown}");
    assert!(shown.text().contains("\n+  a: \"c "), "{shown}");
}
