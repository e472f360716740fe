//! Inventories of sites.

use crate::git::Repository;
use crate::server::{Answer, TestServer};
use crate::support::{Fixture, assert_synced, condition, config, value};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tko_catalog::CatalogSettings;
use tko_core::{DataApi, Entity, EntityUpdate, Key, NewSite, Package, SiteId};
use tko_source::SecretFolder;

const ID: &str = "inventory|fleet";

fn text(path: &Path) -> String {
    path.to_str().expect("text").to_owned()
}

/// The output of `ansible-inventory --list` for hosts with these numbers.
fn hosts(numbers: impl Iterator<Item = usize>) -> String {
    let mut variables = serde_json::Map::new();
    for number in numbers {
        let region = if number % 2 == 0 { "north" } else { "south" };
        variables.insert(
            format!("host-{number:05}"),
            json!({"region": region, "rack": number}),
        );
    }
    let names: Vec<&String> = variables.keys().collect();
    let groups = json!({"children": ["edge"]});
    json!({"edge": {"hosts": names}, "all": groups, "_meta": {"hostvars": variables}}).to_string()
}

/// The digest of the disappearance that stopped the last sync.
fn disappearance(entity: &Entity) -> &str {
    let message = &condition(entity, "Synced").message;
    let (_, digest) = message
        .rsplit_once("(disappearance ")
        .expect("a disappearance");
    digest.trim_end_matches(')')
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_hosts_are_sites_and_three_thousand_do_not_vanish_unasked() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("hosts.json");
    fs::write(&file, hosts(0..10_000)).expect("a file");
    let fixture = Fixture::new();
    let properties = [
        ("url", &*text(&file)),
        ("id", "{{ region }}/{{ name }}"),
        ("metadata.zone", "{{ region | upper }}"),
    ];
    assert_synced(&fixture.add(ID, "ansible", &properties).await);
    assert_eq!(fixture.sites().await.len(), 10_000);
    let site = fixture.site("south/host-00001").await.expect("a site");
    let metadata = &site.entity.metadata;
    for (key, value) in [
        ("region", "south"),
        ("zone", "SOUTH"),
        ("group.edge", "true"),
        ("rack", "1"),
    ] {
        assert_eq!(metadata.get(key), Some(value), "{key}");
    }
    let before = fixture.revision().await;
    fixture.sync(ID).await;
    assert_eq!(
        fixture.revision().await,
        before + 2,
        "only the request and its answer"
    );

    fs::write(&file, hosts(0..7_000)).expect("a file");
    let entity = fixture.sync(ID).await;
    let synced = condition(&entity, "Synced");
    assert_eq!(
        (synced.status, &*synced.reason),
        (Some(false), "MassDisappearance")
    );
    assert!(
        synced.message.starts_with("3000 of 10000 sites vanished"),
        "{}",
        synced.message
    );
    let command = "run tko inventory sync fleet --accept (disappearance ";
    assert!(synced.message.contains(command), "{}", synced.message);
    let site = fixture.site("south/host-09999").await.expect("it stays");
    assert!(!site.entity.given.contains_key("Inventory.gone"));

    // A person accepts exactly this disappearance.
    let digest = disappearance(&entity);
    let entity = fixture.sync_with(ID, &[("Sync.accepted", "another")]).await;
    assert_eq!(condition(&entity, "Synced").status, Some(false));
    let entity = fixture.sync_with(ID, &[("Sync.accepted", digest)]).await;
    assert_synced(&entity);
    assert_eq!(
        fixture.sites().await.len(),
        10_000,
        "removed only after the grace time"
    );
    let site = fixture.site("south/host-09999").await.expect("it stays");
    assert!(site.entity.given.contains_key("Inventory.gone"));
    // What comes back is not gone any more.
    fs::write(&file, hosts(0..10_000)).expect("a file");
    assert_synced(&fixture.sync(ID).await);
    let site = fixture.site("south/host-09999").await.expect("it stays");
    assert!(!site.entity.given.contains_key("Inventory.gone"));
    // The acceptance does not extend to the next disappearance of the same sites.
    fs::write(&file, hosts(0..7_000)).expect("a file");
    let entity = fixture.sync(ID).await;
    assert_eq!(&*condition(&entity, "Synced").reason, "MassDisappearance");
    let site = fixture.site("south/host-09999").await.expect("it stays");
    assert!(!site.entity.given.contains_key("Inventory.gone"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acceptance_lasts_for_each_site_until_that_comes_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("hosts.json");
    let write = |count: usize| fs::write(&file, hosts(0..count)).expect("a file");
    let fixture = Fixture::new();
    write(20);
    let url = text(&file);
    assert_synced(&fixture.add(ID, "ansible", &[("url", &*url)]).await);
    write(10);
    let entity = fixture.sync(ID).await;
    let accepted = [("Sync.accepted", disappearance(&entity))];
    assert_synced(&fixture.sync_with(ID, &accepted).await);
    // One comes back and vanishes again: the others stay accepted.
    write(11);
    assert_synced(&fixture.sync(ID).await);
    write(10);
    assert_synced(&fixture.sync(ID).await);
    let is_accepted = async |id: &str| {
        let site = fixture.site(id).await.expect("it stays");
        assert!(site.entity.given.contains_key("Inventory.gone"), "{id}");
        site.entity.given.contains_key("Inventory.accepted")
    };
    assert!(is_accepted("host-00011").await);
    assert!(!is_accepted("host-00010").await);
    // It counts, as does the next one that vanishes. Of 11 sites, 1 may.
    write(9);
    let entity = fixture.sync(ID).await;
    let message = &condition(&entity, "Synced").message;
    assert!(message.starts_with("2 of 11 sites vanished"), "{message}");
    let accepted = [("Sync.accepted", disappearance(&entity))];
    assert_synced(&fixture.sync_with(ID, &accepted).await);
    // Sites that were marked before are accepted, too.
    assert!(is_accepted("host-00009").await && is_accepted("host-00010").await);
    fixture.sync_unchanged(ID).await;
}

/// Sets one given metadata key of a site, as a person does.
async fn give(fixture: &Fixture, id: &str, key: &str, value: &str) {
    let site = fixture.site(id).await.expect("a site").entity;
    let mut given = site.given.clone();
    given.insert(key, value);
    let update = EntityUpdate::new(site.key.clone(), site.version).metadata(given);
    fixture.store.update_entity(update).await.expect("updated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_sites_do_not_lose_metadata_unasked() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("hosts.json");
    let write = |text: String| fs::write(&file, text).expect("a file");
    let fixture = Fixture::new();
    write(hosts(0..20));
    let url = text(&file);
    assert_synced(&fixture.add(ID, "ansible", &[("url", &*url)]).await);
    // Metadata that a person gave does not count while the items are the same.
    for id in ["host-00000", "host-00001", "host-00002"] {
        give(&fixture, id, "owner", "me").await;
    }
    fixture.sync_unchanged(ID).await;
    // The source has all hosts, but its key has another name.
    write(hosts(0..20).replace("\"region\"", "\"zone\""));
    let entity = fixture.sync(ID).await;
    let synced = condition(&entity, "Synced");
    assert_eq!(&*synced.reason, "MassDisappearance");
    let beginning = "20 of 20 sites vanished, or would lose metadata such as \"owner\"";
    assert!(synced.message.starts_with(beginning), "{}", synced.message);
    let site = fixture.site("host-00007").await.expect("a site");
    assert_eq!(site.entity.metadata.get("region"), Some("south"));
    // An acceptance of the loss does not extend to the disappearance of the same sites.
    let digest = disappearance(&entity);
    let accepted = [("Sync.accepted", digest)];
    write(hosts(0..0));
    let vanished = fixture.sync_with(ID, &accepted).await;
    assert_eq!(&*condition(&vanished, "Synced").reason, "MassDisappearance");
    assert_ne!(disappearance(&vanished), digest);
    write(hosts(0..20).replace("\"region\"", "\"zone\""));
    assert_synced(&fixture.sync_with(ID, &accepted).await);
    let site = fixture.site("host-00007").await.expect("a site");
    assert_eq!(site.entity.metadata.get("region"), None);
    assert_eq!(site.entity.metadata.get("zone"), Some("south"));
    fixture.sync_unchanged(ID).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_is_removed_after_its_grace_time() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["a", "b"] {
        let file = folder.path().join(format!("{name}.yaml"));
        fs::write(file, config(name, "1")).expect("a file");
    }
    let fixture = Fixture::new();
    let place = text(folder.path());
    assert_synced(&fixture.add(ID, "directory", &[("url", &*place)]).await);
    fs::remove_file(folder.path().join("b.yaml")).expect("removed");
    assert_synced(&fixture.sync(ID).await);
    assert_eq!(fixture.sites().await, ["a", "b"]);
    // As if it had vanished long ago.
    give(&fixture, "b", "Inventory.gone", "2020-01-01T00:00:00Z").await;
    assert_synced(&fixture.sync(ID).await);
    assert_eq!(fixture.sites().await, ["a"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_item_that_cannot_be_mapped_keeps_its_site() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("hosts.json");
    let write = |hosts: Value| {
        let text = json!({"_meta": {"hostvars": hosts}}).to_string();
        fs::write(&file, text).expect("a file");
    };
    let fixture = Fixture::new();
    let properties = [
        ("url", &*text(&file)),
        ("id", "{{ region }}/{{ name }}"),
        ("where", "rack + 1 > 0"),
        ("grace", "0s"),
    ];
    write(json!({
        "a": {"region": "south", "rack": 1},
        "b": {"region": "south", "rack": 1},
        "c": {"region": "south", "rack": 1},
    }));
    assert_synced(&fixture.add(ID, "ansible", &properties).await);
    // The id of one and the expression `where` of another fail; the third is gone.
    write(json!({
        "a": {"region": "the south", "rack": 1},
        "b": {"region": "south", "rack": "n/a"},
    }));
    let entity = fixture.sync(ID).await;
    let complete = condition(&entity, "Complete");
    assert!(
        complete.message.starts_with("2 problems; a: "),
        "{}",
        complete.message
    );
    let synced = condition(&entity, "Synced");
    assert!(synced.message.starts_with("2 sites"), "{}", synced.message);
    assert_eq!(fixture.sites().await, ["south/a", "south/b"]);
    for id in ["south/a", "south/b"] {
        let site = fixture.site(id).await.expect("it stays");
        assert!(!site.entity.given.contains_key("Inventory.gone"), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inventory_touches_only_its_own_sites() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("a.yaml"), config("a", "1")).expect("a file");
    fs::write(folder.path().join("b.yaml"), config("b", "1")).expect("a file");
    fs::create_dir(folder.path().join("c")).expect("a folder");
    fs::write(folder.path().join("c/torn.yaml"), "a: [").expect("a file");
    let fixture = Fixture::new();
    let id = SiteId::new("a").expect("an id");
    let mine = NewSite::new(id, Package::default());
    fixture.store.register_site(mine).await.expect("registered");
    let place = text(folder.path());
    let entity = fixture
        .add(ID, "directory", &[("url", &place), ("grace", "0s")])
        .await;
    assert_eq!(fixture.sites().await, ["a", "b"]);
    let message = &condition(&entity, "Complete").message;
    assert!(
        message.contains("exists and is not from an inventory"),
        "{message}"
    );
    assert!(message.contains("c/torn.yaml: "), "{message}");
    let site = fixture.site("b").await.expect("a site");
    assert_eq!(value(site.package.as_ref()), "1");
    // A copy that a person makes of its site has the same metadata, but is not its site.
    let id = SiteId::new("copy").expect("an id");
    let given = site.entity.given.clone();
    let copy = NewSite::new(id.clone(), Package::default()).metadata(given);
    fixture.store.register_site(copy).await.expect("registered");
    fixture.sync(ID).await;
    assert_eq!(fixture.sites().await, ["a", "b", "copy"]);
    let key = Key::from(id);
    fixture.store.delete(&key).await.expect("deleted");
    // A second inventory with the same sites.
    let entity = fixture
        .add("inventory|other", "directory", &[("url", &place)])
        .await;
    let message = &condition(&entity, "Complete").message;
    assert!(
        message.contains("belongs to the inventory fleet"),
        "{message}"
    );
    // A site of its own goes, that of a person stays.
    fs::remove_file(folder.path().join("a.yaml")).expect("removed");
    fs::remove_file(folder.path().join("b.yaml")).expect("removed");
    fixture.sync(ID).await;
    assert_eq!(fixture.sites().await, ["a"]);
    // An inventory that cannot be read changes nothing.
    fs::write(folder.path().join("b.yaml"), config("b", "1")).expect("a file");
    fixture.sync(ID).await;
    fs::remove_dir_all(folder.path()).expect("removed");
    let entity = fixture.sync(ID).await;
    assert_eq!(condition(&entity, "Synced").status, Some(false));
    assert_eq!(fixture.sites().await, ["a", "b"]);
    fs::create_dir(folder.path()).expect("a folder");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_prints_at_most_64_mebibytes() {
    let program = ["head", "-c", "67108865", "/dev/zero"];
    let fixture = Fixture::new();
    let entity = fixture.add_program(ID, "command", &program, &[]).await;
    let message = &condition(&entity, "Synced").message;
    assert!(message.contains("printed more than 67108864"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_in_a_file_may_be_larger_than_the_output_of_a_program() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hosts.json");
    let file = fs::File::create(&path).expect("a file");
    file.set_len(67_108_865).expect("a hole");
    let fixture = Fixture::new();
    let url = text(&path);
    let entity = fixture.add(ID, "ansible", &[("url", url.as_str())]).await;
    // It was read.
    let message = &condition(&entity, "Synced").message;
    assert!(message.contains("not an inventory of Ansible"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_prints_sites_within_limits() {
    let fixture = Fixture::with(
        CatalogSettings::default()
            .with_local(true)
            .with_max_listing_bytes(10_000),
    );
    let sites = r#"[{"name": "x", "metadata": {"k": "v"}, "load": 1}, {"name": "y", "load": 2},
        {"other": 1}, {"name": "z", "load": 3, "package": [{"no": "resource"}]}]"#;
    let program = ["printf", "%s", sites];
    let entity = fixture
        .add_program(ID, "command", &program, &[("where", "load != 2")])
        .await;
    assert_eq!(fixture.sites().await, ["x"]);
    let message = &condition(&entity, "Complete").message;
    assert!(message.starts_with("2 problems"), "{message}");
    let message = &condition(&entity, "Synced").message;
    assert!(message.starts_with("1 sites"), "{message}");
    for (arguments, part) in [
        (&["false"][..], "exited with code 1"),
        (&["sh", "-c", "kill -KILL $$"], "killed by signal 9"),
        (&["no-such-program-of-tko"], "not installed"),
        (&["printf", "%s", "{{{"], "cannot read its output"),
        (&["head", "-c", "20000", "/dev/zero"], "printed more than"),
        (&[], "names no program"),
    ] {
        let entity = fixture.add_program(ID, "command", arguments, &[]).await;
        let synced = condition(&entity, "Synced");
        assert_eq!(synced.status, Some(false));
        assert!(
            synced.message.contains(part),
            "{part} in {}",
            synced.message
        );
    }
    assert_eq!(fixture.sites().await, ["x"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_leaves_no_process_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = CatalogSettings::default().with_local(true);
    let fixture = Fixture::with(settings.with_max_listing_bytes(10_000));
    let sites = r#"printf '[{"name": "x"}]'"#;
    let mut cases = vec![
        (
            "fails",
            "sleep 600 >/dev/null 2>&1",
            "head -c 20000 /dev/zero; wait",
        ),
        ("ends", "sleep 600 >/dev/null 2>&1", sites),
        // The child holds the output of the program open.
        ("holds", "sleep 600", sites),
    ];
    if cfg!(target_os = "linux") {
        // The child leaves the process group. Without this program, it would end by itself.
        let asked = Command::new("setsid").arg("--version").output();
        assert!(asked.is_ok_and(|output| output.status.success()));
        cases.push(("leaves", "setsid sleep 600", sites));
    }
    for (name, child, last) in cases {
        let pipe = text(&folder.path().join(name));
        let made = Command::new("mkfifo").arg(&pipe).status();
        assert!(made.is_ok_and(|status| status.success()));
        // The pipe ends when no process has it open for writing any more.
        let (sender, ended) = tokio::sync::oneshot::channel();
        let reader = pipe.clone();
        std::thread::spawn(move || sender.send(fs::read(reader)));
        // Opened for reading, too: a sync that is repeated after the reader has gone would wait.
        let script = format!("exec 3<>'{pipe}'; {child} & {last}");
        let program = ["sh", "-c", &script];
        fixture.add_program(ID, "command", &program, &[]).await;
        let read = tokio::time::timeout(Duration::from_mins(1), ended).await;
        let read = read.expect("its child has ended").expect("an answer");
        read.expect("a pipe");
    }
    assert_eq!(fixture.sites().await, ["x"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_files_of_all_sites_are_limited_together() {
    let repository = Repository::new();
    for site in ["a", "b"] {
        repository.write(&format!("{site}.yaml"), &config(site, &"x".repeat(600)));
    }
    repository.commit();
    let settings = CatalogSettings::default().with_local(true);
    let fixture = Fixture::with(settings.with_max_listing_bytes(1_000));
    for (executor, url) in [
        ("directory", text(repository.path())),
        ("git", repository.url()),
    ] {
        let entity = fixture.add(ID, executor, &[("url", &url)]).await;
        let synced = condition(&entity, "Synced");
        assert!(
            synced.message.contains("more than 1000 bytes together"),
            "{executor}: {}",
            synced.message
        );
        assert!(fixture.sites().await.is_empty(), "{executor}");
    }
}

/// A NetBox with sites, which answers as its API reference says.
fn netbox(count: usize) -> TestServer {
    TestServer::start(move |request, calls| {
        if request.header("authorization") != Some("Token 0123456789abcdef") {
            return Answer::status(403).body(r#"{"detail": "Invalid token"}"#);
        }
        // The second call has to wait.
        if calls == 1 {
            return Answer::status(429).header("retry-after", "0");
        }
        let number = |name: &str, default: usize| {
            request
                .query(name)
                .and_then(|text| text.parse().ok())
                .unwrap_or(default)
        };
        let (limit, offset) = (number("limit", 50).min(1_000), number("offset", 0));
        let results: Vec<Value> = (offset..count.min(offset + limit))
            .map(|id| {
                json!({
                    "id": id, "name": format!("Site {id}"), "slug": format!("site-{id}"),
                    "status": {"value": "active", "label": "Active"},
                    "region": {"id": 1, "slug": "south"}, "tenant": null,
                    "tags": [{"slug": "edge"}], "custom_fields": {"rack": id, "note": null},
                })
            })
            .collect();
        let next = (offset + limit < count).then(|| {
            // As behind a proxy that NetBox does not know of.
            format!(
                "http://netbox.internal/api/dcim/sites/?limit={limit}&offset={}",
                offset + limit
            )
        });
        let page = json!({"count": count, "next": next, "previous": null, "results": results});
        Answer::status(200).body(page.to_string())
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sites_of_netbox_come_page_by_page() {
    let secrets = tempfile::tempdir().expect("a folder");
    fs::write(secrets.path().join("netbox"), "0123456789abcdef\n").expect("a file");
    fs::write(secrets.path().join("wrong"), "wrong").expect("a file");
    for list in ["netbox.hosts", "wrong.hosts"] {
        fs::write(secrets.path().join(list), "127.0.0.1\n").expect("a file");
    }
    let settings = CatalogSettings::default().with_secrets(SecretFolder::new(secrets.path()));
    let fixture = Fixture::with(settings);
    let server = netbox(1_234);
    let url = server.url("");
    let properties = [
        ("url", &*url),
        ("token", "secret:netbox"),
        ("id", "netbox/{{ slug }}"),
    ];
    assert_synced(&fixture.add(ID, "netbox", &properties).await);
    assert_eq!(fixture.sites().await.len(), 1_234);
    let site = fixture.site("netbox/site-7").await.expect("a site");
    let metadata = &site.entity.metadata;
    for (key, value) in [
        ("status", "active"),
        ("region", "south"),
        ("tag.edge", "true"),
        ("rack", "7"),
    ] {
        assert_eq!(metadata.get(key), Some(value), "{key}");
    }
    let properties = [("url", &*url), ("token", "secret:wrong")];
    let entity = fixture.add(ID, "netbox", &properties).await;
    assert_eq!(&*condition(&entity, "Synced").reason, "Forbidden");
    assert_eq!(fixture.sites().await.len(), 1_234);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_netbox_that_lacks_sites_changes_nothing() {
    let server = TestServer::start(|_, _| {
        let page = json!({"count": 9, "next": null, "results": [{"slug": "a"}]});
        Answer::status(200).body(page.to_string())
    });
    let fixture = Fixture::new();
    let url = server.url("");
    let entity = fixture.add(ID, "netbox", &[("url", &*url)]).await;
    assert_eq!(&*condition(&entity, "Synced").reason, "Unavailable");
    assert!(fixture.sites().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clusters_are_sites() {
    let cluster = |name: &str, region: &str| {
        json!({"apiVersion": "cluster.x-k8s.io/v1beta1", "kind": "Cluster",
            "metadata": {"name": name, "namespace": "fleet", "labels": {"region": region}}})
    };
    let pages = [
        json!({"kind": "ClusterList", "metadata": {"continue": "next"},
            "items": [cluster("a", "south"), cluster("b", "north")]}),
        json!({"kind": "ClusterList", "metadata": {}, "items": [cluster("c", "south")]}),
    ];
    let server = TestServer::start(move |request, _| {
        assert!(
            request
                .path
                .starts_with("/apis/cluster.x-k8s.io/v1beta1/clusters")
        );
        let page = usize::from(request.query("continue").as_deref() == Some("next"));
        Answer::status(200).body(pages[page].to_string())
    });
    let fixture = Fixture::new();
    let url = server.url("");
    let properties = [("url", &*url), ("selector", "region=south")];
    assert_synced(&fixture.add(ID, "kubernetes", &properties).await);
    assert_eq!(fixture.sites().await, ["fleet/a", "fleet/c"]);
    // The same from a file.
    let folder = tempfile::tempdir().expect("a folder");
    let profile = json!({"apiVersion": "multicluster.x-k8s.io/v1alpha1", "kind": "ClusterProfile",
        "metadata": {"name": "p", "namespace": "hub"}});
    fs::write(folder.path().join("clusters.yaml"), profile.to_string()).expect("a file");
    let place = text(folder.path());
    assert_synced(
        &fixture
            .add("inventory|files", "kubernetes", &[("url", &place)])
            .await,
    );
    assert!(fixture.site("hub/p").await.is_some());
}
