//! The report of a check.

use std::fmt;

/// Maximum number of examples for one problem.
const MAX_EXAMPLES: usize = 10;

/// A kind of inconsistency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum SqliteCheckProblem {
    /// SQLite finds that the pages of the file are damaged.
    Damage,
    /// A stored row cannot be decoded, or is stored under another key.
    Row,
    /// An entity refers to a template, site, or parent that does not exist.
    Dangling,
    /// The index lacks a value of an entity, or has one that it does not have.
    Index,
    /// The index of idempotency keys differs from the entities.
    IdempotencyKey,
    /// A package is missing, or does not match its hash.
    Body,
    /// The count of the users of a package is wrong.
    Uses,
    /// No entity and no change refers to a stored package.
    Orphan,
    /// The entity of a piece of work does not exist.
    Work,
    /// The feed has a gap, or a change after its head.
    Feed,
}

impl SqliteCheckProblem {
    /// Returns the remedy, as a sentence for operators.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Damage | Self::Row => "restore a backup with `tko backend restore`",
            Self::Dangling => "register the missing entity again, or delete the one that names it",
            Self::Index | Self::IdempotencyKey => "--repair updates the index from the entity",
            Self::Body => "restore the package from a backup, or register the entity again",
            Self::Uses => "--repair counts again",
            Self::Orphan | Self::Work => "--repair deletes it",
            Self::Feed => {
                "watchers may have missed a change: restart them, so that they list again"
            }
        }
    }
}

impl fmt::Display for SqliteCheckProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Damage => "damaged pages of the file",
            Self::Row => "damaged rows",
            Self::Dangling => "references to missing entities",
            Self::Index => "values that differ from their index",
            Self::IdempotencyKey => "idempotency keys that differ from their index",
            Self::Body => "missing or damaged packages",
            Self::Uses => "wrong counts of the users of packages",
            Self::Orphan => "unreferenced packages",
            Self::Work => "work on missing entities",
            Self::Feed => "gaps in the feed",
        })
    }
}

/// All occurrences of one problem.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SqliteCheckFinding {
    /// The kind of inconsistency.
    pub problem: SqliteCheckProblem,
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
pub struct SqliteCheckReport {
    /// Entities that were checked.
    pub entities: u64,
    /// Packages that were decoded and compared with their hashes.
    pub bodies: u64,
    /// Changes that the feed keeps.
    pub changes: u64,
    /// One finding per problem; empty if the data is consistent.
    pub findings: Vec<SqliteCheckFinding>,
}

impl SqliteCheckReport {
    /// Returns the number of occurrences that were not repaired.
    pub fn left(&self) -> u64 {
        self.findings.iter().map(|f| f.count - f.repaired).sum()
    }
}

/// Collects the findings of a check.
#[derive(Debug, Default)]
pub(super) struct SqliteFindings {
    pub(super) entities: u64,
    pub(super) bodies: u64,
    pub(super) changes: u64,
    found: Vec<SqliteCheckFinding>,
}

impl SqliteFindings {
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(super) fn add(&mut self, problem: SqliteCheckProblem, example: String, repaired: bool) {
        let position = self.found.iter().position(|f| f.problem == problem);
        let position = position.unwrap_or_else(|| {
            self.found.push(SqliteCheckFinding {
                problem,
                count: 0,
                repaired: 0,
                examples: Vec::new(),
            });
            self.found.len() - 1
        });
        let finding = &mut self.found[position];
        finding.count += 1;
        finding.repaired += u64::from(repaired);
        if finding.examples.len() < MAX_EXAMPLES {
            finding.examples.push(example);
        }
    }

    pub(super) fn report(mut self) -> SqliteCheckReport {
        self.found.sort_by_key(|finding| finding.problem);
        SqliteCheckReport {
            entities: self.entities,
            bodies: self.bodies,
            changes: self.changes,
            findings: self.found,
        }
    }
}
