//! Deleting: clears relations first, then removes the row; in the background for many referrers.
//!
//! Up to one chunk of referrers is cleared in the same set as the deletion. With more, the row is
//! marked `deleting` (hidden, refused as a reference) while referrers are cleared chunk by chunk. A
//! template always takes at least two sets, because its two kinds of referrers are listed
//! separately.
//!
//! An interrupted deletion is due work of [`Stage::Delete`]. An entity that a scheduler holds stays
//! `deleting` until the scheduler reports its removal: the row itself is the tombstone.
//!
//! # Referrers
//!
//! | deleted | referrers | cleared |
//! |---|---|---|
//! | template | deployments and sites made from it | `template` |
//! | site | deployments assigned to it or placed on it | `site` |
//! | deployment | deployments whose parent it is | `parent` |
//! | plugin | none | |
//!
//! Nothing is deleted with the entity. Placements are never cleared here: only a schedule step does
//! that, so a site remains until its last deployment has been removed from it.
//!
//! # Invariant
//!
//! The set that removes a row requires that nothing refers to it afterwards. A referrer that is
//! created while others are cleared therefore causes a conflict, and the referrers are listed
//! again.

use super::draft::ChangeDraft;
use super::{CHUNK, Store, TRIES};
use crate::backend::Backend;
use crate::change::{Ack, Put, Require};
use crate::entity::{Deployment, Entity, Facts, Record, Want};
use crate::error::{Error, Result, Subject};
use crate::id::{Key, Kind};
use crate::pattern::Pattern;
use crate::revision::Version;
use crate::select::{Cursor, List, Select};
use crate::triggers;
use crate::work::{Enqueue, Stage};
use std::time::Duration;

/// The time after which another process takes over an interrupted deletion.
const TAKEOVER: Duration = Duration::from_secs(30);

/// The origin of a deletion.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DeletedBy {
    /// A client.
    Request,
    /// A scheduler that has just reported the entity removed from its last site.
    Scheduler,
    /// A worker that holds the claim of the deletion.
    Worker,
}

impl<B: Backend + ?Sized> Store<B> {
    /// Finishes the deletion of an entity that is marked `deleting`: the work of
    /// [`Stage::Delete`]. Does nothing if the entity is gone, is not being deleted, or waits for
    /// its scheduler.
    ///
    /// # Errors
    ///
    /// - [`Busy`](Error::Busy): a referrer is under modification; try again later.
    /// - [`Conflict`](Error::Conflict): under constant contention; try again.
    /// - As [`Backend::commit`].
    pub async fn finish_deletion(&self, key: &Key) -> Result<()> {
        let found = self.find(key, Want::ROW).await?;
        if found.as_ref().is_some_and(|record| record.entity.deleting) {
            self.clear_and_delete(key, DeletedBy::Worker, found, &mut None)
                .await?;
        }
        Ok(())
    }

    /// Deletes an entity for a client, at the version `expect` if there is one. When it returns, the
    /// entity is gone, or hidden as `deleting`.
    ///
    /// # Errors
    /// - `NotFound`: the entity does not exist, or is already being deleted.
    /// - `Conflict`: it has another version than `expect`.
    /// - As `delete_entity`.
    pub(super) async fn remove(&self, key: &Key, mut expect: Option<Version>) -> Result<()> {
        let found = self
            .find(key, Want::ROW)
            .await?
            .filter(|record| !record.entity.deleting)
            .ok_or_else(|| Error::not_found(key))?;
        let done = self
            .clear_and_delete(key, DeletedBy::Request, Some(found), &mut expect)
            .await;
        self.or_left_to_worker(key, expect, done).await.map(|_| ())
    }

    /// Deletes an entity, now or (a referrer is under modification) in the background. `released`:
    /// its scheduler has just reported its removal. Returns whether it is gone.
    ///
    /// # Errors
    /// - `Busy`: the entity itself is under a modification.
    /// - `Conflict`, `NotFound`: the rows kept changing for all attempts.
    /// - As [`Backend::commit`].
    pub(super) async fn delete_entity(&self, key: &Key, released: bool) -> Result<bool> {
        let by = if released {
            DeletedBy::Scheduler
        } else {
            DeletedBy::Request
        };
        let done = self.clear_and_delete(key, by, None, &mut None).await;
        self.or_left_to_worker(key, None, done).await
    }

