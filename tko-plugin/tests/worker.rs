//! Workers: processes that serve many calls, their pool, and how calls survive their faults.

mod fixture;

use fixture::{Fixture, PATIENCE, death, example, network, plugin, process_ids, target, until};
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tko_core::{Answer, Error, Package, PluginType, Preparer, Result};
use tko_plugin::{CommandSettings, PluginMetrics, PluginTotals, WorkerPoolSettings};

/// A pool of one process, its fixture and its measurements.
struct Pool {
    fixture: Fixture,
    metrics: PluginMetrics,
    folder: TempDir,
}

impl Pool {
    fn new() -> Self {
        Self::with(|_| ())
    }

    fn with(change: impl FnOnce(&mut WorkerPoolSettings)) -> Self {
        let mut pool = WorkerPoolSettings::default();
        pool.size = NonZeroUsize::MIN;
        change(&mut pool);
        let settings = CommandSettings::default();
        Self {
            metrics: settings.metrics.clone(),
            fixture: Fixture::workers(settings, pool),
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    fn file(&self) -> String {
        let path = self.folder.path().join("file");
        path.to_str().expect("UTF-8").to_owned()
    }

    async fn preparer(&self, mode: &str) -> Arc<dyn Preparer> {
        let (program, file) = (plugin("worker.py"), self.file());
        self.fixture.preparer(&[&program, mode, &file]).await
    }

    async fn call(&self, preparer: &dyn Preparer) -> Result<Answer> {
        let deployment = self.fixture.deployment(vec![network()]).await;
        self.fixture.call(preparer, &deployment).await
    }

    /// The error of a call, in a separate pool.
    async fn failure(&self, mode: &str) -> String {
        let preparer = self.preparer(mode).await;
        let answer = self.call(&*preparer).await;
        answer.expect_err("it fails").chain()
    }

    fn totals(&self) -> PluginTotals {
        let mut all = self.metrics.read();
        all.pop().expect("a plugin was called")
    }
}

/// The number of the process that answered.
fn process(answer: Result<Answer>) -> String {
    let words = answer.expect_err("it reports its process").chain();
    let (_, number) = words.split_once("reported: process ").expect(&words);
    number.to_owned()
}

fn assert_contains(words: &str, all: &[&str]) {
    for part in all {
        assert!(words.contains(part), "{part:?} is not in {words:?}");
    }
}

#[tokio::test]
async fn one_process_serves_many_calls() {
    let pool = Pool::new();
    let preparer = pool.preparer("process").await;
    let first = process(pool.call(&*preparer).await);
    for _ in 0..20 {
        assert_eq!(process(pool.call(&*preparer).await), first);
    }
    let totals = pool.totals();
    assert_eq!((totals.processes, totals.running), (1, 0));
    assert_eq!((totals.restarted, totals.retried), (0, 0));
    assert_eq!(
        (totals.failed, totals.buckets.iter().sum::<u64>()),
        (21, 21)
    );
}

#[tokio::test]
async fn a_waiting_call_starts_a_process_when_another_takes_the_last_call_of_one() {
    let pool = Pool::with(|pool| pool.calls = 2);
    let preparer = pool.preparer("second_waits").await;
    let call = || pool.call(&*preparer);
    let (one, two, three) = tokio::join!(call(), call(), call());
    let processes = BTreeSet::from([one, two, three].map(process));
    assert_eq!(processes.len(), 2, "{processes:?}");
}

#[tokio::test]
async fn a_package_makes_the_round_trip() {
    let pool = Pool::new();
    let preparer = pool.preparer("prepare").await;
    let Answer::Done { package, effects } = pool.call(&*preparer).await.expect("it prepares")
    else {
        panic!("it is not prepared");
    };
    assert!(effects.is_empty());
    let network = package.find(&target()).expect("is still there");
    let prepared = network.annotation("nephio.org/prepared");
    assert_eq!(prepared.as_deref(), Some("true"));
}

#[tokio::test]
async fn the_example_in_node_is_a_worker() {
    let has_node = std::process::Command::new("node")
        .arg("--version")
        .output()
        .is_ok();
    let without = std::env::var("TKO_TEST_WITHOUT").unwrap_or_default();
    if !has_node && without.split(',').any(|name| name == "browser") {
        return;
    }
    assert!(
        has_node,
        "node is not installed; cargo xtask test installs it"
    );
    let pool = Pool::new();
    let preparer = pool.fixture.preparer(&[&example("worker.js")]).await;
    for _ in 0..3 {
        let answer = pool.call(&*preparer).await.map_err(|error| error.chain());
        assert!(matches!(answer, Ok(Answer::Done { .. })), "{answer:?}");
    }
    let big = serde_json::json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "big"},
        "data": {"text": "ä😀".repeat(200_000)},
    });
    let deployment = pool.fixture.deployment(vec![network(), big.clone()]).await;
    let answer = pool.fixture.call(&*preparer, &deployment).await;
    let Ok(Answer::Done { package, .. }) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(package.resources()[1].value(), &big);
    pool.fixture.executor.close().await;
    assert_eq!(pool.totals().restarted, 0);
}

