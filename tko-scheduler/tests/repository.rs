//! Manifests in a git repository: one commit for each change, whatever happens in between.

mod tree;
mod world;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tko_core::{Scheduler, SiteId};
use tko_scheduler::{GitSettings, Manifests};
use tree::{Call, files, paths};
use world::config;

/// Runs the real git. Returns its output.
fn git(root: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args([
            "-c",
            "user.name=Person",
            "-c",
            "user.email=person@localhost",
        ])
        .arg("-C")
        .arg(root)
        .args(arguments)
        .output()
        .expect("these tests need git");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "git {arguments:?}: {error}");
    String::from_utf8(output.stdout).expect("text")
}

/// Subjects of all commits, oldest first.
fn log(root: &Path) -> Vec<String> {
    let log = git(root, &["log", "--reverse", "--format=%s"]);
    log.lines().map(str::to_owned).collect()
}

fn repository(root: &Path) -> Manifests {
    Manifests::git(root, GitSettings::default())
}

fn with_remote(root: &Path, remote: &Path) -> Manifests {
    let settings = GitSettings {
        remote: Some(remote.to_str().expect("text").to_owned()),
        ..GitSettings::default()
    };
    Manifests::git(root, settings)
}

fn bare(root: &Path) -> PathBuf {
    let path = root.join("remote.git");
    git(root, &["init", "-q", "--bare", "-b", "main", "remote.git"]);
    path
}

/// The file of a resource `config` of the deployment `d1` of the site `a`.
const FILE: &str = "a/d1/030-configmap-core-config.yaml";

/// A repository whose first commit is on a remote, and a clone of another person.
struct SharedRepository {
    remote: PathBuf,
    ours: PathBuf,
    theirs: PathBuf,
    manifests: Manifests,
    /// The call that made the first commit.
    call: Call,
}

impl SharedRepository {
    async fn new(root: &Path) -> Self {
        let remote = bare(root);
        let (ours, theirs) = (root.join("ours"), root.join("theirs"));
        let manifests = with_remote(&ours, &remote);
        let call = Call::of("a").with("d1", vec![config("one")]);
        call.fence(1).make(&manifests).await.expect("pushed");
        assert_eq!(log(&remote), ["site a: 1 added"]);
        let url = remote.to_str().expect("text");
        git(root, &["clone", "-q", url, "theirs"]);
        Self {
            remote,
            ours,
            theirs,
            manifests,
            call,
        }
    }

    /// Pushes files of the other person.
    fn push_theirs(&self, contents: &[(&str, &str)]) {
        for (name, content) in contents {
            let path = self.theirs.join(name);
            let folder = path.parent().expect("a folder");
            fs::create_dir_all(folder).expect("made");
            fs::write(path, content).expect("written");
        }
        git(&self.theirs, &["add", "-A"]);
        git(&self.theirs, &["commit", "-q", "-m", "by hand"]);
        git(&self.theirs, &["push", "-q"]);
    }
}

#[tokio::test]
async fn sites_without_a_folder_or_a_repository_are_lost() {
    let folder = TempDir::new().expect("a directory");
    let root = folder.path().join("r");
    let manifests = repository(&root);
    let sites = ["a", "b"].map(|id| SiteId::new(id).expect("valid"));
    assert_eq!(manifests.lost_sites(&sites).await, sites);
    let call = Call::of("a").with("d1", vec![config("one")]);
    call.fence(1).make(&manifests).await.expect("committed");
    assert_eq!(manifests.lost_sites(&sites).await, sites[1..]);
    fs::remove_dir_all(root.join(".git")).expect("removed");
    assert_eq!(manifests.lost_sites(&sites).await, sites);
}

#[tokio::test]
async fn a_repository_that_is_removed_is_created_again() {
    let folder = TempDir::new().expect("a directory");
    let root = folder.path().join("r");
    let remote = bare(folder.path());
    let manifests = with_remote(&root, &remote);
    let call = Call::of("a").with("d1", vec![config("one")]);
    call.fence(1).make(&manifests).await.expect("committed");
    for (fence, removed) in [(2, ".git/tko"), (3, ".git"), (4, "")] {
        fs::remove_dir_all(root.join(removed)).expect("removed");
        let call = call.fence(fence);
        call.make(&manifests).await.expect("created again");
        assert_eq!(paths(&root), ["a/d1/030-configmap-core-config.yaml"]);
        assert_eq!(log(&root), log(&remote));
        assert_eq!(log(&root).len(), 1, "the history is that of the remote");
    }
}

