//! Templates as they were read last, so that a thousand creations read theirs once.
//!
//! What is remembered may be outdated: a set that was worked out from it requires that the template
//! is still so ([`Require::Current`](crate::Require::Current)), and a refusal is only believed if
//! it was read for this request. So nobody can tell a store that remembers from one that does not.

use super::Store;
use super::draft::Draft;
use crate::backend::Backend;
use crate::encoding::Format;
use crate::entity::{Record, Want};
use crate::error::{Error, Result};
use crate::id::{Key, TemplateId};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard};

/// Bytes of all that is remembered, as CBOR: in memory they take a few times that.
const MOST: usize = 16 << 20;

/// Bytes of what each takes beside its package.
const ROW: usize = 1 << 10;

#[derive(Default)]
pub(super) struct Templates(Mutex<Known>);

#[derive(Default)]
struct Known {
    records: HashMap<Key, Record>,
    bytes: usize,
}

impl Templates {
    fn get(&self, key: &Key) -> Option<Record> {
        self.lock().records.get(key).cloned()
    }

    fn put(&self, record: &Record) {
        let package = record.package.as_ref();
        let size = ROW + package.map_or(0, |package| package.encode(Format::Cbor).len());
        let mut known = self.lock();
        known.bytes += size;
        if known.bytes > MOST {
            // Whoever uses more than that at a time gains little from some of them. What was
            // replaced counts until then, too.
            *known = Known {
                bytes: size,
                ..Known::default()
            };
        }
        if size <= MOST {
            known
                .records
                .insert(record.entity.key.clone(), record.clone());
        }
    }

    fn forget(&self, key: &Key) {
        self.lock().records.remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().expect("no code panics while it adds")
    }
}

impl<B: Backend + ?Sized> Store<B> {
    /// The template, bound to stay as it is.
    ///
    /// # Errors
    /// `BadArgument`: it is not there.
    pub(super) async fn template(&self, draft: &mut Draft, id: &TemplateId) -> Result<Record> {
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

    /// Has the draft know these templates, at most [`MAX_CHANGES`](crate::MAX_CHANGES): reads at
    /// once what it does not.
    pub(super) async fn read_templates(
        &self,
        draft: &mut Draft,
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