#[tokio::test]
async fn a_process_may_have_several_calls_in_flight() {
    let pool = Pool::new();
    let preparer = pool.preparer("together").await;
    // The worker answers only when it has three calls.
    let call = || pool.call(&*preparer);
    let (a, b, c) = tokio::join!(call(), call(), call());
    for answer in [a, b, c] {
        assert_contains(
            &answer.expect_err("an error").chain(),
            &["reported: together"],
        );
    }
    assert_eq!(pool.totals().processes, 1);
}

#[tokio::test]
async fn processes_start_when_calls_need_them() {
    let pool = Pool::with(|pool| pool.size = NonZeroUsize::new(3).expect("not zero"));
    let preparer = pool.preparer("process").await;
    process(pool.call(&*preparer).await);
    assert_eq!(pool.totals().processes, 1);
    let calls = (0..12).map(|_| pool.call(&*preparer));
    let answers = futures_util::future::join_all(calls).await;
    let mut processes: Vec<String> = answers.into_iter().map(process).collect();
    processes.sort();
    processes.dedup();
    assert!(processes.len() <= 3, "{processes:?}");
    let started = pool.totals().processes;
    assert!((1..=3).contains(&started), "{started}");
}

#[tokio::test]
async fn log_frames_are_the_reason_of_a_not_yet() {
    let pool = Pool::new();
    let preparer = pool.preparer("log").await;
    let Answer::NotYet { reason, .. } = pool.call(&*preparer).await.expect("no error") else {
        panic!("it is not prepared");
    };
    assert!(reason.ends_with(": waiting for an address"), "{reason}");
}

#[tokio::test]
async fn a_call_survives_one_crash() {
    let pool = Pool::new();
    let preparer = pool.preparer("crash_once").await;
    process(pool.call(&*preparer).await);
    let totals = pool.totals();
    assert_eq!(
        (totals.restarted, totals.retried, totals.processes),
        (1, 1, 1)
    );
}

#[tokio::test]
async fn the_second_crash_is_shown_with_stderr() {
    let pool = Pool::new();
    let words = pool.failure("crash").await;
    assert_contains(
        &words,
        &[
            "could not prepare NetworkAttachmentDefinition upf/n3 with plugin prepare|test: ",
            "worker.py exited with code 1; stderr: the address pool is exhausted",
        ],
    );
    let totals = pool.totals();
    assert_eq!((totals.restarted, totals.retried, totals.failed), (2, 1, 1));
}

#[tokio::test]
async fn a_crash_at_start_is_shown_to_everyone_who_waits() {
    let pool = Pool::new();
    let preparer = pool.preparer("crash_at_start").await;
    let call = || pool.call(&*preparer);
    let (a, b, c) = tokio::join!(call(), call(), call());
    for answer in [a, b, c] {
        let words = answer.expect_err("it fails").chain();
        assert!(
            words.ends_with("exited with code 1; stderr: cannot read pools.yaml"),
            "{words}"
        );
    }
    // Later calls do not start a process each.
    let restarted = pool.totals().restarted;
    assert!((1..=3).contains(&restarted), "{restarted}");
}

#[tokio::test]
async fn faults_of_the_protocol_are_named() {
    for (mode, parts) in [
        (
            "garbage_at_start",
            vec![
                "broke the worker protocol",
                "\"Hello, world!\"",
                "print to stderr instead",
            ],
        ),
        (
            "garbage",
            vec!["it wrote \"I am only debugging\" to stdout"],
        ),
        (
            "large",
            vec!["a frame of 1000000000 bytes; at most 33554432 are allowed"],
        ),
        ("exit", vec!["exited with code 0 before it had answered"]),
        (
            "later_version",
            vec!["speaks version 2 of the worker protocol, and this controller version 1"],
        ),
        ("rubbish", vec!["on stdout is invalid", "found: {{{ : ]"]),
        ("invalid_package", vec!["its package", "resource 1"]),
    ] {
        let words = Pool::new().failure(mode).await;
        assert_contains(&words, &["with plugin prepare|test: "]);
        assert_contains(&words, &parts);
    }
}

