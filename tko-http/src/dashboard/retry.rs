//! Retry now: the button of deployments and sites whose work waits for its next attempt.

use super::html::number;
use super::page::{PageResult, go_to};
use super::path;
use super::shell::Notice;
use crate::api::PathKey;
use crate::context::ApiCaller;
use crate::query::ApiQuery;
use tko_core::{Record, Result, Timestamp};

/// Makes the waiting work of the entity of a page due, and shows the page again.
pub(super) async fn retry(PathKey(key): PathKey, caller: ApiCaller) -> PageResult {
    let count = caller.api.retry(&key).await?;
    go_to(&format!("{}?retried={count}", path(&key)))
}

/// The message after a retry, from the address of the page.
pub(super) fn notice(query: &mut ApiQuery) -> Result<Option<Notice>> {
    let retried = query.number::<u64>("retried")?;
    Ok(retried.map(|count| Notice {
        text: match count {
            0 => "Nothing waits for its next attempt: it is done, due, or in progress.".to_owned(),
            1 => "The next attempt is due now.".to_owned(),
            count => format!(
                "The next attempts of {} pieces of work are due now.",
                number(count)
            ),
        },
        bad: false,
    }))
}

/// Whether work of this entity waits for its next attempt.
pub(super) fn waits(record: &Record, now: Timestamp) -> bool {
    record.work.iter().any(|work| work.waits(now))
}
