//! [`Backend::count`](tko_core::Backend::count).

use super::bench::Bench;
use super::sample::{Shape, all, changes, id_pattern, s, site, template};
use tko_core::{Change, Count, Kind, Select, Want};

/// A count is exact up to its bound, and says whether there are more.
pub async fn a_count_is_exact_up_to_its_bound(bench: Bench) {
    bench.put((0..10).map(|n| site(&format!("s{n}")))).await;
    bench.put([template("other")]).await;
    for (bound, found, more) in [
        (0, 0, true),
        (1, 1, true),
        (9, 9, true),
        (10, 10, false),
        (11, 10, false),
        (u64::MAX, 10, false),
    ] {
        let count = bench
            .backend
            .count(&all(Kind::Site), bound, Want::ROW)
            .await;
        let count = count.expect("a count");
        assert_eq!(count, Count { found, more }, "with the bound {bound}");
    }
}

/// A count follows what comes, goes, begins and ceases to match.
pub async fn a_count_follows_every_change(bench: Bench) {
    let select = Select {
        ids: vec![id_pattern("a*")],
        metadata: [("k".to_owned(), super::sample::value_pattern("v"))].into(),
        ..all(Kind::Site)
    };
    let count = async || {
        let count = bench.backend.count(&select, 100, Want::ROW).await;
        count.expect("a count").found
    };
    assert_eq!(count().await, 0);
    bench
        .put(["a1", "a2", "b1"].map(|id| site(id).metadata("k", "v")))
        .await;
    assert_eq!(count().await, 2);
    bench.put([site("a1")]).await;
    assert_eq!(count().await, 1, "one ceased to match");
    bench.put([site("a1").metadata("k", "v")]).await;
    assert_eq!(count().await, 2, "it began to match again");
    bench.put([site("a2").metadata("k", "v").deleting()]).await;
    assert_eq!(count().await, 1, "what is being deleted does not count");
    bench.commit(changes([Change::Delete(s("a1"))])).await;
    assert_eq!(count().await, 0);
}
