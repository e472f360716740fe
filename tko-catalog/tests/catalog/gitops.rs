//! Templates and sites in git, as `tko export` writes them, are a source for TKO itself.

use crate::git::Repository;
use crate::support::{Fixture, assert_synced, condition, config, value};
use std::fs;
use tko_catalog::export::export;
use tko_core::{
    DataApi, Dialect, Format, Limits, Metadata, NewSite, NewTemplate, Package, SiteId, TemplateId,
};

fn package(value: &str) -> Package {
    let yaml = config("a", value);
    let limits = Limits::default();
    let package = Package::decode(yaml.as_bytes(), Format::Yaml, Dialect::People, &limits);
    package.expect("a package")
}

async fn register(fixture: &Fixture, template: &str, value: &str) {
    let new = NewTemplate::new(TemplateId::new(template).expect("an id"), package(value));
    let registered = fixture.store.register_template(new).await;
    registered.expect("registered");
}

async fn register_site(fixture: &Fixture, site: &str, value: &str) {
    let new = NewSite::new(SiteId::new(site).expect("an id"), package(value))
        .template(TemplateId::new("site/edge:v1").expect("an id"))
        .metadata(Metadata::from_iter([("region", "south")]));
    let registered = fixture.store.register_site(new).await;
    registered.expect("registered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_in_git_keeps_another_store_current() {
    let origin = Fixture::idle();
    register(&origin, "nf/upf:v1", "1").await;
    register(&origin, "site/edge:v1", "edge").await;
    for site in ["india/south-1", "india/south-2"] {
        register_site(&origin, site, site).await;
    }
    let repository = Repository::new();
    export(&origin.store, repository.path())
        .await
        .expect("exported");
    repository.commit();

    let other = Fixture::new();
    let url = repository.url();
    let catalog = [("url", &*url), ("root", "templates")];
    let inventory = [("url", &*url), ("root", "sites"), ("grace", "0s")];
    assert_synced(&other.add("catalog|fleet", "git", &catalog).await);
    assert_synced(&other.add("inventory|fleet", "git", &inventory).await);
    assert_eq!(other.templates().await, ["nf/upf:v1", "site/edge:v1"]);
    assert_eq!(other.sites().await, ["india/south-1", "india/south-2"]);
    let site = other.site("india/south-2").await.expect("a site");
    assert_eq!(site.entity.metadata.get("region"), Some("south"));
    assert!(site.entity.template().is_some());
    other.sync_unchanged("catalog|fleet").await;
    other.sync_unchanged("inventory|fleet").await;

    // What changes in git changes here: a new version, a new site, a site that is gone.
    register(&origin, "nf/upf:v2", "2").await;
    register_site(&origin, "india/south-3", "three").await;
    let key = SiteId::new("india/south-1").expect("an id");
    origin.store.delete(&key.into()).await.expect("deleted");
    export(&origin.store, repository.path())
        .await
        .expect("exported");
    repository.commit();
    assert_synced(&other.sync("catalog|fleet").await);
    assert_synced(&other.sync("inventory|fleet").await);
    let upf = other.template("nf/upf:v2").await.expect("a template");
    assert_eq!(value(upf.package.as_ref()), "2");
    assert_eq!(other.sites().await, ["india/south-2", "india/south-3"]);

    // A broken package and a descriptor that is a link keep their site.
    let site = repository.path().join("sites/india/south-2");
    fs::write(site.join("package.yaml"), "a: [").expect("a file");
    repository.commit();
    let entity = other.sync("inventory|fleet").await;
    let message = &condition(&entity, "Complete").message;
    assert!(message.contains("package.yaml: "), "{message}");
    assert_eq!(other.sites().await.len(), 2);
    fs::remove_file(site.join("site.json")).expect("removed");
    std::os::unix::fs::symlink("/etc/hostname", site.join("site.json")).expect("a link");
    repository.commit();
    let entity = other.sync("inventory|fleet").await;
    let message = &condition(&entity, "Complete").message;
    let problem = "1 problem; india/south-2: site.json: it is not a regular file";
    assert!(message.starts_with(problem), "{message}");
    assert_eq!(other.sites().await, ["india/south-2", "india/south-3"]);
    for (properties, part) in [
        (&[("url", &*url), ("branch", "none")][..], "has no branch"),
        (&[("url", "ext::sh -c id")], "expected a URL"),
    ] {
        let entity = other.add("inventory|wrong", "git", properties).await;
        let message = &condition(&entity, "Synced").message;
        assert!(message.contains(part), "{part} in {message}");
    }
}
