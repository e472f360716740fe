//! Catalogs, inventories, exports and imports by the command line.

use super::harness::{Server, Service, TIME, tko};
use super::metrics::{address, asked, scraped};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tko_core::{Key, SiteId, TemplateId};

/// The pause between two looks at metrics.
const PAUSE: Duration = Duration::from_millis(20);

fn config(value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{value: {value:?}}}\n")
}

fn write(root: &Path, name: &str, value: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, config(value)).expect("a file");
}

fn git(arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(arguments)
        .output()
        .expect("git runs");
    assert!(output.status.success(), "git {arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

#[tokio::test]
async fn a_catalog_is_added_synced_shown_and_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "packages/upf/v1/a.yaml", "1");
    let server = Server::start("up --backend memory").await;
    let said = server.tko("catalog add odd --url https://h/a").bad(2).await;
    assert!(said.contains("--executor"), "{said}");
    // The executor is what the URL says.
    let add = server
        .tko("catalog add core --interval 1h --path */* --id nf/{path}:{version}")
        .arg("--property=root=packages")
        .arg("--url")
        .arg(folder.path());
    add.good().await;
    let synced = server.tko("catalog sync core").good().await;
    assert!(synced.stderr.contains("1 templates"), "{synced}");
    // Where a template is from can be selected and shown.
    let list = "template list -m Catalog.name=core -o json";
    let ids = server.tko(list).good().await.column("templateId");
    assert_eq!(ids, ["nf/upf:v1"]);
    let none = server
        .tko("template list -m Catalog.name=other -o json")
        .good()
        .await;
    assert_eq!(none.column("templateId"), [""; 0]);
    let shown = server.tko("catalog show core").good().await;
    for part in ["directory", "everything is registered", "Synced"] {
        assert!(shown.text().contains(part), "{part}: {shown}");
    }
    let listed = server.tko("catalog list -o json").good().await.json();
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
    // A version with other content is refused, unless the catalog is mutable.
    write(folder.path(), "packages/upf/v1/a.yaml", "2");
    let said = server.tko("catalog sync core").bad(1).await;
    assert!(said.contains("has other content"), "{said}");
    let replace = server
        .tko("catalog add core --replace --mutable --prune --path */* --id nf/{path}:{version}")
        .arg("--property=root=packages")
        .arg("--url")
        .arg(folder.path());
    replace.good().await;
    server.tko("catalog sync core").good().await;
    let get = server.tko("template get nf/upf:v1").good().await;
    assert!(get.text().contains('2'), "{get}");
    // What vanishes is removed, because nothing refers to it.
    fs::remove_dir_all(folder.path().join("packages/upf")).expect("removed");
    write(folder.path(), "packages/smf/v1/a.yaml", "1");
    server.tko("catalog sync core").good().await;
    let ids = server.tko(list).good().await.column("templateId");
    assert_eq!(ids, ["nf/smf:v1"]);
    server.tko("catalog remove core").good().await;
    let ids = server.tko(list).good().await.column("templateId");
    assert_eq!(ids, ["nf/smf:v1"], "templates stay");
    server.service.stop().await;
}

#[tokio::test]
async fn an_entry_that_no_sync_could_use_is_not_stored() {
    let server = Server::start("up --backend memory").await;
    for (command, said) in [
        (
            "catalog add core --url https://u:hunter2@h/r.git",
            "secret:NAME",
        ),
        (
            "catalog add core --url https://h/r.git --property token=hunter2",
            "secret:NAME",
        ),
        (
            "catalog add core --url https://h/r.git --id {path}",
            "{version}",
        ),
        (
            "catalog add core --url https://h/r.git --property urll=x",
            "unknown property",
        ),
        (
            "catalog add core -e magic --url /srv/r",
            "directory, git, http, oci",
        ),
        (
            "inventory add core -e directory --url /srv/r -r metadata.nephio.org/x=1",
            "is reserved",
        ),
        // The same by the general command, as by every other interface.
        (
            "plugin register catalog core -e git -r url=https://u:hunter2@h/r.git",
            "secret:NAME",
        ),
    ] {
        let error = server.tko(command).bad(2).await;
        assert!(error.contains(said), "{command}: {error}");
        assert!(!error.contains("hunter2"), "{command}: {error}");
    }
    let listed = server.tko("plugin list -o json").good().await.json();
    assert_eq!(listed.as_array().map(Vec::len), Some(0), "{listed}");
    server.service.stop().await;
}

