//! The flags of preparers and schedulers, and the controllers made from them.

use super::charts::{self, HelmArgs};
use super::clusters::ClusterArgs;
use super::plugins::PluginHost;
use super::pods::program_executors;
use super::{functions, time};
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tko_ansible::{AnsibleExecutor, AnsibleSettings};
use tko_core::{Clock, Executor, Registry, Scheduler, SharedLimits, WorkerApi};
use tko_kpt::executor::KptSettings;
use tko_kpt::{KptExecutor, KptfilePreparer};
use tko_plugin::{Grpc, ObservedExecutor, PluginPolicy, Timeouts};
use tko_preparer::{PrepareController, PrepareSettings, ResultCache};
use tko_scheduler::{GitSettings, Manifests, ScheduleController, ScheduleSettings};
use tko_source::SecretFolder;
use tko_worker::WorkerSettings;

/// Settings of preparers and schedulers
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Controllers")]
pub(crate) struct ControllerArgs {
    /// Resync interval for missed events; normal work is event-driven. At this interval, schedulers
    /// also rewrite every site
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "10m")]
    interval: Duration,
    /// Time until the work of a dead preparer or scheduler is given to another; at least 1s
    #[arg(long, value_name = "TIME", value_parser = lease, default_value = "30s")]
    lease: Duration,
    /// Longest time for work in flight to finish when stopping
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "10s")]
    pub(super) grace: Duration,
    #[command(flatten)]
    helm: HelmArgs,
}

/// Settings of the preparer
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Preparer")]
pub(crate) struct PreparerArgs {
    /// Timeout for one preparer and one resource
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "30s")]
    preparer_timeout: Duration,
    /// Number of deployments to prepare at the same time
    #[arg(long, value_name = "COUNT", default_value_t = 64)]
    preparer_workers: usize,
    /// Memory for cached results of functions, so that equal input runs once; 0 disables the cache
    #[arg(long, value_name = "MIB", default_value_t = 64)]
    preparer_cache: usize,
    /// Storage for results of functions that all preparers share; 0 shares nothing
    #[arg(long, value_name = "MIB", default_value_t = 0)]
    preparer_shared_cache: u64,
    /// Let Kptfiles run programs of this machine (exec), with the rights of this process
    #[arg(long)]
    kptfile_exec: bool,
    /// Function that runs in place of an image, such as gcr.io/kpt-fn/starlark=wasm:PATH; repeat
    /// for several
    #[arg(long = "function", value_name = "IMAGE=FUNCTION", value_parser = functions::substitute)]
    functions: Vec<functions::Substitute>,
    /// Approve prepared deployments, unless their package says otherwise
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    auto_approve: bool,
}

/// Settings of the scheduler
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Scheduler")]
pub(crate) struct SchedulerArgs {
    /// Timeout for one scheduler and one site
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "5m")]
    scheduler_timeout: Duration,
    /// Number of sites to schedule at the same time
    #[arg(long, value_name = "COUNT", default_value_t = 16)]
    scheduler_workers: usize,
    /// Leave what this scheduler placed on sites that it no longer serves, by the name in the
    /// conditions of the sites; repeat for several
    #[arg(long = "abandon-scheduler", value_name = "NAME")]
    abandoned_schedulers: Vec<String>,
    /// Write the manifests of all sites to this directory
    #[arg(long, value_name = "DIR", conflicts_with = "manifests_git")]
    manifests: Option<PathBuf>,
    /// Write the manifests of all sites to this git repository, one commit per change
    #[arg(long, value_name = "DIR")]
    manifests_git: Option<PathBuf>,
    /// Push every commit to this remote of the repository
    #[arg(long, value_name = "REMOTE", requires = "manifests_git")]
    manifests_push: Option<String>,
    /// Folder with secrets, one per file, that properties of plugins name as secret:NAME; the file
    /// NAME.hosts lists the hosts that get the secret
    #[arg(long, value_name = "DIR")]
    secrets: Option<PathBuf>,
    #[command(flatten)]
    clusters: ClusterArgs,
}

