//! Metrics and traces for the plugins of any executor.

use crate::log::LogSubject;
use crate::metrics::{PluginMetrics, PluginStats};
use crate::trace::{CallSpan, good};
use async_trait::async_trait;
use std::sync::Arc;
use tko_core::{
    Answer, Condition, ContentHash, Effect, Executor, Gvk, Identifier, Key, Package, PluginType,
    PrepareCall, Preparer, Record, Resource, Result, ScheduleCall, Scheduler, SiteId, Subscription,
    Validator, Violation,
};
use tracing::Instrument;

/// An executor whose calls are counted, timed and traced as those of [`CommandExecutor`] and
/// [`WorkerExecutor`] are, which do so themselves.
///
/// [`CommandExecutor`]: crate::CommandExecutor
/// [`WorkerExecutor`]: crate::WorkerExecutor
#[derive(Debug)]
pub struct ObservedExecutor<E> {
    inner: E,
    metrics: PluginMetrics,
}

/// A handler of one plugin with its measurements.
struct ObservedHandler<H: ?Sized> {
    plugin: String,
    executor: String,
    stats: Arc<PluginStats>,
    inner: Arc<H>,
}

impl<E: Executor> ObservedExecutor<E> {
    /// Observes the calls of an executor.
    pub fn new(inner: E, metrics: PluginMetrics) -> Self {
        Self { inner, metrics }
    }

    fn observed<H: ?Sized>(&self, plugin: &Record, inner: Arc<H>) -> Arc<ObservedHandler<H>> {
        let plugin = match &plugin.entity.key {
            Key::Plugin(id) => id.to_string(),
            other => other.to_string(),
        };
        Arc::new(ObservedHandler {
            executor: self.inner.name().to_owned(),
            stats: self.metrics.plugin(&plugin),
            plugin,
            inner,
        })
    }
}

impl<H: ?Sized> ObservedHandler<H> {
    fn subject(&self, target: Option<&Identifier>) -> LogSubject {
        LogSubject {
            plugin: self.plugin.clone(),
            resource: target.map(ToString::to_string),
            ..LogSubject::default()
        }
    }

    async fn observe<T>(
        &self,
        subject: LogSubject,
        call: impl Future<Output = Result<T>>,
        outcome: impl FnOnce(&T) -> &'static str,
    ) -> Result<T> {
        let traced = CallSpan::start(&subject, &self.executor);
        let measured = self.stats.start();
        let result = call.instrument(traced.span()).await;
        let took = measured.end_of_handler(result.is_err());
        match &result {
            Ok(value) => traced.end(outcome(value), None, took),
            Err(error) => traced.end("failed", Some(&error.chain()), took),
        }
        result
    }
}

#[async_trait]
impl<E: Executor> Executor for ObservedExecutor<E> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn preparer(&self, plugin: &Record) -> Result<Arc<dyn Preparer>> {
        Ok(self.observed(plugin, self.inner.preparer(plugin)?))
    }

    fn scheduler(&self, plugin: &Record) -> Result<Arc<dyn Scheduler>> {
        Ok(self.observed(plugin, self.inner.scheduler(plugin)?))
    }

    fn validator(&self, plugin: &Record) -> Result<Arc<dyn Validator>> {
        Ok(self.observed(plugin, self.inner.validator(plugin)?))
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[async_trait]
impl Preparer for ObservedHandler<dyn Preparer> {
    async fn prepare(&self, call: PrepareCall<'_>) -> Result<Answer> {
        let subject = LogSubject {
            deployment: Some(call.deployment.entity.key.id().to_owned()),
            ..self.subject(Some(call.target))
        };
        self.observe(subject, self.inner.prepare(call), |answer| {
            let is_ready = !matches!(answer, Answer::NotYet { .. });
            good(PluginType::Prepare, is_ready)
        })
        .await
    }

    fn tracks(&self, package: &Package, target: &Resource) -> Vec<Subscription> {
        self.inner.tracks(package, target)
    }

    async fn pure_identity(&self, call: &PrepareCall<'_>) -> Option<ContentHash> {
        self.inner.pure_identity(call).await
    }

    fn depends_on(&self, target: &Resource, effects: &[Effect]) -> bool {
        self.inner.depends_on(target, effects)
    }

    fn is_passive(&self) -> bool {
        self.inner.is_passive()
    }

    fn limits_itself(&self) -> bool {
        self.inner.limits_itself()
    }
}

#[async_trait]
impl Validator for ObservedHandler<dyn Validator> {
    async fn validate(
        &self,
        package: &Package,
        target: &Identifier,
        complete: bool,
    ) -> Result<Vec<Violation>> {
        let call = self.inner.validate(package, target, complete);
        self.observe(self.subject(Some(target)), call, |violations| {
            if violations.is_empty() {
                good(PluginType::Validate, true)
            } else {
                "refused"
            }
        })
        .await
    }

    fn limits_itself(&self) -> bool {
        self.inner.limits_itself()
    }
}

#[async_trait]
impl Scheduler for ObservedHandler<dyn Scheduler> {
    async fn schedule(&self, call: ScheduleCall<'_>) -> Result<Vec<Condition>> {
        let subject = LogSubject {
            site: Some(call.site.entity.key.id().to_owned()),
            ..self.subject(call.target)
        };
        self.observe(subject, self.inner.schedule(call), |_| {
            good(PluginType::Schedule, true)
        })
        .await
    }

    async fn lost_sites(&self, sites: &[SiteId]) -> Vec<SiteId> {
        self.inner.lost_sites(sites).await
    }

    fn ignores(&self, kind: &Gvk) -> bool {
        self.inner.ignores(kind)
    }

    fn limits_itself(&self) -> bool {
        self.inner.limits_itself()
    }
}
