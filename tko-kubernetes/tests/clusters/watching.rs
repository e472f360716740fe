//! What changes in a cluster between two calls is noticed.

use crate::world::{World, deployment, map, site, workload};
use std::sync::Arc;
use std::time::Duration;
use tko_core::{Record, SiteId};
use tko_kubernetes::KubernetesScheduler;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Longest time until a change is noticed. The call for a lost watch comes at once, with a delay that
/// says when it is due.
const PATIENCE: Duration = Duration::from_mins(3);

/// The calls that were requested.
struct Requested(UnboundedReceiver<(SiteId, Duration)>);

impl Requested {
    async fn next(&mut self) -> Duration {
        let next = tokio::time::timeout(PATIENCE, self.0.recv()).await;
        let (site, after) = next
            .expect("it is noticed")
            .expect("the scheduler is there");
        assert_eq!(site.as_str(), "a");
        after
    }

    fn none(&mut self, what: &str) {
        assert!(self.0.try_recv().is_err(), "{what} requests a call");
    }
}

fn watching(world: &World, watches: usize) -> (KubernetesScheduler, Requested) {
    let (send, requests) = unbounded_channel();
    let sink = Arc::new(move |site, after| {
        // The receiver is there as long as the test.
        let _ = send.send((site, after));
    });
    let scheduler = world.scheduler().with_drift(sink, watches);
    (scheduler, Requested(requests))
}

async fn applied(world: &World, by: &KubernetesScheduler, site: &Record, wanted: &[Record]) {
    world
        .schedule(by, site, wanted, &[])
        .await
        .expect("applied");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes API server: `cargo xtask kubernetes`, then `bash .ci/long kubernetes`"]
async fn a_change_in_the_cluster_requests_a_call_and_our_own_do_not() {
    let mut world = World::start().await;
    let (scheduler, mut requested) = watching(&world, 100);
    let site = site("a", "admin.yaml");
    let mut labelled = map(None, "settings", "1");
    labelled["metadata"]["labels"] = serde_json::json!({"tier": "core"});
    let wanted = [deployment("smf", vec![labelled, map(None, "more", "1")])];
    applied(&world, &scheduler, &site, &wanted).await;
    let first = scheduler.counters().totals();
    // Something else may add what it likes.
    world
        .kubectl("annotate configmap settings note=theirs", "")
        .await;
    world.kubectl("label configmap settings tier-", "").await;
    let delay = requested.next().await;
    assert!(delay <= Duration::from_secs(2), "{delay:?}");
    applied(&world, &scheduler, &site, &wanted).await;
    let label = "get configmap settings -o jsonpath={.metadata.labels.tier}";
    assert_eq!(world.kubectl(label, "").await, "core");

    world.kubectl("delete configmap more", "").await;
    requested.next().await;
    applied(&world, &scheduler, &site, &wanted).await;
    assert!(world.object("configmap more").await.is_some());
    requested.none("what the scheduler writes itself");
    let last = scheduler.counters().totals();
    assert_eq!(last.watches, first.watches.max(1), "the same watch goes on");

    // What a controller does counts while the site is not ready, and a change of what is wanted
    // brings kinds to watch.
    let wanted = [deployment(
        "smf",
        vec![map(None, "settings", "1"), workload("smf")],
    )];
    applied(&world, &scheduler, &site, &wanted).await;
    let status = "patch deployment smf --subresource=status --type=merge -p \
                  {\"status\":{\"replicas\":2,\"observedGeneration\":1}}";
    world.kubectl(status, "").await;
    requested.next().await;
    applied(&world, &scheduler, &site, &wanted).await;

    // Watches continue when the cluster is there again. If it was away for too long, a call is
    // requested; so one is in either case, if something changes.
    world.stop_api();
    world.start_api();
    world.kubectl("delete deployment smf", "").await;
    requested.next().await;
    applied(&world, &scheduler, &site, &wanted).await;
    assert!(world.object("deployment smf").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes API server: `cargo xtask kubernetes`, then `bash .ci/long kubernetes`"]
async fn without_the_right_or_the_room_a_site_is_not_watched() {
    let world = World::start().await;
    world.tenant("edge").await;
    let (scheduler, mut requested) = watching(&world, 100);
    let confined = site("a", "edge.yaml");
    let wanted = [deployment("smf", vec![map(None, "settings", "1")])];
    applied(&world, &scheduler, &confined, &wanted).await;
    // The refusal arrives a moment later; each call until then may ask again.
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        let before = scheduler.counters().totals().watches;
        applied(&world, &scheduler, &confined, &wanted).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        if before > 0 && scheduler.counters().totals().watches == before {
            break;
        }
        assert!(
            tokio::time::Instant::now() < until,
            "it asks again and again"
        );
    }
    world.kubectl("delete configmap settings -n edge", "").await;
    applied(&world, &scheduler, &confined, &wanted).await;
    requested.none("a site that cannot be watched");

    // Two kinds, and one watch.
    let (scheduler, _requested) = watching(&world, 1);
    let site = site("a", "admin.yaml");
    let wanted = [deployment(
        "smf",
        vec![map(None, "settings", "1"), workload("smf")],
    )];
    applied(&world, &scheduler, &site, &wanted).await;
    applied(&world, &scheduler, &site, &wanted).await;
    assert_eq!(scheduler.counters().totals().watches, 0);
}
