//! Proving that what is stored is consistent, while it is in use, and mending what can be mended.
//!
//! Nothing here is a constraint that the database checks: that would cost every write. Rows are
//! walked in pages, each read in one snapshot; what is mended is mended only if it is still as it
//! was read.

mod orphans;
mod rows;

use crate::postgres::Shared;
use std::fmt;
use tko_core::Result;

/// Rows walked at once.
const PAGE: i64 = 1_000;

/// Of one snapshot, without holding anything back.
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Most examples of one problem.
const EXAMPLES: usize = 10;

/// What may be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Problem {
    /// An entity names a template, site, parent or place that is not there.
    Dangling,
    /// Metadata is not found by, or something is found by metadata that it has not.
    Index,
    /// A `once` key is not found, or found for something else.
    Once,
    /// A body is not there, or is not what its hash says.
    Body,
    /// A body that nothing refers to.
    Orphan,
    /// Work on something that is not there.
    Work,
    /// The feed has a gap, or a change beyond its head.
    Feed,
    /// Changes wait for their revisions for longer than a minute: nobody numbers them.
    Unnumbered,
}

impl Problem {
    /// What to do about it, if it is not mended.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Dangling => "--repair clears the relation, as deleting what it named would have",
            Self::Index | Self::Once => "--repair writes what the row says",
            Self::Body => "restore the body from a backup, or put the entity anew",
            Self::Orphan | Self::Work => "--repair removes it",
            Self::Feed => "watchers may have missed a change: have them list again",
            Self::Unnumbered => {
                "start a data server: it numbers them; if one runs, look at its log"
            }
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dangling => "relations to what is not there",
            Self::Index => "metadata that is not indexed as it is",
            Self::Once => "creation keys that are not indexed as they are",
            Self::Body => "bodies that are missing or damaged",
            Self::Orphan => "bodies that nothing refers to",
            Self::Work => "work on what is not there",
            Self::Feed => "gaps in the feed",
            Self::Unnumbered => "changes without a revision for more than a minute",
        })
    }
}

/// One problem, and where it is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Finding {
    /// What is wrong.
    pub problem: Problem,
    /// How often.
    pub count: u64,
    /// How many of these were mended.
    pub repaired: u64,
    /// The first few.
    pub examples: Vec<String>,
}

/// What was looked at, and what was found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// Rows looked at.
    pub entities: u64,
    /// Bodies unpacked and compared with their hash.
    pub bodies: u64,
    /// Changes in the feed.
    pub changes: u64,
    /// By problem; empty if all is well.
    pub findings: Vec<Finding>,
}

impl Report {
    /// How much was found and not mended.
    pub fn left(&self) -> u64 {
        self.findings.iter().map(|f| f.count - f.repaired).sum()
    }

    fn add(&mut self, problem: Problem, example: String, repaired: bool) {
        let at = self.findings.iter().position(|f| f.problem == problem);
        let at = at.unwrap_or_else(|| {
            self.findings.push(Finding {
                problem,
                count: 0,
                repaired: 0,
                examples: Vec::new(),
            });
            self.findings.len() - 1
        });
        let finding = &mut self.findings[at];
        finding.count += 1;
        finding.repaired += u64::from(repaired);
        if finding.examples.len() < EXAMPLES {
            finding.examples.push(example);
        }
    }
}

/// Looks at everything.
pub(crate) async fn check(shared: &Shared, repair: bool) -> Result<Report> {
    let check = Check { shared, repair };
    let mut report = Report::default();
    check.rows(&mut report).await?;
    check.facets(&mut report).await?;
    check.strays(&mut report).await?;
    check.feed(&mut report).await?;
    report.findings.sort_by_key(|finding| finding.problem);
    Ok(report)
}

struct Check<'a> {
    shared: &'a Shared,
    repair: bool,
}