#[tokio::test]
async fn a_mass_disappearance_waits_for_a_person() {
    let folder = tempfile::tempdir().expect("a folder");
    for number in 0..20 {
        write(folder.path(), &format!("site-{number:02}.yaml"), "1");
    }
    let server = Server::start("up --backend memory").await;
    let add = server
        .tko("inventory add fleet --executor directory --property grace=0s")
        .arg("--url")
        .arg(folder.path());
    add.good().await;
    let synced = server.tko("inventory sync fleet").good().await;
    assert!(synced.stderr.contains("20 sites"), "{synced}");
    for number in 5..20 {
        let file = folder.path().join(format!("site-{number:02}.yaml"));
        fs::remove_file(file).expect("removed");
    }
    let said = server.tko("inventory sync fleet").bad(1).await;
    for part in [
        "15 of 20 sites vanished",
        "tko inventory sync fleet --accept",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let count = |server: &Server| server.tko("site list -o json");
    let ids = count(&server).good().await.column("siteId");
    assert_eq!(ids.len(), 20);
    server.tko("inventory sync fleet --confirm").good().await;
    let ids = count(&server).good().await.column("siteId");
    assert_eq!(ids.len(), 5);
    let said = server.tko("inventory sync fleet --accept").bad(2).await;
    assert!(said.contains("no disappearance"), "{said}");
    server.service.stop().await;
}

#[tokio::test]
async fn an_export_goes_to_a_repository_and_comes_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let (remote, packages) = (folder.path().join("fleet.git"), folder.path().join("p"));
    git(&[
        "init",
        "--quiet",
        "--bare",
        "--initial-branch=main",
        text(&remote),
    ]);
    write(&packages, "a.yaml", "1");
    let server = Server::start("up --backend memory").await;
    let register = |server: &Server, id: &str| {
        let register = server.tko(&format!("template register {id} --url"));
        register.arg(&packages)
    };
    register(&server, "nf/upf:v1").good().await;
    server.tko("site register edge/1").good().await;
    let url = format!("file://{}", remote.display());
    let exported = server.tko("export").arg(&url).good().await;
    assert!(exported.stderr.contains("pushed"), "{exported}");
    let log = |count: &str| {
        let log = git(&["-C", text(&remote), "rev-list", "--count", "main"]);
        assert_eq!(log.trim(), count);
    };
    log("1");
    // Nothing new, no commit.
    let again = server.tko("export").arg(&url).good().await;
    assert!(again.stderr.contains("nothing to commit"), "{again}");
    log("1");
    register(&server, "nf/upf:v2").good().await;
    server.tko("export").arg(&url).good().await;
    log("2");
    let other = Server::start("up --backend memory").await;
    let dry = other.tko("import --dry-run").arg(&url).good().await;
    assert!(dry.text().contains("nf/upf:v1"), "{dry}");
    other.tko("import").arg(&url).good().await;
    let ids = other.tko("template list -o json").good().await;
    assert_eq!(ids.column("templateId"), ["nf/upf:v1", "nf/upf:v2"]);
    let ids = other.tko("site list -o json").good().await;
    assert_eq!(ids.column("siteId"), ["edge/1"]);
    // The other store exports the same.
    let again = other.tko("export").arg(&url).good().await;
    assert!(again.stderr.contains("nothing to commit"), "{again}");
    other.service.stop().await;
    server.service.stop().await;
}

