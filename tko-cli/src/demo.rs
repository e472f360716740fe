//! `tko demo`: deploys a country's 5G core, from one deployment to the manifests of every site.
//!
//! Nothing is simulated: the demo uses the same store, preparer, scheduler and packages as a
//! server, in one process. It checks the result against the expected one, also on disk.

mod fleet;
mod folder;
mod kinds;
mod nation;
mod observer;
pub(crate) mod pace;
mod progress;
mod report;

#[cfg(test)]
mod tests;

use crate::services::assembly::Assembly;
use crate::services::controllers::{
    ControllerArgs, ManifestDestination, PreparerArgs, SchedulerArgs,
};
use crate::services::signals::Signals;
use anyhow::{Context, bail, ensure};
use clap::Args;
use fleet::{Expected, Fleet, MAX_SITES, MIN_SITES};
use observer::{FleetObserver, FleetTally};
use progress::DemoProgress;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tko_core::{DataApi, DeploymentId};
use tko_scheduler::Manifests;

/// The demo fails after this time without any change.
const PATIENCE: Duration = Duration::from_mins(1);

/// Run the demo: deploy a 5G core to many sites, in one process, without a network
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Number of sites
    #[arg(long, default_value_t = 200, value_name = "COUNT", value_parser = sites)]
    sites: usize,
    /// Directory for the manifests; emptied first if an earlier demo made it
    #[arg(long, default_value = "tko-demo", value_name = "DIR")]
    out: PathBuf,
    /// Serve the API and the dashboard from the beginning, and afterwards until interrupted
    #[arg(long)]
    serve: bool,
    /// Slow down to this many packages a second, to watch the dashboard
    #[arg(long, value_name = "RATE", value_parser = clap::value_parser!(u32).range(1..))]
    pace: Option<u32>,
    #[command(flatten)]
    listen: crate::services::listen::ListenArgs,
    #[command(flatten)]
    web: crate::services::web::WebArgs,
}

fn sites(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (MIN_SITES..=MAX_SITES).contains(&count) => Ok(count),
        _ => Err(format!("expected a number from {MIN_SITES} to {MAX_SITES}")),
    }
}

impl DemoArgs {
    pub(crate) async fn run(self, quiet: bool, out: &mut dyn Write) -> anyhow::Result<()> {
        let mut signals = Signals::listen()?;
        let mut assembly = if self.serve {
            Assembly::serving(&self.listen, &self.web, self.pace).await?
        } else {
            Assembly::memory_paced(self.pace).await?
        };
        report::opening(assembly.web_addresses(), out)?;
        // Empty the folder only after the server has started to listen.
        let root = folder::emptied(&self.out)?;
        let manifests = root.join("sites");
        std::fs::create_dir_all(&manifests)
            .with_context(|| format!("cannot create {}", manifests.display()))?;
        let examples = kinds::folder(&root);
        kinds::unpack(&examples)?;
        let controllers = ControllerArgs::default().with_charts(examples.clone());
        assembly.prepare(&PreparerArgs::default(), &controllers);
        // The demo's files need not survive a power loss.
        let destination = ManifestDestination::Directory {
            path: manifests.clone(),
            sync: false,
        };
        assembly.schedule(&SchedulerArgs::default(), &controllers, destination);
        let shown = tokio::select! {
            shown = show(assembly.data(), self.sites, &root, quiet, out) => shown,
            ended = assembly.failed() => ended,
            () = signals.next() => Err(anyhow::anyhow!("interrupted")),
        };
        if shown.is_ok() && self.serve {
            report::serving(assembly.addresses(), out)?;
            tokio::select! {
                () = signals.next() => {}
                ended = assembly.failed() => ended?,
            }
        }
        signals.unless_repeated(assembly.stop()).await?;
        shown
    }
}

async fn show(
    data: Arc<dyn DataApi>,
    sites: usize,
    root: &Path,
    quiet: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let manifests = root.join("sites");
    let fleet = Fleet::new(sites);
    let expected = fleet.expected();
    let mut observer = FleetObserver::start(&data);
    let mut progress = DemoProgress::new(&expected, quiet);
    let began = Instant::now();
    nation::register(&*data, fleet, &observer, &mut progress).await?;
    let registered = began.elapsed();
    let began = Instant::now();
    let national = nation::create(&*data).await?;
    let settled = settle(&mut observer, &mut progress, &expected, began).await;
    let took = began.elapsed();
    progress.clear();
    let (tally, prepared) = settled?;
    let began = Instant::now();
    let files = Manifests::verify(&*data, &manifests).await?;
    ensure!(
        files == expected.files,
        "{files} manifests are on disk; expected {}",
        expected.files
    );
    let checked = began.elapsed();
    let refused = refused(&*data).await?;
    let kinds = kinds::prepare(&*data, &kinds::folder(root)).await?;
    let run = report::Run {
        expected,
        tally,
        files,
        registered,
        prepared,
        took,
        checked,
        national,
        refused,
        kinds,
    };
    report::write(&run, &manifests, out)
}

/// Waits for the expected state. Returns the final counts and the time until the last deployment
/// was prepared.
///
/// # Errors
/// Nothing changed for [`PATIENCE`].
async fn settle(
    observer: &mut FleetObserver,
    progress: &mut DemoProgress,
    expected: &Expected,
    began: Instant,
) -> anyhow::Result<(FleetTally, Duration)> {
    let wanted = FleetTally {
        sites: expected.sites,
        provisioned: expected.provisioned,
        scheduled_sites: expected.sites,
        deployments: expected.deployments,
        prepared: expected.prepared,
        approved: expected.approved,
        placed: expected.placed,
        refused: 1,
    };
    let mut prepared = None;
    loop {
        let tally = observer.now();
        progress.show(&tally);
        if tally.prepared == wanted.prepared {
            prepared.get_or_insert_with(|| began.elapsed());
        }
        if tally == wanted {
            return Ok((tally, prepared.unwrap_or_else(|| began.elapsed())));
        }
        match tokio::time::timeout(PATIENCE, observer.changed()).await {
            Ok(changed) => {
                changed?;
            }
            Err(_) => bail!(
                "nothing changed for {} s before the expected state was reached:\n  actual:   {tally:?}\n  expected: {wanted:?}",
                PATIENCE.as_secs()
            ),
        }
    }
}

/// Finds the deployment that is invalid on purpose, and the message of its condition.
async fn refused(data: &dyn DataApi) -> anyhow::Result<(DeploymentId, String)> {
    use tko_core::{Key, Kind, List, Pattern, Select};
    let list =
        List::new(Select::all(Kind::Deployment).template_id(Pattern::literal("nf/nwdaf:v0.9.0")))
            .limit(2);
    let page = data.list(&list).await?;
    let record = page.items.first().context("there is no nwdaf deployment")?;
    let condition = record
        .entity
        .condition(tko_core::entity::PREPARED)
        .context("the nwdaf deployment has no condition")?;
    let Key::Deployment(id) = &record.entity.key else {
        bail!("not a deployment");
    };
    for missing in ["selector", "name", "port"] {
        ensure!(
            condition.message.contains(missing),
            "the condition of the nwdaf deployment does not name {missing}: {}",
            condition.message
        );
    }
    Ok((id.clone(), condition.message.clone()))
}
