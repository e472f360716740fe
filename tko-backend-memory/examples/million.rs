//! Measures the memory of a million deployments of one template, and whether calls slow down while
//! they are created.
//!
//! ```sh
//! cargo run --release -p tko-backend-memory --example million [DEPLOYMENTS]
//! ```

use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tko_backend_memory::{Memory, MemorySettings};
use tko_conformance::AdmitAll;
use tko_core::api::{DataApi, NewDeployment, NewSite, NewTemplate};
use tko_core::select::MetadataPatterns;
use tko_core::system::{SystemClock, TimeOrderedIds};
use tko_core::{
    Ack, Backend, ChangeSet, ClaimRequest, Kind, List, Metadata, Outcome, Package, Pattern, Put,
    Result, Select, SiteId, Stage, Store, TemplateId,
};

/// The number of deployments on each site.
const PER_SITE: usize = 20;

/// The number of deployments in one creation.
const CHUNK: usize = 500;

/// Each figure is the median of this many means, because other processes share the machine.
const BATCHES: usize = 21;

/// The number of calls in one mean.
const CALLS: u32 = 100;

struct Fleet {
    memory: Arc<Memory>,
    store: Store<Memory>,
    created: usize,
}

impl Fleet {
    async fn new() -> Result<Self> {
        let memory = Memory::new(Arc::new(SystemClock::new()), MemorySettings::default());
        let memory = Arc::new(memory);
        let store = Store::new(memory.clone(), Arc::new(AdmitAll), Arc::new(TimeOrderedIds));
        store
            .register_template(NewTemplate::new(template()?, package()?))
            .await?;
        Ok(Self {
            memory,
            store,
            created: 0,
        })
    }

    /// Adds sites with their deployments until there are `goal` deployments.
    async fn fill(&mut self, goal: usize) -> Result<()> {
        while self.created < goal {
            let mut new = Vec::new();
            for _ in 0..CHUNK / PER_SITE {
                let site = SiteId::new(&format!("site/{:06}", self.created / PER_SITE))?;
                self.store
                    .register_site(
                        NewSite::new(site.clone(), Package::default())
                            .metadata(Metadata::from_iter([("Site.region", "south")])),
                    )
                    .await?;
                for _ in 0..PER_SITE {
                    new.push(deployment(site.clone())?);
                }
                self.created += PER_SITE;
            }
            for created in self.store.create_deployments(new).await {
                created?;
            }
        }
        Ok(())
    }

    /// Measures the mean time of calls that must not depend on the number of entities.
    async fn measure(&self) -> Result<()> {
        let all = Select::all(Kind::Deployment);
        let mut of_site = all.clone();
        let site = format!("site/{:06}", self.created / PER_SITE / 2);
        of_site.site_ids = vec![Pattern::literal(&site)];
        let mut by_metadata = Select::all(Kind::Site);
        by_metadata.metadata =
            MetadataPatterns::from([("Site.region".to_owned(), Pattern::literal("south"))]);
        for (what, select) in [
            ("page of 100", all.clone()),
            ("one site's 20", of_site),
            ("100 sites by metadata", by_metadata),
        ] {
            let list = List::new(select).limit(100);
            measure(what, async || self.memory.list(&list).await.map(drop)).await?;
        }
        let request = ClaimRequest::new(Stage::Prepare, "million").lease(Duration::from_mins(1));
        let site = SiteId::new("site/000000")?;
        measure("create from template", async || {
            let new = deployment(site.clone())?;
            self.store.create_deployment(new).await.map(drop)
        })
        .await?;
        let mut claims = Vec::new();
        measure("claim", async || {
            claims.extend(self.memory.claim(&request).await?);
            Ok(())
        })
        .await?;
        measure("settle", async || {
            let after = Duration::ZERO;
            let ended = claims.pop().map(|c| (c.token, Outcome::Yield { after }));
            self.memory.settle(ended.as_slice()).await.map(drop)
        })
        .await?;
        self.measure_commits(all).await
    }

    async fn measure_commits(&self, all: Select) -> Result<()> {
        let list = List::new(all).limit(1);
        let page = self.memory.list(&list).await?;
        let Some(record) = page.items.first() else {
            return Ok(());
        };
        let mut round = 0;
        measure("commit of metadata", async || {
            let mut put = Put::of(&record.entity);
            round += 1;
            put.metadata.insert("round", round.to_string());
            let set = ChangeSet::new().change(tko_core::Change::Put(put));
            self.memory.commit(set, Ack::Numbered).await.map(drop)
        })
        .await
    }
}

async fn measure(what: &str, mut call: impl AsyncFnMut() -> Result<()>) -> Result<()> {
    let mut means = Vec::new();
    for _ in 0..BATCHES {
        let start = Instant::now();
        for _ in 0..CALLS {
            call().await?;
        }
        means.push(start.elapsed() / CALLS);
    }
    report(what, median(means));
    Ok(())
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all.get(all.len() / 2).copied().unwrap_or_default()
}

fn report(what: &str, mean: Duration) {
    println!("    {what:<24} {:>10.2} µs", mean.as_secs_f64() * 1e6);
}

fn template() -> Result<TemplateId> {
    TemplateId::new("nf/upf:v1.0.0")
}

/// A small package: a few resources, one with metadata, and one that is deployed.
fn package() -> Result<Package> {
    let map = |n: usize| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("config-{n}")},
            "data": {"config.yaml": "upf:\n  interfaces: [n3, n4, n6, n9]\n".repeat(20)},
        })
    };
    let gives = json!({
        "apiVersion": "metadata.nephio.org/v1", "kind": "NetworkFunction",
        "metadata": {"name": "about"},
        "spec": {"type": "upf", "vendor": "free5gc", "release": "3.3"},
    });
    Package::from_values((0..10).map(map).chain([gives]))
}

fn deployment(site: SiteId) -> Result<NewDeployment> {
    Ok(NewDeployment::new().template(template()?).site(site))
}

/// The resident memory of this process in bytes, where the system reports it.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kilobytes: usize = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let most = std::env::args().nth(1).and_then(|n| n.parse().ok());
    let most: usize = most.unwrap_or(1_000_000);
    let mut fleet = Fleet::new().await?;
    let empty = resident();
    for goal in [most / 100, most / 10, most] {
        let start = Instant::now();
        let before = fleet.created;
        fleet.fill(goal).await?;
        let each = u32::try_from(fleet.created - before).unwrap_or(u32::MAX);
        println!("{} deployments, all unprepared:", fleet.created);
        report("create, 500 at once", start.elapsed() / each.max(1));
        if let (Some(now), Some(empty)) = (resident(), empty) {
            println!(
                "    {:<24} {:>10} MiB, {} bytes a deployment",
                "resident",
                now / 1024 / 1024,
                now.saturating_sub(empty) / goal.max(1)
            );
        }
        fleet.measure().await?;
    }
    Ok(())
}