#[tokio::test]
async fn a_program_that_cannot_start_says_what_to_do() {
    let pool = Pool::new();
    for (program, advice) in [
        (
            "/nowhere/plugin.py",
            "no such file on the machine that runs it",
        ),
        ("no-such-program-anywhere", "not found in the PATH"),
    ] {
        let words = pool.fixture.failure(&[program]).await;
        assert_contains(&words, &[&format!("cannot run {program}: "), advice]);
    }
}

#[tokio::test]
async fn a_script_whose_interpreter_has_no_sdk_says_what_to_install() {
    let pool = Pool::new();
    // Isolated and without site packages, no interpreter has the SDK.
    let words = pool
        .fixture
        .failure(&["python3", "-IS", "-c", "import tko"])
        .await;
    assert_contains(
        &words,
        &[
            "exited with code 1: its Python interpreter has no package tko; install",
            "No module named 'tko'",
        ],
    );
}

#[tokio::test]
async fn a_worker_of_another_type_is_refused() {
    let pool = Pool::new();
    let site = pool.fixture.site("edge", vec![]).await;
    let arguments = [&*plugin("worker.py"), "process"];
    let error = pool.fixture.schedule(&arguments, &site, &[], &[]).await;
    assert_contains(
        &error.expect_err("it fails").chain(),
        &["does not serve schedule plugins; it serves \"prepare\", \"validate\""],
    );
}

#[tokio::test]
async fn validators_report_violations() {
    let pool = Pool::new();
    let arguments = [&*plugin("worker.py"), "process"];
    let record = pool.fixture.plugin(PluginType::Validate, &arguments).await;
    let validator = pool
        .fixture
        .executor
        .validator(&record)
        .expect("a validator");
    let package = Package::from_values([network()]).expect("a package");
    let violations = validator.validate(&package, &target(), true).await;
    let [violation] = &violations.expect("it judges")[..] else {
        panic!("one violation");
    };
    assert!(violation.message.starts_with("process "), "{violation:?}");
}

#[tokio::test]
async fn a_hanging_call_ends_at_its_time_limit_and_the_next_one_works() {
    let pool = Pool::new();
    let preparer = pool.preparer("hang_once").await;
    let deployment = pool.fixture.deployment(vec![network()]).await;
    let call = pool.fixture.call(&*preparer, &deployment);
    let watch = async {
        let file = pool.file();
        until(|| std::fs::exists(&file).is_ok_and(|is| is).then_some(())).await;
        // Time jumps whenever nothing happens: over the time limit, then over the grace period.
        tokio::time::pause();
    };
    let (answer, ()) = tokio::join!(call, watch);
    let words = answer.expect_err("it hangs").chain();
    assert_contains(&words, &["did not finish within 30 s and was killed"]);
    tokio::time::resume();
    process(pool.call(&*preparer).await);
    let totals = pool.totals();
    assert_eq!(
        (totals.timed_out, totals.restarted, totals.retried),
        (1, 1, 0)
    );
}

#[tokio::test]
async fn a_worker_that_gives_up_a_cancelled_call_stays() {
    let mut settings = CommandSettings::default();
    settings.timeouts.prepare = Duration::from_millis(300);
    settings.grace = PATIENCE;
    let metrics = settings.metrics.clone();
    let fixture = Fixture::workers(settings, WorkerPoolSettings::default());
    let program = plugin("worker.py");
    let words = fixture.failure(&[&program, "hang_until_cancelled"]).await;
    assert_contains(
        &words,
        &["did not finish within 0.3 s and cancelled the call"],
    );
    let totals = metrics.read().pop().expect("a plugin");
    assert_eq!((totals.timed_out, totals.restarted), (1, 0));
}

#[tokio::test]
async fn a_dropped_call_that_hangs_costs_its_process() {
    let pool = Pool::new();
    let preparer = pool.preparer("hang").await;
    let file = pool.file();
    let processes = tokio::select! {
        answer = pool.call(&*preparer) => panic!("it answers: {answer:?}"),
        processes = process_ids(std::path::Path::new(&file)) => processes,
    };
    for process in processes {
        death(process).await;
    }
}

#[tokio::test]
async fn a_silent_program_is_killed() {
    let pool = Pool::with(|pool| pool.start = Duration::from_millis(500));
    let words = pool.failure("silent").await;
    assert_contains(
        &words,
        &["did not say hello within 0.5 s and was killed; it must speak the worker protocol"],
    );
}

