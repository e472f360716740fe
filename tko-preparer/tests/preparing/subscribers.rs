//! Subscriptions: waiting deployments are enqueued by events, not by polling.

use crate::parts::{Does, gvk, here, part, registry};
use crate::world::{World, world};
use std::sync::Arc;
use std::time::Duration;
use tko_core::{
    DataApi, DeploymentId, Error, Executor, Key, Kind, NewPlugin, PluginId, PluginType, Preparer,
    Record, Registry, Result, Scheduler, Select, Validator, subscription,
};
use tko_preparer::{PREPARED, PrepareSettings};
use tko_worker::CancellationToken;

/// Runs any plugin as the kind of preparer that its first argument says.
struct Test;

impl Executor for Test {
    fn name(&self) -> &'static str {
        "test"
    }

    fn preparer(&self, plugin: &Record) -> Result<Arc<dyn Preparer>> {
        let plugin = plugin.entity.plugin().expect("a plugin");
        match plugin.arguments.first().map(String::as_str) {
            Some("Marks") => Ok(Arc::new(Does("Marks"))),
            Some("Fails") => Ok(Arc::new(Does("Fails"))),
            _ => Err(Error::bad("arguments", "say Marks or Fails")),
        }
    }

    fn scheduler(&self, _: &Record) -> Result<Arc<dyn Scheduler>> {
        Err(Error::NotImplemented("schedule".into()))
    }

    fn validator(&self, _: &Record) -> Result<Arc<dyn Validator>> {
        Err(Error::NotImplemented("validate".into()))
    }
}

async fn plugin(w: &World, executor: &str, argument: &str) {
    let new = NewPlugin::new(
        PluginId::new(PluginType::Prepare, "p").expect("an id"),
        executor.to_owned(),
    )
    .arguments(vec![argument.to_owned()])
    .properties(std::collections::BTreeMap::new())
    .triggers(vec![gvk("Plugged")]);
    w.store.register_plugin(new).await.expect("valid");
}

fn start(
    w: &World,
    executors: Vec<Arc<dyn Executor>>,
) -> (CancellationToken, tokio::task::JoinHandle<Result<()>>) {
    let shutdown = CancellationToken::new();
    let preparing = w.preparing(Arc::new(registry()), executors, PrepareSettings::default());
    (shutdown.clone(), tokio::spawn(preparing.run(shutdown)))
}

async fn until_waiting(w: &World, id: &DeploymentId, reason: &str) -> String {
    let message = w.until_says(id, PREPARED, reason).await;
    w.until_idle().await;
    message
}

#[tokio::test(start_paused = true)]
async fn a_registered_site_enqueues_exactly_the_deployments_that_wait_for_it() {
    let w = world();
    let _running = w.start();
    let mut waiting = Vec::new();
    for n in 0..50 {
        waiting.push(w.deploy(vec![part("Waits", &format!("s{n}"))]).await);
    }
    for id in &waiting {
        until_waiting(&w, id, "Waiting").await;
    }
    let before = w.record(&waiting[8]).await;
    assert!(before.work[0].due.since(w.clock.now()) > Duration::from_mins(1));
    let key = subscription::waits_for_entity(&Key::Site(crate::world::site_id("s7")));
    assert!(
        w.record(&waiting[7])
            .await
            .entity
            .metadata
            .contains_key(&key)
    );
    w.site("s7", &[]).await;
    let took = w.until_prepared(&waiting[7]).await;
    assert!(took <= Duration::from_millis(5), "{took:?}");
    let record = w.record(&waiting[7]).await;
    assert!(!record.entity.metadata.contains_key(&key));
    let after = w.record(&waiting[8]).await;
    assert_eq!(
        (after.work, after.entity.version),
        (before.work, before.entity.version)
    );
}

