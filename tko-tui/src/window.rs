//! [`RowWindow`]: the part of a listing that is loaded, kept current by events.
//!
//! It holds a few pages around the visible rows, no matter how long the listing is. Pages before
//! and after are read again by their cursors when they are needed.

use std::sync::Arc;
use tko_core::{Cursor, Entity, Key, Page};

/// Number of rows in one page.
pub(crate) const PAGE: usize = 100;

/// Maximum number of pages that are loaded at a time.
const MAX_PAGES: usize = 4;

/// Maximum number of rows that are loaded at a time, counting those that events added.
const MAX_ROWS: usize = 1_000;

/// The direction in which a window grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Growth {
    /// Adds the page after the last one.
    After,
    /// Adds the page before the first one.
    Before,
}

/// A window over a listing in key order.
#[derive(Debug, Default)]
pub(crate) struct RowWindow {
    /// The cursors after which the visited pages begin, in order.
    starts: Vec<Option<Cursor>>,
    /// The number of the first page that is loaded.
    first: usize,
    rows: Vec<Arc<Entity>>,
    next: Option<Cursor>,
    is_loaded: bool,
}

impl RowWindow {
    /// The loaded rows, in key order.
    pub(crate) fn rows(&self) -> &[Arc<Entity>] {
        &self.rows
    }

    /// Whether anything was loaded.
    pub(crate) fn is_loaded(&self) -> bool {
        self.is_loaded
    }

    /// Whether there are rows after the window.
    pub(crate) fn has_next(&self) -> bool {
        !self.is_loaded || self.next.is_some()
    }

    /// Whether there are rows before the window.
    pub(crate) fn has_previous(&self) -> bool {
        self.first > 0
    }

    /// Whether the window can grow.
    pub(crate) fn can_grow(&self, growth: Growth) -> bool {
        match growth {
            Growth::After => self.has_next(),
            Growth::Before => self.has_previous(),
        }
    }

    /// The cursor to read the page for this growth after; `None` for the beginning.
    pub(crate) fn cursor(&self, growth: Growth) -> Option<Cursor> {
        match growth {
            Growth::After => self.next.clone(),
            Growth::Before => {
                let page = self.first.checked_sub(1)?;
                self.starts.get(page).cloned().flatten()
            }
        }
    }

    /// The cursor of the first page, from which a window is read again.
    pub(crate) fn start(&self) -> Option<Cursor> {
        self.starts.get(self.first).cloned().flatten()
    }

    /// Replaces the window by its first page, read again.
    pub(crate) fn reload(&mut self, page: Page) {
        self.starts.truncate(self.first + 1);
        if self.starts.is_empty() {
            self.starts.push(None);
        }
        self.rows.clear();
        self.is_loaded = true;
        self.extend(page);
    }

    /// Adds a page that was read for this growth.
    pub(crate) fn grow(&mut self, growth: Growth, page: Page) {
        match growth {
            Growth::After if !self.is_loaded => self.reload(page),
            Growth::After => {
                if let Some(next) = self.next.take() {
                    self.starts.push(Some(next));
                }
                self.extend(page);
                while self.starts.len() - self.first > MAX_PAGES
                    && let Some(Some(Cursor(bound))) = self.starts.get(self.first + 1)
                {
                    self.rows.retain(|row| row.key > *bound);
                    self.first += 1;
                }
            }
            Growth::Before => self.prepend(page),
        }
    }

    fn extend(&mut self, page: Page) {
        self.rows
            .extend(page.items.into_iter().map(|record| record.entity));
        self.next = page.next;
    }

    fn prepend(&mut self, page: Page) {
        let Some(Some(Cursor(bound))) = self.starts.get(self.first).cloned() else {
            return;
        };
        self.first -= 1;
        let reaches = page.next.as_ref().is_none_or(|next| next.0 >= bound);
        if !reaches {
            // So many entities were created in between that the page no longer reaches the window:
            // continue from this page.
            self.starts.truncate(self.first + 1);
            self.rows.clear();
            self.extend(page);
            return;
        }
        let before = page.items.into_iter().map(|record| record.entity);
        let before = before.filter(|row| row.key <= bound);
        self.rows.retain(|row| row.key > bound);
        self.rows.splice(0..0, before);
        while self.starts.len() - self.first > MAX_PAGES
            && let Some(Some(cursor)) = self.starts.pop()
        {
            self.rows.retain(|row| row.key <= cursor.0);
            self.next = Some(cursor);
        }
    }

