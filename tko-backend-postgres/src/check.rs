//! Consistency checks and repairs, while the database is in use.
//!
//! The schema has no constraints between tables: they would cost every write. Rows are read in
//! pages, each in one snapshot. A repair applies only if the row is still as it was read.

mod checker;
mod facets;
mod feed;
mod holders;
mod orphans;
mod report;
mod rows;

use crate::commit::Committer;
use crate::content::Content;
use crate::database::Database;
use checker::Checker;
use tko_core::Result;

pub use report::{CheckFinding, CheckProblem, CheckReport};

/// Checks everything. With `repair`, fixes what can be fixed without losing data.
pub(crate) async fn check(
    database: &Database,
    content: &Content,
    committer: &Committer,
    repair: bool,
) -> Result<CheckReport> {
    let checker = Checker {
        database,
        content,
        committer,
        repair,
    };
    let mut report = CheckReport::default();
    rows::check(&checker, &mut report).await?;
    facets::check(&checker, &mut report).await?;
    orphans::check(&checker, &mut report).await?;
    holders::check(&checker, &mut report).await?;
    feed::check(&checker, &mut report).await?;
    report.sort();
    Ok(report)
}
