//! Updating a package at a known version.

use super::fixture::DataFixture;
use super::sample::{bad, config, deployment_id, named, with};
use crate::verdict::refused;
use tko_core::ErrorKind::{BadArgument, Conflict, NotFound};
use tko_core::{Error, Key, NewDeployment, Version};

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