    /// Whether a row with this key would be within the window.
    fn covers(&self, key: &Key) -> bool {
        self.is_loaded
            && self.start().is_none_or(|Cursor(start)| *key > start)
            && self.next.as_ref().is_none_or(|Cursor(next)| key <= next)
    }

    /// Puts a row that belongs to the listing. Returns whether the window changed.
    pub(crate) fn put(&mut self, entity: &Arc<Entity>) -> bool {
        match self.position(&entity.key) {
            Ok(at) => self.rows[at] = entity.clone(),
            Err(_) if !self.covers(&entity.key) => return false,
            Err(at) => {
                self.rows.insert(at, entity.clone());
                if self.rows.len() > MAX_ROWS {
                    self.rows.pop();
                    self.next = self.rows.last().map(|last| Cursor(last.key.clone()));
                }
            }
        }
        true
    }

    /// Replaces a row if it is in the window. Returns whether it is.
    pub(crate) fn replace(&mut self, entity: &Arc<Entity>) -> bool {
        let at = self.position(&entity.key);
        if let Ok(at) = at {
            self.rows[at] = entity.clone();
        }
        at.is_ok()
    }

    /// Removes a row. Returns whether it was in the window.
    pub(crate) fn remove(&mut self, key: &Key) -> bool {
        let at = self.position(key);
        if let Ok(at) = at {
            self.rows.remove(at);
        }
        at.is_ok()
    }

    fn position(&self, key: &Key) -> Result<usize, usize> {
        self.rows.binary_search_by(|row| row.key.cmp(key))
    }
}

#[cfg(test)]
mod tests {
    use super::{Growth, MAX_ROWS, PAGE, RowWindow};
    use std::sync::Arc;
    use tko_core::{Cursor, Entity, Key, Page, Record, Revision, SiteId};

    fn entity(number: usize) -> Arc<Entity> {
        let id = SiteId::new(&format!("site-{number:06}")).expect("an id");
        Arc::new(Entity::new(
            id,
            tko_core::Facts::Site {
                template: None,
                origin: None,
            },
        ))
    }

    /// The page of a listing of this many sites.
    fn page(after: Option<&Cursor>, count: usize) -> Page {
        let all = (0..count).map(entity);
        let mut rows = all.filter(|one| after.is_none_or(|after| one.key > after.0));
        let items: Vec<_> = rows.by_ref().take(PAGE).map(Record::new).collect();
        let last = items.last().map(|one| Cursor(one.entity.key.clone()));
        let more = rows.next().is_some();
        Page::new(Revision(1), items).next(last.filter(|_| more))
    }

    fn grow(window: &mut RowWindow, growth: Growth, count: usize) -> bool {
        let can_grow = window.can_grow(growth);
        if can_grow {
            let after = window.cursor(growth);
            window.grow(growth, page(after.as_ref(), count));
        }
        can_grow
    }

    fn ids(window: &RowWindow) -> Vec<&Key> {
        window.rows().iter().map(|row| &row.key).collect()
    }

    #[test]
    fn a_window_slides_over_a_listing_and_back() {
        let mut window = RowWindow::default();
        while grow(&mut window, Growth::After, 2_050) {
            assert!(window.rows().len() <= 4 * PAGE);
        }
        assert_eq!(ids(&window).last().map(|key| key.id()), Some("site-002049"));
        assert!(window.has_previous() && !window.has_next());
        while grow(&mut window, Growth::Before, 2_050) {
            assert!(ids(&window).is_sorted());
            assert!(window.rows().len() <= 4 * PAGE);
        }
        assert_eq!(ids(&window)[0].id(), "site-000000");
        assert_eq!(window.rows().len(), 4 * PAGE);
    }

    #[test]
    fn events_keep_a_window_current() {
        let mut window = RowWindow::default();
        assert!(!window.put(&entity(5)));
        grow(&mut window, Growth::After, 150);
        assert!(window.remove(&entity(5).key));
        assert!(!window.remove(&entity(5).key));
        assert!(window.put(&entity(5)));
        // A row after the window is read with its page.
        assert!(!window.put(&entity(120)));
        grow(&mut window, Growth::After, 150);
        for number in 150..3_000 {
            window.put(&entity(number));
        }
        assert_eq!(window.rows().len(), MAX_ROWS);
        assert!(window.has_next());
    }
}