/// The destination of manifests.
pub(crate) enum ManifestDestination {
    /// No manifests: only plugins schedule.
    Nowhere,
    /// A folder.
    Directory {
        /// The path; created if necessary.
        path: PathBuf,
        /// Whether each file is synced to the disk.
        sync: bool,
    },
    /// A git repository.
    Git {
        /// The path; created if necessary.
        path: PathBuf,
        /// The remote that commits are pushed to.
        push: Option<String>,
    },
}

/// The executors that run plugins in this process.
pub(crate) fn executors(
    data: Option<SocketAddr>,
    timeouts: Timeouts,
    plugins: PluginHost,
    ansible: AnsibleSettings,
    functions: KptSettings,
) -> Vec<Arc<dyn Executor>> {
    let mut settings = tko_plugin::CommandSettings::default();
    settings.grpc = data.map(Grpc::from);
    settings.timeouts = timeouts;
    settings.metrics = plugins.metrics.clone();
    settings.policy = plugins.policy.clone();
    settings.environment.clone_from(&plugins.environment);
    let mut executors = program_executors(&settings, plugins);
    // Functions and playbooks run programs and containers, which a folder of programs cannot
    // restrict.
    if settings.policy == PluginPolicy::Any {
        let metrics = &settings.metrics;
        let observed = ObservedExecutor::new(KptExecutor::new(functions), metrics.clone());
        executors.push(Arc::new(observed));
        let observed = ObservedExecutor::new(AnsibleExecutor::new(ansible), metrics.clone());
        executors.push(Arc::new(observed));
    }
    executors
}

impl PreparerArgs {
    /// Makes a preparer. Results of functions are kept in `results`.
    pub(crate) fn controller(
        &self,
        data: Arc<dyn WorkerApi>,
        results: Arc<ResultCache>,
        address: Option<SocketAddr>,
        controller: &ControllerArgs,
        plugins: PluginHost,
        clock: Arc<dyn Clock>,
    ) -> PrepareController {
        let timeouts = Timeouts {
            prepare: self.preparer_timeout,
            ..Timeouts::default()
        };
        let settings = PrepareSettings::default()
            .with_worker(controller.worker("preparer", self.preparer_workers))
            .with_timeout(patient(self.preparer_timeout))
            .with_resync(controller.interval)
            .with_auto_approve(self.auto_approve)
            .with_shared_results(self.shared_results());
        results.set_limit(self.preparer_cache.saturating_mul(1 << 20));
        let mut registry = tko_preparer::topology::native_with(charts::conditions());
        if plugins.policy == PluginPolicy::Any {
            let functions = self.functions().with_kptfile_exec(self.kptfile_exec);
            registry = KptfilePreparer::new(KptExecutor::new(functions)).add_to(registry);
            registry = controller
                .helm
                .add_preparer(registry, self.preparer_timeout);
        }
        PrepareController::new(data)
            .with_registry(registry)
            .with_result_cache(results)
            .with_executors(executors(
                address,
                timeouts,
                plugins,
                AnsibleSettings::default(),
                self.functions(),
            ))
            .with_clock(clock)
            .with_settings(settings)
    }
}

impl PreparerArgs {
    fn functions(&self) -> KptSettings {
        let settings = functions::settings(self.preparer_timeout);
        let substitutes = self.functions.iter();
        substitutes.fold(settings, |settings, substitute| substitute.add_to(settings))
    }

    fn shared_results(&self) -> Option<SharedLimits> {
        let mebibytes = self.preparer_shared_cache;
        (mebibytes > 0).then(|| SharedLimits::new().bytes(mebibytes.saturating_mul(1 << 20)))
    }
}

impl SchedulerArgs {
    /// Settings of plugins that run in Ansible.
    fn ansible(&self) -> AnsibleSettings {
        AnsibleSettings::default()
            .with_secrets(self.secrets())
            .with_playbook_timeout(self.scheduler_timeout)
    }

    /// The folder with secrets.
    pub(super) fn secrets(&self) -> SecretFolder {
        self.secrets
            .as_ref()
            .map(SecretFolder::new)
            .unwrap_or_default()
    }

