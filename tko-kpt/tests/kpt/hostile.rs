//! Hostile functions: each ends as a condition, and nothing is stored.

use crate::world::{World, config_map, program, workload};
use std::time::Duration;
use tko_kpt::executor::KptSettings;

async fn refused(function: &str, settings: KptSettings) -> String {
    let world = World::new(settings);
    world.plugin(function, &[]).await;
    let message = world.refused(vec![config_map("a"), workload()]).await;
    world.stop().await;
    message
}

#[tokio::test]
async fn a_program_that_does_what_it_must_not_is_a_condition() {
    for (name, words) in [
        ("garbage.sh", "is invalid: YAML "),
        ("other.sh", "is invalid: it has apiVersion"),
        ("invalid.sh", "is invalid: item 1 has no metadata.name"),
        ("twice.sh", "is there twice"),
        (
            "rename.sh",
            "renamed the resource that triggered it, Workload gateway",
        ),
        ("fail.sh", "no luck today"),
        // Without a result of severity error, its list does not say why.
        ("warn-fails.sh", "exited with code 4; stderr: cannot go on"),
        ("gone.sh", "no such file"),
    ] {
        let message = refused(&program(name), KptSettings::default()).await;
        assert!(message.contains(words), "{name}: {message}");
    }
}

#[tokio::test]
async fn a_program_that_loops_is_killed() {
    let settings = KptSettings::default().with_timeout(Duration::from_millis(300));
    let message = refused(&program("loop.sh"), settings).await;
    assert!(message.contains("did not finish within 0.3 s"), "{message}");
}

#[tokio::test]
async fn a_program_that_prints_without_end_is_killed() {
    let settings = KptSettings::default().with_output(1 << 20);
    let message = refused(&program("flood.sh"), settings).await;
    assert!(
        message.contains("printed more than 1048576 bytes"),
        "{message}"
    );
}
