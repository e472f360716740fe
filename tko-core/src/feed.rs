//! What one change is to one watcher. Pure: gRPC, Kubernetes and web share it.

use crate::api::Event;
use crate::change::ChangeRecord;
use crate::entity::Record;
use crate::select::Select;

/// What a change is to whoever watches this selection; `None`: nothing.
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

/// A record as people see it: the Deployment resource in its place.
pub fn whole(mut record: Record) -> Record {
    if let (Some(deployment), Some(body)) = (record.entity.deployment(), &record.package) {
        record.package = Some(deployment.whole(body));
    }
    record
}
