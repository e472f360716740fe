//! Calls that wait for a process: their own time begins afterwards, and the wait ends, too.

mod fixture;

use fixture::{Fixture, PATIENCE, network, plugin, process_ids, until};
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;
use tko_plugin::{CommandSettings, WorkerPoolSettings};
use tokio::time::Instant;

/// A pool of one process.
fn pool_of_one() -> WorkerPoolSettings {
    let mut pool = WorkerPoolSettings::default();
    pool.size = NonZeroUsize::MIN;
    // Longer than the time that these tests let pass at once.
    pool.health = Duration::from_hours(1);
    pool
}

/// Settings with which a call that hangs keeps its only process for longer than others wait.
fn patient() -> CommandSettings {
    let mut settings = CommandSettings::default();
    settings.concurrency = NonZeroUsize::MIN;
    settings.grace = PATIENCE;
    settings
}

/// The error of a call while another one hangs, and how long the call took. The plugin writes the
/// file when it hangs.
async fn second_call(fixture: &Fixture, arguments: &[&str], file: &Path) -> (String, Duration) {
    let preparer = fixture.preparer(arguments).await;
    let deployment = fixture.deployment(vec![network()]).await;
    let second = async {
        process_ids(file).await;
        // From here on, time jumps whenever nothing happens.
        tokio::time::pause();
        let start = Instant::now();
        let answer = fixture.call(&*preparer, &deployment).await;
        let words = answer.expect_err("no process is free").chain();
        (words, start.elapsed())
    };
    tokio::select! {
        answer = fixture.call(&*preparer, &deployment) => panic!("it hangs no more: {answer:?}"),
        second = second => second,
    }
}

/// Asserts that a call waited for as long as its time limit, and says so.
fn assert_waited((words, took): &(String, Duration), remedy: &str) {
    let expected = "with plugin prepare|test: no process was free within 30 s for ";
    assert!(words.contains(expected), "{words}");
    assert!(words.contains(remedy), "{words}");
    let (least, most) = (Duration::from_secs(30), Duration::from_secs(31));
    assert!((least..most).contains(took), "{took:?}");
}

#[tokio::test]
async fn a_hanging_worker_keeps_other_calls_for_at_most_their_time_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ids");
    let fixture = Fixture::workers(patient(), pool_of_one());
    let program = plugin("worker.py");
    let arguments = [&*program, "hang", file.to_str().expect("UTF-8")];
    let waited = second_call(&fixture, &arguments, &file).await;
    assert_waited(&waited, "raise _worker.size");
}

#[tokio::test]
async fn a_hanging_command_keeps_other_calls_for_at_most_their_time_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ids");
    let fixture = Fixture::with(patient());
    let program = plugin("hang_hard.py");
    let arguments = [&*program, file.to_str().expect("UTF-8")];
    let waited = second_call(&fixture, &arguments, &file).await;
    assert_waited(&waited, "run more controllers");
}

#[tokio::test]
async fn the_time_of_a_call_begins_when_it_has_a_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let gate = folder.path().join("gate");
    let gate = gate.to_str().expect("UTF-8");
    let mut settings = CommandSettings::default();
    settings.timeouts.prepare = Duration::from_mins(5);
    let fixture = Fixture::workers(settings, pool_of_one());
    let program = plugin("worker.py");
    let preparer = fixture.preparer(&[&program, "gate", gate]).await;
    let deployment = fixture.deployment(vec![network()]).await;
    let calls = (0..5).map(|_| fixture.call(&*preparer, &deployment));
    let open = async {
        for call in 1..=5 {
            let begun = format!("{gate}.{call}.begun");
            until(|| std::fs::exists(&begun).is_ok_and(|is| is).then_some(())).await;
            // The last call waits for 260 s and ends after 325 s; its limit is 300 s.
            tokio::time::pause();
            tokio::time::advance(Duration::from_secs(65)).await;
            tokio::time::resume();
            std::fs::write(format!("{gate}.{call}.end"), "").expect("written");
        }
    };
    let (answers, ()) = tokio::join!(futures_util::future::join_all(calls), open);
    for answer in answers {
        let words = answer.expect_err("it reports its process").chain();
        assert!(words.contains("reported: process "), "{words}");
    }
}
