//! Repositories over http, https and ssh, served by git itself.

use crate::git::Repository;
use crate::server::{Answer, Request, TestServer};
use crate::sshd::Sshd;
use crate::support::{Fixture, assert_synced, condition, config, value};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use tko_catalog::CatalogSettings;
use tko_core::{DataApi, Key, TemplateId};
use tko_source::SecretFolder;

const ID: &str = "catalog|core";

/// `git:letmein` in base64.
const BASIC: &str = "Basic Z2l0OmxldG1laW4=";

/// The templates of the repository at first.
const FIRST: [&str; 3] = ["nf/smf:v1.0", "nf/upf:v1", "nf/upf:v1.0"];

/// The sizes of the packs that a server sent.
type Sent = Arc<Mutex<Vec<usize>>>;

/// Answers as a web server does that runs `git http-backend`, for clients with the token.
fn backend(root: PathBuf, sent: Sent) -> impl Fn(&Request, usize) -> Answer {
    move |request, _| {
        if request.header("authorization") != Some(BASIC) {
            return Answer::status(401).header("www-authenticate", "Basic realm=\"git\"");
        }
        let answer = cgi(&root, request);
        if request.path.ends_with("/git-upload-pack") {
            sent.lock().expect("sizes").push(answer.size());
        }
        answer
    }
}

/// Runs `git http-backend` for a request.
fn cgi(root: &Path, request: &Request) -> Answer {
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", &request.path)
        .env("QUERY_STRING", &request.query)
        .env("REQUEST_METHOD", &request.method)
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env(
            "CONTENT_TYPE",
            request.header("content-type").unwrap_or_default(),
        )
        .env(
            "HTTP_CONTENT_ENCODING",
            request.header("content-encoding").unwrap_or_default(),
        )
        .env(
            "GIT_PROTOCOL",
            request.header("git-protocol").unwrap_or_default(),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("git runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    let body = request.body.clone();
    // In a separate thread, because the program may answer before it has read all.
    let feeding = std::thread::spawn(move || {
        let _ = stdin.write_all(&body);
    });
    let output = child.wait_with_output().expect("git ends").stdout;
    feeding.join().expect("no panic");
    let end = output.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.expect("a head");
    let head = String::from_utf8_lossy(&output[..end]).into_owned();
    let mut answer = Answer::status(200);
    for line in head.lines() {
        match line.split_once(": ").expect("a header") {
            ("Status", text) => {
                let code = text.split(' ').next().expect("a code");
                answer = answer.with_status(code.parse().expect("a number"));
            }
            (name, value) => answer = answer.header(name, value),
        }
    }
    answer.body(&output[end + 4..])
}

/// A repository whose history has a large file that is gone.
fn repository() -> Repository {
    let repository = Repository::new();
    let mut state = 1_u64;
    let noise: String = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        format!("{state:016x}")
    })
    .take(32_000)
    .collect();
    repository.write("nf/old/old.yaml", &config("old", &noise));
    repository.commit();
    repository.git(&["rm", "--quiet", "-r", "nf/old"]);
    repository.write("nf/upf/upf.yaml", &config("upf", "1"));
    repository.write("nf/smf/smf.yaml", &config("smf", "1"));
    repository.commit();
    repository.git(&["tag", "nf/upf/v1"]);
    repository.git(&["tag", "v1.0"]);
    repository
}

/// Settings with a token, a certificate and, to look at it, a folder for copies.
fn settings(folder: &Path, pem: &str) -> CatalogSettings {
    fs::create_dir_all(folder.join("secrets")).expect("a folder");
    fs::write(folder.join("secrets/git"), "letmein\n").expect("a file");
    fs::write(folder.join("secrets/git.hosts"), "127.0.0.1\n").expect("a file");
    fs::write(folder.join("secrets/ca"), pem).expect("a file");
    CatalogSettings::default()
        .with_secrets(SecretFolder::new(folder.join("secrets")))
        .with_cache(Some(folder.join("cache")))
}