#[tokio::test(start_paused = true)]
async fn an_entity_that_appears_during_the_subscription_is_not_missed() {
    let w = world();
    w.backend.let_others_go_first();
    let _running = w.start();
    for n in 0..200 {
        let site = format!("s{n}");
        let id = w.deploy(vec![part("Waits", &site)]).await;
        // At every point between the claim and the release.
        for _ in 0..n % 50 {
            tokio::task::yield_now().await;
        }
        w.site(&site, &[]).await;
        let took = w.until_prepared(&id).await;
        assert!(took <= Duration::from_millis(5), "{n}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_sites_enqueues_all_subscribers_with_few_lookups() {
    let w = world();
    let _running = w.start();
    let mut waiting = Vec::new();
    for n in 0..500 {
        waiting.push(w.deploy(vec![part("Waits", &format!("s{n}"))]).await);
    }
    w.until_idle().await;
    for n in 0..500 {
        w.site(&format!("s{n}"), &[]).await;
    }
    let took = w.until(|| async { w.unprepared().await == 0 }).await;
    assert!(took < Duration::from_millis(100), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn the_last_of_several_concurrent_changes_counts() {
    let w = world();
    let _running = w.start();
    let select = serde_json::json!({"select": {"metadata": {"role": "edge"}}});
    let id = w
        .deploy(vec![crate::world::topo("Site", "one", &select)])
        .await;
    until_waiting(&w, &id, "Waiting").await;
    w.site("s", &[("role", "core")]).await;
    w.site("s", &[("role", "edge")]).await;
    let took = w.until_prepared(&id).await;
    assert!(took <= Duration::from_millis(5), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_registered_or_replaced_plugin_enqueues_the_deployments_that_need_it() {
    let w = world();
    let (shutdown, task) = start(&w, vec![Arc::new(Test)]);
    let id = w.deploy(vec![here("Plugged", "x")]).await;
    let message = until_waiting(&w, &id, "NoPreparer").await;
    assert!(
        message.contains("no preparer for x/v1/Plugged"),
        "{message}"
    );
    plugin(&w, "test", "Fails").await;
    let message = w.until_says(&id, PREPARED, "Failed").await;
    assert!(
        message.contains("preparer prepare|p failed: poison: never works"),
        "{message}"
    );
    plugin(&w, "test", "Marks").await;
    let took = w.until_prepared(&id).await;
    assert!(took <= Duration::from_millis(5), "{took:?}");
    shutdown.cancel();
    task.await.expect("no panic").expect("ends well");
}

#[tokio::test(start_paused = true)]
async fn a_changed_plugin_is_not_forgotten_while_the_store_fails() {
    let w = world();
    let (shutdown, task) = start(&w, vec![Arc::new(Test)]);
    let id = w.deploy(vec![here("Plugged", "x")]).await;
    until_waiting(&w, &id, "NoPreparer").await;
    // The plugin is registered; enqueuing the deployments that need it fails.
    w.backend.fail_one_after(1);
    plugin(&w, "test", "Marks").await;
    let took = w.until_prepared(&id).await;
    assert!(w.backend.has_failed());
    // Long before its own retry.
    assert!(took < Duration::from_mins(1), "{took:?}");
    shutdown.cancel();
    task.await.expect("no panic").expect("ends well");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_executor_is_reported_and_left_to_other_processes() {
    let w = world();
    plugin(&w, "test", "Marks").await;
    let without = start(&w, Vec::new());
    let id = w.deploy(vec![part("Plugged", "x")]).await;
    let message = until_waiting(&w, &id, "Failed").await;
    assert!(message.contains("prepare|p cannot run here"), "{message}");
    assert!(message.contains("executor \"test\""), "{message}");
    // The attempt does not count.
    assert_eq!(w.record(&id).await.work[0].attempts, 0);
    let with = start(&w, vec![Arc::new(Test)]);
    without.0.cancel();
    without.1.await.expect("no panic").expect("ends well");
    let took = w.until_prepared(&id).await;
    assert!(took < Duration::from_mins(1), "{took:?}");
    with.0.cancel();
    with.1.await.expect("no panic").expect("ends well");
}

#[tokio::test(start_paused = true)]
async fn events_missed_while_no_preparer_ran_are_repaired() {
    let w = world();
    let running = w.start();
    let by_id = w.deploy(vec![part("Waits", "s")]).await;
    let select = serde_json::json!({"select": {"metadata": {"role": "edge"}}});
    let selecting = w
        .deploy(vec![crate::world::topo("Site", "one", &select)])
        .await;
    until_waiting(&w, &by_id, "Waiting").await;
    until_waiting(&w, &selecting, "Waiting").await;
    running.stop().await;
    w.site("s", &[("role", "edge")]).await;
    let _running = w.start();
    let took = w.until_prepared(&selecting).await;
    assert!(
        took <= Duration::from_millis(5),
        "selections are looked at at the start: {took:?}"
    );
    let took = w.until_prepared(&by_id).await;
    assert!(
        took <= Duration::from_mins(5),
        "the backoff is bounded: {took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_idle_preparer_with_a_thousand_waiting_deployments_causes_little_load() {
    let w = world();
    let _running = w.start_with(Registry::new(), PrepareSettings::default());
    for n in 0..1_000 {
        w.deploy(vec![here("Nobody", &n.to_string())]).await;
    }
    w.until_idle().await;
    let head = w.store.feed_position().await.expect("answers").revision;
    tokio::time::sleep(Duration::from_mins(4)).await;
    let later = w.store.feed_position().await.expect("answers").revision;
    assert_eq!(head, later, "looking again writes nothing");
    let all = w.all(Select::all(Kind::Deployment)).await;
    assert!(all.iter().all(|record| record.work[0].attempts <= 2));
}
