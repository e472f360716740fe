//! Keeps the schema validator told of the `CustomResourceDefinition`s in registered templates and
//! sites, at the start and as they change.

use futures_util::StreamExt;
use tko_core::select::MAX_PAGE;
use tko_core::work::backoff;
use tko_core::{
    Clock, Data, Error, Event, Kind, List, Record, Result, Revision, Select, Want, Watch,
};
use tko_validate::Crds;

/// The kinds of entity whose packages define kinds of resource for all others.
pub(super) const KINDS: [Kind; 2] = [Kind::Template, Kind::Site];

/// Goes on for ever: drop it to end it.
pub(super) async fn follow(data: &dyn Data, kind: Kind, crds: &Crds, clock: &dyn Clock) {
    let mut failures = 0;
    loop {
        let error = match read(data, kind, crds).await {
            Ok(revision) => {
                failures = 0;
                match watch(data, kind, crds, revision).await {
                    // Too far behind: everything is read again, at once.
                    Err(Error::Expired { .. }) | Ok(()) => continue,
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        failures += 1;
        tracing::warn!(error = %error.chain(), "cannot follow definitions in {kind}s; retrying");
        clock.sleep(backoff(failures, 0.0)).await;
    }
}

async fn read(data: &dyn Data, kind: Kind, crds: &Crds) -> Result<Revision> {
    let mut list = List {
        select: Select::all(kind),
        after: None,
        limit: MAX_PAGE / 10,
        want: Want::PACKAGE,
    };
    let mut first = None;
    loop {
        let page = data.list(&list).await?;
        first.get_or_insert(page.revision);
        for record in &page.items {
            learn(crds, record);
        }
        list.after = page.next;
        if list.after.is_none() {
            return Ok(first.unwrap_or_default());
        }
    }
}

async fn watch(data: &dyn Data, kind: Kind, crds: &Crds, after: Revision) -> Result<()> {
    let mut events = data.watch(Watch {
        select: Select::all(kind),
        after,
        package: true,
    });
    while let Some(event) = events.next().await {
        match event? {
            Event::Put { record, .. } => learn(crds, &record),
            Event::Gone { before, .. } => crds.forget(&before.entity.key.to_string()),
            Event::Bookmark { .. } => {}
        }
    }
    Ok(())
}

fn learn(crds: &Crds, record: &Record) {
    if let Some(package) = &record.package {
        crds.learn(&record.entity.key.to_string(), package);
    }
}
