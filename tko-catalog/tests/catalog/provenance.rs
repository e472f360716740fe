//! Which templates and sites belong to a catalog or an inventory.

use crate::support::{Fixture, assert_synced, condition, config, value};
use std::fs;
use std::path::Path;
use tko_core::{
    DataApi, Entity, EntityUpdate, Key, Metadata, NewSite, NewTemplate, Package, PluginId, SiteId,
    TemplateId,
};

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

async fn remove(fixture: &Fixture, entry: &str) {
    let key = Key::from(entry.parse::<PluginId>().expect("an id"));
    fixture.store.delete(&key).await.expect("removed");
}

/// Asserts that `Complete` has one problem with this part.
fn assert_problem(entity: &Entity, part: &str) {
    let message = &condition(entity, "Complete").message;
    assert!(message.starts_with("1 problem; "), "{message}");
    assert!(message.contains(part), "{part} in {message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_of_a_removed_inventory_is_adopted_and_no_other() {
    let fixture = Fixture::new();
    let (_first, first) = folder("south");
    let (second_folder, second) = folder("south");
    let file = second_folder.path().join("south/a.yaml");
    fs::write(file, config("a", "2")).expect("a file");
    let rename = |from: &str, to: &str| {
        let place = Path::new(&first);
        fs::rename(place.join(from), place.join(to)).expect("renamed");
    };
    let properties = [("url", &*first), ("metadata.region", "south")];
    let second = [("url", &*second), ("metadata.zone", "z")];
    let assert_owner = async |owner: &str, content: &str| {
        let site = fixture.site("south").await.expect("a site");
        assert_eq!(site.entity.given.get("Inventory.name"), Some(owner));
        assert_eq!(value(site.package.as_ref()), content);
        // The metadata of the first inventory stay.
        assert_eq!(site.entity.given.get("region"), Some("south"));
    };
    assert_synced(
        &fixture
            .add("inventory|first", "directory", &properties)
            .await,
    );
    let entity = fixture.add("inventory|second", "directory", &second).await;
    assert_problem(&entity, "belongs to the inventory first; set another id");
    assert_owner("first", "1").await;
    // An owner that exists is never robbed, not even of a site that is gone.
    rename("south", "north");
    fixture.sync("inventory|first").await;
    fixture.sync("inventory|second").await;
    assert_owner("first", "1").await;
    remove(&fixture, "inventory|first").await;
    assert_synced(&fixture.sync("inventory|second").await);
    assert_owner("second", "2").await;
    let site = fixture.site("south").await.expect("a site");
    assert!(!site.entity.given.contains_key("Inventory.gone"));
    fixture.sync_unchanged("inventory|second").await;
    // The new owner is not robbed, either.
    rename("north", "south");
    let entity = fixture
        .add("inventory|first", "directory", &properties)
        .await;
    let message = &condition(&entity, "Complete").message;
    let part = "belongs to the inventory second; set another id";
    assert!(message.contains(part), "{message}");
    assert_owner("second", "2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_of_a_removed_catalog_is_adopted_with_the_same_package() {
    let fixture = Fixture::new();
    let (_first, first) = folder("upf/v1");
    let (second_folder, second) = folder("upf/v1");
    let (first, second) = ([("url", &*first)], [("url", &*second)]);
    let assert_owner = async |owner: &str, content: &str| {
        let upf = fixture.template("upf:v1").await.expect("a template");
        assert_eq!(upf.entity.given.get("Catalog.name"), Some(owner));
        assert_eq!(upf.entity.given.get("mine"), Some("1"));
        assert_eq!(value(upf.package.as_ref()), content);
    };
    assert_synced(&fixture.add("catalog|first", "directory", &first).await);
    // Metadata that a person gives stay.
    let upf = fixture.template("upf:v1").await.expect("a template").entity;
    let mut given = upf.given.clone();
    given.insert("mine", "1");
    let update = EntityUpdate::new(upf.key.clone(), upf.version).metadata(given);
    fixture.store.update_entity(update).await.expect("updated");
    let entity = fixture.add("catalog|second", "directory", &second).await;
    assert_problem(&entity, "belongs to the catalog first; set another id");
    assert_owner("first", "1").await;
    remove(&fixture, "catalog|first").await;
    assert_synced(&fixture.sync("catalog|second").await);
    assert_owner("second", "1").await;
    fixture.sync_unchanged("catalog|second").await;
    let entity = fixture.add("catalog|first", "directory", &first).await;
    assert_problem(&entity, "belongs to the catalog second; set another id");
    // Other content is another version, unless that is allowed.
    let file = second_folder.path().join("upf/v1/a.yaml");
    fs::write(file, config("a", "2")).expect("a file");
    remove(&fixture, "catalog|second").await;
    let third = [second[0], ("mutable", "false")];
    let entity = fixture.add("catalog|third", "directory", &third).await;
    assert_problem(
        &entity,
        "second, which no longer exists, and has other content",
    );
    assert_owner("second", "1").await;
    let third = [second[0], ("mutable", "true")];
    assert_synced(&fixture.add("catalog|third", "directory", &third).await);
    assert_owner("third", "2").await;
}
