//! Inventories with wrong items: their sites stay unchanged, and the others are registered.

use crate::git::Repository;
use crate::support::{Fixture, assert_synced, condition, config};
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
        for damage in [tear, link] {
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
