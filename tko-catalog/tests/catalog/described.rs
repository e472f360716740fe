//! Templates with a descriptor, `template.json`, as `tko export` writes it.

use crate::git::Repository;
use crate::registry::zip;
use crate::server::{Answer, TestServer};
use crate::support::{Fixture, assert_synced, condition, config, value};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tko_catalog::CatalogSettings;
use tko_catalog::export::export;
use tko_core::{
    DataApi, Dialect, Entity, EntityUpdate, Format, Limits, Metadata, NewSite, NewTemplate,
    Package, SiteId, TemplateId,
};

const ID: &str = "catalog|fleet";
const SITES: &str = "inventory|fleet";

/// The descriptor of a template.
fn descriptor(id: &str, metadata: &str) -> String {
    format!(r#"{{"id": "{id}", "metadata": {metadata}}}"#)
}

/// Adds a catalog that reads descriptors.
async fn described(fixture: &Fixture, executor: &str, properties: &[(&str, &str)]) -> Arc<Entity> {
    let properties = [properties, &[("descriptors", "true")]].concat();
    fixture.add(ID, executor, &properties).await
}

/// An id that an export shortens.
fn long() -> String {
    format!("nf/{}:v1", "x".repeat(230))
}

fn package(value: &str) -> Package {
    let yaml = config("a", value);
    let limits = Limits::default();
    let package = Package::decode(yaml.as_bytes(), Format::Yaml, Dialect::People, &limits);
    package.expect("a package")
}

async fn register(fixture: &Fixture, template: &str, package: Package, given: &[(&str, &str)]) {
    let new = NewTemplate::new(TemplateId::new(template).expect("an id"), package)
        .metadata(given.iter().copied().collect::<Metadata>());
    let registered = fixture.store.register_template(new).await;
    registered.expect("registered");
}

/// A store with ids of every form, and a site.
async fn origin() -> Fixture {
    let origin = Fixture::idle();
    register(&origin, "shop", package("1"), &[("tier", "front")]).await;
    register(&origin, "shop/web:v1", package("web"), &[("tier", "web")]).await;
    register(&origin, &long(), package("long"), &[]).await;
    // Escaped folders, and folders that ids do not follow.
    register(&origin, "nf/.hidden:v1", package("hidden"), &[]).await;
    register(&origin, "nf//upf:v9", package("nine"), &[]).await;
    // A template that a catalog registered, and one without resources.
    let given = [("Catalog.name", "other"), ("Catalog.path", "there")];
    register(&origin, "nf/upf:v1", package("upf"), &given).await;
    register(&origin, "empty", Package::default(), &[("tier", "none")]).await;
    let new = NewSite::new(SiteId::new("south/1").expect("an id"), package("site"))
        .template(TemplateId::new("shop").expect("an id"))
        .metadata(Metadata::from_iter([("region", "south")]));
    let registered = origin.store.register_site(new).await;
    registered.expect("registered");
    origin
}

/// The given metadata without the origin.
fn given(entity: &Entity) -> Metadata {
    let mut given = entity.given.clone();
    given.retain(|key, _| !key.starts_with("Catalog.") && !key.starts_with("Inventory."));
    given
}

/// Asserts that both stores have the same templates and sites.
async fn assert_equal(one: &Fixture, other: &Fixture) {
    let ids = one.templates().await;
    assert_eq!(other.templates().await, ids);
    for id in ids {
        let one = one.template(&id).await.expect("a template");
        let other = other.template(&id).await.expect("a template");
        assert_eq!(given(&other.entity), given(&one.entity), "{id}");
        assert_eq!(other.package, one.package, "{id}");
        assert!(!other.entity.given.contains_key("Catalog.gone"), "{id}");
    }
    let ids = one.sites().await;
    assert_eq!(other.sites().await, ids);
    for id in ids {
        let one = one.site(&id).await.expect("a site");
        let other = other.site(&id).await.expect("a site");
        assert_eq!(given(&other.entity), given(&one.entity), "{id}");
        assert_eq!(other.entity.template(), one.entity.template(), "{id}");
        assert_eq!(other.package, one.package, "{id}");
    }
}

/// Exports a store into a repository, and commits.
async fn publish(origin: &Fixture, repository: &Repository) {
    let exported = export(&origin.store, repository.path()).await;
    exported.expect("exported");
    repository.commit();
}

/// Follows an export with this executor, through every kind of change.
async fn follow(executor: &str) {
    let origin = origin().await;
    let repository = Repository::new();
    publish(&origin, &repository).await;
    let other = Fixture::new();
    let folder = repository.path().display().to_string();
    let (url, sites) = match executor {
        "git" => (repository.url(), repository.url()),
        _ => (folder.clone(), format!("{folder}/sites")),
    };
    let catalog = [("url", &*url), ("root", "templates"), ("prune", "true")];
    assert_synced(&described(&other, executor, &catalog).await);
    let mut inventory = vec![("url", &*sites), ("grace", "0s")];
    if executor == "git" {
        inventory.push(("root", "sites"));
    }
    assert_synced(&other.add(SITES, executor, &inventory).await);
    assert_equal(&origin, &other).await;
    let shop = other.template("shop").await.expect("a template");
    assert_eq!(shop.entity.given.get("Catalog.name"), Some("fleet"));
    assert_eq!(shop.entity.given.get("Catalog.path"), Some("shop"));
    for id in [ID, SITES] {
        other.sync_unchanged(id).await;
    }

    // An id without a version follows the source: its content, and its metadata alone.
    register(&origin, "shop", package("2"), &[("tier", "front")]).await;
    register(&origin, "empty", Package::default(), &[("tier", "some")]).await;
    register(&origin, "shop/web:v2", package("web 2"), &[]).await;
    publish(&origin, &repository).await;
    assert_synced(&other.sync(ID).await);
    assert_synced(&other.sync(SITES).await);
    let shop = other.template("shop").await.expect("a template");
    assert_eq!(value(shop.package.as_ref()), "2");
    assert_equal(&origin, &other).await;
    other.sync_unchanged(ID).await;

    // What a person changes in the metadata of the source comes back; the rest stays.
    let update = EntityUpdate::new(shop.entity.key.clone(), shop.entity.version);
    let mut edited = shop.entity.given.clone();
    edited.insert("mine", "1");
    let update = update.metadata(edited.clone());
    other.store.update_entity(update).await.expect("updated");
    other.sync_unchanged(ID).await;
    let shop = other.template("shop").await.expect("a template");
    edited.insert("tier", "mine");
    let update = EntityUpdate::new(shop.entity.key.clone(), shop.entity.version);
    let update = update.metadata(edited);
    other.store.update_entity(update).await.expect("updated");
    assert_synced(&other.sync(ID).await);
    assert_equal(&origin, &other).await;

    // The origin of a template in the other store is no content.
    let given = [("Catalog.name", "other"), ("Catalog.path", "elsewhere")];
    register(&origin, "nf/upf:v1", package("upf"), &given).await;
    publish(&origin, &repository).await;
    let upf = other.template("nf/upf:v1").await.expect("a template");
    assert_synced(&other.sync(ID).await);
    let same = other.template("nf/upf:v1").await.expect("a template");
    assert_eq!(same.entity.version, upf.entity.version);

    // A version never changes, nor do its metadata, unless that is allowed.
    register(&origin, "shop/web:v1", package("web"), &[("tier", "new")]).await;
    publish(&origin, &repository).await;
    let entity = other.sync(ID).await;
    let message = &condition(&entity, "Complete").message;
    let problem = "1 problem; shop/web@v1: version shop/web:v1 has other content";
    assert!(message.starts_with(problem), "{message}");
    let web = other.template("shop/web:v1").await.expect("a template");
    assert_eq!(web.entity.given.get("tier"), Some("web"));
    let mutable = [&catalog[..], &[("mutable", "true")]].concat();
    assert_synced(&described(&other, executor, &mutable).await);
    assert_equal(&origin, &other).await;
    other.sync_unchanged(ID).await;

    // What cannot be read is neither gone nor removed, and the others go on.
    let before = other.templates().await;
    let place = repository.path().join("templates/shop");
    let text = fs::read(place.join("template.json")).expect("a descriptor");
    for (number, damage) in [damage as fn(&Path), link, folder_in_place, too_large]
        .into_iter()
        .enumerate()
    {
        damage(&place.join("template.json"));
        let id = format!("templates/more@v{number}");
        repository.write(&format!("{id}/package.yaml"), &config("a", "more"));
        let json = descriptor(&format!("more:v{number}"), "{}");
        repository.write(&format!("{id}/template.json"), &json);
        repository.commit();
        let entity = other.sync(ID).await;
        assert_eq!(condition(&entity, "Synced").status, Some(true));
        let message = &condition(&entity, "Complete").message;
        assert!(message.starts_with("1 problem; shop: "), "{message}");
        assert!(message.contains("template.json"), "{message}");
        let after = other.templates().await;
        assert_eq!(after.len(), before.len() + number + 1, "{after:?}");
        assert!(before.iter().all(|id| after.contains(id)), "{after:?}");
        let shop = other.template("shop").await.expect("it stays");
        assert!(!shop.entity.given.contains_key("Catalog.gone"));
        assert_eq!(value(shop.package.as_ref()), "2");
        if fs::remove_file(place.join("template.json")).is_err() {
            fs::remove_dir_all(place.join("template.json")).expect("removed");
        }
    }
    fs::write(place.join("template.json"), text).expect("a file");
    repository.commit();
    assert_synced(&other.sync(ID).await);
    // What the source no longer has is removed.
    fs::remove_dir_all(repository.path().join("templates/shop/web@v2")).expect("removed");
    repository.commit();
    assert_synced(&other.sync(ID).await);
    assert!(other.template("shop/web:v2").await.is_none());
    assert!(other.template("shop").await.is_some());
}

fn damage(file: &Path) {
    fs::write(file, r#"{"id": "shop", "#).expect("a file");
}

fn link(file: &Path) {
    std::os::unix::fs::symlink("../shop/web@v1/template.json", file).expect("a link");
}

fn folder_in_place(file: &Path) {
    fs::create_dir(file).expect("a folder");
    fs::write(file.join("a.yaml"), config("b", "inside")).expect("a file");
}

fn too_large(file: &Path) {
    let json = descriptor("shop", &format!(r#"{{"a": "{}"}}"#, "x".repeat(1 << 20)));
    fs::write(file, json).expect("a file");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_in_git_keeps_its_ids_and_metadata() {
    follow("git").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_in_a_folder_keeps_its_ids_and_metadata() {
    follow("directory").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_has_templates_with_descriptors() {
    let shop = descriptor("shop", r#"{"tier": "front"}"#);
    let content = zip(&[
        ("templates/shop/package.yaml", &config("a", "1")),
        ("templates/shop/template.json", &shop),
        ("templates/shop/web@v1/package.yaml", &config("a", "web")),
        (
            "templates/shop/web@v1/template.json",
            &descriptor("shop/web:v1", "{}"),
        ),
        ("templates/plain/v1/a.yaml", &config("a", "plain")),
        ("templates/torn/package.yaml", &config("a", "torn")),
        ("templates/torn/template.json", "{"),
        ("templates/alone/template.json", &descriptor("alone", "{}")),
    ]);
    let server = TestServer::start(move |_, _| Answer::status(200).body(&content));
    let fixture = Fixture::with(CatalogSettings::default());
    let url = server.url("/packages.zip?signature=secret");
    let properties = [("url", &*url), ("root", "templates")];
    let entity = described(&fixture, "http", &properties).await;
    let ids = ["plain:v1", "shop", "shop/web:v1"];
    assert_eq!(fixture.templates().await, ids);
    let shop = fixture.template("shop").await.expect("a template");
    assert_eq!(value(shop.package.as_ref()), "1");
    assert_eq!(shop.package.as_ref().map(Package::len), Some(1));
    assert_eq!(shop.entity.given.get("tier"), Some("front"));
    let message = &condition(&entity, "Complete").message;
    assert!(message.starts_with("2 problems; alone: "), "{message}");
    assert!(
        message.contains("no YAML file; add package.yaml; torn: "),
        "{message}"
    );
    // The address is recorded without its secret.
    let recorded = shop.entity.given.get("Catalog.url").expect("an address");
    assert_eq!(recorded, server.url("/packages.zip"));
    let before = fixture.revision().await;
    fixture.sync(ID).await;
    assert_eq!(fixture.revision().await, before + 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_in_an_archive_is_a_problem_of_its_package() {
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |name: &str, text: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        let added = archive.append_data(&mut header, name, text.as_bytes());
        added.expect("a file");
    };
    add("shop/a.yaml", &config("a", "1"));
    add("good/a.yaml", &config("a", "1"));
    add("good/template.json", &descriptor("good", "{}"));
    add("folder/a.yaml", &config("a", "1"));
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    header.set_entry_type(tar::EntryType::Symlink);
    let added = archive.append_link(&mut header, "shop/template.json", "../good/template.json");
    added.expect("a link");
    header.set_entry_type(tar::EntryType::Directory);
    let added = archive.append_data(&mut header, "folder/template.json/", &[][..]);
    added.expect("a folder");
    let content = archive.into_inner().expect("an archive");
    let server = TestServer::start(move |_, _| Answer::status(200).body(&content));
    let fixture = Fixture::with(CatalogSettings::default());
    let url = server.url("/packages.tar");
    let entity = described(&fixture, "http", &[("url", &url)]).await;
    assert_eq!(fixture.templates().await, ["good"]);
    let message = &condition(&entity, "Complete").message;
    assert!(message.starts_with("2 problems; folder: "), "{message}");
    assert_eq!(message.matches("not a regular file").count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_descriptor_says_the_id_at_every_tag() {
    let repository = Repository::new();
    let write = |version: &str, content: &str| {
        repository.write("shop/a.yaml", &config("a", content));
        let id = format!("shop:{version}");
        repository.write("shop/template.json", &descriptor(&id, "{}"));
        // A package of its own within the package.
        repository.write("shop/web/a.yaml", &config("a", content));
        let web = descriptor("web", r#"{"tier": "web"}"#);
        repository.write("shop/web/template.json", &web);
        repository.commit();
    };
    write("one", "1");
    repository.git(&["tag", "shop/v1"]);
    write("two", "2");
    repository.git(&["tag", "shop/v2"]);
    let fixture = Fixture::new();
    let url = repository.url();
    assert_synced(&described(&fixture, "git", &[("url", &url)]).await);
    assert_eq!(fixture.templates().await, ["shop:one", "shop:two"]);
    for (id, content) in [("shop:one", "1"), ("shop:two", "2")] {
        let read = fixture.template(id).await.expect("a template");
        assert_eq!(value(read.package.as_ref()), content);
        assert_eq!(read.package.as_ref().map(Package::len), Some(1));
    }
    // The branch has the same content of the second version.
    let properties = [("url", &*url), ("branch", "main"), ("tags", "shop/*")];
    assert_synced(&described(&fixture, "git", &properties).await);
    let ids = ["shop:one", "shop:two", "web"];
    assert_eq!(fixture.templates().await, ids);
    // Tags of the whole repository would say the same id twice.
    for tag in ["v1.0", "v2.0"] {
        write("three", tag);
        repository.git(&["tag", tag]);
    }
    let properties = [("url", &*url), ("tags", "v*")];
    let entity = described(&fixture, "git", &properties).await;
    let message = &condition(&entity, "Complete").message;
    assert!(
        message.contains("template shop:three has other content at v2.0@"),
        "{message}"
    );
    assert!(message.contains("set branch"), "{message}");
    let three = fixture.template("shop:three").await.expect("a template");
    assert_eq!(value(three.package.as_ref()), "v1.0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_package_is_not_changed_by_the_one_within() {
    let repository = Repository::new();
    repository.write("plain/v1/a.yaml", &config("a", "plain"));
    repository.write("plain/v1/own/a.yaml", &config("a", "1"));
    let own = descriptor("own", "{}");
    repository.write("plain/v1/own/template.json", &own);
    repository.commit();
    let url = repository.url();
    let folder = repository.path().display().to_string();
    for (executor, url) in [("git", &url), ("directory", &folder)] {
        repository.write("plain/v1/own/a.yaml", &config("a", "1"));
        repository.git(&["add", "--all"]);
        repository.git(&["commit", "--quiet", "--allow-empty", "--message", "x"]);
        let fixture = Fixture::new();
        assert_synced(&described(&fixture, executor, &[("url", url)]).await);
        assert_eq!(fixture.templates().await, ["own", "plain:v1"]);
        let plain = fixture.template("plain:v1").await.expect("a template");
        assert_eq!(plain.package.as_ref().map(Package::len), Some(1));
        repository.write("plain/v1/own/a.yaml", &config("a", "2"));
        repository.commit();
        assert_synced(&fixture.sync(ID).await);
        let own = fixture.template("own").await.expect("a template");
        assert_eq!(value(own.package.as_ref()), "2", "{executor}");
    }
    // A tag of one package does not have the package within, either.
    repository.git(&["tag", "plain/v7"]);
    let fixture = Fixture::new();
    assert_synced(&described(&fixture, "git", &[("url", &url)]).await);
    assert_eq!(fixture.templates().await, ["plain:v7"]);
    let plain = fixture.template("plain:v7").await.expect("a template");
    assert_eq!(plain.package.as_ref().map(Package::len), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn descriptors_have_a_limit_together_and_ids_are_unique() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |place: &str, id: &str, text: &str| {
        let place = folder.path().join(place);
        fs::create_dir_all(&place).expect("a folder");
        fs::write(place.join("a.yaml"), config("a", text)).expect("a file");
        let metadata = format!(r#"{{"text": "{}"}}"#, "x".repeat(100));
        fs::write(place.join("template.json"), descriptor(id, &metadata)).expect("a file");
    };
    write("a", "one", "1");
    write("b", "one", "2");
    write("c", "two", "3");
    let settings = CatalogSettings::default().with_local(true);
    let fixture = Fixture::with(settings.clone());
    let url = folder.path().display().to_string();
    let entity = described(&fixture, "directory", &[("url", &url)]).await;
    assert_eq!(fixture.templates().await, ["one", "two"]);
    let message = &condition(&entity, "Complete").message;
    let problem = "1 problem; b: template one is also made of a; change the id";
    assert!(message.starts_with(problem), "{message}");
    let fixture = Fixture::with(settings.with_max_listing_bytes(200));
    let entity = described(&fixture, "directory", &[("url", &url)]).await;
    assert_eq!(fixture.templates().await, ["one"]);
    let message = &condition(&entity, "Complete").message;
    assert!(message.contains("have more than 200 bytes"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_property_a_file_of_that_name_means_nothing() {
    let repository = Repository::new();
    repository.write("nf/upf/a.yaml", &config("a", "1"));
    repository.commit();
    let url = repository.url();
    let folder = repository.path().display().to_string();
    let sources = [("git", &*url), ("directory", &*folder)];
    let mut before = Vec::new();
    for (executor, url) in sources {
        let fixture = Fixture::new();
        assert_synced(
            &fixture
                .add(ID, executor, &[("url", url), ("prune", "true")])
                .await,
        );
        before.push((fixture, executor));
    }
    // The template of another tool, above a package and in one.
    for place in ["template.json", "nf/template.json", "nf/upf/template.json"] {
        repository.write(
            place,
            r#"{"$schema": "https://h/deploymentTemplate.json#"}"#,
        );
    }
    repository.commit();
    for (fixture, executor) in before {
        let templates = fixture.templates().await;
        assert_synced(&fixture.sync(ID).await);
        let after = fixture.templates().await;
        assert_eq!(after.len(), 2, "{executor}: {after:?}");
        assert!(
            after.iter().all(|id| id.starts_with("nf/upf:")),
            "{after:?}"
        );
        if executor == "directory" {
            // In git, the version is a digest of the tree, whose files have changed.
            assert_eq!(after, templates);
        }
    }
}

/// Nothing says which template a descriptor that cannot be read names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_package_that_was_moved_and_then_damaged_removes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    };
    for name in ["shop", "other"] {
        write(&format!("{name}/package.yaml"), &config("a", name));
        write(&format!("{name}/template.json"), &descriptor(name, "{}"));
    }
    let fixture = Fixture::new();
    let url = folder.path().display().to_string();
    let properties = [("url", &*url), ("prune", "true")];
    assert_synced(&described(&fixture, "directory", &properties).await);
    let moved = folder.path().join("moved");
    fs::rename(folder.path().join("shop"), &moved).expect("moved");
    assert_synced(&fixture.sync(ID).await);
    write("moved/template.json", "{");
    let entity = fixture.sync(ID).await;
    let message = &condition(&entity, "Complete").message;
    assert!(message.contains("template.json: "), "{message}");
    assert_eq!(fixture.templates().await, ["other", "shop"]);
    let shop = fixture.template("shop").await.expect("it stays");
    assert!(!shop.entity.given.contains_key("Catalog.gone"));
    // Once everything can be read, what is gone is removed.
    fs::remove_dir_all(&moved).expect("removed");
    assert_synced(&fixture.sync(ID).await);
    assert_eq!(fixture.templates().await, ["other"]);
}
