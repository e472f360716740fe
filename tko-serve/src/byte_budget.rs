//! [`ByteBudget`]: limits the bytes of requests in flight, for a connection and for a server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that are counted for each frame of a request, in addition to its content. A frame with a
/// single byte uses far more memory than that.
pub const FRAME_BYTES: usize = 128;

/// A number of bytes that requests in flight may use together, within the budget of a parent.
#[derive(Debug)]
pub struct ByteBudget {
    used: AtomicUsize,
    max: usize,
    parent: Option<Arc<ByteBudget>>,
}

impl ByteBudget {
    /// Creates a budget of `max` bytes.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicUsize::new(0),
            max,
            parent: None,
        })
    }

    /// A budget of this many bytes, which are also taken from this one.
    #[must_use]
    pub fn child(self: &Arc<Self>, max: usize) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicUsize::new(0),
            max,
            parent: Some(self.clone()),
        })
    }

    /// An empty grant of this budget.
    pub fn grant(self: &Arc<Self>) -> ByteGrant {
        ByteGrant {
            budget: self.clone(),
            bytes: 0,
        }
    }

    /// The bytes in use.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) -> bool {
        let taken = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|sum| *sum <= self.max)
            });
        if taken.is_err() {
            return false;
        }
        let granted = self.parent.as_ref().is_none_or(|parent| parent.take(bytes));
        if !granted {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
        }
        granted
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(parent) = &self.parent {
            parent.give_back(bytes);
        }
    }
}

/// Bytes taken from a [`ByteBudget`]; released when this is dropped.
#[derive(Debug)]
pub struct ByteGrant {
    budget: Arc<ByteBudget>,
    bytes: usize,
}

impl ByteGrant {
    /// Takes more bytes. Returns false, and takes none, if the budget is exhausted.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        let granted = self.budget.take(bytes);
        if granted {
            self.bytes += bytes;
        }
        granted
    }

    /// Releases all but this many bytes.
    pub fn shrink_to(&mut self, bytes: usize) {
        let less = self.bytes.saturating_sub(bytes);
        self.bytes -= less;
        self.budget.give_back(less);
    }

    /// The bytes taken.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for ByteGrant {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::ByteBudget;

    #[test]
    fn s5_a_connection_and_the_server_are_bounded_and_bytes_come_back() {
        let server = ByteBudget::new(100);
        let (one, other) = (server.child(60), server.child(60));
        let (mut a, mut b) = (one.grant(), other.grant());
        assert!(a.grow(60) && !a.grow(1), "the connection is bounded");
        assert!(b.grow(40) && !b.grow(1), "the server is bounded");
        assert_eq!((server.used(), other.used()), (100, 40));
        a.shrink_to(10);
        assert!(b.grow(20));
        drop((a, b));
        assert_eq!((server.used(), one.used(), other.used()), (0, 0, 0));
    }
}
