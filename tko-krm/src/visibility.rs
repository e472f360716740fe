//! Decides which entities a caller may see.
//!
//! The feed of changes is read once for all callers, so its events are filtered here for each
//! caller, by the scopes of the caller's roles.

use tko_core::{Caller, Entity};

/// Whether the caller sees only some entities: each of its roles is restricted by a scope.
pub(crate) fn is_restricted(caller: &Caller) -> bool {
    let mut grants = caller.grants().peekable();
    grants.peek().is_some() && grants.all(|(_, scope)| scope.is_some())
}

/// Whether the caller may see an entity. Every role reads everything within its scope.
pub(crate) fn is_visible(caller: &Caller, entity: &Entity) -> bool {
    let mut scopes = caller.grants().filter_map(|(_, scope)| scope);
    !is_restricted(caller) || scopes.any(|scope| scope.covers(entity))
}
