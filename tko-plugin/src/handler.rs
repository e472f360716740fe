//! A plugin as a preparer, validator or scheduler, independent of how its program is run.

use crate::call::{Deployments, Input, PackageResources, PluginAnswer};
use crate::failure::Failure;
use crate::log::LogSubject;
use crate::metrics::PluginStats;
use crate::settings::Timeouts;
use crate::stderr::Tail;
use crate::trace::{CallSpan, outcome};
use async_trait::async_trait;
use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{
    Condition, Error, Identifier, Limits, Package, PluginType, PrepareCall, Preparer, Record,
    Result, ScheduleCall, Scheduler, Validator, Violation,
};
use tokio::task::spawn_blocking;
use tracing::Instrument;

/// Makes the calls of one plugin.
#[async_trait]
pub(crate) trait CallRunner: Send + Sync + 'static {
    /// Makes one call. `timeout` is its time limit.
    async fn run(
        &self,
        subject: Arc<LogSubject>,
        target: Option<&Identifier>,
        input: Input,
        timeout: Duration,
    ) -> Result<PluginReply, Failure>;
}

/// The result of a successful call.
pub(crate) struct PluginReply {
    pub(crate) answer: PluginAnswer,
    pub(crate) stderr: Tail,
    /// The last line that the plugin logged, as the reason of a "not yet".
    pub(crate) last_line: Option<String>,
}

/// A handler of one plugin.
pub(crate) struct PluginHandler<C> {
    pub(crate) id: String,
    /// The name of the executor.
    pub(crate) executor: &'static str,
    /// The program as the plugin names it.
    pub(crate) program: String,
    pub(crate) timeouts: Timeouts,
    pub(crate) stats: Arc<PluginStats>,
    pub(crate) runner: C,
}

impl<C: CallRunner> PluginHandler<C> {
    async fn call(
        &self,
        plugin_type: PluginType,
        subject: LogSubject,
        target: Option<&Identifier>,
        input: Input,
        timeout: Duration,
    ) -> Result<PluginReply, Failure> {
        let traced = CallSpan::start(&subject, self.executor);
        let measured = self.stats.start();
        let reply = self
            .runner
            .run(Arc::new(subject), target, input, timeout)
            .instrument(traced.span())
            .await;
        let took = measured.end(&reply);
        let (outcome, error) = outcome(plugin_type, &reply);
        traced.end(outcome, error.as_deref(), took);
        reply
    }

    fn nonsense(&self, why: String, stderr: Tail) -> Failure {
        Failure::Answer {
            program: self.program.clone(),
            why,
            stderr,
        }
    }

    fn failed(&self, verb: &str, what: impl Display, failure: Failure) -> Error {
        if matches!(failure, Failure::Said(_)) {
            self.stats.failed();
        }
        Error::unavailable(format!("{verb} {what} with plugin {}", self.id), failure)
    }

    fn prepared(&self, reply: PluginReply) -> Result<Option<Package>, Failure> {
        let PluginReply { answer, stderr, .. } = said(reply)?;
        match (answer.prepared, answer.package) {
            (false, _) => Ok(None),
            (true, Some(package)) => Ok(Some(package)),
            (true, None) => {
                let why = "prepared is true, but package is missing; it must be the whole new list of resources";
                Err(self.nonsense(why.to_owned(), stderr))
            }
        }
    }
}

