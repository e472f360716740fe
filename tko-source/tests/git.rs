//! Git repositories.

mod fixture;

use fixture::{ALL, folder, names, read, refused, resource, text, write};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

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
async fn passwords_do_not_appear_in_errors() {
    let source = "git:http://user:secret@127.0.0.1:9/r";
    let error = read(source).await.expect_err("nothing listens there");
    let text = error.chain();
    assert!(
        text.contains("127.0.0.1") && !text.contains("secret"),
        "{text}"
    );
}
