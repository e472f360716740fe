//! Plugins that print 100 MB. A separate test program, because it measures its memory.
#![cfg(target_os = "linux")]

mod fixture;

use fixture::{Fixture, plugin};
use tko_core::Answer;

/// Returns this process's peak memory in MiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib: u64 = line
        .and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .expect("Linux says it in KiB");
    kib / 1024
}

#[tokio::test]
async fn a_flood_of_output_stays_within_the_memory_limit() {
    let fixture = Fixture::new();
    let words = fixture.failure(&[&plugin("flood.py")]).await;
    assert!(
        words.contains("flood.py printed more than 33554432 bytes to stdout and was killed"),
        "{words}"
    );
    let answer = fixture.prepare(&[&plugin("flood.py"), "stderr"]).await;
    let answer = answer.map_err(|error| error.chain());
    assert!(matches!(answer, Ok(Answer::NotYet { .. })), "{answer:?}");
    let peak = peak();
    assert!(peak < 90, "{peak} MiB");
}
