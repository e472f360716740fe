//! The changes of an entity, and the comparison of two of them.

use super::activity::{difference, who};
use super::diff::diff;
use super::html::{Html, number, when};
use super::page::{PageResult, rendered};
use super::path;
use super::shell::Shell;
use crate::api::PathKey;
use crate::context::{ApiCaller, SharedContext};
use crate::query::ApiQuery;
use askama::Template;
use axum::extract::State;
use tko_core::{ChangeRecord, DataApi, Error, Format, Key, Package, Result, Revision, Timestamp};

/// One change of an entity.
pub(super) struct HistoryRow {
    pub(super) revision: String,
    pub(super) when: Html,
    pub(super) who: String,
    pub(super) what: Html,
}

/// The changes as rows. Changes of the package link to a comparison.
pub(super) fn rows(key: &Key, changes: &[ChangeRecord], now: Timestamp) -> Vec<HistoryRow> {
    changes
        .iter()
        .map(|change| {
            let before = change.before.as_ref().map(|record| &*record.entity);
            let after = change.after.as_ref().map(|record| &*record.entity);
            let verb = change
                .cause
                .as_ref()
                .map_or("changed", |cause| cause.verb());
            let mut what = Html::text(verb);
            let details = difference(before, after);
            if !details.is_empty() {
                what = what.with(": ").with(&details);
            }
            let has_new_package =
                matches!((before, after), (Some(one), Some(two)) if one.body != two.body);
            if has_new_package && key.deployment().is_some() {
                let revision = change.revision;
                let href = format!("{}/compare?to={revision}", path(key));
                what = what.with(" ").link(&href, "diff");
            }
            HistoryRow {
                revision: number(change.revision.0),
                when: when(change.at, now),
                who: who(change),
                what,
            }
        })
        .collect()
}

/// The link that compares the last two changes.
pub(super) fn compare_link(key: &Key, changes: &[ChangeRecord]) -> Option<String> {
    let [last, .., _] = changes else {
        return None;
    };
    let before = &changes[1];
    Some(format!(
        "{}/compare?from={}&to={}",
        path(key),
        before.revision,
        last.revision
    ))
}

#[derive(Template)]
#[template(path = "compare.html")]
struct ComparePage {
    shell: Shell,
    path: String,
    id: String,
    from: u64,
    to: u64,
    summary: String,
    diff: Html,
}

/// Compares the packages after two revisions. Without `from`: before and after one change.
pub(super) async fn compare(
    PathKey(key): PathKey,
    State(context): State<SharedContext>,
    caller: ApiCaller,
    mut query: ApiQuery,
) -> PageResult {
    let from = query.number::<u64>("from")?;
    let to = query.number::<u64>("to")?.unwrap_or(u64::MAX - 1);
    query.end()?;
    let new = at(&*caller.api, &key, Revision(to)).await?;
    let old = if let Some(from) = from {
        Some(at(&*caller.api, &key, Revision(from)).await?)
    } else {
        let before = Some(new.revision);
        let found = caller.api.history(&key, before, 1).await?;
        found.into_iter().next()
    };
    let (before, after) = (old.as_ref().map(text).unwrap_or_default(), text(&new));
    let (diff, added, removed) = diff(&before, &after);
    let shell = Shell::new(&context, &caller, key.id(), "/deployments", "none").await?;
    rendered(&ComparePage {
        shell,
        path: path(&key),
        id: key.id().to_owned(),
        from: old.map_or(0, |old| old.revision.0),
        to: new.revision.0,
        summary: match (added, removed) {
            (0, 0) => "The package is the same".to_owned(),
            (1, removed) => format!("1 line added, {} removed", number_of(removed)),
            (added, removed) => format!(
                "{} lines added, {} removed",
                number_of(added),
                number_of(removed)
            ),
        },
        diff,
    })
}

fn number_of(count: usize) -> String {
    number(u64::try_from(count).unwrap_or(u64::MAX))
}

/// The last change of an entity up to a revision.
async fn at(api: &dyn DataApi, key: &Key, revision: Revision) -> Result<ChangeRecord> {
    let before = Some(Revision(revision.0.saturating_add(1)));
    let found = api.history(key, before, 1).await?;
    found
        .into_iter()
        .next()
        .ok_or_else(|| Error::not_found(key.clone()))
}

fn text(change: &ChangeRecord) -> String {
    let package: Option<&Package> = change
        .after
        .as_ref()
        .and_then(|record| record.package.as_ref());
    let bytes = package
        .map(|package| package.encode(Format::Yaml))
        .unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