#[tokio::test]
async fn processes_are_replaced_after_their_number_of_calls() {
    let pool = Pool::with(|pool| pool.calls = 2);
    let preparer = pool.preparer("process").await;
    let mut processes = Vec::new();
    for _ in 0..6 {
        processes.push(process(pool.call(&*preparer).await));
    }
    for pair in processes.chunks(2) {
        assert_eq!(pair[0], pair[1]);
    }
    processes.dedup();
    assert_eq!(processes.len(), 3);
    let totals = pool.totals();
    assert_eq!((totals.recycled, totals.restarted), (3, 0));
}

#[tokio::test]
async fn processes_are_replaced_when_they_are_large() {
    let pool = Pool::with(|pool| pool.memory = 90);
    let preparer = pool.preparer("grow").await;
    let (a, b) = (
        process(pool.call(&*preparer).await),
        process(pool.call(&*preparer).await),
    );
    assert_ne!(a, b);
    assert_eq!(pool.totals().recycled, 2);
}

#[tokio::test]
async fn an_idle_process_that_fails_its_health_check_is_replaced() {
    let pool = Pool::with(|pool| pool.health = Duration::from_millis(50));
    let preparer = pool.preparer("deaf").await;
    let first = process(pool.call(&*preparer).await);
    until(|| (pool.totals().restarted == 1).then_some(())).await;
    assert_ne!(process(pool.call(&*preparer).await), first);
    // A healthy one stays for many checks.
    let healthy = Pool::with(|pool| pool.health = Duration::from_millis(50));
    let preparer = healthy.preparer("process").await;
    let first = process(healthy.call(&*preparer).await);
    until(|| (pool.totals().restarted == 2).then_some(())).await;
    assert_eq!(process(healthy.call(&*preparer).await), first);
}

#[tokio::test]
async fn an_idle_process_is_stopped_after_a_while() {
    let pool = Pool::with(|pool| {
        pool.health = Duration::from_millis(20);
        pool.idle = Duration::from_millis(40);
    });
    let preparer = pool.preparer("stop").await;
    let first = process(pool.call(&*preparer).await);
    until(|| (pool.totals().processes == 0).then_some(())).await;
    let file = pool.file();
    assert!(
        std::fs::exists(file).expect("readable"),
        "it is told to stop"
    );
    assert_ne!(process(pool.call(&*preparer).await), first);
    assert_eq!(pool.totals().restarted, 0);
}

#[tokio::test]
async fn closing_the_executor_stops_all_processes_gracefully() {
    let pool = Pool::new();
    let preparer = pool.preparer("stop").await;
    process(pool.call(&*preparer).await);
    pool.fixture.executor.close().await;
    assert!(
        std::fs::exists(pool.file()).expect("readable"),
        "it was told to stop"
    );
    assert_eq!(pool.totals().processes, 0);
    let words = pool
        .call(&*preparer)
        .await
        .expect_err("it is closed")
        .chain();
    assert_contains(&words, &["was stopped with the controller"]);
}

#[tokio::test]
async fn dropping_the_handler_stops_its_processes() {
    let pool = Pool::new();
    let preparer = pool.preparer("stop").await;
    process(pool.call(&*preparer).await);
    drop(preparer);
    until(|| (pool.totals().processes == 0).then_some(())).await;
    assert!(
        std::fs::exists(pool.file()).expect("readable"),
        "it was told to stop"
    );
}

#[tokio::test]
async fn workers_have_a_clean_environment() {
    let mut settings = CommandSettings::default();
    settings.environment = vec!["CARGO_PKG_N*".to_owned()];
    let fixture = Fixture::workers(settings, WorkerPoolSettings::default());
    let words = fixture
        .failure(&[&plugin("worker.py"), "environment"])
        .await;
    assert_contains(&words, &["PATH", "TKO_WORKER", "CARGO_PKG_NAME"]);
    assert!(!words.contains("CARGO_MANIFEST_DIR"), "{words}");
}

#[tokio::test]
async fn an_invalid_worker_plugin_is_refused_with_the_reason() {
    let pool = Pool::new();
    let property = |name: &str, value: &str| [(name.to_owned(), value.to_owned())].into();
    for (arguments, properties, words) in [
        (vec![], [].into(), "the worker executor needs a program"),
        (
            vec!["a"],
            property("_worker.size", "0"),
            "expected a number from 1 to 64",
        ),
        (
            vec!["a"],
            property("_worker.speed", "1"),
            "\"_worker.speed\"",
        ),
    ] {
        let record = pool
            .fixture
            .plugin_with(PluginType::Prepare, &arguments, properties)
            .await;
        let error = pool.fixture.executor.preparer(&record).err().expect(words);
        assert!(matches!(error, Error::BadArgument { .. }), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
    }
}
