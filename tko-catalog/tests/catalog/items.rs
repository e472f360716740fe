//! Inventories with wrong items: their sites stay unchanged, and the others are registered.

use crate::git::Repository;
use crate::support::{Fixture, assert_synced, condition, config, value};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

const ID: &str = "inventory|fleet";

/// Writes a site with this descriptor.
fn write(repository: &Repository, name: &str, descriptor: &str) {
    repository.write(&format!("in/{name}/a.yaml"), &config("a", name));
    repository.write(&format!("in/{name}/site.json"), descriptor);
}

fn descriptor(name: &str) -> String {
    format!(r#"{{"id": "dd/{name}"}}"#)
}

fn url(repository: &Repository, executor: &str) -> String {
    match executor {
        "git" => repository.url(),
        _ => repository.path().display().to_string(),
    }
}

/// Asserts that exactly these sites exist, and that none of them is marked as gone.
async fn assert_sites(fixture: &Fixture, sites: &[&str]) {
    assert_eq!(fixture.sites().await, sites);
    for id in sites {
        let site = fixture.site(id).await.expect("it exists");
        assert!(!site.entity.given.contains_key("Inventory.gone"), "{id}");
    }
}

fn tear(file: &Path) {
    fs::write(file, "{broken").expect("a file");
}

fn link(file: &Path) {
    fs::remove_file(file).expect("removed");
    std::os::unix::fs::symlink("../a/site.json", file).expect("a link");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_descriptor_stops_no_other_site_and_removes_none() {
    for executor in ["directory", "git"] {
        for damage in [tear as fn(&Path), link] {
            let repository = Repository::new();
            for name in ["a", "b", "c"] {
                write(&repository, name, &descriptor(name));
            }
            repository.commit();
            let fixture = Fixture::new();
            let url = url(&repository, executor);
            let properties = [("url", &*url), ("grace", "0s")];
            assert_synced(&fixture.add(ID, executor, &properties).await);
            assert_sites(&fixture, &["dd/a", "dd/b", "dd/c"]).await;
            // One is damaged, one is gone, and one is new.
            damage(&repository.path().join("in/b/site.json"));
            fs::remove_dir_all(repository.path().join("in/c")).expect("removed");
            write(&repository, "d", &descriptor("d"));
            repository.commit();
            let entity = fixture.sync(ID).await;
            assert_eq!(condition(&entity, "Synced").status, Some(true));
            let message = &condition(&entity, "Complete").message;
            let problem = "1 problem; in/b: site.json: ";
            assert!(message.starts_with(problem), "{executor}: {message}");
            assert_sites(&fixture, &["dd/a", "dd/b", "dd/c", "dd/d"]).await;
            // Once everything can be read, what is gone is removed.
            let file = repository.path().join("in/b/site.json");
            fs::remove_file(file).expect("removed");
            write(&repository, "b", &descriptor("b"));
            repository.commit();
            assert_synced(&fixture.sync(ID).await);
            assert_sites(&fixture, &["dd/a", "dd/b", "dd/d"]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_value_that_a_program_prints_keeps_its_site() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("sites.json");
    let write = |a: &Value| {
        let sites = json!([a, {"name": "b"}]).to_string();
        fs::write(&file, sites).expect("a file");
    };
    let resource = |text: &str| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"},
            "data": {"value": text}})
    };
    // Null counts as absent.
    let good = json!({"name": "a", "id": 7, "template": null, "package": [resource("1")],
        "metadata": {"k": "v", "n": 1, "none": null}});
    write(&good);
    let fixture = Fixture::new();
    let program = ["cat", file.to_str().expect("text")];
    let properties = [("grace", "0s")];
    let added = fixture.add_program(ID, "command", &program, &properties);
    assert_synced(&added.await);
    for (key, wrong) in [
        ("package", json!({"a": 1})),
        ("package", json!("kind: ConfigMap")),
        ("template", json!(5)),
        ("metadata", json!(["k"])),
        ("metadata", json!({"k": ["v"]})),
        ("name", json!({"a": 1})),
    ] {
        let mut a = json!({"name": "a", "package": [resource("2")], "metadata": {"k": "w"}});
        a[key] = wrong.clone();
        write(&a);
        let entity = fixture.sync(ID).await;
        let message = &condition(&entity, "Complete").message;
        let item = if key == "name" { "a site" } else { "a" };
        let problem = format!("1 problem; {item}: {key}: ");
        assert!(message.starts_with(&problem), "{wrong}: {message}");
        assert_sites(&fixture, &["a", "b"]).await;
        let site = fixture.site("a").await.expect("it exists");
        assert_eq!(value(site.package.as_ref()), "1", "{wrong}");
        assert_eq!(site.entity.given.get("k"), Some("v"), "{wrong}");
        assert_eq!(site.entity.given.get("n"), Some("1"), "{wrong}");
    }
    write(&good);
    assert_synced(&fixture.sync(ID).await);
}

/// The id and `where` read the value that is wrong: the site is known by its item alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_value_that_hides_the_id_keeps_its_site() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("sites.json");
    let fixture = Fixture::new();
    let program = ["cat", file.to_str().expect("text")];
    let id = "{{ metadata.region }}/{{ name }}";
    let properties = [
        ("grace", "0s"),
        ("id", id),
        ("where", r#"metadata.env == "prod""#),
    ];
    let a = |metadata: Value| json!([{"name": "a", "metadata": metadata}]).to_string();
    let good = a(json!({"region": "south", "env": "prod"}));
    fs::write(&file, &good).expect("a file");
    let added = fixture.add_program(ID, "command", &program, &properties);
    assert_synced(&added.await);
    assert_sites(&fixture, &["south/a"]).await;
    for wrong in [json!(["k"]), json!({"region": ["south"], "env": "prod"})] {
        fs::write(&file, a(wrong)).expect("a file");
        let entity = fixture.sync(ID).await;
        let message = &condition(&entity, "Complete").message;
        assert!(message.starts_with("1 problem; a: metadata: "), "{message}");
        assert_sites(&fixture, &["south/a"]).await;
    }
    fs::write(&file, &good).expect("a file");
    assert_synced(&fixture.sync(ID).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_value_of_a_descriptor_keeps_its_site() {
    for executor in ["directory", "git"] {
        let repository = Repository::new();
        let good = r#"{"id": "dd/a", "template": null, "metadata": {"k": "v"}, "more": 1}"#;
        write(&repository, "a", good);
        write(&repository, "b", &descriptor("b"));
        repository.commit();
        let fixture = Fixture::new();
        let url = url(&repository, executor);
        // Expressions can use other fields.
        let properties = [
            ("url", &*url),
            ("grace", "0s"),
            ("metadata.more", "{{ more }}"),
        ];
        assert_synced(&fixture.add(ID, executor, &properties).await);
        for (wrong, problem) in [
            (r#"{"id": "dd/a", "template": 7}"#, "dd/a: template: "),
            (r#"{"id": "dd/a", "metadata": ["k"]}"#, "dd/a: metadata: "),
            (
                r#"{"id": "dd/a", "metadata": {"k": 1}}"#,
                "dd/a: metadata: ",
            ),
            // The id is not known.
            (r#"{"id": 7}"#, "in/a: site.json: id: "),
            ("[]", "in/a: site.json: "),
        ] {
            write(&repository, "a", wrong);
            repository.commit();
            let entity = fixture.sync(ID).await;
            let message = &condition(&entity, "Complete").message;
            let problem = format!("1 problem; {problem}");
            assert!(message.starts_with(&problem), "{wrong}: {message}");
            assert_sites(&fixture, &["dd/a", "dd/b"]).await;
            let site = fixture.site("dd/a").await.expect("it exists");
            assert_eq!(site.entity.given.get("k"), Some("v"), "{wrong}");
            assert_eq!(site.entity.given.get("more"), Some("1"), "{wrong}");
        }
    }
}
