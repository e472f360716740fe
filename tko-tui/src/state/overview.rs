//! [`OverviewView`]: counts, reasons, and the last changes.

use crate::action::Motion;
use crate::fetch::{FetchRequest, OverviewFacts};
use tko_core::{Kind, Result};

/// The rows of the overview: label, and the kind and filter line of the list that they open. They
/// have the order of [`OverviewFacts::counts`]; the last is [`OverviewFacts::failing`].
pub(crate) const COUNT_LABELS: [(&str, Kind, &str); 8] = [
    ("deployments", Kind::Deployment, ""),
    ("  approved", Kind::Deployment, "--approved"),
    (
        "  waiting for approval",
        Kind::Deployment,
        "--state waiting",
    ),
    ("  not prepared", Kind::Deployment, "--prepared=false"),
    ("sites", Kind::Site, ""),
    ("templates", Kind::Template, ""),
    ("plugins", Kind::Plugin, ""),
    ("failing deployments", Kind::Deployment, "--state failing"),
];

/// The overview.
#[derive(Debug, Default)]
pub(crate) struct OverviewView {
    pub(crate) facts: Option<OverviewFacts>,
    pub(crate) selected: usize,
    pub(crate) is_loading: bool,
    pub(crate) is_stale: bool,
    pub(crate) problem: Option<String>,
    pub(super) ticket: u64,
}

impl OverviewView {
    pub(super) fn load(&mut self, ticket: u64) -> FetchRequest {
        (self.ticket, self.is_loading, self.is_stale) = (ticket, true, false);
        FetchRequest::Overview { ticket }
    }

    pub(super) fn receive(&mut self, facts: Result<OverviewFacts>) {
        self.is_loading = false;
        match facts {
            Ok(facts) => (self.facts, self.problem) = (Some(facts), None),
            Err(error) => {
                self.is_stale |= error.is_retryable();
                self.problem = Some(error.chain());
            }
        }
    }

    pub(super) fn go(&mut self, motion: Motion) {
        let last = COUNT_LABELS.len() - 1;
        self.selected = match motion {
            Motion::Home => 0,
            Motion::End => last,
            Motion::Lines(lines) | Motion::Screens(lines) => {
                let by = isize::try_from(lines).unwrap_or(0);
                self.selected.saturating_add_signed(by).min(last)
            }
            Motion::Left | Motion::Right => self.selected,
        };
    }
}
