//! Bulk verbs: many entities by selection, in chunks, each atomic.
//!
//! No body is read. What moved is read and judged again; what is under someone's modification is
//! left alone and named.

use super::delete::is_held;
use super::draft::{Draft, told};
use super::{CHUNK, Store, TRIES};
use crate::api::{Bulk, MAX_SKIPPED};
use crate::backend::Backend;
use crate::change::{Ack, Put, Require};
use crate::entity::{Deployment, Entity, Facts, Record, Want};
use crate::error::{Error, Result, Subject};
use crate::id::{Key, Kind};
use crate::select::{List, Select};

#[derive(Clone, Copy)]
enum Verb {
    Approve,
    Purge,
}

impl<B: Backend + ?Sized> Store<B> {
    pub(super) async fn approve_all(&self, select: &Select) -> Result<Bulk> {
        if select.kind != Kind::Deployment {
            return Err(Error::bad("select", "only deployments can be approved"));
        }
        if select.prepared == Some(false) || select.approved == Some(true) {
            return Ok(Bulk::default());
        }
        let select = Select {
            prepared: Some(true),
            approved: Some(false),
            ..select.clone()
        };
        self.each(&select, Verb::Approve).await
    }

    pub(super) async fn purge_all(&self, select: &Select) -> Result<Bulk> {
        self.each(select, Verb::Purge).await
    }

    async fn each(&self, select: &Select, verb: Verb) -> Result<Bulk> {
        let mut bulk = Bulk::default();
        let mut after = None;
        loop {
            let list = List {
                select: select.clone(),
                after,
                limit: CHUNK,
                want: Want::ROW,
            };
            let page = self.backend.list(&list).await?;
            for key in self.chunk(select, verb, page.items, &mut bulk).await? {
                self.take_alone(key, &mut bulk).await?;
            }
            after = page.next;
            if after.is_none() {
                return Ok(bulk);
            }
        }
    }

    /// Puts all rows into one set, and again without what stood in its way. Answers with what has
    /// to be taken by itself: what is held, or referred to.
    async fn chunk(
        &self,
        select: &Select,
        verb: Verb,
        mut rows: Vec<Record>,
        bulk: &mut Bulk,
    ) -> Result<Vec<Key>> {
        let mut alone = Vec::new();
        for tries in 0.. {
            if let Verb::Purge = verb {
                let held = rows.extract_if(.., |row| is_held(&row.entity));
                alone.extend(held.map(|row| row.entity.key.clone()));
            }
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
                    // It did not move, so something refers to it.
                    alone.push(key);
                } else if tries >= TRIES {
                    skip(bulk, key, "keeps changing");
                } else if select.matches(&row.entity) {
                    rows.push(row);
                }
            }
        }
        Ok(alone)
    }

    async fn take_alone(&self, key: Key, bulk: &mut Bulk) -> Result<()> {
        match self.remove(&key).await {
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

impl Verb {
    fn draft(self, rows: &[Record]) -> Draft {
        let mut draft = Draft::because(match self {
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
                    draft.delete(entity);
                }
            }
        }
        draft
    }
}

fn approve(draft: &mut Draft, entity: &Entity) {
    if let Some(deployment) = entity.deployment() {
        let approved = Deployment {
            approved: true,
            ..deployment.clone()
        };
        let put = Put {
            facts: Facts::Deployment(Box::new(approved)),
            conditions: told(entity, true),
            ..Put::of(entity)
        };
        draft.put(Some(entity), put);
    }
}

fn skip(bulk: &mut Bulk, key: Key, why: &str) {
    if bulk.skipped.len() < MAX_SKIPPED {
        bulk.skipped.push((key, why.to_owned()));
    }
}