/// What any server of git has to show: new, moved, deleted and broken versions.
async fn versions(fixture: &Fixture, repository: &Repository) {
    assert_eq!(fixture.templates().await, FIRST);
    fixture.sync_unchanged(ID).await;
    repository.write("nf/upf/upf.yaml", &config("upf", "2"));
    repository.write("nf/torn/torn.yaml", "a: [\n");
    repository.commit();
    repository.git(&["tag", "v2.0"]);
    repository.git(&["tag", "--force", "nf/upf/v1"]);
    let entity = fixture.sync(ID).await;
    let ids = [
        "nf/smf:v1.0",
        "nf/smf:v2.0",
        "nf/upf:v1",
        "nf/upf:v1.0",
        "nf/upf:v2.0",
    ];
    assert_eq!(fixture.templates().await, ids);
    let message = &condition(&entity, "Complete").message;
    assert!(message.starts_with("2 problems; nf/torn: "), "{message}");
    assert!(message.contains("torn.yaml: "), "{message}");
    assert!(message.contains("nf/upf:v1 has other content"), "{message}");
    let kept = fixture.template("nf/upf:v1").await.expect("it stays");
    assert_eq!(value(kept.package.as_ref()), "1");
    repository.git(&["tag", "--delete", "v2.0"]);
    repository.git(&["tag", "--force", "nf/upf/v1", "v1.0"]);
    assert_synced(&fixture.sync(ID).await);
    let gone = fixture.template("nf/upf:v2.0").await.expect("it stays");
    assert_eq!(gone.entity.given.get("Catalog.gone"), Some("true"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_over_https_is_fetched_shallow_and_in_parts() {
    let repository = repository();
    let folder = tempfile::tempdir().expect("a folder");
    let sent = Sent::default();
    let root = repository.path().parent().expect("a folder").to_owned();
    let name = repository.path().file_name().expect("a name");
    let name = format!("/{}/.git", name.to_str().expect("text"));
    let (server, pem) = TestServer::start_tls(backend(root, sent.clone()));
    let fixture = Fixture::with(settings(folder.path(), &pem));
    let url = server.url(&name);
    let entity = fixture.add(ID, "git", &[("url", &url)]).await;
    let synced = condition(&entity, "Synced");
    assert_eq!(synced.status, Some(false), "nobody knows the certificate");
    let properties = [("url", &*url), ("ca", "secret:ca")];
    let entity = fixture.add(ID, "git", &properties).await;
    assert_eq!(&*condition(&entity, "Synced").reason, "Unauthenticated");
    let properties = [("url", &*url), ("ca", "secret:ca"), ("token", "secret:git")];
    assert_synced(&fixture.add(ID, "git", &properties).await);
    // The large file of the history did not come.
    let first: usize = sent.lock().expect("sizes").drain(..).sum();
    assert!(first < 100_000, "{first} bytes for two small files");
    let copies: Vec<_> = fs::read_dir(folder.path().join("cache"))
        .expect("copies")
        .map(|copy| copy.expect("a copy").path())
        .collect();
    assert!(copies.iter().any(|copy| copy.join("shallow").exists()));
    fixture.sync_unchanged(ID).await;
    // A listing of refs, and nothing fetched.
    assert!(sent.lock().expect("sizes").iter().all(|size| *size < 4_096));
    // A new tag costs its own objects, and neither those of other tags nor the history.
    let large: String = (0..20_000_u32)
        .map(|n| n.wrapping_mul(n).to_string())
        .collect();
    repository.write("nf/large/large.yaml", &config("large", &large));
    repository.commit();
    repository.git(&["tag", "nf/large/v1"]);
    assert_synced(&fixture.sync(ID).await);
    let with_large: usize = sent.lock().expect("sizes").drain(..).sum();
    assert!(with_large > 20_000, "{with_large} bytes for a large file");
    repository.write("nf/upf/upf.yaml", &config("upf", "3"));
    repository.commit();
    repository.git(&["tag", "nf/upf/v3"]);
    assert_synced(&fixture.sync(ID).await);
    assert!(fixture.template("nf/upf:v3").await.is_some());
    let small: usize = sent.lock().expect("sizes").drain(..).sum();
    assert!(small < 16_384, "{small} bytes for one small file");
    for tag in ["nf/large/v1", "nf/upf/v3"] {
        repository.git(&["tag", "--delete", tag]);
    }
    repository.git(&["reset", "--quiet", "--hard", "v1.0"]);
    fixture.sync(ID).await;
    for id in ["nf/large:v1", "nf/upf:v3"] {
        let key = Key::from(TemplateId::new(id).expect("an id"));
        fixture.store.delete(&key).await.expect("deleted");
    }
    versions(&fixture, &repository).await;
    // No copy has the token.
    for copy in copies {
        let text = fs::read_to_string(copy.join("config")).expect("a configuration");
        assert!(
            !text.contains("letmein") && !text.contains("Z2l0"),
            "{text}"
        );
    }
    // The server goes away, and nothing changes.
    let before = fixture.templates().await;
    drop(server);
    let entity = fixture.sync(ID).await;
    assert_eq!(&*condition(&entity, "Synced").reason, "Unavailable");
    assert_eq!(fixture.templates().await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_on_a_plain_web_server_is_read() {
    let repository = repository();
    repository.git(&["update-server-info"]);
    let root = repository.path().join(".git");
    let server = TestServer::start(move |request, _| {
        let path = root.join(request.path.trim_start_matches('/'));
        match fs::read(path) {
            Ok(bytes) => Answer::status(200).body(bytes),
            Err(_) => Answer::status(404),
        }
    });
    let fixture = Fixture::with(CatalogSettings::default());
    assert_synced(&fixture.add(ID, "git", &[("url", &server.url(""))]).await);
    assert_eq!(fixture.templates().await, FIRST);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_over_ssh_is_read_with_a_key_by_reference() {
    let Some(server) = Sshd::start() else {
        eprintln!("skipped: sshd is not installed");
        return;
    };
    let repository = repository();
    let folder = tempfile::tempdir().expect("a folder");
    let settings = settings(folder.path(), "");
    let secrets = folder.path().join("secrets");
    fs::write(secrets.join("key"), server.key()).expect("a file");
    fs::write(secrets.join("key.hosts"), "127.0.0.1\n").expect("a file");
    fs::write(secrets.join("hosts"), server.known_hosts()).expect("a file");
    fs::write(secrets.join("other-hosts"), "# nobody\n").expect("a file");
    let fixture = Fixture::with(settings);
    let url = server.url(repository.path());
    let properties = [
        ("url", &*url),
        ("key", "secret:key"),
        ("hosts", "secret:other-hosts"),
    ];
    let entity = fixture.add(ID, "git", &properties).await;
    let synced = condition(&entity, "Synced");
    assert_eq!(synced.status, Some(false), "an unknown host");
    assert!(
        synced.message.contains("verification failed"),
        "{}",
        synced.message
    );
    let properties = [
        ("url", &*url),
        ("key", "secret:key"),
        ("hosts", "secret:hosts"),
    ];
    assert_synced(&fixture.add(ID, "git", &properties).await);
    versions(&fixture, &repository).await;
}
