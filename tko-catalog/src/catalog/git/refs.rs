//! The tags and branches that a catalog reads.

use super::SHORT;
use super::repository::{GitRef, RemoteRefs};
use crate::catalog::entry::CatalogEntry;
use crate::catalog::layout::{chosen_folder, is_version};
use tko_core::{Error, Result};

/// A short digest of all refs.
pub(super) fn state(refs: &[GitRef]) -> String {
    let mut hasher = blake3::Hasher::new();
    for reference in refs {
        hasher.update(reference.name.as_bytes());
        hasher.update(reference.commit.as_bytes());
    }
    hasher.finalize().to_hex().chars().take(SHORT).collect()
}

/// The refs that a catalog reads.
#[derive(PartialEq, Eq)]
pub(super) struct ChosenRefs {
    pub(super) refs: Vec<GitRef>,
    /// Whether the catalog reads nothing because it excludes the packages of all version tags.
    pub(super) excludes_all: bool,
}

/// Whether a ref is a tag that is a version.
fn is_version_tag(entry: &CatalogEntry, reference: &GitRef) -> bool {
    let short = reference.short();
    let last = short.rsplit_once('/').map_or(short, |(_, last)| last);
    !reference.is_branch()
        && match &entry.tags {
            Some(pattern) => pattern.matches(short),
            None => is_version(last),
        }
}

/// Whether the catalog includes the package that a tag names, or the tag names none.
fn includes(entry: &CatalogEntry, tag: &GitRef) -> bool {
    let place = tag.short().rsplit_once('/').map(|(place, _)| place);
    place.is_none_or(|place| chosen_folder(entry, place).is_some())
}

/// Chooses the refs: the branch and the tags that the catalog names; or else all tags that look
/// like versions; or else the default branch. Tags of packages that the catalog excludes are not
/// read. They are versions nevertheless. The default branch does not stand in for them, because its
/// templates would be gone as soon as an included package has a tag.
pub(super) fn choose(entry: &CatalogEntry, remote: &RemoteRefs) -> Result<ChosenRefs> {
    let mut refs: Vec<GitRef> = Vec::new();
    let mut has_versions = false;
    if entry.branch.is_none() || entry.tags.is_some() {
        for reference in &remote.refs {
            if is_version_tag(entry, reference) {
                has_versions = true;
                if includes(entry, reference) {
                    refs.push(reference.clone());
                }
            }
        }
    }
    let branch = match &entry.branch {
        Some(branch) => Some(branch.as_str()),
        // The default branch of an empty repository does not exist yet.
        None if !has_versions && entry.tags.is_none() => remote
            .default_branch
            .as_deref()
            .filter(|branch| remote.has_branch(branch)),
        None => None,
    };
    if let Some(branch) = branch {
        let name = format!("refs/heads/{branch}");
        if let Some(reference) = remote.refs.iter().find(|reference| reference.name == name) {
            refs.push(reference.clone());
        } else {
            let why = format!("the repository has no branch {branch:?}");
            return Err(Error::bad("branch", why));
        }
    }
    let excludes_all = has_versions && refs.is_empty();
    if refs.is_empty() && entry.tags.is_none() && !has_versions {
        return Err(Error::bad(
            "url",
            "the repository has neither versions nor a default branch",
        ));
    }
    Ok(ChosenRefs { refs, excludes_all })
}
