//! The result of a bulk action: a message above the list, or a page with the entities that were
//! left unchanged, and why.

use super::confirm::{BulkTarget, MAY_BE_MORE, things};
use super::html::{number, visible};
use super::page::{PageResult, go_to, rendered};
use super::shell::{Notice, Shell};
use super::{encoded, path};
use crate::api::plural;
use crate::context::{ApiCaller, SharedContext};
use crate::query::ApiQuery;
use askama::Template;
use tko_core::{Bulk, Key, Result};

/// Maximum number of unchanged entities that the page shows.
const SHOWN: usize = 100;

/// The result of a bulk action.
pub(super) struct BulkResult {
    pub(super) bulk: Bulk,
    /// Whether the action stopped before it had seen everything that matches.
    pub(super) may_be_more: bool,
    /// Whether more entities may be unchanged than `bulk` reports: the API reports only the first.
    pub(super) is_cut: bool,
}

#[derive(Template)]
#[template(path = "result.html")]
struct ResultPage {
    shell: Shell,
    heading: String,
    kind: &'static str,
    skipped: Vec<SkippedRow>,
    more: Option<String>,
    back: String,
}

/// An entity that was left unchanged.
struct SkippedRow {
    href: String,
    id: String,
    reason: String,
}

impl SkippedRow {
    fn new((key, reason): &(Key, String)) -> Self {
        Self {
            href: path(key),
            id: key.id().to_owned(),
            reason: visible(reason),
        }
    }
}

/// Shows the list with a message, or the entities that were left unchanged.
pub(super) async fn page(
    context: &SharedContext,
    caller: &ApiCaller,
    target: &BulkTarget,
    result: &BulkResult,
) -> PageResult {
    let bulk = &result.bulk;
    let name = plural(target.kind);
    let list = format!("/{name}?q={}", encoded(&target.q));
    if bulk.skipped.is_empty() {
        let more = if result.may_be_more { "&more=true" } else { "" };
        let action = target.action.as_str();
        return go_to(&format!("{list}&done={action}&count={}{more}", bulk.done));
    }
    let unchanged = u64::try_from(bulk.skipped.len()).unwrap_or(u64::MAX);
    let or_more = if result.is_cut { " or more" } else { "" };
    let heading = format!(
        "{} {} {}, {}{or_more} unchanged",
        number(bulk.done),
        things(target.kind, bulk.done),
        target.action.past(),
        number(unchanged)
    );
    let mut shell = Shell::new(context, caller, heading.clone(), target.active(), "none").await?;
    shell.notice = result.may_be_more.then(|| Notice {
        text: hint(bulk.done).to_owned(),
        bad: true,
    });
    let rows = bulk.skipped.iter().take(SHOWN).map(SkippedRow::new);
    let rest = bulk.skipped.len().saturating_sub(SHOWN);
    rendered(&ResultPage {
        shell,
        heading,
        kind: target.kind.as_str(),
        skipped: rows.collect(),
        more: (rest > 0).then(|| number(u64::try_from(rest).unwrap_or(u64::MAX))),
        back: list,
    })
}

/// The hint after an action that stopped before it had seen everything. `done`: the number of
/// entities that it changed.
fn hint(done: u64) -> &'static str {
    if done == 0 {
        // A repeated action would find the same ones.
        "None of the first 10,000 could be changed. Narrow the filter to reach the others."
    } else {
        MAY_BE_MORE
    }
}

/// The message above the list after an action that changed everything, from the address.
pub(super) fn notice(query: &mut ApiQuery) -> Result<Option<Notice>> {
    let done = query.text("done")?;
    let count = query.number::<u64>("count")?.unwrap_or(0);
    let may_be_more = query.boolean("more")?.unwrap_or(false);
    let past = match done.as_deref() {
        Some("approve") => "approved",
        Some("delete") => "deleted",
        _ => return Ok(None),
    };
    let mut text = format!("{} {past}", number(count));
    if may_be_more {
        text.push_str(". ");
        text.push_str(MAY_BE_MORE);
    }
    Ok(Some(Notice {
        text,
        bad: may_be_more,
    }))
}

#[cfg(test)]
mod tests {
    use super::hint;

    #[test]
    fn an_action_without_effect_is_not_to_be_repeated() {
        assert!(hint(0).contains("Narrow the filter"));
        assert!(hint(1).contains("Repeat the action"));
    }
}
