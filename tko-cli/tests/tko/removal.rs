//! Deleting: nothing by mistake, and visible until it is finished.

use crate::harness::{CONFIG, Server, filled, sorted, tko};
use tko_core::{DataApi, NewDeployment, NewTemplate, Package, TemplateId};

/// O2: an empty filter, as an unset variable makes it, never means everything; nor does none.
#[tokio::test]
async fn an_empty_filter_deletes_and_approves_nothing() {
    let server = Server::data().await;
    let ids = filled(&server).await;
    for (command, flag) in [
        ("deployment purge --yes --site-id", "--site-id"),
        ("deployment purge --yes --template-id", "--template-id"),
        ("deployment purge --yes --parent", "--parent"),
        ("deployment purge --yes --all --parent", "--parent"),
        ("deployment purge --yes --approved", "--approved"),
        ("site purge --yes --id", "--id"),
        ("site purge --yes --template-id", "--template-id"),
        ("template purge --yes --id", "--id"),
        ("plugin purge --yes --name", "--name"),
        ("deployment approve --site-id", "--site-id"),
    ] {
        let refused = server.tko(command).arg("").bad(2).await;
        assert!(refused.contains(flag), "{command}: {refused}");
    }
    for command in [
        "deployment purge --yes",
        "site purge --yes",
        "template purge --yes",
        "plugin purge --yes",
        "deployment approve",
    ] {
        let refused = server.tko(command).bad(2).await;
        assert!(refused.contains("--all"), "{command}: {refused}");
    }
    let refused = server.tko("site purge --yes --all -l app=x").bad(2).await;
    assert!(refused.contains("--metadata"), "{refused}");
    let refused = server
        .tko("deployment purge --yes --metadata")
        .arg("stage!=lab")
        .bad(2)
        .await;
    assert!(refused.contains("not equal"), "{refused}");
    let left = server.tko("deployment list -ojson").good().await;
    assert_eq!(left.column("deploymentId"), sorted(ids));
}

/// Several entities are deleted only with `--yes` where nobody can be asked; a dry run deletes
/// nothing.
#[tokio::test]
async fn a_deletion_says_what_it_will_do() {
    let server = Server::data().await;
    let ids = filled(&server).await;
    let dry = server.tko("deployment purge --all --dry-run").good().await;
    assert!(
        dry.text().starts_with("would delete 4 deployments\n"),
        "{dry}"
    );
    assert!(dry.text().contains(&ids[0]), "{dry}");
    let refused = server.tko("deployment purge --all").bad(2).await;
    assert!(
        refused.contains("--yes") && refused.contains("4 deployments"),
        "{refused}"
    );
    let list = server.tko("deployment list -ojson").good().await;
    assert_eq!(list.column("deploymentId").len(), 4);
    // The third has a child, which stays.
    let delete = format!("deployment delete {}", ids[2]);
    let done = server.tko(&delete).good().await;
    assert!(done.stderr.contains("1 children stay"), "{done}");
    let list = server.tko("deployment list -ojson").good().await;
    assert_eq!(list.column("deploymentId").len(), 3);
}

/// `--cascade` deletes the children, and theirs.
#[tokio::test]
async fn a_cascade_deletes_all_descendants() {
    let server = Server::data().await;
    let ids = filled(&server).await;
    let grandchild = format!("deployment create --stdin --parent {}", ids[3]);
    server.tko(&grandchild).stdin(CONFIG).good().await;
    let delete = format!("deployment delete --cascade {}", ids[2]);
    let dry = server.tko(&format!("{delete} --dry-run")).good().await;
    assert!(
        dry.text().starts_with("would delete 3 deployments\n"),
        "{dry}"
    );
    server.tko(&delete).bad(2).await;
    let done = server.tko(&format!("{delete} --yes")).good().await;
    assert!(done.stderr.contains("deleted 3 deployments"), "{done}");
    let list = server.tko("deployment list -ojson").good().await;
    assert_eq!(list.column("deploymentId"), sorted(ids[..2].to_vec()));
}

