//! [`PageBound`]: how much of a state is read and written at once.

use crate::snapshot::StatePage;
use tko_core::{Cursor, Record};

/// Maximum number of objects that are read at once. A page is read whole before the sizes of its
/// objects are known. Even after many small objects, each of its objects may have a large package.
pub(crate) const MAX_OBJECTS: usize = 100;

/// Number of objects that are read first, before their size is known.
const FIRST_OBJECTS: usize = 16;

/// Number of bytes after which a page ends, because it is in memory until the client has read it.
const PAGE_BYTES: usize = 1 << 20;

/// Divides a state into pages for a client that may read them slowly. The next page is read as soon
/// as the client has taken the last one.
#[derive(Debug)]
pub(crate) struct PageBound {
    objects: usize,
}

impl Default for PageBound {
    fn default() -> Self {
        Self {
            objects: FIRST_OBJECTS,
        }
    }
}

impl PageBound {
    /// Maximum number of objects of the next page.
    pub(crate) fn objects(&self) -> usize {
        self.objects
    }

    /// Writes the objects of a page, but none after the bound in bytes. `write` writes one object
    /// and returns its number of bytes. Returns the position of the next page, if there is one.
    pub(crate) fn write(
        &mut self,
        page: StatePage,
        mut write: impl FnMut(&Record) -> usize,
    ) -> Option<Cursor> {
        let (mut bytes, mut count) = (0, 0);
        let mut last = None;
        for record in &page.items {
            if bytes >= PAGE_BYTES {
                // The rest is read again, in a page of as many objects as fit.
                self.objects = count;
                return last.map(Cursor);
            }
            bytes += write(record);
            count += 1;
            last = Some(record.entity.key.clone());
        }
        if bytes <= PAGE_BYTES / 2 {
            self.objects = (self.objects * 2).min(MAX_OBJECTS);
        }
        page.next
    }
}

#[cfg(test)]
mod tests {
    use super::{FIRST_OBJECTS, MAX_OBJECTS, PAGE_BYTES, PageBound};
    use crate::snapshot::StatePage;
    use tko_core::{Cursor, Entity, Facts, Key, Record, Revision, SiteId};

    /// Writes this many objects of a size, page by page. Returns the number of objects of each page.
    fn pages(count: usize, bytes: usize) -> Vec<usize> {
        let keys: Vec<Key> = (0..count)
            .map(|at| SiteId::new(&format!("s{at:05}")).expect("an id").into())
            .collect();
        let mut bound = PageBound::default();
        let (mut written, mut after, mut pages) = (Vec::new(), None, Vec::new());
        loop {
            let start = after.map_or(0, |Cursor(key): Cursor| {
                keys.partition_point(|one| *one <= key)
            });
            let end = (start + bound.objects()).min(count);
            let records = keys[start..end].iter();
            let records =
                records.map(|key| Record::new(Entity::new(key.clone(), Facts::site(None, None))));
            let page = StatePage {
                items: records.collect(),
                revision: Revision(1),
                next: (end < count).then(|| Cursor(keys[end - 1].clone())),
            };
            let before = written.len();
            after = bound.write(page, |record| {
                written.push(record.entity.key.clone());
                bytes
            });
            pages.push(written.len() - before);
            if after.is_none() {
                break;
            }
        }
        assert_eq!(written, keys, "each object once, in order");
        pages
    }

    #[test]
    fn small_objects_are_written_many_at_once() {
        assert_eq!(pages(0, 100), [0]);
        assert_eq!(pages(FIRST_OBJECTS, 100), [FIRST_OBJECTS]);
        let pages = pages(2_000, 100);
        assert_eq!(pages[0], FIRST_OBJECTS);
        assert_eq!(pages.iter().max(), Some(&MAX_OBJECTS));
    }

    #[test]
    fn small_objects_do_not_let_a_page_become_large_before_sizes_are_known() {
        // The number is in docs/kubernetes-api.md.
        assert!(pages(2_000, 1).into_iter().all(|objects| objects <= 100));
    }

    #[test]
    fn large_objects_end_a_page_early() {
        let pages_of = |bytes: usize| pages(100, bytes);
        let most = |pages: Vec<usize>| pages.into_iter().max();
        assert_eq!(most(pages_of(16 << 20)), Some(1));
        assert_eq!(most(pages_of(PAGE_BYTES)), Some(1));
        assert_eq!(most(pages_of(PAGE_BYTES / 4)), Some(4));
    }
}
