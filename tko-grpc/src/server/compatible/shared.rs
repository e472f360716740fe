//! Conversions that the messages of all kinds share.

use super::super::pages::records;
use crate::proto;
use crate::wire::table::format;
use bytes::Bytes;
use futures_util::TryStreamExt;
use std::fmt::Write;
use std::sync::Arc;
use tko_core::{Bulk, Error, Format, Key, Record, Result, Want, WorkerApi, view};

/// The package format of responses to requests that prefer none.
///
/// Existing Python clients prefer none and cannot read several YAML documents.
pub(super) const DEFAULT_FORMAT: Format = Format::Cbor;

/// Maximum number of skipped entities that a reason lists.
const MAX_REASONS: usize = 20;

/// The number of items to skip, and the maximum number to return.
pub(super) fn window(window: Option<proto::Window>) -> (usize, Option<usize>) {
    let window = window.unwrap_or_default();
    let count = usize::try_from(window.max_count).ok();
    (
        usize::try_from(window.offset).unwrap_or(usize::MAX),
        count.filter(|count| *count > 0),
    )
}

/// The package format of a response.
pub(super) fn preferred(name: &str) -> Result<Format> {
    if name.is_empty() {
        Ok(DEFAULT_FORMAT)
    } else {
        format(name)
    }
}

/// The name of the format, and the encoded package.
pub(super) fn encoded(record: &Record, format: Format) -> (String, Bytes) {
    let package = record.package.clone().unwrap_or_default();
    (format.as_str().to_owned(), package.encode(format).into())
}

/// `None` for an empty text.
pub(super) fn text(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// Refuses an empty filter of a purge. In a listing, an empty filter has no effect; in a purge, an
/// unset variable of the caller would delete everything.
pub(super) fn not_empty(name: &'static str, filter: Option<&str>) -> Result<()> {
    match filter {
        Some("") => Err(Error::bad(name, "is empty; leave it out to select any")),
        _ => Ok(()),
    }
}

/// The ids of a template's or site's deployments, in order, at most `max`.
pub(super) async fn deployment_ids(
    api: Arc<dyn WorkerApi>,
    of: &Key,
    max: usize,
) -> Result<Vec<String>> {
    let Some(select) = view::deployments_of(of) else {
        return Ok(Vec::new());
    };
    if max == 0 {
        return Ok(Vec::new());
    }
    let limit = u64::try_from(max).unwrap_or(u64::MAX);
    records(api, select, Some(limit), Want::ROW)
        .map_ok(|record| record.entity.key.id().to_owned())
        .try_collect()
        .await
}

pub(super) fn registered() -> proto::RegisterResponse {
    proto::RegisterResponse {
        registered: true,
        not_registered_reason: String::new(),
    }
}

pub(super) fn deleted() -> proto::DeleteResponse {
    proto::DeleteResponse {
        deleted: true,
        not_deleted_reason: String::new(),
    }
}

/// The response to a purge: deleted, unless something was skipped.
pub(super) fn purged(bulk: &Bulk) -> proto::DeleteResponse {
    if bulk.skipped.is_empty() {
        return deleted();
    }
    let mut reason = format!("{} deleted; skipped:", bulk.done);
    for (key, why) in bulk.skipped.iter().take(MAX_REASONS) {
        write!(reason, " {key} ({why});").expect("writing to a string never fails");
    }
    if bulk.skipped.len() > MAX_REASONS {
        reason.push_str(" and more");
    }
    proto::DeleteResponse {
        deleted: false,
        not_deleted_reason: reason.trim_end_matches(';').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{purged, window};
    use crate::proto::Window;
    use tko_core::{Bulk, Key, Kind};

    #[test]
    fn a_count_of_zero_or_less_is_no_limit() {
        for (offset, max_count, expected) in [
            (0, 0, (0, None)),
            (7, -1, (7, None)),
            (0, i32::MIN, (0, None)),
            (u32::MAX, i32::MAX, (4_294_967_295, Some(2_147_483_647))),
        ] {
            let asked = Window { offset, max_count };
            assert_eq!(window(Some(asked)), expected);
        }
        assert_eq!(window(None), (0, None));
    }

    #[test]
    fn a_purge_that_skipped_something_lists_it() {
        assert!(purged(&Bulk::default()).deleted);
        let key = Key::new(Kind::Deployment, "a").expect("an id");
        let answer = purged(&Bulk::new(3).skipped(vec![(key, "under modification".to_owned())]));
        assert!(!answer.deleted);
        assert_eq!(
            answer.not_deleted_reason,
            "3 deleted; skipped: deployment a (under modification)"
        );
    }
}