#[async_trait]
impl<C: CallRunner> Preparer for PluginHandler<C> {
    async fn prepare(&self, call: PrepareCall<'_>) -> Result<tko_core::Answer> {
        let deployment = call.deployment.entity.key.id().to_owned();
        let subject = LogSubject {
            plugin: self.id.clone(),
            deployment: Some(deployment.clone()),
            site: None,
            resource: Some(call.target.to_string()),
        };
        let input = Input::Prepare {
            deployment_id: deployment,
            deployment_package: PackageResources(call.package.clone()),
        };
        let timeout = self.timeouts.prepare;
        let reply = self
            .call(
                PluginType::Prepare,
                subject,
                Some(call.target),
                input,
                timeout,
            )
            .await
            .map(|reply| (reply.last_line.clone(), reply));
        let prepared = reply
            .and_then(|(line, reply)| Ok((line, self.prepared(reply)?)))
            .map_err(|failure| self.failed("prepare", call.target, failure))?;
        match prepared {
            (_, Some(package)) => Ok(tko_core::Answer::Done {
                package,
                effects: Vec::new(),
            }),
            (line, None) => {
                let mut reason =
                    format!("plugin {} is not ready to prepare {}", self.id, call.target);
                if let Some(line) = line {
                    reason.push_str("; last line of stderr: ");
                    reason.push_str(&line);
                }
                Ok(tko_core::Answer::NotYet {
                    reason,
                    waits_for: Vec::new(),
                })
            }
        }
    }

    fn limits_itself(&self) -> bool {
        true
    }
}

#[async_trait]
impl<C: CallRunner> Validator for PluginHandler<C> {
    async fn validate(
        &self,
        package: &Package,
        target: &Identifier,
        complete: bool,
    ) -> Result<Vec<Violation>> {
        let subject = LogSubject {
            plugin: self.id.clone(),
            resource: Some(target.to_string()),
            ..LogSubject::default()
        };
        let input = Input::Validate {
            package: PackageResources(package.clone()),
            complete,
        };
        let timeout = self.timeouts.validate;
        let reply = self
            .call(PluginType::Validate, subject, Some(target), input, timeout)
            .await
            .map_err(|failure| self.failed("validate", target, failure))?;
        let violations = reply
            .answer
            .errors
            .into_iter()
            .map(|message| Violation::new(message).resource(target.clone()));
        Ok(violations.collect())
    }

    fn limits_itself(&self) -> bool {
        true
    }
}

#[async_trait]
impl<C: CallRunner> Scheduler for PluginHandler<C> {
    async fn schedule(&self, call: ScheduleCall<'_>) -> Result<Vec<Condition>> {
        let key = &call.site.entity.key;
        let site = key.id().to_owned();
        let subject = LogSubject {
            plugin: self.id.clone(),
            deployment: None,
            site: Some(site.clone()),
            resource: call.target.map(ToString::to_string),
        };
        let input = Input::Schedule {
            site_id: site,
            site_package: package_of(call.site)?,
            deployments: packages_of(call.wanted)?,
            removed_deployments: packages_of(call.removed)?,
        };
        let timeout = self.timeouts.schedule;
        self.call(PluginType::Schedule, subject, call.target, input, timeout)
            .await
            .and_then(said)
            .map_err(|failure| self.failed("schedule", key, failure))?;
        Ok(Vec::new())
    }

    fn limits_itself(&self) -> bool {
        true
    }
}

/// Turns errors that the plugin reported into a failure.
fn said(reply: PluginReply) -> Result<PluginReply, Failure> {
    if reply.answer.errors.is_empty() {
        return Ok(reply);
    }
    Err(Failure::Said(reply.answer.errors.join("; ")))
}

/// A missing package is an error: an empty list would make a scheduler remove everything.
fn package_of(record: &Record) -> Result<PackageResources> {
    let package = record.package.clone().ok_or_else(|| {
        let action = format!("hand {} to a plugin", record.entity.key);
        Error::internal(action, "it was read without its package")
    })?;
    Ok(PackageResources(package))
}

fn packages_of(records: &[Record]) -> Result<Deployments> {
    let packages = records
        .iter()
        .map(|record| Ok((record.entity.key.id().to_owned(), package_of(record)?)))
        .collect::<Result<_>>()?;
    Ok(Deployments(packages))
}

/// The limits of any package: an answer may contain a whole one.
pub(crate) fn limits(bytes: usize) -> Limits {
    Limits::new().bytes(bytes)
}

/// Runs CPU-heavy work on a blocking thread, so that large packages do not delay other calls.
pub(crate) async fn aside<T: Send + 'static>(
    action: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    spawn_blocking(work)
        .await
        .map_err(io::Error::other)
        .map_err(Failure::here(action))
}
