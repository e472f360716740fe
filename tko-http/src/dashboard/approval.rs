//! The change that waits for approval, on the page of its deployment.

use super::html::{Html, number, visible};
use crate::api::comparison_weight;
use crate::context::SharedContext;
use std::time::{Duration, Instant};
use tko_core::api::{DeploymentComparison, EarlierState, compare_deployment};
use tko_core::diff::DiffDeadline;
use tko_core::{DataApi, DeploymentId, Error, ResourceDifference, Result};

/// Maximum number of bytes of differences on the page; `tko deployment diff` shows the rest.
const MAX_SHOWN: usize = 100_000;

/// Maximum number of resources on the page.
const MAX_RESOURCES: usize = 500;

/// The end of a difference that is cut.
const GAP: &str = "<span class=\"gap\">⋯\n</span>";

/// The longest search for the smallest differences: a page is rendered again when something
/// changes.
const SEARCH: Duration = Duration::from_secs(1);

/// The change that an approval applies.
pub(super) struct WaitingChange {
    /// The states that are compared, and the number of differences.
    pub(super) about: String,
    /// The generation that an approval is for.
    pub(super) generation: u64,
    pub(super) resources: Vec<ChangedResource>,
    /// Whether there is more than the page shows.
    pub(super) is_cut: bool,
}

/// A resource that an approval adds, removes or changes.
pub(super) struct ChangedResource {
    pub(super) change: &'static str,
    pub(super) name: String,
    pub(super) diff: Html,
}

/// Compares the package that the site keeps with the edited one; `None` if no edit waits.
pub(super) async fn waiting_change(
    context: &SharedContext,
    api: &dyn DataApi,
    id: &DeploymentId,
) -> Result<Option<WaitingChange>> {
    let comparison = match compare_deployment(api, id, None).await {
        Ok(comparison) => comparison,
        // The deployment keeps changing, so the page is soon rendered again.
        Err(Error::Conflict(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    if !comparison.after.entity.has_unapproved_edit() {
        return Ok(None);
    }
    let weight = comparison_weight(&comparison);
    let show = || shown(&comparison, MAX_SHOWN);
    Ok(Some(context.heavy_work.run(weight, show).await))
}

fn shown(comparison: &DeploymentComparison, most: usize) -> WaitingChange {
    let deadline = DiffDeadline::new(Instant::now(), SEARCH);
    let differences = comparison.differences();
    let mut left = most;
    let mut is_cut = false;
    let mut resources = Vec::new();
    for difference in &differences {
        if left == 0 || resources.len() == MAX_RESOURCES {
            is_cut = true;
            break;
        }
        let difference = difference.without_secret_values();
        let (diff, is_whole) = lines(&difference.unified(deadline), &mut left);
        is_cut |= !is_whole;
        let identifier = difference.identifier();
        let name = format!("{} {identifier}", identifier.gvk.api_version());
        resources.push(ChangedResource {
            change: difference.as_str(),
            name: visible(&name),
            diff,
        });
    }
    WaitingChange {
        about: about(comparison, &differences),
        generation: comparison.after.entity.generation.0,
        resources,
        is_cut,
    }
}

/// The states that are compared, and the number of differences.
fn about(comparison: &DeploymentComparison, differences: &[ResourceDifference]) -> String {
    let count = |change: &str| {
        let found = differences.iter().filter(|one| one.as_str() == change);
        number(u64::try_from(found.count()).unwrap_or(u64::MAX))
    };
    let to = comparison.after.entity.generation;
    let from = comparison.before.record();
    let from = from.map(|record| record.entity.generation);
    let mut text = match (&comparison.before, from) {
        (EarlierState::Kept { site, .. }, Some(from)) => {
            format!("From generation {from}, which site {site} keeps, to generation {to}.")
        }
        (_, Some(from)) => format!("From generation {from} to generation {to}."),
        (_, None) => "There is no earlier package to compare with.".to_owned(),
    };
    if from.is_some() && differences.is_empty() {
        text.push_str(" The packages have the same resources.");
    } else if from.is_some() {
        let (added, removed) = (count("added"), count("removed"));
        let changed = count("changed");
        let counts = format!(" Resources: {added} added, {removed} removed, {changed} changed.");
        text.push_str(&counts);
    }
    if comparison.is_reordered() {
        text.push_str(" The resources are in another order.");
    }
    text
}

/// A unified diff as lines, up to this number of bytes; and whether it is whole.
fn lines(diff: &str, left: &mut usize) -> (Html, bool) {
    let mut html = Html::default();
    // The first two lines name the resource.
    for line in diff.split_terminator('\n').skip(2) {
        if *left == 0 {
            html.push_raw(GAP);
            return (html, false);
        }
        let end = line.floor_char_boundary(*left);
        let markup = match line.as_bytes().first() {
            Some(b'+') => "<span class=\"add\">",
            Some(b'-') => "<span class=\"del\">",
            Some(b'@') => "<span class=\"gap\">",
            _ => "<span>",
        };
        html.push_raw(markup);
        html.push(&line[..end]);
        // Inside, so that lines stay lines without the style sheet.
        html.push_raw("\n</span>");
        *left = left.saturating_sub(line.len() + 1);
        if end < line.len() {
            html.push_raw(GAP);
            return (html, false);
        }
    }
    (html, true)
}

#[cfg(test)]
mod tests {
    use super::{GAP, lines};

    const DIFF: &str = "--- v1 A a\n+++ v1 A a\n@@ -1,2 +1,2 @@\n \
                        kind: A\n-a: <b>\n+a: é\u{202e}\n";

    #[test]
    fn lines_have_their_classes_and_are_escaped() {
        let mut left = 1_000;
        let (html, is_whole) = lines(DIFF, &mut left);
        assert!(is_whole);
        assert_eq!(
            html.to_string(),
            "<span class=\"gap\">@@ -1,2 +1,2 @@\n</span><span> kind: A\n</span>\
             <span class=\"del\">-a: &lt;b&gt;\n</span>\
             <span class=\"add\">+a: é\\u{202e}\n</span>"
        );
    }

    #[test]
    fn a_long_diff_is_cut_between_characters() {
        for most in 1..42 {
            let mut left = most;
            let (html, is_whole) = lines(DIFF, &mut left);
            assert!(!is_whole && left == 0, "{most}");
            assert!(html.to_string().ends_with(GAP), "{most}");
        }
        let mut left = 42;
        assert!(
            lines(DIFF, &mut left).1,
            "the end of the last line does not count"
        );
    }
}
