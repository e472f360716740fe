//! The memory and the tables that one call may take.

use super::host::TABLE;
use wasmtime::{Error, ResourceLimiter, Result};

/// Maximum instances, memories and tables of a call: a component has several.
const PARTS: usize = 100;

/// The error of a call that needs too much memory.
pub(super) const MEMORY_REFUSED: &str = "its memories exceed their limit";
/// The error of a call that needs too many elements of tables.
pub(super) const TABLE_REFUSED: &str = "its tables exceed their limit";

/// Limits all memories, and all tables, of one call together: code may have many of them.
pub(super) struct GuestLimiter {
    /// Maximum bytes of all memories.
    memory: usize,
    /// Bytes of all memories.
    bytes: usize,
    /// Elements of all tables.
    elements: usize,
}

impl GuestLimiter {
    /// Limits the memories to this many bytes, and the tables to [`TABLE`] elements.
    pub(super) fn new(memory: usize) -> Self {
        Self {
            memory,
            bytes: 0,
            elements: 0,
        }
    }
}

/// The sum after one part has grown; `None` if it is more than the limit.
fn grown(sum: usize, current: usize, desired: usize, limit: usize) -> Option<usize> {
    let sum = sum.checked_add(desired.saturating_sub(current));
    sum.filter(|sum| *sum <= limit)
}

// A refusal is an error, which ends the call: code that runs out of memory behaves oddly.
impl ResourceLimiter for GuestLimiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        let grown = grown(self.bytes, current, desired, self.memory);
        let is_allowed = maximum.is_none_or(|maximum| desired <= maximum);
        self.bytes = grown
            .filter(|_| is_allowed)
            .ok_or_else(|| Error::msg(MEMORY_REFUSED))?;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: Error) -> Result<()> {
        Err(error)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        let grown = grown(self.elements, current, desired, TABLE);
        let is_allowed = maximum.is_none_or(|maximum| desired <= maximum);
        self.elements = grown
            .filter(|_| is_allowed)
            .ok_or_else(|| Error::msg(TABLE_REFUSED))?;
        Ok(true)
    }

    fn table_grow_failed(&mut self, error: Error) -> Result<()> {
        Err(error)
    }

    fn instances(&self) -> usize {
        PARTS
    }

    fn tables(&self) -> usize {
        PARTS
    }

    fn memories(&self) -> usize {
        PARTS
    }
}
