//! [`Backend::list`](tko_core::Backend::list) and [`Backend::pages`](tko_core::Backend::pages).

use super::fixture::{ALL, BackendFixture};
use super::sample::{PutBuilder, all, changes, d, deployment, s, set, site, t, template, value_of};
use futures_util::StreamExt;
use std::collections::{BTreeMap, BTreeSet};
use tko_core::select::MAX_PAGE;
use tko_core::{
    Change, ChangeRecord, Cursor, Facts, Key, Kind, List, Pattern, PluginType, Put, Revision,
    Select, Stage, Want,
};

fn page_of(select: Select, limit: usize) -> List {
    List::new(select).limit(limit)
}

/// A listing is in byte order of the ids, whatever the order of creation.
pub async fn listings_are_in_byte_order(fixture: BackendFixture) {
    let mut ids = [
        "b", "a/b", "a:b", "a.b", "a-b", "a_b", "ab", "a", "B", "Z", "10", "9", "a/B",
    ];
    for id in ids {
        fixture.put([template(id)]).await;
    }
    ids.sort_unstable();
    assert_eq!(fixture.ids(&all(Kind::Template)).await, ids);
}

/// Pages of any size give the same listing, each item once.
pub async fn pages_of_any_size_give_the_same_listing(fixture: BackendFixture) {
    let ids: Vec<String> = (0..25).map(|n| format!("s{n:02}")).collect();
    fixture.put(ids.iter().map(|id| site(id))).await;
    fixture.put([template("a"), deployment("z")]).await;
    for limit in [1, 2, 7, 24, 25, 26, 1_000] {
        let found = fixture.walk(&all(Kind::Site), limit).await;
        let found: Vec<&str> = found.iter().map(|r| r.entity.key.id()).collect();
        assert_eq!(found, ids, "in pages of {limit}");
    }
}

/// The page stream gives the same listing as page after page, for any selection and start. A reader
/// that stops early blocks no other reader.
pub async fn the_page_stream_gives_the_same_listing(fixture: BackendFixture) {
    let ids: Vec<String> = (0..60).map(|n| format!("d{n:02}")).collect();
    fixture.put([template("t"), template("u")]).await;
    fixture
        .put(ids.iter().enumerate().map(|(n, id)| {
            let mut put = deployment(id);
            put.metadata.insert("n", (n % 3).to_string());
            if let Facts::Deployment(facts) = &mut put.facts {
                facts.template = Some(["t", "u"][n % 2].parse().expect("an id"));
                facts.prepared = n % 4 == 0;
            }
            put
        }))
        .await;
    let value = |text| Pattern::value(text).expect("the pattern is valid");
    let mut exact = all(Kind::Deployment);
    exact.metadata.insert("n".to_owned(), value("1"));
    let mut like = all(Kind::Deployment);
    like.metadata.insert("n".to_owned(), value("*2"));
    let mut joined = exact.clone();
    joined.template_ids = vec![Pattern::id("u").expect("the pattern is valid")];
    let selects = [
        (all(Kind::Deployment), 60),
        (exact, 20),
        (like, 20),
        (joined, 10),
        (all(Kind::Deployment).prepared(false), 45),
        (all(Kind::Site), 0),
    ];
    for (select, count) in selects {
        for limit in [1, 7, 20, 60, 0] {
            let whole = fixture.walk(&select, limit).await;
            assert_eq!(whole.len(), count, "{select:?}");
            for after in [None, whole.get(count / 2).map(|r| r.entity.key.clone())] {
                let rest = whole
                    .iter()
                    .filter(|r| after.as_ref().is_none_or(|after| r.entity.key > *after));
                let rest: Vec<_> = rest.map(|r| format!("{r:?}")).collect();
                let list = List::new(select.clone())
                    .after(after.map(Cursor))
                    .limit(limit)
                    .want(ALL);
                let pages: Vec<_> = fixture.backend.clone().pages(list).collect().await;
                assert!(!pages.is_empty(), "at least one page comes");
                let pages: Vec<_> = pages
                    .into_iter()
                    .map(|p| p.expect("the page is read"))
                    .collect();
                let ends = pages.iter().map(|page| page.next.is_none());
                let last = pages.len() - 1;
                assert!(
                    ends.enumerate().all(|(at, end)| end == (at == last)),
                    "only the last page has no cursor"
                );
                assert!(
                    limit == 0 || pages.iter().all(|page| page.items.len() <= limit),
                    "a page has at most {limit} items"
                );
                let read = pages.iter().flat_map(|page| &page.items);
                let read: Vec<_> = read.map(|r| format!("{r:?}")).collect();
                assert_eq!(read, rest, "{select:?} in pages of {limit}");
            }
        }
    }
    for _ in 0..40 {
        let mut pages = fixture
            .backend
            .clone()
            .pages(page_of(all(Kind::Deployment), 2));
        let first = pages.next().await.expect("at least one page");
        assert_eq!(first.expect("the page is read").items.len(), 2);
    }
    assert_eq!(fixture.walk(&all(Kind::Deployment), 0).await.len(), 60);
}

