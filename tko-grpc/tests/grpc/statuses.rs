//! Errors from a client's point of view.

use crate::endless::Endless;
use crate::serving::{Serving, fleet, package, template};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{
    DataApi, DeploymentId, Error, Expect, Key, Kind, Subject, TemplateId, Token, Version,
};
use tko_grpc::proto;
use tko_grpc::server::{Access, ServerSettings};
use tonic::Code;

/// A package with this many violations.
fn bad(count: usize) -> String {
    (0..count).fold(String::new(), |mut yaml, number| {
        let head = "---\napiVersion: example.org/v1\nkind: Thing";
        writeln!(
            yaml,
            "{head}\nmetadata: {{name: thing-{number}}}\nspec: {{bad: true}}"
        )
        .expect("text takes all that is written to it");
        yaml
    })
}

#[tokio::test]
async fn errors_reach_the_client_unchanged() {
    let serving = Serving::start().await;
    let client = serving.client();
    let ids = fleet(&client, "a", 1).await;
    let id = DeploymentId::new(&ids[0]).expect("an id");

    let missing = Key::new(Kind::Site, "nowhere").expect("an id");
    let error = client.delete(&missing).await.expect_err("not there");
    assert!(matches!(error, Error::NotFound(Subject::Entity(key)) if key == missing));

    let mut again = template("a");
    again.expect = Expect::Absent;
    let error = client.register_template(again).await.expect_err("there");
    assert!(matches!(error, Error::AlreadyExists(key) if key.id() == "a"));

    let record = client
        .get(&Key::from(&id), tko_core::Want::PACKAGE)
        .await
        .expect("it is there");
    let error = client
        .update(&id, Version(987_654), record.package.expect("wanted"))
        .await
        .expect_err("another version");
    assert!(matches!(error, Error::Conflict(keys) if keys == [Key::from(&id)]));

    let ttl = Duration::from_secs(10);
    let edit = client.start_modification(&id, ttl).await.expect("free");
    let error = client.start_modification(&id, ttl).await.expect_err("busy");
    assert!(matches!(error, Error::Busy(key) if key == Key::from(&id)));
    serving.clock.advance(ttl);
    let late = edit.record.package.expect("with its package");
    let error = client
        .end_modification(&edit.token, late.clone())
        .await
        .expect_err("late");
    assert!(matches!(error, Error::ClaimExpired(key) if key == Key::from(&id)));

    let unknown = Token::new(Key::from(&id), "never");
    let error = client
        .end_modification(&unknown, late)
        .await
        .expect_err("no such claim");
    assert!(matches!(error, Error::NotFound(Subject::Claim(key)) if key == Key::from(&id)));
}

#[tokio::test]
async fn every_violation_reaches_the_client_with_its_resource_and_path() {
    let serving = Serving::start().await;
    let mut new = template("a");
    new.package = package(&bad(20_000));
    let error = serving
        .client()
        .register_template(new)
        .await
        .expect_err("not valid");
    let Error::BadArgument {
        argument,
        violations,
        message,
    } = error
    else {
        panic!("{error:?}");
    };
    assert_eq!(argument, "package");
    assert_eq!(violations.len(), 20_000);
    let last = &violations[19_999];
    assert_eq!(last.path, "spec.bad");
    let resource = last.resource.as_ref().expect("it is in one");
    assert_eq!(resource.to_string(), "Thing thing-19999");
    assert!(message.contains("thing-19999"));
}

#[tokio::test]
async fn existing_clients_get_violations_within_the_header_limit() {
    let serving = Serving::start().await;
    let mut client = serving.existing();
    for (count, all) in [(1, true), (15, true), (3_000, false)] {
        let status = client
            .register_template(proto::Template {
                template_id: "a".to_owned(),
                package_format: "yaml".to_owned(),
                package: bad(count).into(),
                ..Default::default()
            })
            .await
            .expect_err("not valid");
        assert_eq!(status.code(), Code::InvalidArgument);
        let details = String::from_utf8_lossy(status.details());
        assert!(details.contains("google.rpc.BadRequest"));
        assert!(details.contains("BAD_ARGUMENT"));
        let last = format!("thing-{}:", count - 1);
        assert_eq!(status.message().contains(&last), all, "{status}");
        assert_eq!(details.contains(&last), all, "{details}");
        assert!(status.message().len() + status.details().len() * 4 / 3 < 7_500);
    }
}

#[tokio::test]
async fn the_source_of_an_internal_error_stays_in_the_server() {
    let serving = Serving::over(
        Arc::new(Endless::default()),
        ServerSettings::default(),
        Access::default(),
    )
    .await;
    let status = serving.existing().about(()).await.expect_err("internal");
    assert_eq!(status.code(), Code::Internal);
    let details = String::from_utf8_lossy(status.details());
    assert!(!status.message().contains("hunter2") && !details.contains("hunter2"));
    let error = serving.client().about().await.expect_err("internal");
    assert!(matches!(error, Error::Internal { .. }), "{error:?}");
    assert!(!error.chain().contains("hunter2"));
    assert_eq!(error.to_string(), "could not ask the backend");
}

#[tokio::test]
async fn a_batch_reports_each_creation_separately() {
    let serving = Serving::start().await;
    let client = serving.client();
    fleet(&client, "a", 0).await;
    let mut new = vec![crate::serving::from_template("a"); 1_203];
    new[700].template = Some(TemplateId::new("unknown").expect("an id"));
    let results = client.create_deployments(new).await;
    assert_eq!(results.len(), 1_203);
    for (at, result) in results.iter().enumerate() {
        match result {
            Ok(_) => assert_ne!(at, 700),
            Err(error) => {
                assert_eq!(at, 700);
                assert!(error.to_string().contains("unknown"), "{error}");
                assert!(matches!(error, Error::BadArgument { .. }), "{error:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_batch_without_a_server_fails_as_a_whole() {
    let serving = Serving::start().await;
    let client = serving.client();
    serving.stop().await.expect("it stops");
    let results = client
        .create_deployments(vec![crate::serving::from_template("a"); 3])
        .await;
    assert_eq!(results.len(), 3);
    for result in results {
        assert!(
            matches!(result, Err(Error::Unavailable { .. })),
            "{result:?}"
        );
    }
}
