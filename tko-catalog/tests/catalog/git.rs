//! Catalogs in git repositories, which the tests make.

use crate::support::{Fixture, assert_synced, condition, config, value};
use std::fs;
use std::path::Path;
use std::process::Command;
use tko_catalog::CatalogSettings;
use tko_core::{DataApi, Key, PluginId};
use tko_source::SourceLimits;

const ID: &str = "catalog|core";

/// A repository in a temporary folder.
pub(crate) struct Repository {
    folder: tempfile::TempDir,
}

impl Repository {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let repository = Self { folder };
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository.git(&["config", "user.name", "test"]);
        repository.git(&["config", "user.email", "test@example.com"]);
        repository
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.path().display())
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(arguments)
            .current_dir(self.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .expect("git runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {errors}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    pub(crate) fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", "change"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_dropped_for_its_size_is_fetched_whole() {
    let repository = Repository::new();
    repository.write("nf/upf/upf.yaml", &config("upf", "1"));
    repository.commit();
    repository.git(&["tag", "v1.0"]);
    let cache = tempfile::tempdir().expect("a folder");
    let settings = CatalogSettings::default()
        .with_local(true)
        .with_cache(Some(cache.path().to_owned()))
        .with_max_repository_bytes(4 << 20);
    let fixture = Fixture::with(settings);
    assert_synced(&fixture.add(ID, "git", &[("url", &repository.url())]).await);
    let mut copies = fs::read_dir(cache.path()).expect("a folder");
    let copy = copies.next().expect("a copy").expect("a folder").path();
    fs::write(copy.join("large"), vec![1; 8 << 20]).expect("a file");
    repository.write("nf/upf/upf.yaml", &config("upf", "2"));
    repository.commit();
    repository.git(&["tag", "v2.0"]);
    assert_synced(&fixture.sync(ID).await);
    assert_eq!(fixture.templates().await, ["nf/upf:v1.0", "nf/upf:v2.0"]);
    assert!(!copy.join("large").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_are_versions_and_never_change() {
    let repository = Repository::new();
    repository.write("nf/upf/upf.yaml", &config("upf", "1"));
    repository.write("nf/smf/smf.yaml", &config("smf", "1"));
    repository.commit();
    repository.git(&["tag", "nf/upf/v1"]);
    repository.git(&["tag", "--annotate", "--message", "all", "v1.0"]);
    let fixture = Fixture::new();
    let url = repository.url();
    assert_synced(&fixture.add(ID, "git", &[("url", &url)]).await);
    assert_eq!(
        fixture.templates().await,
        ["nf/smf:v1.0", "nf/upf:v1", "nf/upf:v1.0"]
    );
    let commit = repository.git(&["rev-parse", "HEAD"]);
    let upf = fixture.template("nf/upf:v1").await.expect("a template");
    let revision = upf
        .entity
        .given
        .get("Catalog.revision")
        .expect("a revision");
    assert_eq!(revision, format!("nf/upf/v1@{}", &commit[..12]));
    let before = fixture.revision().await;
    fixture.sync(ID).await;
    assert_eq!(
        fixture.revision().await,
        before + 2,
        "only the request and its answer"
    );
    // A new tag is a new version; a moved tag is refused.
    repository.write("nf/upf/upf.yaml", &config("upf", "2"));
    repository.commit();
    repository.git(&["tag", "nf/upf/v2"]);
    repository.git(&["tag", "--force", "nf/upf/v1"]);
    let entity = fixture.sync(ID).await;
    let complete = condition(&entity, "Complete");
    assert_eq!(complete.status, Some(false));
    assert!(
        complete
            .message
            .starts_with("1 problem; nf/upf: version nf/upf:v1 has other")
    );
    let read = |id: &'static str| fixture.template(id);
    assert_eq!(
        value(read("nf/upf:v2").await.expect("new").package.as_ref()),
        "2"
    );
    assert_eq!(
        value(read("nf/upf:v1").await.expect("kept").package.as_ref()),
        "1"
    );
    // A deleted tag is marked.
    repository.git(&["tag", "--delete", "nf/upf/v2"]);
    fixture.sync(ID).await;
    let gone = read("nf/upf:v2").await.expect("it stays");
    assert_eq!(gone.entity.given.get("Catalog.gone"), Some("true"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tag_of_a_package_wins_over_that_of_the_whole_repository() {
    let repository = Repository::new();
    repository.write("nf/upf/upf.yaml", &config("upf", "1"));
    repository.write("nf/smf/smf.yaml", &config("smf", "1"));
    repository.commit();
    repository.git(&["tag", "v1"]);
    repository.write("nf/upf/upf.yaml", &config("upf", "2"));
    repository.commit();
    repository.git(&["tag", "nf/upf/v1"]);
    let fixture = Fixture::new();
    let url = repository.url();
    let entity = fixture.add(ID, "git", &[("url", &url)]).await;
    assert_eq!(fixture.templates().await, ["nf/smf:v1", "nf/upf:v1"]);
    let upf = fixture.template("nf/upf:v1").await.expect("a template");
    assert_eq!(value(upf.package.as_ref()), "2");
    let message = &condition(&entity, "Complete").message;
    let beginning = "1 problem; nf/upf: template nf/upf:v1 has other content at v1@";
    assert!(message.starts_with(beginning), "{message}");
    for part in ["than at nf/upf/v1@", "remove or rename one of the tags"] {
        assert!(message.contains(part), "{part} in {message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_of_packages_outside_the_root_and_the_patterns_are_left_out() {
    let repository = Repository::new();
    for place in ["nf/upf", "nf/smf", "infra/dns"] {
        repository.write(&format!("{place}/a.yaml"), &config("a", place));
    }
    repository.commit();
    for tag in ["nf/upf/v1", "nf/smf/v1", "infra/dns/v1"] {
        repository.git(&["tag", tag]);
    }
    let fixture = Fixture::new();
    let url = repository.url();
    let properties = [("url", &*url), ("root", "nf"), ("path", "upf*")];
    assert_synced(&fixture.add(ID, "git", &properties).await);
    assert_eq!(fixture.templates().await, ["upf:v1"]);
    // The root itself may be the package.
    let properties = [("url", &*url), ("root", "nf/smf")];
    assert_synced(&fixture.add("catalog|smf", "git", &properties).await);
    assert_eq!(fixture.templates().await, ["smf:v1", "upf:v1"]);
    let read = fixture.template("smf:v1").await.expect("a template");
    assert_eq!(value(read.package.as_ref()), "nf/smf");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_catalog_that_excludes_the_packages_of_all_tags_says_so() {
    let repository = Repository::new();
    for place in ["nf/upf", "infra/dns"] {
        repository.write(&format!("{place}/a.yaml"), &config("a", place));
    }
    repository.commit();
    let fixture = Fixture::new();
    let url = repository.url();
    // A pattern that no tag matches.
    let tags = [("url", &*url), ("root", "nf"), ("tags", "release/*")];
    let entity = fixture.add("catalog|tags", "git", &tags).await;
    let message = &condition(&entity, "Complete").message;
    let problem = "1 problem; tags: the source offers no template; check the properties root";
    assert!(message.starts_with(problem), "{message}");
    repository.git(&["tag", "infra/dns/v1"]);
    repository.git(&["tag", "release/v1"]);
    let properties = [("url", &*url), ("root", "nf")];
    for entity in [
        fixture.add(ID, "git", &properties).await,
        fixture.sync("catalog|tags").await,
    ] {
        assert_eq!(condition(&entity, "Synced").status, Some(true));
        let complete = condition(&entity, "Complete");
        assert_eq!(complete.status, Some(false), "{}", complete.message);
        let part = "no version tag PATH/vN names a package";
        assert!(complete.message.contains(part), "{}", complete.message);
    }
    // The default branch does not stand in for the tags.
    assert!(fixture.templates().await.is_empty());
    repository.git(&["tag", "nf/upf/v1"]);
    assert_synced(&fixture.sync(ID).await);
    assert_eq!(fixture.templates().await, ["upf:v1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_a_killed_git_left_behind_is_removed() {
    let repository = Repository::new();
    repository.write("upf.yaml", &config("upf", "1"));
    repository.commit();
    let cache = tempfile::tempdir().expect("a folder");
    let settings = CatalogSettings::default().with_local(true);
    let fixture = Fixture::with(settings.with_cache(Some(cache.path().to_owned())));
    let url = repository.url();
    let properties = [("url", &*url), ("branch", "main")];
    assert_synced(&fixture.add(ID, "git", &properties).await);
    let mut copies = fs::read_dir(cache.path()).expect("copies");
    let copy = copies.next().expect("one").expect("a copy").path();
    let lock = copy.join("shallow.lock");
    // Another process may hold a new lock. Its name does not mean that the server knows no shallow
    // copies.
    let file = fs::File::create(&lock).expect("a file");
    repository.write("upf.yaml", &config("upf", "2"));
    repository.commit();
    let entity = fixture.sync(ID).await;
    let synced = condition(&entity, "Synced");
    assert_eq!(&*synced.reason, "Unavailable");
    assert!(
        synced.message.contains("shallow.lock"),
        "{}",
        synced.message
    );
    // An old one is left behind.
    file.set_modified(std::time::UNIX_EPOCH).expect("old");
    assert_synced(&fixture.sync(ID).await);
    assert!(!lock.exists());
    let read = fixture.template("core:main").await.expect("a template");
    assert_eq!(value(read.package.as_ref()), "2");
    assert!(copy.join("shallow").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tags_of_one_commit_are_read_without_their_lists_of_files() {
    let repository = Repository::new();
    repository.write("upf.yaml", &config("upf", "1"));
    repository.commit();
    for tag in ["v1.0", "v1.1", "v1.2", "v1.3"] {
        repository.git(&["tag", tag]);
    }
    repository.write("torn.yaml", "{{{");
    repository.commit();
    repository.git(&["tag", "v1.4"]);
    // The lists of the first two tags are kept; those of the others are read from their trees.
    let limits = SourceLimits::default().with_max_files(2);
    let settings = CatalogSettings::default().with_local(true);
    let fixture = Fixture::with(settings.with_source(limits));
    let url = repository.url();
    let entity = fixture.add(ID, "git", &[("url", &url)]).await;
    let ids = ["core:v1.0", "core:v1.1", "core:v1.2", "core:v1.3"];
    assert_eq!(fixture.templates().await, ids);
    for id in ids {
        let read = fixture.template(id).await.expect("a template");
        assert_eq!(value(read.package.as_ref()), "1", "{id}");
    }
    let message = &condition(&entity, "Complete").message;
    assert!(message.starts_with("1 problem; core: "), "{message}");
    assert!(message.contains("torn.yaml: "), "{message}");
    assert!(!message.contains("/torn.yaml"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_gives_way_to_tags_below_its_name() {
    let repository = Repository::new();
    repository.write("upf/upf.yaml", &config("upf", "1"));
    repository.commit();
    repository.git(&["tag", "upf"]);
    let fixture = Fixture::new();
    let url = repository.url();
    let properties = [("url", &*url), ("tags", "**")];
    assert_synced(&fixture.add(ID, "git", &properties).await);
    assert_eq!(fixture.templates().await, ["upf:upf"]);
    repository.write("upf/upf.yaml", &config("upf", "2"));
    repository.commit();
    repository.git(&["tag", "--delete", "upf"]);
    repository.git(&["tag", "upf/v2"]);
    assert_synced(&fixture.sync(ID).await);
    let upf = fixture.template("upf:v2").await.expect("a template");
    assert_eq!(value(upf.package.as_ref()), "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_branch_makes_versions_by_content_and_moves_an_alias() {
    let repository = Repository::new();
    repository.write("packages/a/a.yaml", &config("a", "1"));
    repository.write("packages/b/b.yaml", &config("b", "1"));
    repository.commit();
    let fixture = Fixture::new();
    let url = repository.url();
    let properties = [("url", &*url), ("branch", "main"), ("root", "packages")];
    assert_synced(&fixture.add(ID, "git", &properties).await);
    assert_eq!(fixture.templates().await.len(), 4);
    repository.write("packages/a/a.yaml", &config("a", "2"));
    repository.commit();
    assert_synced(&fixture.sync(ID).await);
    // Only the package that changed has a new version.
    assert_eq!(fixture.templates().await.len(), 5);
    let read = fixture.template("a:main").await.expect("the alias");
    assert_eq!(value(read.package.as_ref()), "2");
    // A force push to another history.
    repository.git(&["checkout", "--quiet", "--orphan", "other"]);
    repository.write("packages/a/a.yaml", &config("a", "3"));
    repository.commit();
    repository.git(&["branch", "--force", "--move", "other", "main"]);
    assert_synced(&fixture.sync(ID).await);
    let read = fixture.template("a:main").await.expect("the alias");
    assert_eq!(value(read.package.as_ref()), "3");
    // Commits as versions, on request.
    let by_commit = [
        ("url", &*url),
        ("branch", "main"),
        ("root", "packages"),
        ("version", "commit"),
        ("id", "by/{path}:{version}"),
    ];
    assert_synced(&fixture.add("catalog|commits", "git", &by_commit).await);
    let commit = repository.git(&["rev-parse", "main"]);
    let version = format!("by/a:{}", &commit[..12]);
    assert!(fixture.template(&version).await.is_some());
    assert!(fixture.template("by/a:main").await.is_some());
    let key = Key::from("catalog|commits".parse::<PluginId>().expect("an id"));
    fixture.store.delete(&key).await.expect("removed");
    let count = fixture.templates().await.len();
    // Away, and back.
    let away = repository.path().with_extension("away");
    fs::rename(repository.path(), &away).expect("renamed");
    let entity = fixture.sync(ID).await;
    assert_eq!(&*condition(&entity, "Synced").reason, "Unavailable");
    assert_eq!(fixture.templates().await.len(), count);
    fs::rename(&away, repository.path()).expect("renamed");
    assert_synced(&fixture.sync(ID).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_repository_runs_nothing_and_leads_nowhere() {
    let repository = Repository::new();
    let secret = tempfile::tempdir().expect("a folder");
    let secret_file = secret.path().join("secret.yaml");
    fs::write(&secret_file, config("secret", "secret")).expect("a file");
    repository.write("good/a.yaml", &config("good", "1"));
    repository.write("torn/a.yaml", "{{{");
    repository.write("giant/a.yaml", &config("giant", &"x".repeat(2 << 20)));
    fs::create_dir_all(repository.path().join("link")).expect("a folder");
    std::os::unix::fs::symlink(&secret_file, repository.path().join("link/a.yaml"))
        .expect("a link");
    std::os::unix::fs::symlink(secret.path(), repository.path().join("folder")).expect("a link");
    repository.write(".gitattributes", "*.yaml filter=evil\n");
    repository.commit();
    let commit = repository.git(&["rev-parse", "HEAD"]);
    let module = format!("160000,{commit},module");
    repository.git(&["update-index", "--add", "--cacheinfo", &module]);
    repository.git(&["commit", "--quiet", "--message", "a submodule"]);
    // Hooks of the repository, and a program that its own configuration names.
    let ran = secret.path().join("ran");
    let hook = format!("#!/bin/sh\ntouch {}\n", ran.display());
    for name in ["post-checkout", "reference-transaction", "pre-upload"] {
        let path = repository.path().join(".git/hooks").join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, &hook).expect("a hook");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&path, mode).expect("executable");
    }
    let program = format!("touch {}; exec git pack-objects", ran.display());
    repository.git(&["config", "uploadpack.packObjectsHook", &program]);
    let limits = SourceLimits::default().with_max_bytes(1 << 20);
    let settings = CatalogSettings::default()
        .with_local(true)
        .with_source(limits);
    let fixture = Fixture::with(settings);
    let url = repository.url();
    let entity = fixture
        .add(
            ID,
            "git",
            &[("url", &url), ("branch", "main"), ("path", "*")],
        )
        .await;
    let ids = fixture.templates().await;
    assert_eq!(ids.len(), 2, "{ids:?} {:?}", entity.conditions);
    assert!(ids.contains(&"good:main".to_owned()));
    let message = &condition(&entity, "Complete").message;
    for part in [
        "torn/a.yaml: ",
        "giant/a.yaml: the package has more than",
        "link/a.yaml is a link",
    ] {
        assert!(message.contains(part), "{part} in {message}");
    }
    assert!(!message.contains("secret"), "{message}");
    assert!(!ran.exists(), "a program of the repository ran");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_address_is_an_error_that_names_the_reason() {
    let repository = Repository::new();
    let fixture = Fixture::new();
    let url = repository.url();
    for (properties, part) in [
        (&[("url", "ext::sh -c id")][..], "expected a URL"),
        (
            &[("url", "https://user:password@h/r")],
            "the URL has a user",
        ),
        (
            &[("url", &*url), ("branch", "--upload-pack=id")],
            "not the name of a branch",
        ),
        (&[("url", &*url), ("branch", "none")], "has no branch"),
        (&[("url", &*url)], "neither versions nor"),
        (
            &[("url", "https://h/r"), ("token", "abc")],
            "a secret is not written here",
        ),
    ] {
        let entity = fixture.add(ID, "git", properties).await;
        let message = &condition(&entity, "Synced").message;
        assert!(message.contains(part), "{part} in {message}");
        assert!(!message.contains("password@"), "{message}");
    }
}
