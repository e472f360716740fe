//! The part of an entity's history that the scopes of a call cover.

use super::Guarded;
use super::scoped::CallScopes;
use crate::api::DataApi;
use crate::change::ChangeRecord;
use crate::entity::Want;
use crate::error::{Error, Result};
use crate::id::Key;
use crate::revision::Revision;

/// Minimum number of changes that one read asks for after some were outside the scopes.
const PART: usize = 50;

impl<D: DataApi + ?Sized> Guarded<D> {
    /// The newest `limit` changes before revision `before` that the scopes cover, newest first.
    ///
    /// # Errors
    /// - `Forbidden`: no scope covers the entity as it is now, or as it was when it was deleted.
    /// - As `history` of the inner API.
    pub(super) async fn covered_history(
        &self,
        scopes: &CallScopes,
        key: &Key,
        mut before: Option<Revision>,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>> {
        self.check_last_state(scopes, key).await?;
        let mut covered = Vec::new();
        let mut wanted = limit;
        while covered.len() < limit {
            let part = self.inner.history(key, before, wanted).await?;
            let is_last = part.len() < wanted;
            // Continues after the last change that was read, whether or not it is covered.
            before = part.last().map(|change| change.revision).or(before);
            let part = part.into_iter();
            covered.extend(part.filter_map(|change| scopes.covered_change(change)));
            if is_last {
                break;
            }
            wanted = limit.saturating_sub(covered.len()).max(PART);
        }
        covered.truncate(limit);
        Ok(covered)
    }

    /// Checks that the scopes cover the current state of an entity; that of its last change if it
    /// was deleted. A restricted caller sees nothing of an entity that left its scopes.
    async fn check_last_state(&self, scopes: &CallScopes, key: &Key) -> Result<()> {
        match self.inner.get(key, Want::ROW.with_deleting()).await {
            Ok(record) => return scopes.cover(&record.entity),
            Err(Error::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
        let last = self.inner.history(key, None, 1).await?;
        if last.iter().all(|change| scopes.covers_change(change)) {
            return Ok(());
        }
        Err(scopes.outside())
    }
}
