//! Which templates and sites belong to a catalog or an inventory.

use crate::support::{Fixture, assert_synced, config};
use std::fs;
use tko_core::{DataApi, Metadata, NewSite, NewTemplate, Package, SiteId, TemplateId};

/// A folder with the package `name`, and its path.
fn folder(name: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let package = folder.path().join(name);
    fs::create_dir_all(&package).expect("a folder");
    fs::write(package.join("a.yaml"), config("a", "1")).expect("a file");
    let path = folder.path().display().to_string();
    (folder, path)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_of_a_person_with_the_name_of_a_catalog_stays() {
    let fixture = Fixture::new();
    let id = TemplateId::new("mine:v1").expect("an id");
    let named = Metadata::from_iter([("Catalog.name", "core")]);
    let new = NewTemplate::new(id, Package::default()).metadata(named.clone());
    let registered = fixture.store.register_template(new).await;
    registered.expect("registered");
    let (_folder, url) = folder("upf/v1");
    for prune in ["false", "true"] {
        let properties = [("url", &*url), ("prune", prune)];
        assert_synced(&fixture.add("catalog|core", "directory", &properties).await);
        assert_eq!(fixture.templates().await, ["mine:v1", "upf:v1"]);
        let mine = fixture.template("mine:v1").await.expect("a template");
        assert_eq!(mine.entity.given, named);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_of_a_person_with_the_name_of_an_inventory_stays() {
    let fixture = Fixture::new();
    let id = SiteId::new("mine").expect("an id");
    let named = Metadata::from_iter([("Inventory.name", "fleet")]);
    let new = NewSite::new(id, Package::default()).metadata(named.clone());
    let registered = fixture.store.register_site(new).await;
    registered.expect("registered");
    let (_folder, url) = folder("south");
    for grace in ["1h", "0s"] {
        let properties = [("url", &*url), ("grace", grace)];
        let entity = fixture.add("inventory|fleet", "directory", &properties);
        assert_synced(&entity.await);
        assert_eq!(fixture.sites().await, ["mine", "south"]);
        let mine = fixture.site("mine").await.expect("a site");
        assert_eq!(mine.entity.given, named);
    }
}
