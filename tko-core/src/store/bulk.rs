//! Bulk operations: many entities by selection, in atomic chunks.
//!
//! No body is read. Entities that changed meanwhile are read and checked again. Entities under a
//! modification of someone else are skipped and reported.
//!
//! The selection is listed page by page in key order, and each page is one chunk:
//!
//! 1. All rows of the chunk are changed in one change set. Each must have the version that was
//!    listed.
//! 2. If that is refused, the rows that caused the refusal are set aside, and the others are tried
//!    again.
//! 3. Rows that other entities refer to are deleted one by one after the chunk.
//!
//! Rows that a scheduler holds are marked as being deleted, in the same set. Entities that are created
//! while a purge runs stay, even if they match: a topology may create children again.
//!
//! The call as a whole is not atomic. If it fails, the earlier chunks stay changed. A repeated call
//! continues, because entities that were approved or deleted no longer match.

use super::draft::{ChangeDraft, approval_condition};
use super::{CHUNK, Store, TRIES};
use crate::api::{Bulk, MAX_SKIPPED};
use crate::backend::Backend;
use crate::change::{Ack, Put, Require};
use crate::entity::{Deployment, Entity, Facts, Record, Want};
use crate::error::{Error, Result, Subject};
use crate::id::{Key, Kind};
use crate::select::{List, Select};

/// The change that a bulk operation makes to every selected entity.
#[derive(Clone, Copy)]
enum BulkVerb {
    /// Sets `approved` of deployments that are prepared.
    Approve,
    /// Deletes entities of any kind.
    Purge,
}

impl<B: Backend + ?Sized> Store<B> {
    /// Approves all matching deployments that are prepared and not yet approved.
    ///
    /// The selection is narrowed to these. If it excludes them itself, nothing is read.
    ///
    /// # Errors
    /// - `BadArgument`: the selection does not select deployments.
    /// - As `each`.
    pub(super) async fn approve_all(&self, select: &Select) -> Result<Bulk> {
        if select.kind != Kind::Deployment {
            return Err(Error::bad(
                "select",
                "only deployments can be approved; select deployments",
            ));
        }
        if select.prepared == Some(false) || select.approved == Some(true) {
            return Ok(Bulk::default());
        }
        let select = Select {
            prepared: Some(true),
            approved: Some(false),
            ..select.clone()
        };
        self.each(&select, BulkVerb::Approve).await
    }

    /// Deletes all matching entities, each as the deletion of a single entity does.
    ///
    /// # Errors
    /// As `each`.
    pub(super) async fn purge_all(&self, select: &Select) -> Result<Bulk> {
        self.each(select, BulkVerb::Purge).await
    }

    /// Applies the verb to every matching entity, page by page, and counts the results.
    ///
    /// Listing continues after the last listed key. An entity that is created meanwhile is included
    /// only if its key comes after that one.
    ///
    /// # Errors
    /// Any error of the backend that does not concern a single entity ends the call.
    async fn each(&self, select: &Select, verb: BulkVerb) -> Result<Bulk> {
        let mut bulk = Bulk::default();
        let mut after = None;
        let began = match verb {
            BulkVerb::Purge => Some(self.backend.feed_position().await?.now),
            BulkVerb::Approve => None,
        };
        loop {
            let list = List {
                select: select.clone(),
                after,
                limit: CHUNK,
                want: Want::ROW,
            };
            let mut page = self.backend.list(&list).await?;
            page.items
                .retain(|row| began.is_none_or(|began| row.entity.created <= began));
            for key in self.chunk(select, verb, page.items, &mut bulk).await? {
                self.take_alone(key, &mut bulk).await?;
            }
            after = page.next;
            if after.is_none() {
                return Ok(bulk);
            }
        }
    }