/// A listing has entities of one kind only.
pub async fn a_listing_has_one_kind(fixture: BackendFixture) {
    let plugin = super::sample::plugin(PluginType::Prepare, "x");
    fixture
        .put([template("x"), site("x"), deployment("x"), plugin])
        .await;
    for kind in Kind::ALL {
        let found = fixture.walk(&all(kind), 0).await;
        assert_eq!(found.len(), 1, "{kind}");
        assert_eq!(found[0].entity.key.kind(), kind);
    }
}

/// An empty listing is one empty page, which is the last.
pub async fn an_empty_listing_ends_at_once(fixture: BackendFixture) {
    fixture.put([site("s")]).await;
    assert!(fixture.ids(&all(Kind::Template)).await.is_empty());
    let mut after_all = page_of(all(Kind::Site), 10);
    after_all.after = Some(Cursor(s("z")));
    let page = fixture
        .backend
        .list(&after_all)
        .await
        .expect("the page is read");
    assert!(page.items.is_empty() && page.next.is_none(), "{page:?}");
}

/// A page has at most a thousand items, also without a limit.
pub async fn a_page_has_at_most_a_thousand_items(fixture: BackendFixture) {
    let ids: Vec<String> = (0..=MAX_PAGE).map(|n| format!("t{n:04}")).collect();
    for chunk in ids.chunks(MAX_PAGE) {
        fixture.put(chunk.iter().map(|id| template(id))).await;
    }
    for limit in [0, MAX_PAGE + 1, usize::MAX] {
        let list = page_of(all(Kind::Template), limit);
        let page = fixture.backend.list(&list).await.expect("the page is read");
        assert!(page.items.len() <= MAX_PAGE, "asked for {limit}");
        assert!(page.next.is_some(), "one more item exists");
        assert_eq!(
            fixture
                .walk(&all(Kind::Template), limit.min(5_000))
                .await
                .len(),
            ids.len()
        );
    }
}

/// A cursor continues after its key, even if that entity is gone or never existed.
pub async fn a_cursor_continues_after_its_key(fixture: BackendFixture) {
    fixture.put(["a", "b", "c", "d"].map(site)).await;
    fixture.commit(changes([Change::Delete(s("b"))])).await;
    for (after, expected) in [
        ("b", ["c", "d"].as_slice()),
        ("bb", &["c", "d"]),
        ("c", &["d"]),
    ] {
        let mut list = page_of(all(Kind::Site), 10);
        list.after = Some(Cursor(s(after)));
        let mut found = Vec::new();
        loop {
            let page = fixture.backend.list(&list).await.expect("the page is read");
            found.extend(page.items.iter().map(|r| r.entity.key.id().to_owned()));
            match page.next {
                Some(next) => list.after = Some(next),
                None => break,
            }
        }
        assert_eq!(found, expected, "after {after}");
    }
}

/// Package, revision and work are included in a listing on request.
pub async fn requested_parts_are_included(fixture: BackendFixture) {
    fixture
        .put([
            deployment("a").with_resources(&["x"]),
            deployment("b").with_resources(&["y"]),
        ])
        .await;
    fixture.enqueue(Stage::Prepare, [d("b")]).await;
    let all_of_it = fixture.walk(&all(Kind::Deployment), 10).await;
    for record in &all_of_it {
        let alone = fixture.read(&record.entity.key).await;
        assert_eq!(record.package, alone.package);
        assert_eq!(record.revision, alone.revision);
        assert_eq!(record.work, alone.work);
    }
    assert_eq!(all_of_it[1].work.len(), 1);
    let page = fixture
        .backend
        .list(&page_of(all(Kind::Deployment), 10))
        .await;
    let page = page.expect("the page is read");
    assert!(
        page.items
            .iter()
            .all(|r| r.package.is_none() && r.work.is_empty())
    );
}

/// Entities under deletion are hidden unless they are requested.
pub async fn entities_under_deletion_are_hidden(fixture: BackendFixture) {
    fixture
        .put([site("a"), site("b").being_deleted(), site("c")])
        .await;
    assert_eq!(fixture.ids(&all(Kind::Site)).await, ["a", "c"]);
    let with_deleting = all(Kind::Site).deleting(true);
    assert_eq!(fixture.ids(&with_deleting).await, ["a", "b", "c"]);
}

