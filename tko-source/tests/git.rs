//! Git repositories.

mod fixture;

use fixture::{ALL, folder, names, read, read_with, refused, resource, text, write};
use std::fs;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tko_source::{SourceLimits, SourceReader};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

fn git(within: &Path, arguments: &[&str]) {
    let status = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
        .args(arguments)
        .current_dir(within)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .status();
    assert!(status.expect("git runs").success(), "git {arguments:?}");
}

fn commit(root: &Path) {
    git(root, &["add", "."]);
    git(root, &["commit", "-q", "-m", "a change"]);
}

/// A repository with the fixture's files in its first commit, which has the tag v1.
fn repository(root: &Path) {
    write(root);
    git(root, &["init", "-q", "-b", "main"]);
    commit(root);
    git(root, &["tag", "v1"]);
}

#[tokio::test]
async fn a_repository_is_read_whole_or_in_part_or_at_a_tag() {
    let folder = folder();
    let root = folder.path();
    repository(root);
    fs::write(root.join("30.yaml"), resource("four")).expect("a file");
    commit(root);
    let path = text(root);
    let all = ["one", "two", "three", "four"];
    assert_eq!(names(&format!("git:{path}")).await, all);
    let part = format!("git:file://{path}!20");
    assert_eq!(names(&part).await, ["two", "three"]);
    let one = format!("git:{path}!20/a.yml");
    assert_eq!(names(&one).await, ["two"]);
    assert_eq!(names(&format!("git:file://{path}#v1")).await, ALL);
    for outside in ["../..", "nowhere"] {
        let source = format!("git:{path}!{outside}");
        refused(read(&source).await, &[path, outside, "repository"]);
    }
    let absent = format!("git:file://{path}#v2");
    refused(read(&absent).await, &[path, "v2", "cannot clone"]);
    refused(read("git:/nowhere").await, &["/nowhere", "cannot clone"]);
}

#[tokio::test]
async fn a_repository_does_not_lead_out_of_itself() {
    let (outside, folder) = (folder(), folder());
    fs::write(outside.path().join("secret.yaml"), resource("secret")).expect("a file");
    let root = folder.path();
    repository(root);
    symlink(outside.path(), root.join("elsewhere")).expect("a link");
    commit(root);
    let path = text(root);
    assert_eq!(names(&format!("git:{path}")).await, ALL);
    let through = format!("git:{path}!elsewhere/secret.yaml");
    refused(read(&through).await, &["elsewhere", "leads out"]);
    symlink(outside.path().join("secret.yaml"), root.join("40.yaml")).expect("a link");
    commit(root);
    refused(read(&format!("git:{path}")).await, &["40.yaml", "link"]);
}

#[tokio::test]
async fn files_of_gits_own_folder_do_not_count() {
    let folder = folder();
    let root = folder.path();
    repository(root);
    git(root, &["branch", "other.yaml"]);
    assert_eq!(names(text(root)).await, ALL);
}

#[tokio::test]
async fn a_clone_has_a_limit_besides_that_of_the_package() {
    let folder = folder();
    let root = folder.path();
    repository(root);
    // Not a part of the package.
    fs::write(root.join("large.bin"), vec![0; 1 << 20]).expect("a file");
    commit(root);
    let source = format!("git:file://{}", text(root));
    let limits = SourceLimits::default().with_max_clone_bytes(1 << 20);
    let reader = SourceReader::new().with_limits(limits);
    let read = read_with(&reader, &source).await;
    refused(read, &[text(root), "clone", "larger than 1 MiB"]);
    assert_eq!(names(&source).await, ALL);
}

/// git reads web servers by another program, which holds the connection.
#[tokio::test]
async fn the_programs_of_git_end_with_the_read() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let source = format!("git:http://{address}/r");
    // The read is dropped, as at a time limit, while the server does not answer.
    let (mut socket, _) = tokio::select! {
        accepted = listener.accept() => accepted.expect("a client"),
        read = read(&source) => panic!("it ended: {read:?}"),
    };
    let mut request = Vec::new();
    let end = tokio::time::timeout(Duration::from_mins(1), socket.read_to_end(&mut request));
    let end = end.await.expect("the client closes its connection");
    // A killed client may also reset the connection.
    let is_reset = |error: &Error| error.kind() == ErrorKind::ConnectionReset;
    assert!(end.as_ref().err().is_none_or(is_reset), "{end:?}");
}

#[tokio::test]
async fn passwords_do_not_appear_in_errors() {
    let source = "git:http://user:secret@127.0.0.1:9/r";
    let error = read(source).await.expect_err("nothing listens there");
    let text = error.chain();
    assert!(
        text.contains("127.0.0.1") && !text.contains("secret"),
        "{text}"
    );
}
