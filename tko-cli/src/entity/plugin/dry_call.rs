//! One call of a plugin that stores nothing.

use super::recording::RecordedAnswer;
use crate::services::controllers::executors;
use crate::services::plugins::PluginHost;
use anyhow::bail;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tko_ansible::AnsibleSettings;
use tko_core::registry::made_by;
use tko_core::system::TimeOrderedIds;
use tko_core::{
    Answer, DataApi, Executor, Identifier, Package, PluginType, PrepareCall, Record, ScheduleCall,
};
use tko_plugin::Timeouts;
use tko_plugin::call::{Deployments, Input, PackageResources, PluginCall, Target};
use tko_worker::close_executors;

/// The extra time in which an executor can report the time limit itself.
const GRACE: Duration = Duration::from_secs(2);

/// The part of a dry call that depends on the plugin's type.
pub(super) enum DryInput {
    /// A deployment to prepare, with its package, and the resource that triggers the call.
    Prepare {
        deployment: Record,
        target: Identifier,
    },
    /// A package to validate.
    Validate {
        package: Package,
        target: Identifier,
        complete: bool,
    },
    /// A site to schedule, with its package and those of its deployments.
    Schedule {
        site: Record,
        target: Option<Identifier>,
        wanted: Vec<Record>,
        removed: Vec<Record>,
    },
}

/// A dry call: the plugin, and its input.
pub(super) struct DryCall<'a> {
    pub(super) plugin: Record,
    pub(super) input: DryInput,
    pub(super) timeout: Duration,
    pub(super) data: &'a dyn DataApi,
}

/// The result of a dry call.
pub(super) struct DryResult {
    pub(super) answer: RecordedAnswer,
    /// The reason of a "not yet", or the whole error.
    pub(super) message: String,
    pub(super) took: Duration,
}

fn resources(record: &Record) -> PackageResources {
    PackageResources(record.package.clone().unwrap_or_default())
}

fn by_id(records: &[Record]) -> Deployments {
    let packages = records.iter();
    Deployments(
        packages
            .map(|record| (record.entity.key.id().to_owned(), resources(record)))
            .collect(),
    )
}

impl DryInput {
    pub(super) fn plugin_type(&self) -> PluginType {
        match self {
            Self::Prepare { .. } => PluginType::Prepare,
            Self::Validate { .. } => PluginType::Validate,
            Self::Schedule { .. } => PluginType::Schedule,
        }
    }

    /// The package before the call.
    pub(super) fn package(&self) -> Package {
        match self {
            Self::Prepare { deployment, .. } => resources(deployment).0,
            Self::Validate { package, .. } => package.clone(),
            Self::Schedule { site, .. } => resources(site).0,
        }
    }

    fn target(&self) -> Option<&Identifier> {
        match self {
            Self::Prepare { target, .. } | Self::Validate { target, .. } => Some(target),
            Self::Schedule { target, .. } => target.as_ref(),
        }
    }

    /// The document that the plugin reads, without the addresses of a running controller.
    pub(super) fn call(&self) -> PluginCall {
        let input = match self {
            Self::Prepare { deployment, .. } => Input::Prepare {
                deployment_id: deployment.entity.key.id().to_owned(),
                deployment_package: resources(deployment),
            },
            Self::Validate {
                package, complete, ..
            } => Input::Validate {
                package: PackageResources(package.clone()),
                complete: *complete,
            },
            Self::Schedule {
                site,
                wanted,
                removed,
                ..
            } => Input::Schedule {
                site_id: site.entity.key.id().to_owned(),
                site_package: resources(site),
                deployments: by_id(wanted),
                removed_deployments: by_id(removed),
            },
        };
        PluginCall {
            grpc: tko_plugin::Grpc::default(),
            log_file: String::new(),
            log_address_port: String::new(),
            target_resource_identifier: Target::from(self.target()),
            input,
        }
    }
}

impl DryCall<'_> {
    /// Makes the call. An error of the plugin is an answer.
    pub(super) async fn run(&self) -> anyhow::Result<DryResult> {
        let timeouts = Timeouts {
            prepare: self.timeout,
            validate: self.timeout,
            schedule: self.timeout,
        };
        let executors: Vec<Arc<dyn Executor>> = executors(
            None,
            timeouts,
            PluginHost::default(),
            AnsibleSettings::default(),
            crate::services::functions::settings(self.timeout),
        );
        let started = Instant::now();
        // Not every executor has its own time limit.
        let answered = tokio::time::timeout(self.timeout + GRACE, self.answer(&executors)).await;
        let took = started.elapsed();
        close_executors(&executors).await;
        let Ok(answered) = answered else {
            bail!("the plugin did not answer within {:?}", self.timeout);
        };
        let (answer, message) = answered?;
        Ok(DryResult {
            answer,
            message,
            took,
        })
    }

    async fn answer(
        &self,
        executors: &[Arc<dyn Executor>],
    ) -> anyhow::Result<(RecordedAnswer, String)> {
        let answer = match &self.input {
            DryInput::Prepare { deployment, target } => {
                let preparer = made_by(executors, &self.plugin, |executor, plugin| {
                    executor.preparer(plugin)
                })?;
                let package = deployment.package.clone().unwrap_or_default();
                let call =
                    PrepareCall::new(deployment, &package, target, self.data, &TimeOrderedIds);
                preparer.prepare(call).await.map(Some)
            }
            DryInput::Validate {
                package,
                target,
                complete,
            } => {
                let validator = made_by(executors, &self.plugin, |executor, plugin| {
                    executor.validator(plugin)
                })?;
                match validator.validate(package, target, *complete).await {
                    Ok(violations) if violations.is_empty() => Ok(None),
                    Ok(violations) => {
                        let words: Vec<String> = violations
                            .into_iter()
                            .map(|violation| violation.message)
                            .collect();
                        let message = format!("the package is invalid: {}", words.join("; "));
                        return Ok((RecordedAnswer::Failed(words), message));
                    }
                    Err(error) => Err(error),
                }
            }
            DryInput::Schedule {
                site,
                target,
                wanted,
                removed,
            } => {
                let scheduler = made_by(executors, &self.plugin, |executor, plugin| {
                    executor.scheduler(plugin)
                })?;
                let call = ScheduleCall::new(site, 0)
                    .target(target.as_ref())
                    .wanted(wanted)
                    .removed(removed);
                scheduler.schedule(call).await.map(|_| None)
            }
        };
        Ok(match answer {
            Ok(None) => (RecordedAnswer::Fine, String::new()),
            Ok(Some(Answer::Done { package, .. })) => {
                (RecordedAnswer::Prepared(package), String::new())
            }
            Ok(Some(Answer::NotYet { reason, .. })) => (RecordedAnswer::NotYet, reason),
            Ok(Some(Answer::More { .. })) => {
                bail!("the plugin has more to do; only TKO's own preparers may")
            }
            Err(error) => {
                let text = error.chain();
                let words = text
                    .split_once("the plugin reported: ")
                    .map_or(text.as_str(), |(_, words)| words);
                (RecordedAnswer::Failed(vec![words.to_owned()]), text)
            }
        })
    }
}
