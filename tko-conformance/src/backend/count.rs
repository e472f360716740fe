//! [`Backend::count`](tko_core::Backend::count).

use super::fixture::BackendFixture;
use super::sample::{PutBuilder, all, changes, id_pattern, s, site, template};
use tko_core::{Change, Count, Kind, Want};

/// A count is exact up to its bound, and shows whether there are more.
pub async fn a_count_is_exact_up_to_its_bound(fixture: BackendFixture) {
    fixture.put((0..10).map(|n| site(&format!("s{n}")))).await;
    fixture.put([template("other")]).await;
    for (bound, found, more) in [
        (0, 0, true),
        (1, 1, true),
        (9, 9, true),
        (10, 10, false),
        (11, 10, false),
        (u64::MAX, 10, false),
    ] {
        let count = fixture
            .backend
            .count(&all(Kind::Site), bound, Want::ROW)
            .await;
        let count = count.expect("the count succeeds");
        assert_eq!(count, Count::new(found, more), "with the bound {bound}");
    }
}

/// A count follows entities that are created, changed, marked and deleted.
pub async fn a_count_follows_every_change(fixture: BackendFixture) {
    let select = all(Kind::Site)
        .id(id_pattern("a*"))
        .metadata_patterns([("k".to_owned(), super::sample::value_pattern("v"))].into());
    let count = async || {
        let count = fixture.backend.count(&select, 100, Want::ROW).await;
        count.expect("the count succeeds").found
    };
    assert_eq!(count().await, 0);
    fixture
        .put(["a1", "a2", "b1"].map(|id| site(id).with_label("k", "v")))
        .await;
    assert_eq!(count().await, 2);
    fixture.put([site("a1")]).await;
    assert_eq!(count().await, 1, "one stopped matching");
    fixture.put([site("a1").with_label("k", "v")]).await;
    assert_eq!(count().await, 2, "it matches again");
    fixture
        .put([site("a2").with_label("k", "v").being_deleted()])
        .await;
    assert_eq!(count().await, 1, "entities under deletion do not count");
    fixture.commit(changes([Change::Delete(s("a1"))])).await;
    assert_eq!(count().await, 0);
}