#[tokio::test]
async fn every_change_is_one_commit_whose_message_lists_it() {
    let root = TempDir::new().expect("a directory");
    let root = root.path();
    let manifests = repository(root);
    let first = Call::of("x/a")
        .with("d1", vec![config("one")])
        .with("d2", vec![config("two")]);
    first.fence(1).make(&manifests).await.expect("committed");
    // Without changes there is no commit, whatever the fence.
    first
        .fence(2)
        .make(&manifests)
        .await
        .expect("nothing to do");
    Call::of("x/b")
        .fence(3)
        .make(&manifests)
        .await
        .expect("committed");
    let second = Call::of("x/a")
        .with("d1", vec![config("new")])
        .without("d2")
        .with("d3", vec![config("three")]);
    second.fence(4).make(&manifests).await.expect("committed");
    Call::of("x/a")
        .without("d1")
        .without("d3")
        .fence(5)
        .going()
        .make(&manifests)
        .await
        .expect("committed");
    Call::of("x/a")
        .fence(6)
        .going()
        .make(&manifests)
        .await
        .expect("nothing to do");
    let expected = [
        "site x/a: 2 added",
        "site x/b: no deployments changed",
        "site x/a: 1 added, 1 changed, 1 removed",
        "site x/a: deleted, 2 removed",
    ];
    assert_eq!(log(root), expected);
    let body = git(root, &["log", "-1", "--skip=1", "--format=%b%an <%ae>"]);
    assert_eq!(
        body,
        "added: d3\n\nchanged: d1\n\nremoved: d2\nTKO <tko@localhost>\n"
    );
    let there = git(root, &["ls-tree", "-r", "--name-only", "HEAD"]);
    assert_eq!(there, "x+b/.tko\n");
    assert_eq!(git(root, &["status", "--porcelain"]), "");
}

#[tokio::test]
async fn the_remains_of_a_crash_are_repaired_by_the_next_write() {
    let root = TempDir::new().expect("a directory");
    let root = root.path();
    let call = Call::of("a").with("d1", vec![config("one")]);
    call.fence(1)
        .make(&repository(root))
        .await
        .expect("committed");
    // Git was killed after the files were written and partly added.
    fs::create_dir(root.join("a/d2")).expect("made");
    fs::write(root.join("a/d2/030-configmap-core-config.yaml"), "half").expect("written");
    git(root, &["add", "-A"]);
    fs::write(root.join("a/d2/.tko-Xy12"), "ha").expect("written");
    let lock = root.join(".git/index.lock");
    fs::write(&lock, "").expect("written");
    let call = call.with("d2", vec![config("two")]);
    call.fence(2)
        .make(&repository(root))
        .await
        .expect("committed");
    assert_eq!(log(root), ["site a: 1 added", "site a: 1 added"]);
    assert!(lock.exists(), "it may be in use");
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let file = fs::File::options().write(true).open(&lock).expect("there");
    file.set_modified(old).expect("set");
    call.fence(3)
        .make(&repository(root))
        .await
        .expect("committed");
    assert_eq!(log(root), ["site a: 1 added", "site a: 1 added"]);
    assert_eq!(git(root, &["status", "--porcelain"]), "");
    let committed = git(root, &["show", "HEAD:a/d2/030-configmap-core-config.yaml"]);
    assert!(committed.contains("text: two"), "{committed}");
}

#[tokio::test]
async fn an_older_claim_is_refused_also_after_a_restart() {
    let root = TempDir::new().expect("a directory");
    let root = root.path();
    let call = Call::of("a").with("d1", vec![config("one")]);
    call.fence(5)
        .make(&repository(root))
        .await
        .expect("committed");
    let old = Call::of("a").fence(4);
    let error = old.make(&repository(root)).await.expect_err("refused");
    assert!(
        error.chain().contains("which is newer than"),
        "{}",
        error.chain()
    );
    assert_eq!(log(root).len(), 1);
    assert_eq!(paths(root).len(), 1);
}

