//! Judging whole packages: every resource by the validators of its kind.

use crate::guard;
use crate::validator::{MAX_VIOLATIONS, too_deep};
use async_trait::async_trait;
use futures_util::future::FutureExt;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tko_core::registry::Handler;
use tko_core::{
    Admission, Error, Identifier, Package, Registry, Resource, Result, Validator, Violation,
};
use tokio::time::timeout;

/// How long a validator may take for one resource, unless set otherwise.
pub const VALIDATOR_TIME: Duration = Duration::from_secs(30);

/// How many resources of one package are validated at the same time.
const AT_ONCE: usize = 8;

/// What a data service asks before anything is stored.
///
/// Each resource is judged by all validators that its kind triggers, native ones and plugins; where
/// none is registered for it, by the default, which is the schema validator. The order of
/// violations is that of the resources; there are at most [`MAX_VIOLATIONS`], and then one that
/// says how many more.
///
/// A validator that fails, panics, takes too long, or could not even be made is an error, and the
/// package does not pass.
pub struct Validation {
    default: Arc<dyn Validator>,
    registry: Arc<Registry<dyn Validator>>,
    time: Duration,
}

impl Validation {
    /// With a default, usually a [`SchemaValidator`](crate::SchemaValidator), and nothing else.
    pub fn new(default: Arc<dyn Validator>) -> Self {
        Self {
            default,
            registry: Arc::new(Registry::new()),
            time: VALIDATOR_TIME,
        }
    }

    /// With these validators, which may be exchanged while this is in use.
    #[must_use]
    pub fn with_registry(mut self, registry: Arc<Registry<dyn Validator>>) -> Self {
        self.registry = registry;
        self
    }

    /// With this time for each validator and resource. Default: [`VALIDATOR_TIME`].
    #[must_use]
    pub fn with_time(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    async fn judge(
        &self,
        package: &Package,
        resource: &Arc<Resource>,
        parts: Vec<Handler<dyn Validator>>,
        complete: bool,
    ) -> Result<Vec<Violation>> {
        let target = resource.identifier();
        if parts.is_empty() {
            return self
                .call("schema", &*self.default, package, target, complete)
                .await;
        }
        if !guard::is_shallow(resource.value()) {
            return Ok(vec![Violation {
                resource: Some(target.clone()),
                path: String::new(),
                message: too_deep().message,
            }]);
        }
        let mut violations = Vec::new();
        for Handler {
            name,
            handler: part,
        } in parts
        {
            let validator = part.map_err(|reason| {
                Error::unavailable(
                    format!("validate {target}: validator {name} cannot be used"),
                    reason.as_ref(),
                )
            })?;
            violations.extend(
                self.call(&name, &*validator, package, target, complete)
                    .await?,
            );
        }
        Ok(violations)
    }

    async fn call(
        &self,
        name: &str,
        validator: &dyn Validator,
        package: &Package,
        target: &Identifier,
        complete: bool,
    ) -> Result<Vec<Violation>> {
        let call = validator.validate(package, target, complete);
        let call = AssertUnwindSafe(call).catch_unwind();
        match timeout(self.time, call).await {
            Ok(Ok(result)) => result.map_err(told),
            Ok(Err(panic)) => Err(Error::internal(
                format!("validate {target}: validator {name} panicked"),
                words(&*panic),
            )),
            Err(_) => Err(told(Error::unavailable(
                format!("validate {target} with validator {name}"),
                format!("it took more than {:?}", self.time),
            ))),
        }
    }
}

/// Puts into words of its own why a validator was of no use: whoever asked to store the package is
/// to know, also where sources stay behind, as on the other side of a network.
fn told(error: Error) -> Error {
    const MORAL: &str = "without a verdict nothing is let in";
    match error {
        Error::Unavailable { action, source } => {
            let why = tko_core::error::chain(&*source);
            Error::unavailable(format!("{action}: {why}"), MORAL)
        }
        other => other,
    }
}

/// What a panic says.
fn words(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}

#[async_trait]
impl Admission for Validation {
    async fn admit(&self, package: &Package, complete: bool) -> Result<Vec<Violation>> {
        let table = self.registry.table();
        let triggered = |resource: &Resource| -> Vec<Handler<dyn Validator>> {
            let parts = table.of(resource.gvk()).iter();
            parts.chain(table.everywhere()).cloned().collect()
        };
        let mut tally = Tally::default();
        if package
            .iter()
            .all(|resource| triggered(resource).is_empty())
        {
            // The default remembers what it has seen: mostly there is nothing to wait for, and
            // side by side would cost more than it gains.
            for resource in package {
                tally.add(self.judge(package, resource, Vec::new(), complete).await?);
            }
            return Ok(tally.finish());
        }
        let calls: Vec<_> = package
            .iter()
            .map(|resource| self.judge(package, resource, triggered(resource), complete))
            .collect();
        let mut results = stream::iter(calls).buffered(AT_ONCE);
        while let Some(found) = results.try_next().await? {
            tally.add(found);
        }
        Ok(tally.finish())
    }
}

/// Violations up to the limit, and how many more there were.
#[derive(Default)]
struct Tally {
    violations: Vec<Violation>,
    more: usize,
}

impl Tally {
    fn add(&mut self, found: Vec<Violation>) {
        let room = MAX_VIOLATIONS - self.violations.len();
        self.more += found.len().saturating_sub(room);
        self.violations.extend(found.into_iter().take(room));
    }

    fn finish(mut self) -> Vec<Violation> {
        if self.more > 0 {
            self.violations.push(Violation {
                resource: None,
                path: String::new(),
                message: format!("and {} more violations", self.more),
            });
        }
        self.violations
    }
}
