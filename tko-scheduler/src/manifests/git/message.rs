//! The message of a commit: the site, and the deployments that were added, changed and removed.

use super::super::job::SiteManifests;
use super::super::names;
use super::tree::Tree;
use std::collections::{BTreeSet, HashMap};
use tko_core::SiteId;

/// The deployments that a commit adds, changes and removes, by id.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct DeploymentChanges {
    added: BTreeSet<String>,
    changed: BTreeSet<String>,
    removed: BTreeSet<String>,
}

impl DeploymentChanges {
    pub(super) fn of(before: &Tree, after: &Tree, job: &SiteManifests) -> Self {
        let wanted = job.wanted.iter().map(|(id, _)| id);
        let ids: HashMap<String, &str> = wanted
            .chain(&job.removed)
            .map(|id| (names::folder(id.as_str()), id.as_str()))
            .collect();
        let (was, is) = (deployments(before), deployments(after));
        let mut changes = Self::default();
        for name in was.union(&is) {
            let id = ids.get(*name).map_or(*name, |id| *id).to_owned();
            match (was.contains(name), is.contains(name)) {
                (false, _) => changes.added.insert(id),
                (true, false) => changes.removed.insert(id),
                (true, true) if files(before, name).ne(files(after, name)) => {
                    changes.changed.insert(id)
                }
                (true, true) => false,
            };
        }
        changes
    }
}

/// The name of the deployment folder in a path.
fn deployment(path: &str) -> Option<&str> {
    let (_, below) = path.split_once('/')?;
    let (name, _) = below.split_once('/')?;
    Some(name)
}

fn deployments(tree: &Tree) -> BTreeSet<&str> {
    tree.keys().filter_map(|path| deployment(path)).collect()
}

fn files<'a>(tree: &'a Tree, name: &'a str) -> impl Iterator<Item = (&'a String, &'a String)> {
    tree.iter()
        .filter(move |(path, _)| deployment(path) == Some(name))
}

/// The message: a line of summary, then the ids.
pub(super) fn message(site: &SiteId, deleting: bool, changes: &DeploymentChanges) -> String {
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
    let mut text = match (deleting, counts.is_empty()) {
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
