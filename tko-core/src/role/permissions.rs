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

/// Every call in words for people. The entity or the kind that the call is about comes next, if
/// there is one: `read the history of` `site lab/1`.
pub(super) const WORDS: &[(&str, &str)] = &[
    ("about", "read the description of the server"),
    ("get", "read"),
    ("list", "list"),
    ("count", "count"),
    ("feed_position", "read the position of the change feed"),
    ("watch", "watch"),
    ("history", "read the history of"),
    ("changes", "read the changes of all entities"),
    ("register_template", "register"),
    ("register_site", "register"),
    ("register_plugin", "register"),
    ("create_deployment", "create a deployment"),
    ("update", "change the package of"),
    ("update_entity", "change"),
    ("start_modification", "start a modification of"),
    ("end_modification", "end the modification of"),
    ("cancel_modification", "cancel the modification of"),
    ("approve", "approve"),
    ("retry", "retry the work of"),
    ("delete", "delete"),
    ("purge", "delete a selection of"),
    ("claim", "claim work"),
    ("list_all", "read several listings in one call"),
    ("renew", "renew leases"),
    ("settle", "settle work"),
    ("enqueue", "enqueue work"),
    ("commit_prepared", "commit the result of a preparation"),
    ("commit_placed", "commit the result of a scheduling"),
    ("report", "report conditions of"),
    ("put_shared", "share a value with other workers"),
    ("get_shared", "read a value that a worker shared"),
];

/// The words for a call: its name if there are none.
pub(crate) fn words(call: &'static str) -> &'static str {
    let row = WORDS.iter().find(|(name, _)| *name == call);
    row.map_or(call, |(_, words)| words)
}

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
