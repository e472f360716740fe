//! The approval of a single deployment.

use super::DataApi;
use crate::entity::{Entity, Want};
use crate::error::{Error, Result};
use crate::id::Kind;
use crate::pattern::Pattern;
use crate::select::Select;

/// Approves one deployment; `read` is its row as the caller knows it. An approved one stays approved.
///
/// [`DataApi::approve`] only counts the deployments that it approved. This function finds out why
/// it did not approve this one. It does not require the version that was read: a deployment that
/// was edited and prepared again meanwhile is approved as it is then.
///
/// # Errors
/// - `NotFound`: it no longer exists, or is being deleted.
/// - `Busy`: it is under a modification, or keeps changing.
/// - `Conflict`: it changed after it was read, and cannot be approved any more; read it again.
/// - `BadArgument`: it is not prepared, and has not changed since it was read.
/// - `Forbidden`: the caller's role does not cover the approval.
pub async fn approve_one(api: &dyn DataApi, read: &Entity) -> Result<()> {
    let key = &read.key;
    let select = Select::all(Kind::Deployment).id(Pattern::literal(key.id()));
    let bulk = api.approve(&select).await?;
    if bulk.done > 0 {
        return Ok(());
    }
    if !bulk.skipped.is_empty() {
        return Err(Error::Busy(key.clone()));
    }
    let now = api.get(key, Want::ROW).await?.entity;
    if now.deployment().is_some_and(|one| one.approved) {
        return Ok(());
    }
    if now.version == read.version {
        if now.deployment().is_none_or(|one| !one.prepared) {
            let why = format!("{key} is not prepared yet; approve it when it is");
            return Err(Error::bad("id", why));
        }
        // It is still prepared and not approved, so only the scope of the role excludes it.
        let why = format!("the caller's role does not cover the approval of {key}");
        return Err(Error::Forbidden(why));
    }
    Err(Error::Conflict(vec![key.clone()]))
}
