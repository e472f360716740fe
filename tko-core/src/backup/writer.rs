//! Writes a backup.

use super::{BackupSize, DELETED, END, ENTITY, HEAD, MAGIC, MAX_FRAME, PACKAGE, VERSION, WINDOW};
use crate::codec::{encode, sort_key};
use crate::entity::Record;
use crate::error::{Error, Result};
use crate::hash::ContentHash;
use crate::id::Key;
use crate::revision::{Revision, Timestamp};
use std::collections::VecDeque;
use std::io::Write;

/// Writes the frames of a backup, and keeps count.
pub struct BackupWriter<W> {
    out: W,
    hasher: blake3::Hasher,
    frames: u64,
    size: BackupSize,
    /// The last packages, the oldest first.
    window: VecDeque<ContentHash>,
}

impl<W> std::fmt::Debug for BackupWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackupWriter")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl<W: Write> BackupWriter<W> {
    /// Begins a backup of the state at this revision.
    ///
    /// # Errors
    /// `Unavailable`: the output cannot be written.
    pub fn new(out: W, revision: Revision, at: Timestamp) -> Result<Self> {
        let mut writer = Self {
            out,
            hasher: blake3::Hasher::new(),
            frames: 0,
            size: BackupSize::default(),
            window: VecDeque::new(),
        };
        writer.bytes(MAGIC)?;
        writer.bytes(&[VERSION])?;
        let head = [revision.0.to_be_bytes(), at.0.to_be_bytes()].concat();
        writer.frame(HEAD, &head)?;
        Ok(writer)
    }

    /// Writes an entity, preceded by its package unless that was written recently. The record must
    /// have its package.
    ///
    /// # Errors
    /// - `Internal`: the record has no package, or its package or row is larger than 512 MiB.
    /// - `Unavailable`: the output cannot be written.
    pub fn entity(&mut self, record: &Record) -> Result<()> {
        let hash = record.entity.body;
        if !self.window.contains(&hash) {
            let package = record.package.as_ref().ok_or_else(|| {
                let key = &record.entity.key;
                Error::internal(
                    "write the backup",
                    format!("{key} comes without its package"),
                )
            })?;
            self.frame(PACKAGE, &encode(package))?;
            self.size.packages += 1;
            self.window.push_back(hash);
            if self.window.len() > WINDOW {
                self.window.pop_front();
            }
        }
        self.size.entities += 1;
        self.frame(ENTITY, &encode(record))
    }

    /// Records that an entity was deleted. A later frame may have it again.
    ///
    /// # Errors
    /// `Unavailable`: the output cannot be written.
    pub fn deleted(&mut self, key: &Key) -> Result<()> {
        self.frame(DELETED, &sort_key(key))
    }

    /// Writes the end, and returns the output with the size of the backup. The caller makes the
    /// bytes durable.
    ///
    /// # Errors
    /// `Unavailable`: the output cannot be written or flushed.
    pub fn finish(mut self) -> Result<(W, BackupSize)> {
        let hash = self.hasher.finalize();
        let end = [&self.frames.to_be_bytes()[..], hash.as_bytes()].concat();
        self.frame(END, &end)?;
        self.out.flush().map_err(not_written)?;
        Ok((self.out, self.size))
    }

    fn frame(&mut self, kind: u8, content: &[u8]) -> Result<()> {
        let length = u32::try_from(content.len()).ok();
        let length = length
            .filter(|_| content.len() <= MAX_FRAME)
            .ok_or_else(|| {
                Error::internal("write the backup", "a package is larger than 512 MiB")
            })?;
        self.bytes(&[kind])?;
        self.bytes(&length.to_be_bytes())?;
        self.bytes(content)?;
        self.frames += 1;
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.size.bytes += bytes.len() as u64;
        self.out.write_all(bytes).map_err(not_written)
    }
}

fn not_written(error: std::io::Error) -> Error {
    Error::unavailable("write the backup", error)
}