    /// Leaves a deletion to a worker if a referrer is under modification.
    async fn or_left_to_worker(
        &self,
        key: &Key,
        expect: Option<Version>,
        done: Result<bool>,
    ) -> Result<bool> {
        match done {
            Err(Error::Busy(busy)) if busy != *key => self.leave_to_worker(key, expect).await,
            done => done,
        }
    }

    /// Clears the relations of all referrers, then deletes the row, unless a scheduler holds it.
    /// Returns whether it is gone.
    ///
    /// `expect` is the version that the row must have at the first commit, which decides the
    /// deletion. That commit sets `expect` to `None`, because marking the row changes its version.
    ///
    /// `found` is the row, if it was read just before. Each round reads the row and clears one page
    /// of referrers. The first round marks the row as `deleting`, unless that round already removes
    /// it. The last round removes the row, or leaves it marked if it is held. After a conflict the
    /// referrers are listed from the start. Cleared referrers are not found again, unless they are
    /// still placed on the site.
    ///
    /// The limit of attempts is per chunk that clears a relation, because a long deletion meets
    /// many conflicts. After [`TAKEOVER`], a worker clears the same referrers. Once the row is
    /// marked and its work enqueued, the worker finishes the deletion if conflicts stop it here.
    ///
    /// # Errors
    /// - `Busy`: the entity or one of its referrers is under a modification; names that one.
    /// - `Conflict`, `NotFound`: the row is not as `expect` requires, or the rows kept changing for
    ///   all attempts. This call then enqueued no work that would finish the deletion.
    /// - As [`Backend::commit`].
    async fn clear_and_delete(
        &self,
        key: &Key,
        by: DeletedBy,
        mut found: Option<Record>,
        expect: &mut Option<Version>,
    ) -> Result<bool> {
        let mut walk = Referrers::of(key);
        let mut tries = 0;
        let mut is_enqueued = false;
        loop {
            let record = match found.take() {
                Some(record) => record,
                None => match self.find(key, Want::ROW).await? {
                    Some(record) => record,
                    None if expect.is_some() => return Err(Error::not_found(key)),
                    None => return Ok(true),
                },
            };
            let entity = &record.entity;
            check_version(entity, *expect)?;
            let mut draft = ChangeDraft::because("deleted");
            draft.require(Require::At(key.clone(), entity.version));
            let placed = self.detach_some(&mut draft, &mut walk, key).await?;
            let more = !walk.is_done();
            let held = placed || (entity.is_held() && by != DeletedBy::Scheduler);
            if more || held {
                if !entity.deleting {
                    draft.mark_deleting(entity);
                }
                // Takes over if this deletion is interrupted. A worker's claim does so already, and
                // marking it would make the work due again as soon as the claim ends.
                if more && by != DeletedBy::Worker {
                    draft.mark(Enqueue {
                        after: TAKEOVER,
                        ..Enqueue::now(Stage::Delete, key, triggers::lane(entity))
                    });
                }
            } else {
                draft.require(Require::Unreferenced(key.clone()));
                draft.delete(entity);
            }
            match self.commit(draft, Ack::Numbered).await {
                Ok(_) if !more => return Ok(!held),
                Ok(_) => {
                    *expect = None;
                    is_enqueued = by != DeletedBy::Worker;
                    if std::mem::take(&mut walk.cleared) {
                        tries = 0;
                    }
                }
                Err(Error::Conflict(_) | Error::NotFound(Subject::Entity(_))) if tries < TRIES => {
                    tries += 1;
                    walk = Referrers::of(key);
                }
                Err(Error::Conflict(_) | Error::NotFound(Subject::Entity(_))) if is_enqueued => {
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Leaves the rest to a worker: a referrer is under modification, which will end by itself.
    ///
    /// Marks the row as `deleting`, so that it is hidden at once, and enqueues its deletion with a
    /// delay of one second. Returns whether the row is gone: true only if it was removed meanwhile.
    ///
    /// # Errors
    /// - `Busy`: the entity itself is under a modification.
    /// - `Conflict`, `NotFound`: the row is not as `expect` requires, or it kept changing for all
    ///   attempts.
    async fn leave_to_worker(&self, key: &Key, expect: Option<Version>) -> Result<bool> {
        for _ in 0..TRIES {
            let record = match self.find(key, Want::ROW).await? {
                Some(record) => record,
                None if expect.is_some() => return Err(Error::not_found(key)),
                None => return Ok(true),
            };
            let entity = &record.entity;
            check_version(entity, expect)?;
            let mut draft = ChangeDraft::because("deleted");
            draft.require(Require::At(key.clone(), entity.version));
            draft.mark_deleting(entity);
            draft.mark(Enqueue {
                after: Duration::from_secs(1),
                ..Enqueue::now(Stage::Delete, key, triggers::lane(entity))
            });
            match self.commit(draft, Ack::Numbered).await {
                Ok(_) => return Ok(false),
                Err(Error::Conflict(_) | Error::NotFound(Subject::Entity(_))) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Conflict(vec![key.clone()]))
    }

    /// Clears the relation of one chunk of referrers. Returns whether one of them is placed on the
    /// entity.
    ///
    /// The answer covers all referrers since the walk began. Each referrer must have the version
    /// that was listed. When all are listed, the call adds nothing to the draft.
    async fn detach_some(
        &self,
        draft: &mut ChangeDraft,
        walk: &mut Referrers,
        key: &Key,
    ) -> Result<bool> {
        let Some(select) = walk.left.last() else {
            return Ok(walk.placed);
        };
        let list = List {
            select: select.clone(),
            after: walk.after.take(),
            limit: CHUNK,
            want: Want::ROW,
        };
        let page = self.backend.list(&list).await?;
        for record in page.items {
            let entity = &record.entity;
            let (facts, placed) = detached(entity, key);
            walk.placed |= placed;
            walk.cleared |= facts != entity.facts;
            let key = entity.key.clone();
            draft.require(Require::At(key, entity.version));
            let put = Put {
                facts,
                ..Put::of(entity)
            };
            draft.put(Some(entity), put);
        }
        walk.after = page.next;
        if walk.after.is_none() {
            walk.left.pop();
        }
        Ok(walk.placed)
    }
}

/// Refuses an entity that is not at the version that a client expects.
fn check_version(entity: &Entity, expect: Option<Version>) -> Result<()> {
    match expect {
        Some(expect) if entity.version != expect => Err(Error::Conflict(vec![entity.key.clone()])),
        _ => Ok(()),
    }
}

/// The referrers of an entity, and how far they were listed.
struct Referrers {
    /// The selections that are not listed to their end; the last one is listed next.
    left: Vec<Select>,
    /// The position in the last selection; `None` is its start.
    after: Option<Cursor>,
    /// Whether a deployment among those listed so far is still placed on the deleted site.
    placed: bool,
    /// Whether the last chunk clears a relation. Deployments that are still placed on the deleted
    /// site are listed by each walk, although nothing is left to clear.
    cleared: bool,
}

impl Referrers {
    /// All referrers of the entity with this key, before any is listed.
    ///
    /// Includes those that are being deleted: a row refers to others until it is removed.
    fn of(key: &Key) -> Self {
        let all = |kind| Select {
            deleting: true,
            ..Select::all(kind)
        };
        let left = match key {
            Key::Template(id) => [Kind::Deployment, Kind::Site]
                .map(|kind| Select {
                    template_ids: vec![Pattern::literal(id.as_str())],
                    ..all(kind)
                })
                .to_vec(),
            Key::Site(id) => vec![Select {
                concerning: Some(id.clone()),
                ..all(Kind::Deployment)
            }],
            Key::Deployment(id) => vec![Select {
                parent: Some(id.clone()),
                ..all(Kind::Deployment)
            }],
            Key::Plugin(_) => Vec::new(),
        };
        Self {
            left,
            after: None,
            placed: false,
            cleared: false,
        }
    }

    /// Whether every referrer was listed.
    fn is_done(&self) -> bool {
        self.left.is_empty()
    }
}

/// The facts without the relation to `key`, and whether the entity is still placed there. The
/// package does not change: it still names the deleted entity.
fn detached(entity: &Entity, key: &Key) -> (Facts, bool) {
    match (&entity.facts, key) {
        (Facts::Deployment(deployment), _) => {
            let mut cleared = Deployment::clone(deployment);
            let mut placed = false;
            match key {
                Key::Deployment(_) => cleared.parent = None,
                Key::Template(_) => cleared.template = None,
                Key::Site(id) => {
                    if cleared.site.as_ref() == Some(id) {
                        cleared.site = None;
                    }
                    placed = cleared.placed.as_ref().is_some_and(|(at, _)| at == id);
                }
                Key::Plugin(_) => {}
            }
            (Facts::Deployment(Box::new(cleared)), placed)
        }
        (Facts::Site { origin, .. }, Key::Template(_)) => (
            Facts::Site {
                template: None,
                origin: *origin,
            },
            false,
        ),
        (facts, _) => (facts.clone(), false),
    }
}
