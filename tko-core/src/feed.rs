//! The feed of changes: the view of one change by one watcher, and the last changes. Every watch
//! protocol shares the view; a backend keeps the last changes for all readers.

mod recent;

pub use recent::ChangeCache;

use crate::api::Event;
use crate::change::ChangeRecord;
use crate::entity::Record;
use crate::select::Select;

/// Maximum number of changes with packages that a backend reads at once. Packages may be large, and
/// a change has two.
pub const MAX_READ_WITH_PACKAGES: usize = 32;

/// Converts a change into the event for a watcher of this selection; `None` if neither state
/// matches.
pub fn view(select: &Select, change: ChangeRecord) -> Option<Event> {
    let fits = |record: &Option<Record>| record.as_ref().is_some_and(|r| select.matches(&r.entity));
    let revision = change.revision;
    match (
        fits(&change.before),
        fits(&change.after),
        change.before,
        change.after,
    ) {
        (was, true, _, Some(record)) => Some(Event::Put {
            revision,
            record: whole(record),
            entered: !was,
        }),
        (true, false, Some(before), _) => Some(Event::Gone {
            revision,
            before: whole(before),
        }),
        _ => None,
    }
}

/// Whether a change leaves package and metadata as they were. False for the first and the last change
/// of an entity.
pub fn is_unedited(change: &ChangeRecord) -> bool {
    let (Some(before), Some(after)) = (&change.before, &change.after) else {
        return false;
    };
    let (before, after) = (&before.entity, &after.entity);
    before.generation == after.generation
        && before.deleting == after.deleting
        && before.metadata == after.metadata
}

/// Adds the Deployment resource to the package of a record that was read from a backend.
pub fn whole(mut record: Record) -> Record {
    if let (Some(deployment), Some(body)) = (record.entity.deployment(), &record.package) {
        record.package = Some(deployment.whole(body));
    }
    record
}
