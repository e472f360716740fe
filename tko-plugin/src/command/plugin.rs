//! A `command` plugin as a preparer, validator or scheduler.

use crate::call::{Deployments, Input, PackageResources, PluginAnswer, PluginCall, Target};
use crate::channel::Channel;
use crate::failure::Failure;
use crate::log::LogSubject;
use crate::process::{self, Bounds, Program};
use crate::settings::CommandSettings;
use crate::stderr::Tail;
use async_trait::async_trait;
use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{
    Condition, Error, Identifier, Limits, Package, PrepareCall, Preparer, Record, Result,
    ScheduleCall, Scheduler, Validator, Violation,
};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

/// A handler that runs one plugin's program for each call.
pub(super) struct CommandPlugin {
    pub(super) id: String,
    pub(super) program: Program,
    pub(super) permits: Semaphore,
    pub(super) settings: Arc<CommandSettings>,
}

/// The result of a successful call.
struct Reply {
    answer: PluginAnswer,
    stderr: Tail,
}

impl CommandPlugin {
    async fn call(
        &self,
        subject: &LogSubject,
        target: Option<&Identifier>,
        input: Input,
        timeout: Duration,
    ) -> Result<Reply, Failure> {
        let permit = self.permits.acquire().await;
        let _permit = permit.expect("the semaphore is never closed");
        let channel = Channel::open(self.settings.log_channel)
            .await
            .map_err(Failure::here("open a channel for its log lines"))?;
        let call = PluginCall {
            grpc: self.settings.grpc.clone().unwrap_or_default(),
            log_file: channel.log_file(),
            log_address_port: channel.log_address_port(),
            target_resource_identifier: Target::from(target),
            input,
        };
        let document = aside("write its input", move || call.encode()).await?;
        let document = document
            .map_err(io::Error::from)
            .map_err(Failure::here("write its input"))?;
        let bounds = Bounds {
            timeout,
            grace: self.settings.grace,
            output: self.settings.output,
            log: self.settings.log,
        };
        let python_env = self.settings.python_env.as_deref();
        let started = Instant::now();
        let ended = process::run(
            &self.program,
            python_env,
            &document,
            &bounds,
            channel,
            subject,
        )
        .await;
        let milliseconds = started.elapsed().as_millis();
        tracing::debug!(plugin = self.id, milliseconds, ok = ended.is_ok(), "called");
        let output = ended?;
        let most = self.settings.output;
        let decode = move || PluginAnswer::decode(&output.stdout, &limits(most));
        let stderr = output.stderr;
        match aside("read its answer", decode).await? {
            Ok(answer) => Ok(Reply { answer, stderr }),
            Err(error) => Err(self.nonsense(error.to_string(), stderr)),
        }
    }

    fn nonsense(&self, why: String, stderr: Tail) -> Failure {
        Failure::Answer {
            program: self.program.path.clone(),
            why,
            stderr,
        }
    }

    fn failed(&self, verb: &str, what: impl Display, failure: Failure) -> Error {
        Error::unavailable(format!("{verb} {what} with plugin {}", self.id), failure)
    }

    fn prepared(&self, reply: Reply) -> Result<Option<Package>, Failure> {
        let Reply { answer, stderr } = said(reply)?;
        match (answer.prepared, answer.package) {
            (false, _) => Ok(None),
            (true, Some(package)) => match Package::from_values(package) {
                Ok(package) => Ok(Some(package)),
                Err(error) => Err(self.nonsense(format!("its {}", error.chain()), stderr)),
            },
            (true, None) => {
                let why = "prepared is true, but package is missing; it must be the whole new list of resources";
                Err(self.nonsense(why.to_owned(), stderr))
            }
        }
    }
}

#[async_trait]
impl Preparer for CommandPlugin {
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
        let timeout = self.settings.timeouts.prepare;
        let reply = self
            .call(&subject, Some(call.target), input, timeout)
            .await
            .map(|reply| (reply.stderr.last_line(), reply));
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
}

#[async_trait]
impl Validator for CommandPlugin {
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
        let timeout = self.settings.timeouts.validate;
        let reply = self
            .call(&subject, Some(target), input, timeout)
            .await
            .map_err(|failure| self.failed("validate", target, failure))?;
        let violations = reply.answer.errors.into_iter().map(|message| Violation {
            resource: Some(target.clone()),
            path: String::new(),
            message,
        });
        Ok(violations.collect())
    }
}

#[async_trait]
impl Scheduler for CommandPlugin {
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
        let timeout = self.settings.timeouts.schedule;
        self.call(&subject, call.target, input, timeout)
            .await
            .and_then(said)
            .map_err(|failure| self.failed("schedule", key, failure))?;
        Ok(Vec::new())
    }
}

/// Turns errors that the plugin reported into a failure.
fn said(reply: Reply) -> Result<Reply, Failure> {
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
fn limits(bytes: usize) -> Limits {
    Limits {
        bytes,
        ..Limits::default()
    }
}

/// Runs CPU-heavy work on a blocking thread, so that large packages do not delay other calls.
async fn aside<T: Send + 'static>(
    action: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    spawn_blocking(work)
        .await
        .map_err(io::Error::other)
        .map_err(Failure::here(action))
}
