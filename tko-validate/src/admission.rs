//! Validation of whole packages: every resource by the validators of its kind.

use crate::guard;
use crate::validator::{MAX_VIOLATIONS, SchemaValidator, too_deep};
use async_trait::async_trait;
use futures_util::future::FutureExt;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tko_core::registry::Handler;
use tko_core::{
    Admission, Error, Identifier, Package, Registry, Resource, Result, Validator, Violation,
};
use tokio::time::timeout;

/// Default time limit of one validator for one resource.
pub const VALIDATOR_TIME: Duration = Duration::from_secs(30);

/// Number of resources that are validated before other tasks get their turn.
const RESOURCES_AT_A_TIME: usize = 64;

/// Number of resources of one package that are validated concurrently.
const AT_ONCE: usize = 8;

/// The [`Admission`] of a data service: validates packages before they are stored.
///
/// Each resource is checked by all validators registered for its kind, native ones and plugins. If
/// none is registered, the default validator checks it. Violations come in the order of the
/// resources. At most [`MAX_VIOLATIONS`] are returned; one more then states how many were left out.
///
/// A validator that fails, panics, times out or could not be created is an error, and the package
/// is not admitted.
pub struct Validation {
    default: DefaultValidator,
    registry: Arc<Registry<dyn Validator>>,
    time: Duration,
}

/// The validator of kinds for which no other is registered.
enum DefaultValidator {
    /// It does not search the package for each resource.
    Schemas(Arc<SchemaValidator>),
    Other(Arc<dyn Validator>),
}

impl Validation {
    /// Creates a validation with a default validator of any type.
    pub fn new(default: Arc<dyn Validator>) -> Self {
        Self::with_default(DefaultValidator::Other(default))
    }

    /// Creates a validation by schemas. Its time is linear in the number of resources, unlike that
    /// of [`new`](Self::new), whose validator searches the package for each resource.
    pub fn by_schemas(schemas: Arc<SchemaValidator>) -> Self {
        Self::with_default(DefaultValidator::Schemas(schemas))
    }

    fn with_default(default: DefaultValidator) -> Self {
        Self {
            default,
            registry: Arc::new(Registry::new()),
            time: VALIDATOR_TIME,
        }
    }

    /// Adds a registry of validators. Its plugins may change while the validation is in use.
    #[must_use]
    pub fn with_registry(mut self, registry: Arc<Registry<dyn Validator>>) -> Self {
        self.registry = registry;
        self
    }

