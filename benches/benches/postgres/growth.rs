//! The same jobs at one size after the other, in one database that grows.

use super::backend::{self, World};
use super::report::Report;
use super::{remote, sites};
use tko_benches::sample;
use tko_postgres_server::PostgresServer;

/// Measures each size; sizes must ascend.
pub(crate) async fn measure(
    server: &PostgresServer,
    sizes: &[usize],
    through: bool,
    report: &mut Report,
) {
    let world = World::new(server).await;
    sample::templates(&world.backend).await;
    let mut loaded = 0;
    for &size in sizes {
        report.begin(size);
        sample::load(&world.backend, loaded..size).await;
        backend::measure(&world, size, size - loaded, report).await;
        loaded = size;
        if through {
            remote::measure(&world, report).await;
        }
    }
    if let Some(size) = sizes.last() {
        sites::measure(&world, *size, report).await;
    }
}
