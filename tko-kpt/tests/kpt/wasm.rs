//! Functions in WebAssembly: the example, and hostile ones.

use crate::world::{World, config_map, workload};
use futures_util::future::join_all;
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{Gvk, Identifier};
use tko_kpt::executor::KptSettings;
use tko_kpt::function::run;
use tko_kpt::{FunctionCall, FunctionFailure, Item, KptExecutor, KrmFunction, ResourceList};
use tko_plugin::log::LogSubject;

fn wasm(path: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    format!("wasm:{}", folder.join(path).display())
}

async fn refused(name: &str, settings: KptSettings) -> String {
    let world = World::new(settings);
    world
        .plugin(&wasm(&format!("tests/functions/wasm/{name}.wat")), &[])
        .await;
    let message = world.refused(vec![config_map("a"), workload()]).await;
    world.stop().await;
    message
}

#[tokio::test]
async fn the_example_changes_resources_and_is_compiled_once() {
    let cache = tempfile::tempdir().expect("a directory");
    let settings = KptSettings::default().with_wasm_cache(cache.path().to_owned());
    // The built file does the same as its source.
    for (round, path) in [
        "../examples/kpt/set-zone.wat",
        "../examples/kpt/set-zone.wat",
        "../examples/kpt/set-zone.wasm",
        "tests/functions/wasm/component-zone.wat",
    ]
    .iter()
    .enumerate()
    {
        let world = World::new(settings.clone());
        let function = wasm(path);
        world.plugin(&function, &[]).await;
        let mut map = config_map("a");
        map["data"] = json!({"zone": "TODO-zone", "big": "x".repeat(300_000)});
        let id = world.deploy(vec![map, workload()]).await;
        let package = world.prepared(&id).await;
        let found = package.find(&Identifier::new(Gvk::of("v1", "ConfigMap"), "a"));
        assert_eq!(
            found.expect("is there").value()["data"]["zone"],
            "zone-east"
        );
        world.stop().await;
        let compiled = walk(cache.path());
        assert!(compiled > 0, "round {round}: nothing is kept");
    }
}

/// The number of files below a directory.
fn walk(path: &Path) -> usize {
    let entries = std::fs::read_dir(path).expect("a directory");
    entries
        .map(|entry| entry.expect("an entry").path())
        .map(|path| if path.is_dir() { walk(&path) } else { 1 })
        .sum()
}

#[tokio::test]
async fn hostile_code_is_a_condition() {
    let settings = || {
        KptSettings::default()
            .with_memory(16 << 20)
            .with_output(1 << 20)
    };
    for (name, words) in [
        ("allocate", "needs more than 16777216 bytes of memory"),
        ("memories-large", "needs more than 16777216 bytes of memory"),
        ("memories-grow", "needs more than 16777216 bytes of memory"),
        ("table", "needs tables of more than 1048576 elements"),
        ("tables", "needs tables of more than 1048576 elements"),
        ("recurse", "call stack exhausted"),
        ("flood", "printed more than 1048576 bytes"),
        ("file", "it exited with code"),
        (
            "network",
            "it needs imports that functions do not get: unknown import",
        ),
        ("garbage", "the output of function"),
        ("trap", "unreachable"),
        ("memories", "it exited with code 7"),
        ("report", "reported: too short"),
        ("report-traps", "unreachable"),
        ("library", "it has no export _start"),
        ("component", "is empty; expected one document"),
        ("component-fails", "it exited with code 1"),
        ("component-file", "it exited with code 1"),
        ("component-network", "it exited with code 1"),
        ("gone", "cannot read"),
    ] {
        let message = refused(name, settings()).await;
        assert!(message.contains(words), "{name}: {message}");
    }
}

#[tokio::test]
async fn code_that_does_not_end_is_stopped() {
    for name in ["loop", "sleep"] {
        let settings = KptSettings::default().with_timeout(Duration::from_millis(300));
        let message = refused(name, settings).await;
        assert!(
            message.contains("did not finish within 0.3 s"),
            "{name}: {message}"
        );
    }
}

#[tokio::test]
async fn code_that_never_arrives_is_a_condition() {
    let settings = KptSettings::default()
        .with_timeout(Duration::from_millis(10))
        .with_fetch(Arc::new(|_| Box::pin(std::future::pending())));
    let world = World::new(settings);
    world.plugin("wasm:https://example.com/f.wasm", &[]).await;
    let message = world.refused(vec![workload()]).await;
    assert!(
        message.contains("was not read and compiled within 0.01 s; check where its code is"),
        "{message}"
    );
    world.stop().await;
}

async fn call(function: &Arc<dyn KrmFunction>) -> Result<ResourceList, FunctionFailure> {
    let mut map = config_map("a");
    map["data"] = json!({"zone": "TODO-zone"});
    let list = ResourceList {
        items: vec![Item::new(map)],
        ..ResourceList::default()
    };
    let call = FunctionCall {
        subject: LogSubject::default(),
        timeout: Duration::from_mins(1),
        output: 1 << 20,
    };
    run(function, list, &call).await
}

/// More calls than run at the same time.
const CALLS: usize = 100;

#[tokio::test]
async fn calls_beyond_the_limit_wait() {
    let executor = KptExecutor::new(KptSettings::default());
    let reference = wasm("../examples/kpt/set-zone.wat");
    let function = executor.function(&reference.parse().expect("a reference"), true);
    let function = function.expect("a function");
    for output in join_all((0..CALLS).map(|_| call(&function))).await {
        let output = output.expect("succeeds");
        assert_eq!(output.items[0].value["data"]["zone"], "zone-east");
    }
}

#[tokio::test]
async fn calls_that_are_given_up_end() {
    let executor = KptExecutor::new(KptSettings::default());
    let function = |path: &str| {
        let reference = wasm(path).parse().expect("a reference");
        executor.function(&reference, true).expect("a function")
    };
    let endless = function("tests/functions/wasm/loop.wat");
    // Compiled first, so that the calls run when they are given up.
    endless.identity().await.expect("its code is valid");
    let all = join_all((0..CALLS).map(|_| call(&endless)));
    let ended = tokio::time::timeout(Duration::from_millis(100), all).await;
    assert!(ended.is_err(), "they ended by themselves");
    // It needs the place of one of them.
    let zone = function("../examples/kpt/set-zone.wat");
    let next = tokio::time::timeout(Duration::from_secs(50), call(&zone)).await;
    next.expect("they still run").expect("succeeds");
}
