//! Listing: one page of a selection.

use crate::plan::QueryPlan;
use crate::state::MemoryState;
use crate::walk::MAX_VISITED;
use tko_core::{Cursor, List, Page};

/// Reads one page. Also returns the number of index entries read.
pub(crate) fn page(state: &MemoryState, list: &List) -> (Page, usize) {
    let limit = list.most();
    let rows = &state.of(list.select.kind).rows;
    let after = list.after.as_ref().map(|Cursor(key)| key);
    let mut walk = QueryPlan::new(state, &list.select).walk(after);
    let mut page = Page::new(state.revision(), Vec::new());
    while let Some((key, slot)) = walk.next() {
        let row = rows.row(slot);
        if state.selects(&list.select, &row.entity) {
            page.items.push(state.record(row, list.want));
        }
        if page.items.len() == limit || walk.visited() >= MAX_VISITED {
            page.next = (!walk.is_done()).then(|| Cursor(key.clone()));
            break;
        }
    }
    (page, walk.visited())
}

#[cfg(test)]
pub(crate) mod tests;
