//! Holds the manifests on disk against what the data say must be there: every site, every
//! deployment, every resource, no more and no less.

#[cfg(test)]
mod tests;

use anyhow::{Context, bail, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use tko_core::{
    ContentHash, Data, Dialect, Format, Key, Kind, Limits, List, Package, Pattern, Select, SiteId,
    Want,
};
use tko_scheduler::{Manifests, apply};

/// Deployment folders of one site, each with the contents of its resources.
type SiteContents = BTreeMap<String, BTreeSet<ContentHash>>;

/// How many files there are. Fails at the first difference.
pub(super) async fn manifests(data: &dyn Data, root: &Path) -> anyhow::Result<usize> {
    let mut folders = BTreeSet::new();
    let mut files = 0;
    let mut list = List {
        select: Select::all(Kind::Site),
        after: None,
        limit: 500,
        want: Want::ROW,
    };
    loop {
        let page = data.list(&list).await?;
        for record in &page.items {
            let Key::Site(site) = &record.entity.key else {
                continue;
            };
            let folder = Manifests::folder(site);
            let wanted = wanted(data, site).await?;
            let path = root.join(&folder);
            let there = tokio::task::spawn_blocking(move || contents(&path)).await??;
            ensure!(
                there == wanted,
                "folder {folder} of site {site} does not hold what the site is to run: {}",
                difference(&there, &wanted)
            );
            files += there.values().map(BTreeSet::len).sum::<usize>();
            folders.insert(folder);
        }
        list.after = page.next;
        if list.after.is_none() {
            break;
        }
    }
    for entry in fs::read_dir(root).with_context(|| format!("cannot list {}", root.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() && !folders.contains(&name) {
            bail!("folder {name} belongs to no site");
        }
    }
    Ok(files)
}

async fn wanted(data: &dyn Data, site: &SiteId) -> anyhow::Result<SiteContents> {
    let mut contents = SiteContents::new();
    let mut list = List {
        select: Select {
            site_ids: vec![Pattern::literal(site.as_str())],
            prepared: Some(true),
            approved: Some(true),
            ..Select::all(Kind::Deployment)
        },
        after: None,
        limit: 100,
        want: Want::PACKAGE,
    };
    loop {
        let page = data.list(&list).await?;
        for record in page.items {
            let Key::Deployment(id) = &record.entity.key else {
                continue;
            };
            let package = record.package.unwrap_or_default();
            let hashes = apply::to_apply(&package)
                .into_iter()
                .map(|(_, resource)| resource.hash())
                .collect();
            contents.insert(Manifests::deployment_folder(id), hashes);
        }
        list.after = page.next;
        if list.after.is_none() {
            return Ok(contents);
        }
    }
}

fn contents(site: &Path) -> anyhow::Result<SiteContents> {
    let mut found = SiteContents::new();
    let entries = fs::read_dir(site).with_context(|| format!("cannot list {}", site.display()))?;
    for entry in entries {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            continue;
        }
        let mut hashes = BTreeSet::new();
        for file in fs::read_dir(entry.path())? {
            let path = file?.path();
            let name = path.display();
            let bytes = fs::read(&path).with_context(|| format!("cannot read {name}"))?;
            let package =
                Package::decode(&bytes, Format::Yaml, Dialect::People, &Limits::default())
                    .with_context(|| name.to_string())?;
            ensure!(package.len() == 1, "{name} does not hold one resource");
            hashes.extend(package.iter().map(|resource| resource.hash()));
        }
        found.insert(entry.file_name().to_string_lossy().into_owned(), hashes);
    }
    Ok(found)
}

fn difference(there: &SiteContents, wanted: &SiteContents) -> String {
    let missing = wanted.keys().filter(|name| !there.contains_key(*name));
    let surplus = there.keys().filter(|name| !wanted.contains_key(*name));
    let other = wanted
        .iter()
        .filter(|(name, hashes)| there.get(*name).is_some_and(|found| found != *hashes))
        .map(|(name, _)| name);
    let list =
        |what: &str, names: Vec<&String>| (!names.is_empty()).then(|| format!("{what} {names:?}"));
    [
        list("missing", missing.collect()),
        list("surplus", surplus.collect()),
        list("different", other.collect()),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>()
    .join(", ")
}