/// O7: what waits for its scheduler is shown by `list --state deleting` and `show`.
#[tokio::test]
async fn a_deletion_is_visible_until_its_scheduler_is_done() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::data().await;
    let flags = server.flags();
    let schedule = format!(
        "scheduler start {flags} --manifests {}",
        folder.path().display()
    );
    let scheduler = crate::harness::Service::start(&schedule);
    server.tko("site register lab/1").good().await;
    let create = "deployment create --site lab/1 --prepared --approved --stdin";
    let id = server
        .tko(create)
        .stdin(CONFIG)
        .good()
        .await
        .line()
        .to_owned();
    let wait = format!("deployment wait {id} --for");
    let placed = server.tko(&format!("{wait} placed")).good().await;
    assert_eq!(placed.stderr, format!("deployment {id} is placed\n"));
    scheduler.stop().await;
    let delete = format!("deployment delete {id}");
    let refused = server.tko(&delete).bad(2).await;
    assert!(refused.contains("placed"), "{refused}");
    let done = server.tko(&format!("{delete} --yes")).good().await;
    assert!(done.stderr.contains("waits until the scheduler"), "{done}");
    let hidden = server.tko("deployment list -ojson").good().await;
    assert!(hidden.column("deploymentId").is_empty());
    let list = "deployment list --state deleting -ojson";
    let shown = server.tko(list).good().await;
    assert_eq!(shown.column("deploymentId"), std::slice::from_ref(&id));
    let show = format!("deployment show {id} -ojson");
    let shown = server.tko(&show).good().await.json();
    assert_eq!(
        (&shown["deleting"], &shown["placedOn"]),
        (&true.into(), &"lab/1".into())
    );

    // O20: scripts need no pauses.
    let late = format!("{wait} deleted --timeout 100ms");
    let late = server.tko(&late).bad(1).await;
    assert!(late.contains("is not deleted after 100ms"), "{late}");
    server.tko(&format!("{wait} prepared")).bad(3).await;
    let scheduler = crate::harness::Service::start(&schedule);
    let gone = server.tko(&format!("{wait} deleted")).good().await;
    assert_eq!(gone.stderr, format!("deployment {id} is deleted\n"));
    scheduler.stop().await;
}

/// O11: a page far behind the start costs few calls, whatever its size. O20: metadata of TKO's own
/// is not in lists; exit codes.
#[tokio::test]
async fn small_things_that_scripts_see() {
    let server = Server::data().await;
    filled(&server).await;
    let page = server
        .tko("deployment list --offset 3 --max-count 1 -ojson")
        .good()
        .await;
    assert_eq!(page.column("deploymentId").len(), 1);
    server.tko("deployment create no/such:v1").bad(3).await;
    let token = server
        .tko("template list --grpc-token /no/such/file")
        .bad(2)
        .await;
    assert!(token.contains("/no/such/file"), "{token}");
    let quiet = server.tko("template list -q").good().await;
    assert!(quiet.stdout.is_empty(), "{quiet}");
    let away = tko("template list --grpc-address 127.0.0.1 --grpc-port 1")
        .bad(5)
        .await;
    assert!(
        !away.contains("tonic") && away.contains("refused"),
        "{away}"
    );
}

/// O20: what belongs to a template is cut after a thousand deployments, and that is said.
#[tokio::test]
async fn a_template_with_very_many_deployments_says_that_not_all_are_shown() {
    let server = Server::data().await;
    let client = server.client();
    let id = TemplateId::new("many:v1").expect("an id");
    let new = NewTemplate::new(id.clone(), Package::default());
    client.register_template(new).await.expect("registered");
    let new = NewDeployment::new().template(id);
    for count in [1_000, 1] {
        let is_first = count == 1_000;
        for created in client.create_deployments(vec![new.clone(); count]).await {
            created.expect("created");
        }
        for command in ["template show many:v1 -ojson", "template list -ojson"] {
            let shown = server.tko(command).good().await;
            let said = shown.stderr.contains("more than 1000 deployments");
            assert_ne!(said, is_first, "{command}: {}", shown.stderr);
        }
    }
}

/// O13: a reader that stops early, such as `head`, is not a failure of a completion script.
#[tokio::test]
async fn a_completion_script_can_be_cut_off() {
    use std::process::Stdio;
    use tokio::io::{AsyncBufReadExt, BufReader};
    let mut command = tko("completion bash").into_command();
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("piped");
    let mut reader = BufReader::new(stdout);
    reader.read_line(&mut line).await.expect("a line");
    drop(reader);
    let ended = child.wait_with_output().await.expect("it ends");
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success() && stderr.is_empty(), "{stderr}");
}
