//! Sites by number.

use tko_backend_postgres::Postgres;
use tko_core::{Ack, Backend, Change, ChangeSet, Facts, Key, Kind, Metadata, Put};

/// Keys in the order of their numbers, up to 99,999.
pub(crate) fn site(n: usize) -> Key {
    Key::new(Kind::Site, &format!("site/{n:05}")).expect("an id")
}

/// Stores these sites.
pub(crate) async fn fill(store: &Postgres, sites: impl Iterator<Item = usize>) {
    let sites: Vec<usize> = sites.collect();
    for part in sites.chunks(1_000) {
        let puts = part.iter().map(|n| Put {
            key: site(*n),
            inherited: Metadata::default(),
            given: Metadata::default(),
            metadata: Metadata::default(),
            facts: Facts::Site {
                template: None,
                origin: None,
            },
            deleting: false,
            conditions: Vec::new(),
            body: None,
        });
        let set = ChangeSet {
            changes: puts.map(Change::Put).collect(),
            ..ChangeSet::default()
        };
        store.commit(set, Ack::Numbered).await.expect("written");
    }
}
