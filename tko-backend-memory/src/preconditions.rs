//! Preconditions of a change set.

use crate::index::{Facet, Posting};
use crate::staged::Staged;
use crate::state::State;
use tko_core::{Error, Key, Kind, Require, Result};

/// Judges all of them, and that no change takes what another has.
///
/// # Errors
/// `NotFound`, `AlreadyExists`: nothing failed but that something is there, or is not. `Conflict`:
/// anything else; names every key for which anything failed.
pub(crate) fn require(state: &State, staged: &Staged, require: &[Require]) -> Result<()> {
    let mut failed = Failed {
        moved: staged.taken.clone(),
        ..Failed::default()
    };
    for require in require {
        failed.judge(state, staged, require);
    }
    failed.result()
}

/// The keys of requirements that failed, by how.
#[derive(Default)]
struct Failed {
    moved: Vec<Key>,
    missing: Vec<Key>,
    there: Vec<Key>,
}

impl Failed {
    fn judge(&mut self, state: &State, staged: &Staged, require: &Require) {
        let key = require.key();
        let entity = state.row(key).map(|row| &*row.entity);
        let usable = entity.filter(|entity| !entity.deleting);
        let failed = match (require, entity, usable) {
            (Require::Absent(_), Some(_), _) => &mut self.there,
            (Require::Exists(_) | Require::Generation(..) | Require::Current(..), _, None)
            | (Require::At(..), None, _) => &mut self.missing,
            (Require::At(_, version) | Require::Current(_, version), Some(entity), _)
                if entity.version != *version =>
            {
                &mut self.moved
            }
            (Require::Generation(_, generation), _, Some(entity))
                if entity.generation != *generation =>
            {
                &mut self.moved
            }
            (Require::Unreferenced(key), ..) if refers_to(state, staged, key) => &mut self.moved,
            _ => return,
        };
        failed.push(key.clone());
    }

    fn result(self) -> Result<()> {
        match (&self.moved[..], &self.missing[..], &self.there[..]) {
            ([], [], []) => Ok(()),
            ([], [missing, ..], []) => Err(Error::not_found(missing)),
            ([], [], [there, ..]) => Err(Error::AlreadyExists(there.clone())),
            _ => {
                let mut all = Vec::new();
                for key in [self.moved, self.missing, self.there].into_iter().flatten() {
                    if !all.contains(&key) {
                        all.push(key);
                    }
                }
                Err(Error::Conflict(all))
            }
        }
    }
}

/// Whether anything names `key` when all changes are written.
fn refers_to(state: &State, staged: &Staged, key: &Key) -> bool {
    staged.after().any(|entity| entity.refers_to(key))
        || referrers(state, key).any(|other| !staged.changes(other))
}

/// Who names this key as template, site, parent or place.
fn referrers<'a>(state: &'a State, key: &Key) -> impl Iterator<Item = &'a Key> {
    let facets: &[(Kind, Facet)] = match key {
        Key::Template(_) => &[
            (Kind::Site, Facet::Template),
            (Kind::Deployment, Facet::Template),
        ],
        Key::Site(_) => &[
            (Kind::Deployment, Facet::Site),
            (Kind::Deployment, Facet::Place),
        ],
        Key::Deployment(_) => &[(Kind::Deployment, Facet::Parent)],
        Key::Plugin(_) => &[],
    };
    facets
        .iter()
        .filter_map(|(kind, facet)| state.of(*kind).index.of(*facet).exactly(key.id()))
        .flat_map(Posting::keys)
}