    /// The destination that the flags choose.
    pub(crate) fn manifest_destination(&self) -> ManifestDestination {
        match (&self.manifests, &self.manifests_git) {
            (Some(path), _) => ManifestDestination::Directory {
                path: path.clone(),
                sync: true,
            },
            (None, Some(path)) => ManifestDestination::Git {
                path: path.clone(),
                push: self.manifests_push.clone(),
            },
            (None, None) => ManifestDestination::Nowhere,
        }
    }

    /// Makes a scheduler.
    pub(crate) fn controller(
        &self,
        data: Arc<dyn WorkerApi>,
        address: Option<SocketAddr>,
        controller: &ControllerArgs,
        destination: ManifestDestination,
        plugins: PluginHost,
        clock: Arc<dyn Clock>,
    ) -> ScheduleController {
        let timeouts = Timeouts {
            schedule: self.scheduler_timeout,
            ..Timeouts::default()
        };
        let settings = ScheduleSettings::default()
            .with_worker(controller.worker("scheduler", self.scheduler_workers))
            .with_timeout(patient(self.scheduler_timeout))
            .with_resync(controller.interval)
            .with_abandoned(self.abandoned_schedulers.iter().cloned());
        // Clusters come before charts, because they create the namespaces of releases.
        let mut registry = native(destination);
        registry = self
            .clusters
            .add_to(registry, self.scheduler_timeout, &data);
        registry = controller.helm.add_scheduler(
            registry,
            &self.clusters,
            functions::cache_folder(),
            self.scheduler_timeout,
        );
        ScheduleController::new(data)
            .with_registry(registry)
            .with_executors(executors(
                address,
                timeouts,
                plugins,
                self.ansible(),
                functions::settings(timeouts.prepare),
            ))
            .with_clock(clock)
            .with_settings(settings)
    }
}

fn native(destination: ManifestDestination) -> Registry<dyn Scheduler> {
    let manifests = match destination {
        ManifestDestination::Nowhere => return Registry::new(),
        ManifestDestination::Directory { path, sync } => Manifests::directory(path).with_sync(sync),
        ManifestDestination::Git { path, push } => {
            let settings = GitSettings {
                remote: push,
                ..GitSettings::default()
            };
            Manifests::git(path, settings)
        }
    };
    Registry::new().with_everywhere(tko_scheduler::manifests::NAME, Arc::new(manifests))
}

/// Parses a lease. A shorter lease would expire because of network delays, not because of a crash.
fn lease(text: &str) -> Result<Duration, String> {
    match time(text)? {
        time if time < Duration::from_secs(1) => Err("expected at least 1s".to_owned()),
        time => Ok(time),
    }
}

/// Adds time to an executor's own timeout, so that the executor's error is reported, which includes
/// the program's output.
pub(super) fn patient(time: Duration) -> Duration {
    time.saturating_add(Duration::from_secs(5))
}

impl ControllerArgs {
    /// Sets the folder that relative paths of charts start at.
    pub(crate) fn with_charts(mut self, folder: PathBuf) -> Self {
        self.helm = self.helm.with_charts(folder);
        self
    }

    /// The settings of a worker, with a name that users see: its role and process id.
    fn worker(&self, role: &str, concurrency: usize) -> WorkerSettings {
        WorkerSettings::new(format!("{role} {}", std::process::id()))
            .with_concurrency(concurrency)
            .with_lease(self.lease)
            .with_grace(self.grace)
    }
}

impl Default for ControllerArgs {
    fn default() -> Self {
        Self {
            interval: Duration::from_mins(10),
            lease: Duration::from_secs(30),
            grace: Duration::from_secs(10),
            helm: HelmArgs::default(),
        }
    }
}

impl Default for PreparerArgs {
    fn default() -> Self {
        Self {
            preparer_timeout: Duration::from_secs(30),
            preparer_workers: 64,
            preparer_cache: 64,
            preparer_shared_cache: 0,
            kptfile_exec: false,
            functions: Vec::new(),
            auto_approve: true,
        }
    }
}

impl Default for SchedulerArgs {
    fn default() -> Self {
        Self {
            scheduler_timeout: Duration::from_mins(5),
            scheduler_workers: 16,
            abandoned_schedulers: Vec::new(),
            manifests: None,
            manifests_git: None,
            manifests_push: None,
            secrets: None,
            clusters: ClusterArgs::default(),
        }
    }
}
