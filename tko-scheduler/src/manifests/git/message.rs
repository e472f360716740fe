//! What a commit says: the site, and its deployments that came, changed and went.

use super::super::{Job, names};
use std::collections::{BTreeSet, HashMap};
use tko_core::SiteId;

/// Deployments by id.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    added: BTreeSet<String>,
    changed: BTreeSet<String>,
    removed: BTreeSet<String>,
}

impl Changes {
    /// `before`: paths in the site's folder that were committed; `changed`: paths that differ now;
    /// both ended by NUL.
    pub(super) fn of(folder: &str, before: &str, changed: &str, job: &Job) -> Self {
        let below = |path: &str| -> Option<(String, bool)> {
            let path = path.strip_prefix(folder)?.strip_prefix('/')?;
            let (name, inside) = match path.split_once('/') {
                Some((name, _)) => (name, true),
                None => (path, false),
            };
            Some((name.to_owned(), inside))
        };
        let before: BTreeSet<String> = before
            .split('\0')
            .filter_map(below)
            .map(|(name, _)| name)
            .collect();
        let wanted = job.wanted.iter().map(|(id, _)| id);
        let ids: HashMap<String, &str> = wanted
            .clone()
            .chain(&job.removed)
            .map(|id| (names::folder(id.as_str()), id.as_str()))
            .collect();
        let there: BTreeSet<String> = wanted.map(|id| names::folder(id.as_str())).collect();
        let mut changes = Self::default();
        let folders = changed.split('\0').filter_map(below);
        for (name, _) in folders.filter(|(_, inside)| *inside) {
            let id = ids.get(&name).map_or(name.as_str(), |id| *id).to_owned();
            match (before.contains(&name), there.contains(&name)) {
                (false, _) => changes.added.insert(id),
                (true, true) => changes.changed.insert(id),
                (true, false) => changes.removed.insert(id),
            };
        }
        changes
    }
}

/// A line that says it all, then the ids.
pub(super) fn message(site: &SiteId, going: bool, changes: &Changes) -> String {
    let parts = [
        ("added", &changes.added),
        ("changed", &changes.changed),
        ("removed", &changes.removed),
    ];
    let parts: Vec<_> = parts.iter().filter(|(_, ids)| !ids.is_empty()).collect();
    let counts: Vec<String> = parts
        .iter()
        .map(|(what, ids)| format!("{} {what}", ids.len()))
        .collect();
    let mut text = match (going, counts.is_empty()) {
        (true, true) => format!("site {site}: deleted\n"),
        (true, false) => format!("site {site}: deleted, {}\n", counts.join(", ")),
        (false, true) => format!("site {site}: no deployments changed\n"),
        (false, false) => format!("site {site}: {}\n", counts.join(", ")),
    };
    for (what, ids) in parts {
        text.push('\n');
        for id in *ids {
            text.extend([what, ": ", id.as_str(), "\n"]);
        }
    }
    text
}
