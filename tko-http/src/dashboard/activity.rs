//! The last changes, with who made them.

use super::html::{Html, when};
use super::page::{PageResult, rendered};
use super::shell::Shell;
use crate::context::{ApiCaller, SharedContext};
use crate::query::ApiQuery;
use askama::Template;
use axum::extract::State;
use futures_util::StreamExt;
use tko_core::view::{DeploymentState, obstacle};
use tko_core::{Cause, ChangeRecord, Entity, Key, Revision, Timestamp};

/// Number of changes on the page.
const SHOWN: usize = 100;

#[derive(Template)]
#[template(path = "activity.html")]
struct ActivityPage {
    shell: Shell,
    activity: Vec<ActivityRow>,
}

/// One change.
pub(super) struct ActivityRow {
    pub(super) when: Html,
    pub(super) revision: String,
    pub(super) who: String,
    pub(super) what: Html,
}

pub(super) async fn page(
    State(context): State<SharedContext>,
    caller: ApiCaller,
    query: ApiQuery,
) -> PageResult {
    query.end()?;
    let shell = Shell::new(&context, &caller, "Activity", "/activity", "all").await?;
    let activity = latest(&caller, SHOWN, shell.now).await;
    rendered(&ActivityPage { shell, activity })
}

/// The latest changes of all kinds, newest first; none if the API does not list them.
pub(super) async fn latest(caller: &ApiCaller, most: usize, now: Timestamp) -> Vec<ActivityRow> {
    let Ok(position) = caller.api.feed_position().await else {
        return Vec::new();
    };
    let first = position
        .revision
        .0
        .saturating_sub(u64::try_from(most).unwrap_or(u64::MAX));
    let first = Revision(first).max(position.oldest);
    let changes = caller.api.changes(Some(first)).take(2 * most);
    let changes: Vec<ChangeRecord> = changes
        .filter_map(async |change| change.ok())
        .collect()
        .await;
    let row = |change: &ChangeRecord| {
        let before = change.before.as_ref().map(|record| &*record.entity);
        let after = change.after.as_ref().map(|record| &*record.entity);
        ActivityRow {
            when: when(change.at, now),
            revision: super::html::number(change.revision.0),
            who: who(change),
            what: what(
                &change.key,
                before,
                after,
                change.cause.as_ref().map(Cause::verb),
            ),
        }
    };
    changes.iter().rev().take(most).map(row).collect()
}

/// The caller that made a change, and its protocol.
pub(super) fn who(change: &ChangeRecord) -> String {
    let cause = change.cause.as_ref();
    match (
        cause.and_then(Cause::caller),
        cause.and_then(Cause::interface),
    ) {
        (Some(caller), Some(interface)) => format!("{caller}, {interface}"),
        _ => "TKO".to_owned(),
    }
}

/// A change in words: the verb, the entity, and what is different.
fn what(key: &Key, before: Option<&Entity>, after: Option<&Entity>, verb: Option<&str>) -> Html {
    let kind = key.kind();
    let html = Html::text(verb.unwrap_or("changed"))
        .with(" ")
        .with(kind.as_str())
        .with(" ");
    let html = html.entity(key);
    let details = difference(before, after);
    if details.is_empty() {
        html
    } else {
        html.with(": ").with(&details)
    }
}

/// The differences between two states, in words.
pub(super) fn difference(before: Option<&Entity>, after: Option<&Entity>) -> String {
    let (Some(before), Some(after)) = (before, after) else {
        return String::new();
    };
    let mut parts = Vec::new();
    let states = (DeploymentState::of(before), DeploymentState::of(after));
    if let (Some(one), Some(other)) = states
        && one != other
    {
        parts.push(format!("{one} → {other}"));
    }
    let said = (obstacle(before), obstacle(after));
    if let (one, Some(other)) = said
        && one.is_none_or(|one| one.message != other.message)
    {
        parts.push(other.message.clone());
    }
    if before.body != after.body && parts.is_empty() {
        parts.push("package".to_owned());
    }
    if before.metadata != after.metadata && parts.is_empty() {
        parts.push("metadata".to_owned());
    }
    parts.join("; ")
}
