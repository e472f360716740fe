//! Approving deployments by selection.

use super::fixture::DataFixture;
use super::sample::{all, by, head_of};
use crate::verdict::refused;
use tko_core::{Bulk, ErrorKind, Kind, NewDeployment, Want};

fn new(prepared: bool, word: &str) -> NewDeployment {
    NewDeployment::new()
        .prepared(prepared)
        .metadata([("word", word)])
}

/// Matching deployments that are prepared and not yet approved are approved, in row and package;
/// others stay.
pub async fn matching_prepared_deployments_are_approved(fixture: DataFixture) {
    let ids = [
        fixture.create(new(true, "yes")).await,
        fixture.create(new(false, "yes")).await,
        fixture.create(new(true, "no")).await,
        fixture.create(new(true, "yes").approved(true)).await,
    ];
    let bulk = fixture
        .data
        .approve(&by(Kind::Deployment, "word", "yes"))
        .await;
    assert_eq!(bulk.expect("it is done"), Bulk::new(1));
    let mut approved = Vec::new();
    for id in &ids {
        let record = fixture.read(id).await;
        let fact = record
            .entity
            .deployment()
            .expect("it is a deployment")
            .approved;
        let package = record.package.expect("it was requested");
        let said = head_of(&package).annotation("nephio.org/approved");
        assert_eq!(said.as_deref() == Some("true"), fact, "the package agrees");
        approved.push(fact);
    }
    assert_eq!(approved, [true, false, false, true]);
    let again = fixture
        .data
        .approve(&by(Kind::Deployment, "word", "yes"))
        .await;
    assert_eq!(again.expect("nothing is left").done, 0);
}

/// Only deployments are approved.
pub async fn only_deployments_are_approved(fixture: DataFixture) {
    for kind in [Kind::Template, Kind::Site, Kind::Plugin] {
        refused(
            fixture.data.approve(&all(kind)).await,
            &[ErrorKind::BadArgument],
            "other kinds",
        );
    }
}

/// Any number of matches is approved and counted.
pub async fn any_number_is_approved(fixture: DataFixture) {
    let count = 1_105;
    let new = (0..count).map(|_| new(true, "yes")).collect();
    let made = fixture.data.create_deployments(new).await;
    assert!(made.iter().all(Result::is_ok));
    let bulk = fixture.data.approve(&all(Kind::Deployment)).await;
    assert_eq!(bulk.expect("it is done").done, count);
    let mut select = all(Kind::Deployment);
    select.approved = Some(true);
    let found = fixture.data.count(&select, u64::MAX, Want::ROW).await;
    let found = found.expect("the count succeeds");
    assert_eq!(found.found, count);
}
