//! Entities that are too large for a message: they are skipped, logged and counted.
//!
//! The limits of `tko_core::limits` keep entities far below the size of a message. Data that were
//! written before, or by other programs, may exceed it; one such entity must not end a listing.

use std::sync::atomic::{AtomicU64, Ordering};
use tko_core::Key;

static SKIPPED: AtomicU64 = AtomicU64::new(0);

/// Bytes of a message besides its records and packages.
pub(super) const MARGIN: usize = 4_096;

/// The number of entities that this process has left out of responses, because they are larger than
/// a message may be.
pub fn skipped_entities() -> u64 {
    SKIPPED.load(Ordering::Relaxed)
}

/// Logs and counts an entity that is left out.
pub(super) fn skip(key: &Key, bytes: usize) {
    SKIPPED.fetch_add(1, Ordering::Relaxed);
    tracing::warn!(
        %key,
        bytes,
        "left an entity out of a response: it is larger than a message; delete it, or register it \
         again"
    );
}
