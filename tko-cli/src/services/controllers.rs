//! Preparers and schedulers, as flags and as running parts.

use super::time;
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tko_core::system::TimeOrderedIds;
use tko_core::{Clock, Executor, Registry, Scheduler, WorkerApi};
use tko_plugin::{CommandExecutor, Grpc, Timeouts};
use tko_preparer::PrepareController;
use tko_scheduler::{GitSettings, Manifests, ScheduleController};

/// How preparers and schedulers work
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Controllers")]
pub(crate) struct ControllerArgs {
    /// How often what was missed is looked for; schedulers also write every site anew. Work
    /// starts when something changes, not then
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "10m")]
    interval: Duration,
    /// How long work stays with a preparer or scheduler that has died, before others take it up.
    /// The living renew what they hold; at least 1s
    #[arg(long, value_name = "TIME", value_parser = lease, default_value = "30s")]
    lease: Duration,
    /// How long work in flight may go on after being told to stop, before it is handed back
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "10s")]
    pub(super) grace: Duration,
}

/// How the preparer works
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Preparer")]
pub(crate) struct PreparerArgs {
    /// Time for each preparer to prepare one resource
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "30s")]
    preparer_timeout: Duration,
    /// Deployments prepared at once
    #[arg(long, value_name = "COUNT", default_value_t = 32)]
    preparer_workers: usize,
    /// Approve what is prepared, unless it says otherwise
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    auto_approve: bool,
}

/// How the scheduler works
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Scheduler")]
pub(crate) struct SchedulerArgs {
    /// Time for each scheduler to bring one site up to date
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "5m")]
    scheduler_timeout: Duration,
    /// Sites scheduled at once
    #[arg(long, value_name = "COUNT", default_value_t = 8)]
    scheduler_workers: usize,
    /// Write the manifests of all sites into this folder
    #[arg(long, value_name = "DIR", conflicts_with = "manifests_git")]
    manifests: Option<PathBuf>,
    /// Write the manifests of all sites into this git repository, one commit a change
    #[arg(long, value_name = "DIR")]
    manifests_git: Option<PathBuf>,
    /// Push every commit to this remote of the repository
    #[arg(long, value_name = "REMOTE", requires = "manifests_git")]
    manifests_push: Option<String>,
}

/// Where manifests go.
pub(crate) enum Scheduled {
    /// Nowhere: plugins alone schedule.
    Nowhere,
    /// Into a folder.
    Directory {
        /// Made if need be.
        path: PathBuf,
        /// Forced onto the disk file by file.
        sync: bool,
    },
    /// Into a git repository.
    Git {
        /// Made if need be.
        path: PathBuf,
        /// Where commits are pushed to.
        push: Option<String>,
    },
}

/// What runs plugins here.
pub(crate) fn executors(data: Option<SocketAddr>, timeouts: Timeouts) -> Vec<Arc<dyn Executor>> {
    let settings = tko_plugin::CommandSettings {
        grpc: data.map(Grpc::from),
        timeouts,
        ..tko_plugin::CommandSettings::default()
    };
    vec![Arc::new(CommandExecutor::new(settings))]
}

impl PreparerArgs {
    /// A preparer that works on these data.
    pub(crate) fn preparing(
        &self,
        data: Arc<dyn WorkerApi>,
        address: Option<SocketAddr>,
        controller: &ControllerArgs,
        clock: Arc<dyn Clock>,
    ) -> PrepareController {
        let timeouts = Timeouts {
            prepare: self.preparer_timeout,
            ..Timeouts::default()
        };
        let settings = tko_preparer::Settings {
            name: worker("preparer"),
            workers: self.preparer_workers,
            timeout: patient(self.preparer_timeout),
            lease: controller.lease,
            grace: controller.grace,
            interval: controller.interval,
            auto_approve: self.auto_approve,
            ..tko_preparer::Settings::default()
        };
        PrepareController::new(
            data,
            Arc::new(tko_preparer::native()),
            executors(address, timeouts),
            clock,
            Arc::new(TimeOrderedIds),
            settings,
        )
    }
}

impl SchedulerArgs {
    /// Where manifests go.
    pub(crate) fn scheduled(&self) -> Scheduled {
        match (&self.manifests, &self.manifests_git) {
            (Some(path), _) => Scheduled::Directory {
                path: path.clone(),
                sync: true,
            },
            (None, Some(path)) => Scheduled::Git {
                path: path.clone(),
                push: self.manifests_push.clone(),
            },
            (None, None) => Scheduled::Nowhere,
        }
    }

    /// A scheduler that works on these data.
    pub(crate) fn scheduling(
        &self,
        data: Arc<dyn WorkerApi>,
        address: Option<SocketAddr>,
        controller: &ControllerArgs,
        scheduled: Scheduled,
        clock: Arc<dyn Clock>,
    ) -> ScheduleController {
        let timeouts = Timeouts {
            schedule: self.scheduler_timeout,
            ..Timeouts::default()
        };
        let settings = tko_scheduler::Settings {
            name: worker("scheduler"),
            workers: self.scheduler_workers,
            timeout: patient(self.scheduler_timeout),
            lease: controller.lease,
            grace: controller.grace,
            resync: controller.interval,
            ..tko_scheduler::Settings::default()
        };
        ScheduleController::new(
            data,
            Arc::new(native(scheduled)),
            executors(address, timeouts),
            clock,
            settings,
        )
    }
}

fn native(scheduled: Scheduled) -> Registry<dyn Scheduler> {
    let manifests = match scheduled {
        Scheduled::Nowhere => return Registry::new(),
        Scheduled::Directory { path, sync } => Manifests::directory(path).with_sync(sync),
        Scheduled::Git { path, push } => {
            let settings = GitSettings {
                remote: push,
                ..GitSettings::default()
            };
            Manifests::git(path, settings)
        }
    };
    Registry::new().with_everywhere(tko_scheduler::manifests::NAME, Arc::new(manifests))
}

/// Shorter leases would be lost to a busy network rather than to a death.
fn lease(text: &str) -> Result<Duration, String> {
    match time(text)? {
        time if time < Duration::from_secs(1) => Err("it is at least 1s".to_owned()),
        time => Ok(time),
    }
}

/// A little longer than the executor itself waits: its error says what the program wrote.
pub(super) fn patient(time: Duration) -> Duration {
    time.saturating_add(Duration::from_secs(5))
}

/// Who works, for people: what, where.
fn worker(what: &str) -> String {
    format!("{what} {}", std::process::id())
}

impl Default for ControllerArgs {
    fn default() -> Self {
        Self {
            interval: Duration::from_mins(10),
            lease: Duration::from_secs(30),
            grace: Duration::from_secs(10),
        }
    }
}

impl Default for PreparerArgs {
    fn default() -> Self {
        Self {
            preparer_timeout: Duration::from_secs(30),
            preparer_workers: 32,
            auto_approve: true,
        }
    }
}

impl Default for SchedulerArgs {
    fn default() -> Self {
        Self {
            scheduler_timeout: Duration::from_mins(5),
            scheduler_workers: 8,
            manifests: None,
            manifests_git: None,
            manifests_push: None,
        }
    }
}