    /// Puts all rows in one set; on a conflict, tries again without the conflicting rows. Returns
    /// the keys to handle one by one: those that are referenced.
    ///
    /// A row that changed since it was listed is tried again if it still matches; this check
    /// ignores joins. A row that no longer exists is dropped without a report. After the limit of
    /// attempts, rows that still change are skipped and reported.
    ///
    /// # Errors
    /// Any error of the backend other than `Busy`, `Conflict` and `NotFound` of an entity.
    async fn chunk(
        &self,
        select: &Select,
        verb: BulkVerb,
        mut rows: Vec<Record>,
        bulk: &mut Bulk,
    ) -> Result<Vec<Key>> {
        let mut alone = Vec::new();
        for tries in 0.. {
            if rows.is_empty() {
                break;
            }
            let keys = match self.commit(verb.draft(&rows), Ack::Numbered).await {
                Ok(_) => {
                    bulk.done += rows.len() as u64;
                    break;
                }
                Err(Error::Busy(key)) => {
                    rows.retain(|row| row.entity.key != key);
                    skip(bulk, key, "is being modified by someone else");
                    continue;
                }
                Err(Error::NotFound(Subject::Entity(key))) => vec![key],
                Err(Error::Conflict(keys)) => keys,
                Err(error) => return Err(error),
            };
            let moved: Vec<Record> = rows
                .extract_if(.., |row| keys.contains(&row.entity.key))
                .collect();
            let fresh = self.backend.get(&keys, Want::ROW).await?;
            for row in fresh.into_iter().flatten() {
                let key = row.entity.key.clone();
                let stayed = |old: &Record| {
                    old.entity.key == key && old.entity.version == row.entity.version
                };
                if moved.iter().any(stayed) {
                    // It did not change, so another entity refers to it.
                    alone.push(key);
                } else if tries >= TRIES {
                    skip(bulk, key, "keeps changing; try again later");
                } else if select.matches(&row.entity) {
                    rows.push(row);
                }
            }
        }
        Ok(alone)
    }

    /// Deletes one entity that could not be deleted with its chunk. Only a purge needs this: the
    /// set of an approval requires only the versions.
    ///
    /// An entity that is already gone or being deleted is not counted. A busy or contended one is
    /// skipped and reported.
    ///
    /// # Errors
    /// Any other error of the deletion.
    async fn take_alone(&self, key: Key, bulk: &mut Bulk) -> Result<()> {
        match self.remove(&key, None).await {
            Ok(()) => bulk.done += 1,
            Err(Error::NotFound(_)) => {}
            Err(error @ (Error::Busy(_) | Error::Conflict(_))) => {
                skip(bulk, key, &error.to_string());
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl BulkVerb {
    /// Drafts the change of all rows in one set, under the condition that no row changed.
    ///
    /// A deletion also requires that no entity refers to the row after the set. So a parent and all
    /// its children can be deleted in one set. A row that a scheduler holds is marked as being deleted.
    fn draft(self, rows: &[Record]) -> ChangeDraft {
        let mut draft = ChangeDraft::because(match self {
            Self::Approve => "approved",
            Self::Purge => "purged",
        });
        for row in rows {
            let entity = &row.entity;
            draft.require(Require::At(entity.key.clone(), entity.version));
            match self {
                Self::Approve => approve(&mut draft, entity),
                Self::Purge => {
                    draft.require(Require::Unreferenced(entity.key.clone()));
                    if entity.is_held() {
                        draft.mark_deleting(entity);
                    } else {
                        draft.delete(entity);
                    }
                }
            }
        }
        draft
    }
}

/// Adds the approval of one deployment; does nothing for other kinds.
///
/// Only the row changes: the approval is not stored in the body. An outdated `Approved` condition
/// is corrected with it.
fn approve(draft: &mut ChangeDraft, entity: &Entity) {
    if let Some(deployment) = entity.deployment() {
        let approved = Deployment {
            approved: true,
            ..deployment.clone()
        };
        let put = Put {
            facts: Facts::Deployment(Box::new(approved)),
            conditions: approval_condition(entity, true),
            ..Put::of(entity)
        };
        draft.put(Some(entity), put);
    }
}

/// Reports an entity that was left unchanged, with the reason. Entities beyond [`MAX_SKIPPED`] are
/// left out of the report.
fn skip(bulk: &mut Bulk, key: Key, why: &str) {
    if bulk.skipped.len() < MAX_SKIPPED {
        bulk.skipped.push((key, why.to_owned()));
    }
}
