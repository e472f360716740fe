//! Custom validators alongside the schema validator.

use crate::fixture::{package, validator};
use async_trait::async_trait;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tko_core::registry::Handler;
use tko_core::{
    Admission, Error, ErrorKind, Gvk, Identifier, Package, Registry, Result, Validator, Violation,
};
use tko_validate::Validation;

/// Behavior of a test validator.
#[derive(Clone, Copy)]
enum Does {
    Pass,
    Refuse(&'static str),
    Fail,
    Panic,
    Hang,
    /// Limits itself, and waits for 100 s before that.
    Wait,
}

#[async_trait]
impl Validator for Does {
    async fn validate(
        &self,
        package: &Package,
        target: &Identifier,
        complete: bool,
    ) -> Result<Vec<Violation>> {
        match self {
            Self::Pass => Ok(Vec::new()),
            Self::Refuse(message) => Ok(vec![
                Violation::new(format!(
                    "{message} (of {} resources, complete: {complete})",
                    package.len()
                ))
                .resource(target.clone())
                .path("spec"),
            ]),
            Self::Fail => Err(Error::unavailable("ask", "nobody answers")),
            Self::Panic => panic!("out of paper"),
            Self::Hang => std::future::pending().await,
            Self::Wait => {
                tokio::time::sleep(Duration::from_secs(100)).await;
                Ok(Vec::new())
            }
        }
    }

    fn limits_itself(&self) -> bool {
        matches!(self, Self::Wait)
    }
}

const FOO: &str = "{apiVersion: example.com/v1, kind: Foo, metadata: {name: a}}";

fn foo() -> Gvk {
    Gvk::of("example.com/v1", "Foo")
}

fn registered(validators: &[Does]) -> Validation {
    let registry = validators.iter().fold(Registry::new(), |registry, does| {
        registry.with(foo(), "test", Arc::new(*does) as Arc<dyn Validator>)
    });
    Validation::new(Arc::new(validator())).with_registry(Arc::new(registry))
}

async fn admit(validation: &Validation, yaml: &str) -> Result<Vec<String>> {
    let found = validation.admit(&package(yaml), true).await?;
    Ok(found.iter().map(ToString::to_string).collect())
}

#[tokio::test]
async fn all_validators_of_a_kind_run_and_see_the_whole_package() {
    let validation = registered(&[Does::Refuse("no"), Does::Pass, Does::Refuse("never")]);
    let yaml =
        format!("{FOO}\n---\n{{apiVersion: v1, kind: ConfigMap, metadata: {{name: b}}, data: 1}}");
    assert_eq!(
        admit(&validation, &yaml).await.expect("validated"),
        [
            "Foo a: spec: no (of 2 resources, complete: true)",
            "Foo a: spec: never (of 2 resources, complete: true)",
            "ConfigMap b: data: must be a map, but is 1",
        ]
    );
}

#[tokio::test]
async fn a_registered_validator_replaces_the_default() {
    let own = Registry::new().with(
        Gvk::of("v1", "ConfigMap"),
        "lax",
        Arc::new(Does::Pass) as Arc<dyn Validator>,
    );
    let validation = Validation::new(Arc::new(validator())).with_registry(Arc::new(own));
    let bad = "{apiVersion: v1, kind: ConfigMap, metadata: {name: b}, data: 1}";
    assert!(admit(&validation, bad).await.expect("validated").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_validator_without_an_answer_is_an_error_and_not_a_pass() {
    for (does, kind, text) in [
        (Does::Fail, ErrorKind::Unavailable, "nobody answers"),
        (Does::Panic, ErrorKind::Internal, "out of paper"),
        (Does::Hang, ErrorKind::Unavailable, "30s"),
    ] {
        let error = admit(&registered(&[Does::Pass, does]), FOO)
            .await
            .expect_err("no answer");
        assert_eq!(error.kind(), kind);
        assert!(error.chain().contains(text), "{}", error.chain());
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_that_a_validator_has_can_be_set() {
    let validation = registered(&[Does::Hang]).with_time(Duration::from_secs(2));
    let before = tokio::time::Instant::now();
    assert!(admit(&validation, FOO).await.is_err());
    assert_eq!(before.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_validator_that_limits_itself_may_wait_for_longer_than_the_time_limit() {
    let validation = registered(&[Does::Wait]).with_time(Duration::from_secs(2));
    let before = tokio::time::Instant::now();
    assert!(admit(&validation, FOO).await.expect("validated").is_empty());
    assert_eq!(before.elapsed().as_secs(), 100);
}

#[tokio::test]
async fn plugins_change_while_in_use_and_a_broken_one_is_an_error() {
    let registry = Arc::new(Registry::new());
    let validation = Validation::new(Arc::new(validator())).with_registry(registry.clone());
    assert!(admit(&validation, FOO).await.expect("validated").is_empty());

    let plugin = |part: Result<Arc<dyn Validator>, Arc<str>>| {
        (
            vec![foo()],
            match part {
                Ok(part) => Handler::new("validate|x", part),
                Err(reason) => Handler::unavailable("validate|x", reason),
            },
        )
    };
    registry.set_plugins([plugin(Ok(Arc::new(Does::Refuse("no"))))]);
    assert_eq!(admit(&validation, FOO).await.expect("validated").len(), 1);

    registry.set_plugins([plugin(Err("no such executor".into()))]);
    let error = admit(&validation, FOO).await.expect_err("no answer");
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(!error.is_retryable());
    // Without its chain: callers across a network see no sources.
    let error = error.to_string();
    assert!(
        error.contains("validate|x") && error.contains("no such executor"),
        "{error}"
    );

    registry.set_plugins([]);
    assert!(admit(&validation, FOO).await.expect("validated").is_empty());
}

/// Counts calls; each call waits until all others have started.
struct Together(tokio::sync::Barrier, AtomicUsize);

#[async_trait]
impl Validator for Together {
    async fn validate(&self, _: &Package, _: &Identifier, _: bool) -> Result<Vec<Violation>> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.wait().await;
        Ok(Vec::new())
    }
}

#[tokio::test(start_paused = true)]
async fn resources_of_one_package_are_validated_concurrently() {
    let together = Arc::new(Together(tokio::sync::Barrier::new(4), AtomicUsize::new(0)));
    let part: Arc<dyn Validator> = together.clone();
    let registry = Registry::new().with(foo(), "test", part);
    let validation = Validation::new(Arc::new(validator())).with_registry(Arc::new(registry));
    let yaml: Vec<String> = ["a", "b", "c", "d"]
        .map(|name| FOO.replace("name: a", &format!("name: {name}")))
        .into();
    assert!(
        admit(&validation, &yaml.join("\n---\n"))
            .await
            .expect("in time")
            .is_empty()
    );
    assert_eq!(together.1.load(Ordering::SeqCst), 4);
}
