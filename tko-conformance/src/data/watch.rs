//! Watching a selection.

use super::fixture::{DataFixture, PEOPLE};
use super::sample::{all, by, config, d, deployment_id, head_of, running_on, s, with};
use crate::verdict::refused;
use futures_util::StreamExt;
use std::collections::BTreeMap;
use tko_core::{
    Condition, ErrorKind, Event, Expect, Generation, Key, Kind, List, Metadata, NewDeployment,
    Revision, Watch,
};

async fn site(fixture: &DataFixture, id: &str, word: &str) {
    let new = super::sample::new_site(id, [])
        .metadata([("word", word)])
        .expect(Expect::Any);
    fixture
        .data
        .register_site(new)
        .await
        .expect("the call is valid");
}

fn in_short(events: &[Event]) -> Vec<(u64, String)> {
    let short = |event: &Event| match event {
        Event::Put {
            revision,
            record,
            entered,
        } => {
            let what = if *entered { "entered" } else { "put" };
            (revision.0, format!("{what} {}", record.entity.key.id()))
        }
        Event::Gone { revision, before } => {
            (revision.0, format!("gone {}", before.entity.key.id()))
        }
        event => (event.revision().0, "bookmark".to_owned()),
    };
    events.iter().map(short).collect()
}

/// A watch reports new, changed and deleted entities, and those that start or stop matching, each
/// at its revision.
pub async fn a_watch_reports_matching_changes(fixture: DataFixture) {
    site(&fixture, "a", "no").await; // 1: nothing
    site(&fixture, "b", "yes").await; // 2: new
    fixture.template("b", []).await; // 3: of another kind
    site(&fixture, "a", "yes").await; // 4: begins to match
    site(&fixture, "b", "yes!").await; // 5: ceases to match
    site(&fixture, "b", "no").await; // 6: nothing
    site(&fixture, "a", "yes").await; // no change
    fixture.data.delete(&s("a")).await.expect("it exists"); // 7: gone
    fixture.data.delete(&s("b")).await.expect("it exists"); // 8: nothing
    site(&fixture, "last", "yes").await;
    let told = fixture
        .told(&by(Kind::Site, "word", "yes"), 0, "last")
        .await;
    let expected = [
        (2, "entered b"),
        (4, "entered a"),
        (5, "gone b"),
        (7, "gone a"),
    ];
    let expected = expected.map(|(revision, what)| (revision, what.to_owned()));
    assert_eq!(in_short(&told), expected);
    let told = fixture
        .told(&by(Kind::Site, "word", "yes"), 4, "last")
        .await;
    assert_eq!(in_short(&told), expected[2..], "after any revision");
}

/// A change of a matching entity is a put with `entered` false and the whole package of that
/// revision.
pub async fn an_event_has_the_whole_package(fixture: DataFixture) {
    let id = fixture
        .create(NewDeployment::new().id(deployment_id("d")))
        .await;
    let first = fixture.package(&id).await;
    let version = fixture.row(&id).await.version;
    fixture
        .data
        .update(&id, version, with(&first, config("b")))
        .await
        .expect("the call is valid");
    fixture
        .data
        .delete(&Key::from(&id))
        .await
        .expect("it exists");
    fixture
        .create(NewDeployment::new().id(deployment_id("last")))
        .await;
    let told = fixture.told(&all(Kind::Deployment), 0, "last").await;
    let short: Vec<String> = in_short(&told).into_iter().map(|(_, what)| what).collect();
    assert_eq!(short, ["entered d", "put d", "gone d"]);
    let mut sizes = Vec::new();
    for event in &told {
        let record = match event {
            Event::Put { record, .. } => record,
            Event::Gone { before, .. } => before,
            _ => unreachable!("bookmarks are left out"),
        };
        let package = record.package.as_ref().expect("it was requested");
        head_of(package);
        sizes.push((package.len(), record.entity.generation));
    }
    let (one, two) = (Generation(1), Generation(2));
    assert_eq!(sizes, [(1, one), (2, two), (2, two)]);
    let mut plain = fixture
        .data
        .watch(Watch::new(all(Kind::Deployment), Revision(0)));
    match plain.next().await {
        Some(Ok(Event::Put { record, .. })) => assert!(record.package.is_none()),
        other => panic!("the first event is expected, but the answer is {other:?}"),
    }
}

/// For users, an entity is gone when its deletion starts.
pub async fn an_entity_under_deletion_is_gone(fixture: DataFixture) {
    fixture.site("s", []).await;
    let new = running_on("s").id(deployment_id("d"));
    let id = fixture.create(new).await;
    fixture.place("s", &[&id]).await;
    let from = fixture.revision().await;
    fixture.data.delete(&d("d")).await.expect("it exists");
    fixture
        .create(NewDeployment::new().id(deployment_id("last")))
        .await;
    let told = fixture.told(&all(Kind::Deployment), from, "last").await;
    let short: Vec<String> = in_short(&told).into_iter().map(|(_, what)| what).collect();
    assert_eq!(short, ["gone d"]);
}