#[tokio::test]
async fn concurrent_sites_do_not_overwrite_each_other() {
    let root = TempDir::new().expect("a directory");
    let root = root.path();
    // Like two processes, each with several sites at once.
    let writers = [Arc::new(repository(root)), Arc::new(repository(root))];
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..12 {
        let writer = writers[number % 2].clone();
        tasks.spawn(async move {
            let call = Call::of(&format!("s{number}")).with("d", vec![config("one")]);
            call.fence(1).make(&*writer).await.map(|_| ())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("no panic").expect("committed");
    }
    let mut log = log(root);
    log.sort();
    let mut expected: Vec<String> = (0..12).map(|n| format!("site s{n}: 1 added")).collect();
    expected.sort();
    assert_eq!(log, expected);
    assert_eq!(git(root, &["status", "--porcelain"]), "");
}

#[tokio::test]
async fn an_existing_repository_keeps_foreign_files() {
    let root = TempDir::new().expect("a directory");
    let root = root.path();
    git(root, &["init", "-q", "-b", "fleet"]);
    fs::write(root.join("README"), "hands off").expect("written");
    fs::write(root.join(".gitignore"), "*.yaml\n").expect("written");
    git(root, &["add", "-A"]);
    git(root, &["commit", "-q", "-m", "by hand"]);
    fs::write(root.join("README"), "being edited").expect("written");
    fs::write(root.join("staged"), "for later").expect("written");
    git(root, &["add", "staged"]);
    // A hook that must not run, and a signing key that does not exist.
    let hook = root.join(".git/hooks/pre-commit");
    fs::write(&hook, "#!/bin/sh\nexit 1\n").expect("written");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("set");
    }
    git(root, &["config", "commit.gpgSign", "true"]);
    let call = Call::of("a").with("d1", vec![config("one")]);
    call.fence(1)
        .make(&repository(root))
        .await
        .expect("committed");
    let there = git(root, &["ls-tree", "-r", "--name-only", "HEAD"]);
    assert_eq!(
        there,
        ".gitignore\nREADME\na/.tko\na/d1/030-configmap-core-config.yaml\n"
    );
    assert_eq!(
        git(root, &["status", "--porcelain"]),
        " M README\nA  staged\n"
    );
    let wrong = GitSettings {
        branch: Some("main".to_owned()),
        ..GitSettings::default()
    };
    let error = call
        .fence(2)
        .make(&Manifests::git(root, wrong))
        .await
        .expect_err("refused");
    assert!(
        error
            .chain()
            .contains("has fleet checked out; check out main"),
        "{}",
        error.chain()
    );
}

#[tokio::test]
async fn commits_are_pushed_and_commits_of_others_merged() {
    let root = TempDir::new().expect("a directory");
    let shared = SharedRepository::new(root.path()).await;
    let remote = &shared.remote;
    shared.push_theirs(&[
        ("flux.yaml", "of others"),
        // And changes to TKO's files.
        (FILE, "meddled"),
    ]);

    let call = Call::of("a").with("d1", vec![config("new")]);
    call.fence(2).make(&shared.manifests).await.expect("pushed");
    let there = git(remote, &["ls-tree", "-r", "--name-only", "main"]);
    assert_eq!(
        there,
        "a/.tko\na/d1/030-configmap-core-config.yaml\nflux.yaml\n"
    );
    let text = git(remote, &["show", &format!("main:{FILE}")]);
    assert!(text.contains("text: new"), "{text}");
    assert_eq!(files(&shared.ours)["flux.yaml"], "of others");

    // A new machine starts from the remote.
    let fresh = root.path().join("fresh");
    let call = Call::of("b").with("d2", vec![config("two")]);
    call.fence(3)
        .make(&with_remote(&fresh, remote))
        .await
        .expect("pushed");
    assert_eq!(
        log(remote).last().map(String::as_str),
        Some("site b: 1 added")
    );
    assert_eq!(paths(&fresh).len(), 3);
}

#[tokio::test]
async fn an_interrupted_merge_is_aborted() {
    let root = TempDir::new().expect("a directory");
    let root = root.path();
    let call = Call::of("a").with("d1", vec![config("one")]);
    call.fence(1)
        .make(&repository(root))
        .await
        .expect("committed");
    git(root, &["checkout", "-q", "-b", "other"]);
    fs::write(root.join("flux.yaml"), "of others").expect("written");
    git(root, &["add", "-A"]);
    git(root, &["commit", "-q", "-m", "by hand"]);
    git(root, &["checkout", "-q", "main"]);
    git(root, &["merge", "-q", "--no-commit", "--no-ff", "other"]);
    let call = call.with("d2", vec![config("two")]);
    // The merge may be a person's.
    call.fence(2)
        .make(&repository(root))
        .await
        .expect("committed");
    assert!(root.join(".git/MERGE_HEAD").exists());
    let call = call.with("d3", vec![config("three")]);
    fs::write(root.join(".git/tko/merging"), "").expect("written");
    call.fence(3)
        .make(&repository(root))
        .await
        .expect("committed");
    assert_eq!(log(root), ["site a: 1 added"; 3]);
    assert!(!root.join(".git/MERGE_HEAD").exists());
    assert_eq!(git(root, &["status", "--porcelain"]), "");
    // A mark that a loss of power damaged prevents no write.
    let call = call.with("d4", vec![config("four")]);
    let mark = root.join(".git/tko/merging");
    fs::write(&mark, [0xff, 0]).expect("written");
    call.fence(4)
        .make(&repository(root))
        .await
        .expect("committed");
    assert!(!mark.exists());
}

#[tokio::test]
async fn the_remains_of_a_killed_merge_do_not_prevent_the_next_one() {
    let root = TempDir::new().expect("a directory");
    let shared = SharedRepository::new(root.path()).await;
    shared.push_theirs(&[
        (".gitattributes", "*.last filter=kill\n"),
        ("flux/flux.yaml", "of others"),
        (FILE, "meddled"),
        ("z.last", "of others"),
    ]);

    // Git is killed when it writes the last file.
    let (ours, manifests) = (&shared.ours, &shared.manifests);
    git(ours, &["config", "filter.kill.smudge", "kill -9 $PPID"]);
    let call = shared.call.clone().with("d2", vec![config("two")]);
    call.fence(2).make(manifests).await.expect_err("killed");
    assert!(ours.join("flux/flux.yaml").exists());
    git(ours, &["config", "--unset", "filter.kill.smudge"]);
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let lock = ours.join(".git/index.lock");
    let lock = fs::File::options().write(true).open(lock).expect("there");
    lock.set_modified(old).expect("set");

    call.fence(3).make(manifests).await.expect("pushed");
    assert_eq!(files(ours)["flux/flux.yaml"], "of others");
    assert_eq!(git(ours, &["status", "--porcelain"]), "");
    let there = git(&shared.remote, &["ls-tree", "-r", "--name-only", "main"]);
    assert_eq!(
        there,
        ".gitattributes\na/.tko\na/d1/030-configmap-core-config.yaml\n\
         a/d2/030-configmap-core-config.yaml\nflux/flux.yaml\nz.last\n"
    );
}

#[tokio::test]
async fn a_failed_push_is_repeated_with_the_next_write() {
    let root = TempDir::new().expect("a directory");
    let ours = root.path().join("ours");
    let remote = bare(root.path());
    let manifests = with_remote(&ours, &remote);
    Call::of("a")
        .fence(1)
        .make(&manifests)
        .await
        .expect("pushed");
    let away = root.path().join("away.git");
    fs::rename(&remote, &away).expect("moved");
    let call = Call::of("a").with("d1", vec![config("one")]);
    let error = call
        .fence(2)
        .make(&manifests)
        .await
        .expect_err("nowhere to push to");
    assert!(error.chain().contains("run git push"), "{}", error.chain());
    fs::rename(&away, &remote).expect("moved");
    call.fence(3).make(&manifests).await.expect("pushed");
    assert_eq!(
        log(&remote),
        ["site a: no deployments changed", "site a: 1 added"]
    );
}

/// Lets this time pass at once. Programs of Git that run need the real time.
async fn later(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_remote_that_lost_commits_gets_them_again() {
    let root = TempDir::new().expect("a directory");
    let remote = bare(root.path());
    let manifests = with_remote(&root.path().join("ours"), &remote);
    let call = Call::of("a").with("d1", vec![config("one")]);
    call.fence(1).make(&manifests).await.expect("pushed");
    fs::remove_dir_all(&remote).expect("removed");
    later(Duration::from_mins(1)).await;
    for fence in 2..4 {
        let error = call.fence(fence).make(&manifests).await;
        let error = error.expect_err("nowhere to push to").chain();
        assert!(error.contains("run git push"), "{error}");
    }
    bare(root.path());
    // A failure is not trusted for as long as a success.
    later(Duration::from_secs(5)).await;
    call.fence(4).make(&manifests).await.expect("pushed");
    assert_eq!(log(&remote), ["site a: 1 added"]);
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_repository_is_readable_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().expect("a directory");
    let root = folder.path().join("r");
    let call = Call::of("a").with("d1", vec![config("one")]);
    let made = call.fence(1).make(&repository(&root)).await;
    made.expect("committed");
    let shared = git(&root, &["config", "core.sharedRepository"]);
    assert_eq!(shared.trim(), "0600");
    let blob = git(&root, &["rev-parse", &format!("HEAD:{FILE}")]);
    let (first, rest) = blob.trim().split_at(2);
    let objects = root.join(".git/objects");
    let folder = objects.join(first);
    let file = folder.join(rest);
    for path in [objects, folder, file] {
        let mode = fs::metadata(&path).expect("it is there").permissions();
        assert_eq!(mode.mode() & 0o077, 0, "{}", path.display());
    }
}

#[tokio::test]
async fn a_missing_git_is_reported_with_a_remedy() {
    let root = TempDir::new().expect("a directory");
    let settings = GitSettings {
        program: "no-such-git".into(),
        ..GitSettings::default()
    };
    let manifests = Manifests::git(root.path().join("x"), settings);
    let error = Call::of("a")
        .fence(1)
        .make(&manifests)
        .await
        .expect_err("no git");
    assert!(error.chain().contains("install git"), "{}", error.chain());
}
