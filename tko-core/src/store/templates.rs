//! A cache of templates: a thousand creations read theirs once.
//!
//! A cached template may be outdated. A set that used one requires that the template is
//! [current](crate::Require::Current), and a refusal counts only if the template was read for this
//! request. So a store with a cache behaves like one without.

use super::Store;
use super::draft::ChangeDraft;
use crate::backend::Backend;
use crate::encoding::Format;
use crate::entity::{Record, Want};
use crate::error::{Error, Result};
use crate::id::{Key, TemplateId};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard};

/// The size of the cache, in bytes of CBOR; in memory the templates take a few times as much.
const MOST: usize = 16 << 20;

/// The bytes that are counted for each template in addition to its package.
const ROW: usize = 1 << 10;

/// The cache, shared by all clones of a store.
#[derive(Default)]
pub(super) struct Templates(Mutex<CachedTemplates>);

/// The contents of the cache.
#[derive(Default)]
struct CachedTemplates {
    /// The templates with their packages, as they were last read.
    records: HashMap<Key, Record>,
    /// The bytes of all templates added since the cache was last emptied. Replaced and forgotten
    /// ones still count.
    bytes: usize,
}

impl Templates {
    /// The cached template, which may be outdated.
    fn get(&self, key: &Key) -> Option<Record> {
        self.lock().records.get(key).cloned()
    }

    /// Adds or replaces a template.
    ///
    /// If the size would exceed [`MOST`], the cache is emptied first. A template that exceeds the
    /// limit on its own is not kept.
    fn put(&self, record: &Record) {
        let package = record.package.as_ref();
        let size = ROW + package.map_or(0, |package| package.encode(Format::Cbor).len());
        let mut known = self.lock();
        known.bytes += size;
        if known.bytes > MOST {
            // A program that uses more templates at a time would gain little from caching some of
            // them. Replaced templates count until then, too.
            *known = CachedTemplates {
                bytes: size,
                ..CachedTemplates::default()
            };
        }
        if size <= MOST {
            known
                .records
                .insert(record.entity.key.clone(), record.clone());
        }
    }

    /// Removes a template that no longer exists, or is being deleted.
    fn forget(&self, key: &Key) {
        self.lock().records.remove(key);
    }

    /// Locks the cache. The lock is held for single operations of the map, never while waiting for
    /// the backend.
    fn lock(&self) -> MutexGuard<'_, CachedTemplates> {
        self.0.lock().expect("no code panics while it adds")
    }
}

impl<B: Backend + ?Sized> Store<B> {
    /// Reads a template, and requires that it does not change.
    ///
    /// A template that the draft has read already is not read again.
    ///
    /// # Errors
    /// - `BadArgument`: it does not exist, or is being deleted.
    /// - Any error of reading it.
    pub(super) async fn template(
        &self,
        draft: &mut ChangeDraft,
        id: &TemplateId,
    ) -> Result<Record> {
        let key = Key::from(id);
        self.read_templates(draft, BTreeSet::from([key.clone()]))
            .await?;
        let record = draft.templates.get(&key).cloned().flatten();
        let record = record.ok_or_else(|| {
            Error::bad(
                "template id",
                format!("{key} does not exist; register it first, or name another"),
            )
        })?;
        draft.pin(key, record.entity.version);
        Ok(record)
    }

    /// Reads templates into the draft, at most [`MAX_CHANGES`](crate::MAX_CHANGES): all that are
    /// missing, in one call.
    ///
    /// Uses the cache if the draft permits it, and then records that in the draft. Every template
    /// that is read from the backend is cached, also for drafts that do not use the cache. One that
    /// does not exist or is being deleted is recorded as absent in the draft.
    ///
    /// # Errors
    /// Any error of reading; for example `BadArgument` if there are too many keys.
    pub(super) async fn read_templates(
        &self,
        draft: &mut ChangeDraft,
        mut keys: BTreeSet<Key>,
    ) -> Result<()> {
        keys.retain(|key| !draft.templates.contains_key(key));
        if draft.may_remember {
            keys.retain(|key| {
                let known = self.templates.get(key);
                let read = known.is_none();
                if known.is_some() {
                    draft.templates.insert(key.clone(), known);
                    draft.remembered = true;
                }
                read
            });
        }
        if keys.is_empty() {
            return Ok(());
        }
        let keys: Vec<Key> = keys.into_iter().collect();
        let records = self.backend.get(&keys, Want::PACKAGE).await?;
        for (key, record) in keys.into_iter().zip(records) {
            let there = record.filter(|record| !record.entity.deleting);
            match &there {
                Some(record) => self.templates.put(record),
                None => self.templates.forget(&key),
            }
            draft.templates.insert(key, there);
        }
        Ok(())
    }
}
