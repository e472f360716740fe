//! Functions in images, with a stand-in for the container runtime.

use crate::world::{World, config_map, workload};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tko_kpt::ContainerRuntime;
use tko_kpt::executor::KptSettings;

/// A runtime that records its calls in a separate file.
fn runtime(folder: &Path) -> (ContainerRuntime, PathBuf) {
    let calls = folder.join("calls");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/functions/runtime.sh");
    let wrapper = folder.join("podman");
    let text = format!(
        "#!/bin/sh\nTKO_TEST_CALLS='{}' exec '{}' \"$@\"\n",
        calls.display(),
        script.display()
    );
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o755)
        .open(&wrapper)
        .expect("a file");
    file.write_all(text.as_bytes()).expect("writes");
    drop(file);
    (
        ContainerRuntime::Program(wrapper.display().to_string()),
        calls,
    )
}

#[tokio::test]
async fn an_image_runs_without_network_and_rights() {
    let folder = tempfile::tempdir().expect("a directory");
    let (runtime, calls) = runtime(folder.path());
    let world = World::new(KptSettings::default().with_containers(runtime));
    world.plugin("example.com/fn:v1", &[]).await;
    let id = world.deploy(vec![config_map("a"), workload()]).await;
    let package = world.prepared(&id).await;
    assert_eq!(
        package.iter().next().expect("one").identifier().to_string(),
        "ConfigMap b"
    );
    let calls = std::fs::read_to_string(calls).expect("calls");
    for words in [
        "run --rm",
        "--network=none",
        "--user=nobody",
        "--read-only",
        "example.com/fn:v1",
    ] {
        assert!(calls.contains(words), "{calls}");
    }
    assert!(!calls.contains("rm --force"), "{calls}");
    world.stop().await;
}

#[tokio::test]
async fn the_results_of_an_image_that_fails_are_the_condition() {
    let folder = tempfile::tempdir().expect("a directory");
    let (runtime, calls) = runtime(folder.path());
    let world = World::new(KptSettings::default().with_containers(runtime));
    world.plugin("example.com/report:v1", &[]).await;
    let message = world.refused(vec![config_map("a"), workload()]).await;
    assert!(
        message.contains("reported: ConfigMap prod/a: data.key: too short"),
        "{message}"
    );
    // The runtime removes a container that has ended by itself.
    let calls = std::fs::read_to_string(calls).expect("calls");
    assert!(!calls.contains("rm --force"), "{calls}");
    world.stop().await;
}

#[tokio::test]
async fn a_container_that_hangs_is_removed() {
    let folder = tempfile::tempdir().expect("a directory");
    let (runtime, calls) = runtime(folder.path());
    let settings = KptSettings::default()
        .with_containers(runtime)
        .with_timeout(Duration::from_millis(300));
    let world = World::new(settings);
    world.plugin("example.com/hang:v1", &[]).await;
    let message = world.refused(vec![config_map("a"), workload()]).await;
    assert!(message.contains("did not finish within 0.3 s"), "{message}");
    // The removal runs in parallel with the report of the failure.
    let removed = || {
        let calls = std::fs::read_to_string(&calls).unwrap_or_default();
        calls
            .lines()
            .any(|line| line.starts_with("rm --force tko-function-"))
    };
    let wait = async {
        while !removed() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), wait)
        .await
        .expect("is removed");
    world.stop().await;
}

#[tokio::test]
async fn without_a_runtime_the_condition_says_so() {
    // The second is a misspelt native function.
    for image in ["example.com/fn:v1", "set-namespce"] {
        let world = World::new(KptSettings::default().with_containers(ContainerRuntime::Off));
        world.plugin(image, &[]).await;
        let message = world.refused(vec![config_map("a"), workload()]).await;
        for words in ["there is no container runtime here", "tko fn --list"] {
            assert!(message.contains(words), "{image}: {message}");
        }
        world.stop().await;
    }
}
