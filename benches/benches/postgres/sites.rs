//! As many sites as deployments: registering and listing them.

use super::backend::World;
use super::pages::{PageCost, cost};
use super::report::Report;
use std::time::Instant;
use tko_benches::progress;
use tko_benches::speed::Speed;
use tko_core::{
    Ack, Change, ChangeSet, Facts, Kind, List, Metadata, Package, Pattern, Put, Require, Select,
    SiteId,
};

/// Number of sites in a change set.
const BATCH: usize = 500;

fn put(number: usize) -> Put {
    let id: SiteId = format!("region-{:02}/edge-{number:07}", number % 40)
        .parse()
        .expect("an id");
    Put::new(id)
        .metadata(Metadata::from_iter([
            ("Site.region", format!("region-{:02}", number % 40)),
            ("Site.rack", format!("r{:03}", number % 1_000)),
        ]))
        .facts(Facts::Site {
            template: None,
            origin: None,
        })
        .body(Package::default())
}

/// Registers the sites and lists them.
pub(crate) async fn measure(world: &World, count: usize, report: &mut Report) {
    let bar = progress("sites registered", count);
    let start = Instant::now();
    for first in (0..count).step_by(BATCH) {
        let puts = (first..count.min(first + BATCH)).map(put);
        let mut set = ChangeSet::default();
        for put in puts {
            set.require.push(Require::Absent(put.key.clone()));
            set.changes.push(Change::Put(put));
        }
        bar.inc(set.changes.len() as u64);
        let done = world.backend.commit(set, Ack::Durable).await;
        done.expect("registered");
    }
    bar.finish_and_clear();
    let registered = Speed::of(count, start.elapsed());
    report.speed("register sites, 500 a set, 1 caller", &registered, None);
    let by = |key: &str, pattern: &str| {
        let mut select = Select::all(Kind::Site);
        let value = Pattern::value(pattern).expect("a pattern");
        select.metadata.insert(key.to_owned(), value);
        select
    };
    let under = Select::all(Kind::Site).id(Pattern::id("region-07/**").expect("a pattern"));
    let cases = [
        ("sites: label, 1 of 1,000", by("Site.rack", "r007")),
        ("sites: label, 1 of 40", by("Site.region", "region-07")),
        ("sites: path prefix", under),
    ];
    for (name, select) in cases {
        let list = List::new(select).limit(100);
        let cost: PageCost = cost(&world.backend, &world.pool, name, &list, 550.0).await;
        report.page(&cost);
    }
}