/// A page shows every change up to the revision that it names.
pub async fn a_page_shows_everything_up_to_its_revision(fixture: BackendFixture) {
    for n in 1..=10 {
        fixture.put([site(&format!("s{n:02}"))]).await;
        let list = page_of(all(Kind::Site), 0);
        let page = fixture.backend.list(&list).await.expect("the page is read");
        assert!(
            page.revision <= fixture.feed_position().await.revision,
            "a page shows no revision that is not there yet"
        );
        let shown = page.items.len() as u64;
        assert!(
            page.revision.0 <= shown,
            "it names {} and shows {shown}",
            page.revision
        );
        assert_eq!(
            page.revision,
            Revision(n),
            "nothing else is going on: it is the head's"
        );
    }
}

/// A client that lists and then replays the feed from the first page's revision has exactly the
/// current state. Entities that exist throughout are listed once.
pub async fn list_then_feed_is_exact(fixture: BackendFixture) {
    let id = |n: usize| format!("s{n:02}");
    fixture.put((0..30).map(|n| site(&id(n)))).await;
    let mut list = page_of(all(Kind::Site), 4).want(ALL);
    let mut known: BTreeMap<Key, String> = BTreeMap::new();
    let mut seen: Vec<Key> = Vec::new();
    let mut first = None;
    for round in 0.. {
        let page = fixture.backend.list(&list).await.expect("the page is read");
        first.get_or_insert(page.revision);
        for record in page.items {
            let entity = record.entity;
            known.insert(
                entity.key.clone(),
                value_of(&entity, "round").unwrap_or("").to_owned(),
            );
            seen.push(entity.key.clone());
        }
        // One entity before the cursor and one after it change; others are deleted and created.
        let word = format!("{round}");
        let touched = [1, 29].map(|n| Change::Put(site(&id(n)).with_label("round", &word)));
        let gone = [2 + round.min(9), 28 - round.min(9)].map(|n| Change::Delete(s(&id(n))));
        let new = [0, 1].map(|n| Change::Put(site(&format!("s{:02}x{n}", 9 + round * n))));
        fixture
            .commit(changes(touched.into_iter().chain(gone).chain(new)))
            .await;
        list.after = page.next;
        if list.after.is_none() {
            break;
        }
    }
    for stays in [0, 1, 29] {
        let times = seen.iter().filter(|key| key.id() == id(stays)).count();
        assert_eq!(times, 1, "{} was there throughout", id(stays));
    }
    for change in fixture.changes(first.unwrap_or_default().0).await {
        match change.after {
            Some(record) => {
                let round = value_of(&record.entity, "round").unwrap_or("").to_owned();
                known.insert(change.key, round);
            }
            None => drop(known.remove(&change.key)),
        }
    }
    let real: BTreeMap<Key, String> = fixture
        .walk(&all(Kind::Site), 0)
        .await
        .iter()
        .map(|r| {
            (
                r.entity.key.clone(),
                value_of(&r.entity, "round").unwrap_or("").to_owned(),
            )
        })
        .collect();
    assert_eq!(known, real);
}

/// A stale page names an existing revision, and the feed from there has exactly the missing
/// changes.
pub async fn a_stale_page_names_a_past_revision(fixture: BackendFixture) {
    let list = page_of(all(Kind::Site), 2).want(Want::ROW.with_stale());
    let mut there = BTreeSet::new();
    for n in 0..12 {
        let new = s(&format!("s{n:02}"));
        fixture.put([site(new.id())]).await;
        there.insert(new);
        if n % 3 == 2 {
            let gone = s(&format!("s{:02}", n - 1));
            fixture
                .commit(changes([Change::Delete(gone.clone())]))
                .await;
            there.remove(&gone);
        }
        let pages: Vec<_> = fixture.backend.clone().pages(list.clone()).collect().await;
        let head = fixture.feed_position().await.revision;
        let mut known = BTreeSet::new();
        let mut lowest = head;
        for page in pages {
            let page = page.expect("the page is read");
            assert!(page.revision <= head, "{} is not there yet", page.revision);
            lowest = lowest.min(page.revision);
            known.extend(page.items.iter().map(|r| r.entity.key.clone()));
        }
        for change in fixture.changes(lowest.0).await {
            match change.after {
                Some(_) => known.insert(change.key),
                None => known.remove(&change.key),
            };
        }
        assert_eq!(known, there, "the listing and the feed after {lowest}");
        let count = fixture
            .backend
            .count(&all(Kind::Site), 100, list.want)
            .await;
        let found = count.expect("the count succeeds").found;
        assert!(found <= n + 1, "{found} were never there");
    }
}

