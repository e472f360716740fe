//! The report of a check.

use std::fmt;

/// Maximum number of examples for one problem.
const MAX_EXAMPLES: usize = 10;

/// A kind of inconsistency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CheckProblem {
    /// An entity refers to a template, site, or parent that does not exist.
    Dangling,
    /// The index of metadata lacks a pair of an entity, or has one that no entity has.
    Index,
    /// The index of idempotency keys differs from the entities.
    IdempotencyKey,
    /// A package is missing, or does not match its hash.
    Body,
    /// No entity and no change refers to a stored package.
    Orphan,
    /// The entity of a piece of work does not exist.
    Work,
    /// The feed has a gap, or a change after its head.
    Feed,
    /// Changes have waited for their revisions for more than a minute.
    Unnumbered,
}

impl CheckProblem {
    /// Returns the remedy, as a sentence for operators.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Dangling => "--repair clears the reference, as deleting its target would have",
            Self::Index | Self::IdempotencyKey => "--repair updates the index from the entity",
            Self::Body => "restore the package from a backup, or register the entity again",
            Self::Orphan | Self::Work => "--repair deletes it",
            Self::Feed => {
                "watchers may have missed a change: restart them, so that they list again"
            }
            Self::Unnumbered => {
                "start a data server, which numbers them; if one runs, read its log"
            }
        }
    }
}

impl fmt::Display for CheckProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dangling => "references to missing entities",
            Self::Index => "metadata that differs from its index",
            Self::IdempotencyKey => "idempotency keys that differ from their index",
            Self::Body => "missing or damaged packages",
            Self::Orphan => "unreferenced packages",
            Self::Work => "work on missing entities",
            Self::Feed => "gaps in the feed",
            Self::Unnumbered => "changes without a revision for more than a minute",
        })
    }
}

/// All occurrences of one problem.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CheckFinding {
    /// The kind of inconsistency.
    pub problem: CheckProblem,
    /// The number of occurrences.
    pub count: u64,
    /// How many of them were repaired.
    pub repaired: u64,
    /// The first occurrences, at most 10.
    pub examples: Vec<String>,
}

/// The extent of a check, and its findings.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CheckReport {
    /// Entities that were checked.
    pub entities: u64,
    /// Packages that were unpacked and compared with their hashes.
    pub bodies: u64,
    /// Changes that the feed keeps.
    pub changes: u64,
    /// One finding per problem; empty if the data is consistent.
    pub findings: Vec<CheckFinding>,
}

impl CheckReport {
    /// Returns the number of occurrences that were not repaired.
    pub fn left(&self) -> u64 {
        self.findings.iter().map(|f| f.count - f.repaired).sum()
    }

    pub(super) fn add(&mut self, problem: CheckProblem, example: String, repaired: bool) {
        let position = self.findings.iter().position(|f| f.problem == problem);
        let position = position.unwrap_or_else(|| {
            self.findings.push(CheckFinding {
                problem,
                count: 0,
                repaired: 0,
                examples: Vec::new(),
            });
            self.findings.len() - 1
        });
        let finding = &mut self.findings[position];
        finding.count += 1;
        finding.repaired += u64::from(repaired);
        if finding.examples.len() < MAX_EXAMPLES {
            finding.examples.push(example);
        }
    }

    pub(super) fn sort(&mut self) {
        self.findings.sort_by_key(|finding| finding.problem);
    }
}
