//! Sites by number.

use tko_backend_postgres::Postgres;
use tko_core::{Ack, Backend, Change, ChangeSet, Facts, Key, Kind, Put};

/// Keys in the order of their numbers, up to 99,999.
pub(crate) fn site(n: usize) -> Key {
    Key::new(Kind::Site, &format!("site/{n:05}")).expect("an id")
}

/// Stores these sites.
pub(crate) async fn fill(store: &Postgres, sites: impl Iterator<Item = usize>) {
    let sites: Vec<usize> = sites.collect();
    for part in sites.chunks(1_000) {
        let puts = part.iter().map(|n| {
            Put::new(site(*n)).facts(Facts::Site {
                template: None,
                origin: None,
            })
        });
        let set = ChangeSet::new().changes(puts.map(Change::Put).collect());
        store.commit(set, Ack::Numbered).await.expect("written");
    }
}
