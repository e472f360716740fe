//! What the benchmarks work on: stores of a given size, made as an assembly makes them, validation
//! included.

use std::sync::Arc;
use tko_backend_memory::{Memory, MemorySettings};
use tko_core::system::{SystemClock, TimeOrderedIds};
use tko_core::{
    Backend, DataApi, Dialect, Expect, Format, Limits, Metadata, NewDeployment, NewSite,
    NewTemplate, Package, SiteId, Store, TemplateId,
};
use tko_validate::{SchemaValidator, Validation};

/// As in `tko`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How many templates a fleet has, each with the same share of the deployments.
pub const TEMPLATES: usize = 200;

/// Deployments made in one call.
const BATCH: usize = 500;

/// The clock of all benchmarks.
pub fn clock() -> Arc<SystemClock> {
    Arc::new(SystemClock::new())
}

/// An empty store in memory, which validates.
///
/// # Panics
/// The built-in schemas cannot be read.
pub fn store(clock: &Arc<SystemClock>) -> Store<dyn Backend> {
    let memory: Arc<dyn Backend> = Arc::new(Memory::new(clock.clone(), MemorySettings::default()));
    let schemas = SchemaValidator::builder().build().expect("built in");
    let validation = Validation::new(Arc::new(schemas));
    Store::new(memory, Arc::new(validation), Arc::new(TimeOrderedIds))
}

/// A package of `examples/packages`.
///
/// # Panics
/// There is none of this name.
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

/// The deployment of this number, to be created: five metadata, of which one is its own.
pub fn deployment(number: usize) -> NewDeployment {
    NewDeployment {
        template: Some(template(number)),
        metadata: Metadata::from_iter([
            ("serial", number.to_string()),
            ("rack", (number % 1_000).to_string()),
            ("slot", (number % 50).to_string()),
            ("tier", (number % 3).to_string()),
            (
                "region",
                ["north", "south", "east", "west"][number % 4].to_owned(),
            ),
        ]),
        ..NewDeployment::default()
    }
}

/// Registers the templates, and creates so many deployments of them, all due to be prepared.
///
/// # Panics
/// Something is refused.
pub async fn fill(store: &Store<dyn Backend>, count: usize) {
    let package = example("upf");
    for number in 0..TEMPLATES {
        let new = NewTemplate {
            id: template(number),
            metadata: Metadata::default(),
            package: package.clone(),
            expect: Expect::Absent,
        };
        store.register_template(new).await.expect("valid");
    }
    for start in (0..count).step_by(BATCH) {
        let new = (start..count.min(start + BATCH)).map(deployment).collect();
        for created in store.create_deployments(new).await {
            created.expect("valid");
        }
    }
}

/// Registers so many sites, of which every tenth is in region `south`.
///
/// # Panics
/// Something is refused.
pub async fn fill_sites(store: &Store<dyn Backend>, count: usize) {
    for number in 0..count {
        let region = if number % 10 == 0 { "south" } else { "north" };
        let new = NewSite {
            id: site(number),
            template: None,
            metadata: Metadata::from_iter([("Site.region", region)]),
            package: Package::default(),
            expect: Expect::Absent,
        };
        store.register_site(new).await.expect("valid");
    }
}
