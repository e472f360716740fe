//! Functions in WebAssembly: the example, and hostile ones.

use crate::world::{World, config_map, workload};
use serde_json::json;
use std::path::Path;
use std::time::Duration;
use tko_core::{Gvk, Identifier};
use tko_kpt::executor::KptSettings;

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
    for (round, name) in ["set-zone.wat", "set-zone.wat", "set-zone.wasm"]
        .iter()
        .enumerate()
    {
        let world = World::new(settings.clone());
        let function = wasm(&format!("../examples/kpt/{name}"));
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
        ("table", "was stopped"),
        ("recurse", "call stack exhausted"),
        ("flood", "printed more than 1048576 bytes"),
        ("file", "it exited with code"),
        (
            "network",
            "it needs what functions do not get: unknown import",
        ),
        ("garbage", "the output of function"),
        ("trap", "unreachable"),
        ("library", "it has no export _start"),
        ("component", "is empty; expected one document"),
        ("component-fails", "it exited with code 1"),
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