    /// Sets the time limit for each validator and resource. Default: [`VALIDATOR_TIME`]. A validator
    /// that [limits itself](Validator::limits_itself) has its own.
    #[must_use]
    pub fn with_time(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    /// Validates one resource. Returns its violations, and how many more there are.
    ///
    /// `room` is the number of violations that can still be listed. The default validator makes no
    /// messages of others, because a package can have very many.
    async fn validate(
        &self,
        package: &Package,
        resource: &Arc<Resource>,
        parts: Vec<Handler<dyn Validator>>,
        complete: bool,
        room: &AtomicUsize,
    ) -> Result<(Vec<Violation>, usize)> {
        let target = resource.identifier();
        if parts.is_empty() {
            return match &self.default {
                DefaultValidator::Schemas(schemas) => {
                    let (room, limit) = (room.load(Ordering::Relaxed), Some(self.time));
                    let verdict = schemas.verdict_within(package, resource, complete, room);
                    let (verdict, more) =
                        self.within_time("schema", target, limit, verdict).await?;
                    Ok((verdict.violations, more))
                }
                DefaultValidator::Other(other) => {
                    let limit = self.limit(&**other);
                    let call = other.validate(package, target, complete);
                    Ok((self.within_time("schema", target, limit, call).await?, 0))
                }
            };
        }
        if !guard::is_shallow(resource.value()) {
            let violation = Violation::new(too_deep().message).resource(target.clone());
            return Ok((vec![violation], 0));
        }
        let mut violations = Vec::new();
        for Handler {
            name,
            handler: part,
            ..
        } in parts
        {
            let validator = part.map_err(|reason| unusable(target, &name, &reason))?;
            let limit = self.limit(&*validator);
            let call = validator.validate(package, target, complete);
            violations.extend(self.within_time(&name, target, limit, call).await?);
        }
        Ok((violations, 0))
    }

    /// The time limit of a validator's call; `None` if the validator limits itself.
    fn limit(&self, validator: &dyn Validator) -> Option<Duration> {
        (!validator.limits_itself()).then_some(self.time)
    }

    /// Awaits the call of a validator; a panic or a timeout is an error.
    async fn within_time<T>(
        &self,
        name: &str,
        target: &Identifier,
        limit: Option<Duration>,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let call = AssertUnwindSafe(call).catch_unwind();
        let ended = match limit {
            None => call.await,
            Some(limit) => timeout(limit, call).await.map_err(|_| {
                with_reason(Error::unavailable(
                    format!("validate {target} with validator {name}"),
                    format!("it exceeded its time limit of {limit:?}"),
                ))
            })?,
        };
        match ended {
            Ok(result) => result.map_err(with_reason),
            Err(panic) => Err(Error::internal(
                format!("validate {target}: validator {name} panicked"),
                panic_message(&*panic),
            )),
        }
    }
}

/// The error of a validator that could not be made.
///
/// It is an internal error, because a retry does not help before someone changes the plugin, and
/// the package may be valid. The message contains the reason: callers across a network see no
/// sources.
fn unusable(target: &Identifier, name: &str, reason: &str) -> Error {
    let action = format!(
        "validate {target}: validator {name} cannot be used until it is corrected or deleted: \
         {reason}"
    );
    Error::internal(action, "a retry does not help before that")
}

/// Copies the chain of causes into the message: callers across a network see no sources.
fn with_reason(error: Error) -> Error {
    match error {
        Error::Unavailable { action, source } => {
            let reason = tko_core::error::chain(&*source);
            Error::unavailable(format!("{action}: {reason}"), "try again later")
        }
        other => other,
    }
}

/// Extracts the message of a panic.
fn panic_message(panic: &(dyn Any + Send)) -> String {
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
        let mut tally = ViolationTally::default();
        let room = AtomicUsize::new(MAX_VIOLATIONS);
        if package
            .iter()
            .all(|resource| triggered(resource).is_empty())
        {
            // The default validator caches its results and rarely waits, so running it concurrently
            // would cost more than it gains.
            for (index, resource) in package.iter().enumerate() {
                // A large package must not block a thread's other tasks.
                if index % RESOURCES_AT_A_TIME == RESOURCES_AT_A_TIME - 1 {
                    tokio::task::yield_now().await;
                }
                let call = self.validate(package, resource, Vec::new(), complete, &room);
                tally.add(call.await?);
                room.store(tally.room(), Ordering::Relaxed);
            }
            return Ok(tally.finish());
        }
        let calls: Vec<_> = package
            .iter()
            .map(|resource| self.validate(package, resource, triggered(resource), complete, &room))
            .collect();
        let mut results = stream::iter(calls).buffered(AT_ONCE);
        while let Some(found) = results.try_next().await? {
            tally.add(found);
            room.store(tally.room(), Ordering::Relaxed);
        }
        Ok(tally.finish())
    }
}

/// Collects violations up to the limit and counts the rest.
#[derive(Default)]
struct ViolationTally {
    violations: Vec<Violation>,
    more: usize,
}

impl ViolationTally {
    /// The number of violations that can still be listed.
    fn room(&self) -> usize {
        MAX_VIOLATIONS - self.violations.len()
    }

    fn add(&mut self, (found, more): (Vec<Violation>, usize)) {
        let room = self.room();
        self.more += more + found.len().saturating_sub(room);
        self.violations.extend(found.into_iter().take(room));
    }

    fn finish(mut self) -> Vec<Violation> {
        if self.more > 0 {
            self.violations
                .push(Violation::new(format!("and {} more violations", self.more)));
        }
        self.violations
    }
}
