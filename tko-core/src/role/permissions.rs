//! The table of permissions: the calls of the API, and the roles that may make each.

use super::CallerRole::{self, Admin, Author, Operator, Viewer, Worker};
use crate::id::Kind;

/// One row of [`PERMISSIONS`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Permission {
    /// The name of the call, as [`ApiCall::name`](crate::ApiCall::name).
    pub call: &'static str,
    /// The kinds of entity to which the row applies. Empty for a call on any kind, or on no entity.
    pub kinds: &'static [Kind],
    /// The roles that may make the call.
    pub roles: &'static [CallerRole],
}

/// The roles that may make a call that reads.
pub(super) const READERS: &[CallerRole] = &[Viewer, Operator, Author, Worker, Admin];
const OPERATORS: &[CallerRole] = &[Operator, Admin];
const AUTHORS: &[CallerRole] = &[Author, Admin];
const WORKERS: &[CallerRole] = &[Worker, Admin];

/// The kinds of entity that authors register.
const AUTHORED: &[Kind] = &[Kind::Template, Kind::Site, Kind::Plugin];

/// Every call of the API, and the roles that may make it. Any other call is refused.
pub const PERMISSIONS: &[Permission] = &[
    row("about", &[], READERS),
    row("get", &[], READERS),
    row("list", &[], READERS),
    row("count", &[], READERS),
    row("feed_position", &[], READERS),
    row("watch", &[], READERS),
    row("history", &[], READERS),
    row("changes", &[], READERS),
    row("register_template", &[], AUTHORS),
    row("register_site", &[], AUTHORS),
    row("register_plugin", &[], AUTHORS),
    row("create_deployment", &[], OPERATORS),
    row("update", &[], OPERATORS),
    row("update_entity", &[Kind::Deployment], OPERATORS),
    row("update_entity", AUTHORED, AUTHORS),
    row("start_modification", &[], OPERATORS),
    row("end_modification", &[], OPERATORS),
    row("cancel_modification", &[], OPERATORS),
    row("approve", &[], OPERATORS),
    row("retry", &[Kind::Deployment, Kind::Site], OPERATORS),
    row("retry", &[Kind::Template, Kind::Plugin], AUTHORS),
    row("delete", &[Kind::Deployment], OPERATORS),
    row("delete", AUTHORED, AUTHORS),
    row("purge", &[Kind::Deployment], OPERATORS),
    row("purge", AUTHORED, AUTHORS),
    row("claim", &[], WORKERS),
    row("list_all", &[], WORKERS),
    row("renew", &[], WORKERS),
    row("settle", &[], WORKERS),
    row("enqueue", &[], WORKERS),
    row("commit_prepared", &[], WORKERS),
    row("commit_placed", &[], WORKERS),
    row("report", &[], WORKERS),
    row("put_shared", &[], WORKERS),
    row("get_shared", &[], WORKERS),
];

const fn row(
    call: &'static str,
    kinds: &'static [Kind],
    roles: &'static [CallerRole],
) -> Permission {
    Permission { call, kinds, roles }
}

/// The row for a call about an entity of this kind; `None` if there is none.
pub fn permission(call: &str, kind: Option<Kind>) -> Option<&'static Permission> {
    PERMISSIONS.iter().find(|row| {
        row.call == call
            && (row.kinds.is_empty() || kind.is_some_and(|kind| row.kinds.contains(&kind)))
    })
}
