//! Updating a package at a known version.

use super::fixture::DataFixture;
use super::sample::{bad, config, d, deployment_id, named, new_plugin, s, site_id, t, with};
use crate::verdict::refused;
use tko_core::ErrorKind::{BadArgument, Conflict, NotFound};
use tko_core::{
    EntityUpdate, Error, Key, Kind, Metadata, NewDeployment, NewSite, PackageUpdate, Version,
};

/// An update replaces the package at the version read; otherwise it conflicts and changes nothing.
pub async fn an_update_requires_the_version_read(fixture: DataFixture) {
    let merge = named([config("a")]);
    let id = fixture.create(NewDeployment::new().merge(merge)).await;
    let record = fixture.read(&id).await;
    let read = record.entity.version;
    let package = record.package.expect("it was requested");
    let second = fixture
        .data
        .update(&id, read, with(&package, config("b")))
        .await;
    let second = second.expect("the version is unchanged");
    assert_eq!(fixture.row(&id).await.version, second);
    let before = fixture.revision().await;
    let error = refused(
        fixture
            .data
            .update(&id, read, with(&package, config("c")))
            .await,
        &[Conflict],
        "a stale version",
    );
    assert!(
        matches!(&error, Error::Conflict(keys) if keys[..] == [Key::from(&id)]),
        "{error:?}"
    );
    refused(
        fixture
            .data
            .update(&id, second, with(&package, bad("c")))
            .await,
        &[BadArgument],
        "an invalid package",
    );
    assert_eq!(fixture.revision().await, before);
    assert_eq!(fixture.package(&id).await, with(&package, config("b")));
    let same = fixture.package(&id).await;
    assert_eq!(
        fixture
            .data
            .update(&id, second, same)
            .await
            .expect("the same"),
        second
    );
    assert_eq!(fixture.revision().await, before);
}

/// A missing deployment is not found.
pub async fn a_missing_entity_is_not_found(fixture: DataFixture) {
    let missing = deployment_id("missing");
    let result = fixture.data.update(&missing, Version(1), named([])).await;
    refused(result, &[NotFound], "an absent entity");
}

/// The metadata and the package of any entity can be changed, each without the other, at the
/// version read. Metadata that were given before and are not given again are removed. A plugin has no
/// package.
pub async fn metadata_and_package_change_separately(fixture: DataFixture) {
    let given = |pairs: &[(&str, &str)]| pairs.iter().copied().collect::<Metadata>();
    let new = NewSite::new(site_id("s"), named([config("one")]));
    let new = new.metadata(given(&[("a", "1"), ("b", "1")]));
    let read = fixture.data.register_site(new).await;
    let read = read.expect("the site is valid");
    let update = EntityUpdate::new(s("s"), read).metadata(given(&[("a", "2")]));
    let second = fixture.data.update_entity(update.clone()).await;
    let second = second.expect("the version is unchanged");
    let row = fixture.row(s("s")).await;
    assert_eq!(
        (row.version, row.given.clone()),
        (second, given(&[("a", "2")]))
    );
    assert_eq!(row.metadata.get("b"), None);
    assert_eq!(fixture.package(s("s")).await, named([config("one")]));
    let error = refused(
        fixture.data.update_entity(update).await,
        &[Conflict],
        "a stale version",
    );
    assert!(
        matches!(&error, Error::Conflict(keys) if keys[..] == [s("s")]),
        "{error:?}"
    );
    let package = PackageUpdate::Replace(named([config("two")]));
    let update = EntityUpdate::new(s("s"), second).package(package);
    let third = fixture.data.update_entity(update).await;
    let third = third.expect("the version is unchanged");
    assert_eq!(fixture.package(s("s")).await, named([config("two")]));
    assert_eq!(fixture.row(s("s")).await.given, given(&[("a", "2")]));
    let update =
        EntityUpdate::new(s("s"), third).package(PackageUpdate::Replace(named([bad("x")])));
    refused(
        fixture.data.update_entity(update).await,
        &[BadArgument],
        "an invalid package",
    );
    let update = EntityUpdate::new(s("s"), third).metadata(given(&[]));
    let fourth = fixture.data.update_entity(update).await;
    fourth.expect("the version is unchanged");
    assert_eq!(
        fixture.row(s("s")).await.given,
        given(&[]),
        "none is a value"
    );
    fixture.template("t", [config("one")]).await;
    let id = fixture.create(NewDeployment::default()).await;
    let plugin = new_plugin("p");
    let registered = fixture.data.register_plugin(plugin.clone()).await;
    registered.expect("the plugin is valid");
    for key in [t("t"), Key::from(&id), Key::from(&plugin.id)] {
        let version = fixture.row(&key).await.version;
        let update = EntityUpdate::new(&key, version).metadata(given(&[("a", "3")]));
        let updated = fixture.data.update_entity(update).await;
        let record = fixture.read(&key).await;
        let row = record.entity;
        assert_eq!(updated.expect("the version is unchanged"), row.version);
        assert_eq!(row.given, given(&[("a", "3")]), "{key}");
        let package = with(&record.package.unwrap_or_default(), config("two"));
        let update =
            EntityUpdate::new(&key, row.version).package(PackageUpdate::Replace(package.clone()));
        let updated = fixture.data.update_entity(update).await;
        if key.kind() == Kind::Plugin {
            refused(updated, &[BadArgument], "a package of a plugin");
            continue;
        }
        updated.expect("the version is unchanged");
        assert_eq!(fixture.package(&key).await, package, "{key}");
        assert_eq!(fixture.row(&key).await.given, row.given, "{key}");
    }
    let missing = EntityUpdate::new(d("missing"), third).metadata(given(&[]));
    refused(
        fixture.data.update_entity(missing).await,
        &[NotFound],
        "an absent entity",
    );
}