/// A watch of edits leaves out changes of conditions and placements, but still reports entities
/// that enter or leave the selection.
pub async fn a_watch_of_edits_leaves_out_other_changes(fixture: DataFixture) {
    fixture.site("s", []).await;
    let id = fixture.create(running_on("s").id(deployment_id("d"))).await;
    fixture.place("s", &[&id]).await;
    let condition = Condition::new("Seen", true, "Seen", "", Generation(1));
    let reported = fixture.data.report(&d("d"), vec![condition]).await;
    reported.expect("it exists");
    let package = fixture.package(&id).await;
    let version = fixture.row(&id).await.version;
    let edited = with(&package, config("b"));
    let updated = fixture.data.update(&id, version, edited).await;
    updated.expect("the call is valid");
    fixture
        .create(NewDeployment::new().id(deployment_id("last")))
        .await;
    let watch = Watch::new(all(Kind::Deployment), Revision(0));
    let told = fixture.told_by(watch.clone(), "last").await;
    let short: Vec<String> = in_short(&told).into_iter().map(|(_, what)| what).collect();
    assert_eq!(short, ["entered d", "put d", "put d", "put d"]);
    let told = fixture.told_by(watch.edits(true), "last").await;
    let short: Vec<String> = in_short(&told).into_iter().map(|(_, what)| what).collect();
    assert_eq!(short, ["entered d", "put d"]);
}

/// A selection by a template's or site's metadata is refused, and the stream ends.
pub async fn joins_cannot_be_watched(fixture: DataFixture) {
    let metadata = by(Kind::Deployment, "k", "v").metadata;
    for template in [true, false] {
        let mut select = all(Kind::Deployment);
        if template {
            select.template_metadata = metadata.clone();
        } else {
            select.site_metadata = metadata.clone();
        }
        let watch = Watch::new(select, Revision(0));
        let mut events = fixture.data.watch(watch);
        let first = events.next().await.expect("the call succeeds");
        refused(first, &[ErrorKind::BadArgument], "the watch");
        assert!(
            events.next().await.is_none(),
            "the stream ends after an error"
        );
    }
}

/// A position that is no longer kept is `Expired`, and the stream ends; the oldest position works.
pub async fn a_position_no_longer_kept_is_expired(fixture: DataFixture) {
    let fixture = fixture.fresh(10).await;
    for n in 0..60 {
        site(&fixture, "s", &n.to_string()).await;
    }
    let watch = |after| fixture.data.watch(Watch::new(all(Kind::Site), after));
    let mut events = watch(Revision(0));
    let first = events.next().await.expect("the call succeeds");
    refused(first, &[ErrorKind::Expired], "the position 0");
    assert!(
        events.next().await.is_none(),
        "the stream ends after an error"
    );
    let oldest = fixture
        .data
        .feed_position()
        .await
        .expect("the feed position is read")
        .oldest;
    let first = watch(oldest)
        .next()
        .await
        .expect("the call succeeds")
        .expect("it is kept");
    assert_eq!(first.revision(), Revision(oldest.0 + 1));
}

/// A waiting watch gets the events of other clients.
pub async fn a_waiting_watch_gets_the_next_event(fixture: DataFixture) {
    let other = fixture.beside();
    let waiting = tokio::spawn(async move { other.told(&all(Kind::Site), 0, "last").await.len() });
    for n in 0..5 {
        site(&fixture, &format!("s{n}"), "x").await;
        tokio::task::yield_now().await;
    }
    site(&fixture, "last", "x").await;
    assert_eq!(waiting.await.expect("the watcher ends"), 5);
}

/// A client that lists and then watches from the first page's revision has exactly the current
/// state, no matter how many clients write meanwhile.
pub async fn list_then_watch_is_exact(fixture: DataFixture) {
    for n in 0..20 {
        site(&fixture, &format!("s{n:02}"), "yes").await;
    }
    for id in ["a0", "a1"] {
        site(&fixture, id, "yes").await;
    }
    let mut writers = tokio::task::JoinSet::new();
    for task in 0..4_usize {
        let own = fixture.beside();
        writers.spawn(async move {
            for round in 0..20_usize {
                let id = format!("s{:02}", (task * 7 + round * 3) % 26);
                match (task + round) % 4 {
                    0 => drop(own.data.delete(&s(&id)).await),
                    1 => site(&own, &id, "no").await,
                    _ => site(&own, &id, &format!("yes {task} {round}")).await,
                }
                tokio::task::yield_now().await;
            }
        });
    }
    let select = by(Kind::Site, "word", "yes*");
    let mut known: BTreeMap<Key, Metadata> = BTreeMap::new();
    let mut list = List::new(select.clone()).limit(3).want(PEOPLE);
    let mut first = None;
    loop {
        let page = fixture.data.list(&list).await.expect("the page is read");
        first.get_or_insert(page.revision.0);
        for record in page.items {
            known.insert(record.entity.key.clone(), record.entity.metadata.clone());
        }
        if list.after.is_none() {
            // Entities already listed stop matching, are deleted, and appear behind the cursor.
            site(&fixture, "a0", "no").await;
            fixture.data.delete(&s("a1")).await.expect("it exists");
            site(&fixture, "a00", "yes").await;
        }
        list.after = page.next;
        tokio::task::yield_now().await;
        if list.after.is_none() {
            break;
        }
    }
    while let Some(ended) = writers.join_next().await {
        ended.expect("the task writes");
    }
    site(&fixture, "last", "yes").await;
    for event in fixture
        .told(&select, first.unwrap_or_default(), "last")
        .await
    {
        match event {
            Event::Put { record, .. } => {
                known.insert(record.entity.key.clone(), record.entity.metadata.clone());
            }
            Event::Gone { before, .. } => drop(known.remove(&before.entity.key)),
            _ => {}
        }
    }
    known.remove(&s("last"));
    let there: BTreeMap<Key, Metadata> = fixture
        .walk(&select, 0)
        .await
        .iter()
        .filter(|record| record.entity.key != s("last"))
        .map(|record| (record.entity.key.clone(), record.entity.metadata.clone()))
        .collect();
    assert_eq!(known, there);
}