/// The controller in a process of its own: a webhook wakes it, credentials come from its environment
/// and from a file, and its metrics tell what it did.
#[tokio::test]
async fn a_controller_alone_is_woken_by_webhooks_and_has_metrics() {
    let folder = tempfile::tempdir().expect("a folder");
    let (packages, sites) = (folder.path().join("packages"), folder.path().join("sites"));
    write(&packages, "upf/v1/a.yaml", "1");
    write(&sites, "edge-1.yaml", "1");
    let secret = folder.path().join("secret");
    fs::write(&secret, "from a file\n").expect("a file");
    let server = Server::start("data start").await;
    let start = "catalog start --catalog-webhooks 127.0.0.1:0 --metrics 127.0.0.1:0";
    let start = format!("{start} {}", server.flags());
    let run = tko(&start).env("CATALOG_SECRET", "from the environment");
    let controller = Service::spawn(run, &start);
    let hooks = controller.event("serving webhooks").await["addresses"].clone();
    let hooks = hooks.as_str().expect("a text");
    let hooks = hooks.trim_start_matches('[').trim_end_matches(']');
    let metrics = address(&controller).await;
    let add = |command: &str, folder: &Path| {
        let add = format!("{command} --executor directory --interval 1h --property");
        server
            .tko(&add)
            .arg(match command.split(' ').next() {
                Some("catalog") => "secret=env:CATALOG_SECRET".to_owned(),
                _ => format!("secret=file:{}", secret.display()),
            })
            .arg("--url")
            .arg(folder)
    };
    add("catalog add core", &packages).good().await;
    add("inventory add fleet", &sites).good().await;
    server.tko("catalog sync core").good().await;
    server.tko("inventory sync fleet").good().await;
    write(&packages, "upf/v2/a.yaml", "2");
    write(&sites, "edge-2.yaml", "1");
    for (path, token, status) in [
        ("catalogs/core", "from a file", 401),
        ("catalogs/core", "from the environment", 202),
        ("inventories/fleet", "from a file", 202),
    ] {
        let request = format!(
            "POST /api/v1/{path}:sync HTTP/1.1\r\nhost: tko\r\nx-gitlab-token: {token}\r\n\
             content-length: 0\r\nconnection: close\r\n\r\n"
        );
        let answer = asked(hooks, &request).await;
        let line = answer.lines().next().unwrap_or_default();
        assert!(line.contains(&status.to_string()), "{path}: {answer}");
    }
    let template = TemplateId::new("upf:v2").expect("an id");
    let site = SiteId::new("edge-2").expect("an id");
    for key in [Key::from(template), Key::from(site)] {
        server.until(&key, "registered", |_| true).await;
    }
    // A sync is counted when it has ended.
    let wanted = [
        ("items", "type=\"catalog\",name=\"core\"", "2"),
        ("items", "type=\"inventory\",name=\"fleet\"", "2"),
        ("writes_total", "type=\"catalog\",name=\"core\"", "2"),
        ("writes_total", "type=\"inventory\",name=\"fleet\"", "2"),
        ("problems", "type=\"catalog\",name=\"core\"", "0"),
    ]
    .map(|(name, labels, value)| format!("tko_catalog_{name}{{{labels}}} {value}"));
    let counted = async {
        loop {
            let text = scraped(&metrics).await;
            if wanted.iter().all(|line| text.lines().any(|l| l == line)) {
                return text;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let text = tokio::time::timeout(TIME, counted).await;
    let text = text.unwrap_or_else(|_| panic!("no {wanted:?} in time"));
    let shown = server.tko("inventory show fleet").good().await;
    assert!(shown.text().contains("everything is registered"), "{shown}");
    for name in ["syncs_total", "last_sync_seconds"] {
        let start = format!("tko_catalog_{name}{{");
        let lines = text.lines().filter(|line| line.starts_with(&start));
        assert_eq!(lines.count(), 2, "{name}: {text}");
    }
    // A source that is away is counted as a failure.
    fs::rename(&packages, folder.path().join("away")).expect("renamed");
    server.tko("catalog sync core").bad(1).await;
    let text = scraped(&metrics).await;
    let line = "tko_catalog_failed_syncs_total{type=\"catalog\",name=\"core\"} 1";
    assert!(text.lines().any(|found| found == line), "{text}");
    let listed = server.tko("inventory list -o json").good().await.json();
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
    server.tko("inventory remove fleet").good().await;
    let listed = server.tko("inventory list -o json").good().await.json();
    assert_eq!(listed.as_array().map(Vec::len), Some(0), "{listed}");
    let ids = server
        .tko("site list -o json")
        .good()
        .await
        .column("siteId");
    assert_eq!(ids, ["edge-1", "edge-2"], "sites stay");
    controller.stop().await;
    server.service.stop().await;
}
