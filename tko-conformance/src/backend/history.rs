//! [`Backend::history`](tko_core::Backend::history).

use super::fixture::BackendFixture;
use super::sample::{PutBuilder, changes, package, s, site};
use tko_core::{Change, ChangeRecord, Revision};

async fn history(fixture: &BackendFixture, before: Option<u64>, limit: usize) -> Vec<ChangeRecord> {
    let history = fixture
        .backend
        .history(&s("s"), before.map(Revision), limit)
        .await;
    history.expect("it is read")
}

fn numbers(history: &[ChangeRecord]) -> Vec<u64> {
    history.iter().map(|change| change.revision.0).collect()
}

/// A history has the changes of one entity, newest first, with bodies before and after, across its
/// deletion.
pub async fn a_history_is_newest_first(fixture: BackendFixture) {
    fixture
        .put([site("s").with_resources(&["a"]), site("other")])
        .await;
    fixture.put([site("other").with_label("k", "v")]).await;
    fixture.put([site("s").with_resources(&["b"])]).await;
    fixture.commit(changes([Change::Delete(s("s"))])).await;
    fixture.put([site("s").with_resources(&["c"])]).await;
    let found = history(&fixture, None, 100).await;
    assert_eq!(numbers(&found), [6, 5, 4, 1]);
    let bodies: Vec<_> = found
        .iter()
        .map(|change| {
            let body = |r: &Option<tko_core::Record>| r.as_ref().and_then(|r| r.package.clone());
            (body(&change.before), body(&change.after))
        })
        .collect();
    let of = |name| Some(package(&[name]));
    let expected = [
        (None, of("c")),
        (of("b"), None),
        (of("a"), of("b")),
        (None, of("a")),
    ];
    assert_eq!(bodies, expected);
    assert!(found.iter().all(|change| change.key == s("s")));
}

/// A history has at most `limit` changes, all before `before`.
pub async fn a_history_is_read_in_parts(fixture: BackendFixture) {
    for n in 0..7 {
        fixture
            .put([site("s").with_label("n", &n.to_string())])
            .await;
    }
    assert_eq!(numbers(&history(&fixture, None, 3).await), [7, 6, 5]);
    assert_eq!(numbers(&history(&fixture, Some(5), 3).await), [4, 3, 2]);
    assert_eq!(numbers(&history(&fixture, Some(2), 3).await), [1]);
    assert!(history(&fixture, Some(1), 3).await.is_empty());
    assert_eq!(numbers(&history(&fixture, Some(100), 1).await), [7]);
}

/// An entity that never existed has no history.
pub async fn an_unknown_entity_has_no_history(fixture: BackendFixture) {
    fixture.put([site("other")]).await;
    assert!(history(&fixture, None, 10).await.is_empty());
}

/// A history goes back as far as changes are kept, and ends there without an error.
pub async fn a_history_goes_back_as_far_as_changes_are_kept(fixture: BackendFixture) {
    let fixture = fixture.fresh(10).await;
    for n in 0..50 {
        fixture
            .put([site("s").with_label("n", &n.to_string())])
            .await;
    }
    fixture.trim().await;
    let found = history(&fixture, None, 100).await;
    let last: Vec<u64> = (41..=50).rev().collect();
    assert_eq!(numbers(&found)[..10], last, "the last ten are kept");
    assert!(
        numbers(&found)
            .windows(2)
            .all(|pair| pair[0] == pair[1] + 1)
    );
}
