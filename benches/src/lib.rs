//! Shared by the benchmarks: stores of a given size, built like those of `tko`, with validation.

pub mod sample;
pub mod speed;

use indicatif::{ProgressBar, ProgressStyle};
use std::sync::Arc;
use tko_backend_memory::{Memory, MemorySettings};
use tko_core::system::{SystemClock, TimeOrderedIds};
use tko_core::{
    Backend, DataApi, Dialect, Expect, Format, Limits, Metadata, NewDeployment, NewSite,
    NewTemplate, Package, SiteId, Store, TemplateId,
};
use tko_postgres_server::PostgresServer;
use tko_validate::{SchemaValidator, Validation};

/// The allocator that `tko` uses.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Number of templates of a fleet; each has the same share of the deployments.
pub const TEMPLATES: usize = 200;

/// Number of deployments created in one call.
const BATCH: usize = 500;

/// The clock of all benchmarks.
pub fn clock() -> Arc<SystemClock> {
    Arc::new(SystemClock::new())
}

/// An empty store in memory that validates.
///
/// # Panics
/// If the built-in schemas cannot be read.
pub fn store(clock: &Arc<SystemClock>) -> Store<dyn Backend> {
    let memory: Arc<dyn Backend> = Arc::new(Memory::new(clock.clone(), MemorySettings::default()));
    let schemas = SchemaValidator::builder().build().expect("built in");
    let validation = Validation::new(Arc::new(schemas));
    Store::new(memory, Arc::new(validation), Arc::new(TimeOrderedIds))
}

/// A package of `examples/packages`.
///
/// # Panics
/// If there is no package of this name.
pub fn example(name: &str) -> Package {
    let files = tko_examples::package(name);
    assert!(!files.is_empty(), "no package {name}");
    let resources = files.iter().flat_map(|(_, bytes)| {
        Package::decode(bytes, Format::Yaml, Dialect::People, &Limits::default())
            .expect("an example decodes")
            .resources()
            .to_vec()
    });
    Package::new(resources.collect()).expect("an example is a package")
}

/// The id of a fleet's template.
///
/// # Panics
/// Never: the id is well formed.
pub fn template(number: usize) -> TemplateId {
    format!("nf/upf:v{}", number % TEMPLATES)
        .parse()
        .expect("an id")
}

/// The id of a fleet's site.
///
/// # Panics
/// Never: the id is well formed.
pub fn site(number: usize) -> SiteId {
    format!("edge/{number:07}").parse().expect("an id")
}

/// The request that creates the deployment of this number: five metadata, one of them unique.
pub fn deployment(number: usize) -> NewDeployment {
    NewDeployment::new()
        .template(template(number))
        .metadata(Metadata::from_iter([
            ("serial", number.to_string()),
            ("rack", (number % 1_000).to_string()),
            ("slot", (number % 50).to_string()),
            ("tier", (number % 3).to_string()),
            (
                "region",
                ["north", "south", "east", "west"][number % 4].to_owned(),
            ),
        ]))
}

/// Registers the templates and creates `count` deployments of them, all due to be prepared.
///
/// # Panics
/// If the store refuses anything.
pub async fn fill(store: &Store<dyn Backend>, count: usize) {
    let package = example("upf");
    for number in 0..TEMPLATES {
        let new = NewTemplate::new(template(number), package.clone()).expect(Expect::Absent);
        store.register_template(new).await.expect("valid");
    }
    for start in (0..count).step_by(BATCH) {
        let new = (start..count.min(start + BATCH)).map(deployment).collect();
        for created in store.create_deployments(new).await {
            created.expect("valid");
        }
    }
}

/// Registers `count` sites; every tenth is in region `south`.
///
/// # Panics
/// If the store refuses anything.
pub async fn fill_sites(store: &Store<dyn Backend>, count: usize) {
    for number in 0..count {
        let region = if number % 10 == 0 { "south" } else { "north" };
        let new = NewSite::new(site(number), Package::default())
            .metadata(Metadata::from_iter([("Site.region", region)]))
            .expect(Expect::Absent);
        store.register_site(new).await.expect("valid");
    }
}

/// A progress bar, shown on a terminal.
///
/// # Panics
/// Never: the template is well formed.
pub fn progress(what: &'static str, total: usize) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{msg}: {human_pos} of {human_len} {wide_bar} {per_sec}, {eta} to go",
    );
    let bar = ProgressBar::new(total as u64).with_message(what);
    bar.with_style(style.expect("the template is sound"))
}

/// A private PostgreSQL server with production settings, which syncs every commit to disk.
///
/// # Panics
/// If the server does not start.
pub fn postgres_server() -> PostgresServer {
    let options = [
        ("shared_preload_libraries", "pg_stat_statements"),
        ("max_wal_size", "4GB"),
    ];
    PostgresServer::start(tko_postgres_server::PostgresServerSettings {
        durable: true,
        shared_buffers: "2GB".to_owned(),
        options: options
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..tko_postgres_server::PostgresServerSettings::default()
    })
    .expect("a server of its own")
}