/// A page shows one instant: all changes of a set or none.
pub async fn a_page_shows_one_instant(fixture: BackendFixture) {
    let ids = ["a", "k", "z"];
    let pair = move |n: usize| ids.map(|id| template(id).with_label("n", &n.to_string()));
    fixture.put(pair(0)).await;
    let writer = fixture.beside().await;
    let writing = tokio::spawn(async move {
        for n in 1..200 {
            writer.commit(set(pair(n))).await;
            tokio::task::yield_now().await;
        }
    });
    for _ in 0..200 {
        let page = fixture
            .backend
            .list(&page_of(all(Kind::Template), 3))
            .await
            .expect("the page is read");
        let shown: Vec<_> = page
            .items
            .iter()
            .map(|r| value_of(&r.entity, "n"))
            .collect();
        assert!(
            shown.windows(2).all(|pair| pair[0] == pair[1]),
            "one instant: {shown:?}"
        );
        let keys = ids.map(t);
        let read = fixture
            .backend
            .get(&keys, Want::ROW)
            .await
            .expect("the keys are read");
        let read: Vec<_> = read
            .iter()
            .flatten()
            .map(|r| value_of(&r.entity, "n"))
            .collect();
        assert!(
            read.windows(2).all(|pair| pair[0] == pair[1]),
            "one instant: {read:?}"
        );
        tokio::task::yield_now().await;
    }
    writing.await.expect("the writer ends");
}

/// A changed row at once enters the selections of its new state and leaves those of its old one.
pub async fn a_changed_row_moves_between_selections(fixture: BackendFixture) {
    let value = |value: &str| {
        all(Kind::Site)
            .metadata_patterns([("k".to_owned(), super::sample::value_pattern(value))].into())
    };
    let put = |v: &str| -> Put { site("s").with_label("k", v) };
    fixture.put([put("one")]).await;
    assert_eq!(fixture.ids(&value("one")).await, ["s"]);
    assert!(fixture.ids(&value("two")).await.is_empty());
    fixture.put([put("two")]).await;
    assert!(fixture.ids(&value("one")).await.is_empty());
    assert_eq!(fixture.ids(&value("two")).await, ["s"]);
    fixture.commit(changes([Change::Delete(s("s"))])).await;
    assert!(fixture.ids(&value("two")).await.is_empty());
}

/// While others write, a page still shows every change up to its revision. Otherwise a client that
/// lists and then watches would lose changes.
pub async fn a_page_is_as_new_as_its_revision(fixture: BackendFixture) {
    const ROUNDS: usize = 120;
    let mut writers = tokio::task::JoinSet::new();
    for task in 0..3 {
        let own = fixture.beside().await;
        writers.spawn(async move {
            for round in 0..ROUNDS {
                let key = s(&format!("s{task}x{}", round % 3));
                let change = match round % 5 {
                    4 => Change::Delete(key),
                    _ => Change::Put(site(key.id()).with_label("round", &round.to_string())),
                };
                own.commit(changes([change])).await;
                tokio::task::yield_now().await;
            }
        });
    }
    let mut pages = Vec::new();
    let mut writing = true;
    while writing {
        writing = !writers.is_empty();
        let list = page_of(all(Kind::Site), 0);
        pages.push(fixture.backend.list(&list).await.expect("the page is read"));
        while let Some(ended) = writers.try_join_next() {
            ended.expect("the writer ends");
        }
        tokio::task::yield_now().await;
    }
    let feed = fixture.changes(0).await;
    for page in pages {
        let shown: BTreeMap<&Key, _> = page
            .items
            .iter()
            .map(|record| (&record.entity.key, record.entity.version))
            .collect();
        let (known, later): (Vec<_>, Vec<_>) = feed
            .iter()
            .partition(|change| change.revision <= page.revision);
        let last: BTreeMap<&Key, &ChangeRecord> = known
            .into_iter()
            .map(|change| (&change.key, change))
            .collect();
        for (key, change) in last {
            // The state as of the revision, or a later one.
            let version = |change: &ChangeRecord| change.after.as_ref().map(|r| r.entity.version);
            let mut states = std::iter::once(change)
                .chain(later.iter().copied().filter(|change| change.key == *key))
                .map(version);
            let state = shown.get(key).copied();
            assert!(
                states.any(|known| known == state),
                "the page names revision {}, but shows {key} as before {}",
                page.revision,
                change.revision
            );
        }
    }
}
