//! Backups: the entities of a store as one stream of bytes, the same for every backend.
//!
//! [`export`] reads any [`Backend`](crate::Backend) while it is in use, and writes its state at one revision.
//! [`restore`] reads such a stream into an empty store that implements [`RestoreTarget`]. Versions,
//! generations, times and conditions stay as they were. Three things are not part of a backup:
//!
//! - queued work: a restore enqueues everything that may have to be done, and workers find out;
//! - leases and modifications, whose tokens end with the store;
//! - the feed: revisions of the new store are later than those of the old one, so watchers list
//!   again.
//!
//! # Format
//!
//! A backup begins with the 11 bytes `TKO backup` and line feed, and one byte, the format
//! [`VERSION`]. Frames follow: one byte for the type, four bytes for the length of the content (most
//! significant first), and the content.
//!
//! | type | name | content |
//! |--:|---|---|
//! | 1 | head | 8 bytes: the revision of the state; 8 bytes: the time, in microseconds since 1970 |
//! | 2 | package | a package in the [codec](crate::codec) |
//! | 3 | entity | a record in the codec |
//! | 4 | deleted | the [`sort_key`](crate::codec::sort_key) of an entity that was deleted meanwhile; a later frame may have it again |
//! | 5 | end | 8 bytes: the number of frames before; 32 bytes: the BLAKE3 hash of all bytes before |
//!
//! The head comes first, the end last, and nothing after it. The package of an entity is in a frame
//! before it, with at most 255 other packages in between. A later entity replaces an earlier one
//! with the same key: it changed while the backup was written. Entities that were deleted meanwhile
//! come before the later states of others, so that their idempotency keys are free for those.
//!
//! A reader does not trust the bytes. Frames have at most 512 MiB, values stay within the limits of
//! the codec, and every entity must have its package. Without a correct end frame a backup is
//! incomplete.

mod export;
mod reader;
mod restore;
#[cfg(test)]
mod tests;
mod writer;

pub use export::export;
pub use reader::{BackupFrame, BackupReader};
pub use restore::{RestoreTarget, restore};
pub use writer::BackupWriter;

use crate::encoding::MAX_STORED;
use crate::error::Error;

/// The version of the format that [`BackupWriter`] writes.
pub const VERSION: u8 = 1;

const MAGIC: &[u8; 11] = b"TKO backup\n";

/// The largest content of a frame, in bytes.
const MAX_FRAME: usize = MAX_STORED;

/// How many packages back an entity can refer.
const WINDOW: usize = 256;

const HEAD: u8 = 1;
const PACKAGE: u8 = 2;
const ENTITY: u8 = 3;
const DELETED: u8 = 4;
const END: u8 = 5;

/// The size of a backup. Writing counts everything; restoring counts entities only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupSize {
    /// Entities, each counted once for every state in the backup.
    pub entities: u64,
    /// Packages, without those that follow an equal one closely; 0 after a restore.
    pub packages: u64,
    /// Length in bytes; 0 after a restore.
    pub bytes: u64,
}

/// The error of a backup that cannot be read.
fn damaged(message: impl Into<String>) -> Error {
    Error::bad("backup", message)
}
