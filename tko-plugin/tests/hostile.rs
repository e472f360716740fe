//! Plugins that hang, crash, or print garbage: each ends as a clear error, leaves no process
//! behind, and delays no other plugin.

mod fixture;

use fixture::{Fixture, PATIENCE, death, plugin, process_ids};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;
use tko_core::{Answer, Error};
use tko_plugin::{CommandSettings, Failure};

/// A temporary directory and the path of a file in it for process ids.
fn ids() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ids");
    (folder, file)
}

fn text(path: &std::path::Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[tokio::test]
async fn a_hanging_plugin_is_stopped_at_its_time_limit() {
    let fixture = Fixture::new();
    tokio::time::pause();
    let error = fixture.prepare(&[&plugin("hang.py")]).await;
    let error = error.expect_err("it hangs");
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    let words = error.chain();
    assert!(words.contains("with plugin prepare|test: "), "{words}");
    assert!(
        words.contains("hang.py did not finish within 30 s and was killed"),
        "{words}"
    );
}

#[tokio::test]
async fn each_plugin_type_has_its_own_time_limit() {
    let fixture = Fixture::new();
    let site = fixture.site("edge", vec![]).await;
    tokio::time::pause();
    let error = fixture
        .schedule(&[&plugin("hang.py")], &site, &[], &[])
        .await;
    let words = error.expect_err("it hangs").chain();
    assert!(words.contains("within 300 s"), "{words}");
}

#[tokio::test]
async fn a_program_that_ignores_sigterm_is_killed_with_its_children() {
    let fixture = Fixture::new();
    let (_folder, file) = ids();
    let program = plugin("hang_hard.py");
    let arguments = [&*program, text(&file)];
    let call = fixture.failure(&arguments);
    let watch = async {
        let processes = process_ids(&file).await;
        // From here on, paused time jumps whenever nothing happens: first over the call's limit,
        // then over the grace.
        tokio::time::pause();
        processes
    };
    let (words, processes) = tokio::join!(call, watch);
    tokio::time::resume();
    assert!(words.contains("was killed with its children"), "{words}");
    assert_eq!(processes.len(), 2);
    for process in processes {
        death(process).await;
    }
}

#[tokio::test]
async fn a_dropped_call_kills_the_program_and_its_children() {
    let fixture = Fixture::new();
    let (_folder, file) = ids();
    let program = plugin("hang_hard.py");
    let arguments = [&*program, text(&file)];
    let processes = tokio::select! {
        answer = fixture.prepare(&arguments) => panic!("it answers: {answer:?}"),
        processes = process_ids(&file) => processes,
    };
    assert_eq!(processes.len(), 2);
    for process in processes {
        death(process).await;
    }
}

#[tokio::test]
async fn a_child_left_behind_does_not_delay_the_call() {
    let (_folder, file) = ids();
    let program = plugin("leaves_child.py");
    let arguments = [&*program, text(&file)];
    let fixture = Fixture::new();
    let answer = tokio::time::timeout(PATIENCE, fixture.prepare(&arguments)).await;
    let answer = answer
        .expect("it does not wait")
        .map_err(|error| error.chain());
    assert!(matches!(answer, Ok(Answer::NotYet { .. })), "{answer:?}");
    for process in process_ids(&file).await {
        death(process).await;
    }
}

#[tokio::test]
async fn a_hanging_plugin_does_not_delay_others() {
    let mut settings = CommandSettings::default();
    settings.concurrency = std::num::NonZeroUsize::MIN;
    let fixture = Fixture::with(settings);
    let (_folder, file) = ids();
    let program = plugin("hang_hard.py");
    let hanging = [&*program, text(&file)];
    let others = async {
        process_ids(&file).await;
        for _ in 0..3 {
            let words = fixture.failure(&[&plugin("error.py")]).await;
            assert!(words.contains("no free VLAN"), "{words}");
        }
    };
    tokio::select! {
        answer = fixture.prepare(&hanging) => panic!("it answers: {answer:?}"),
        () = others => {}
    }
}

#[tokio::test]
async fn the_error_of_a_crash_has_the_exit_code_and_stderr() {
    let words = Fixture::new().failure(&[&plugin("crash.py")]).await;
    assert!(
        words.ends_with("crash.py exited with code 3; stderr: the address pool is exhausted"),
        "{words}"
    );
}

#[tokio::test]
async fn the_error_names_the_signal() {
    let words = Fixture::new().failure(&[&plugin("killed.py")]).await;
    assert!(
        words.ends_with("killed.py was killed by signal 9 (SIGKILL; it may have run out of memory); stderr is empty"),
        "{words}"
    );
}

#[tokio::test]
async fn garbage_is_refused_with_the_reason() {
    let fixture = Fixture::new();
    for (kind, why) in [
        ("text", "found: {{{ : ]"),
        ("binary", "is UTF-16, not UTF-8"),
        ("list", "expected one YAML map"),
        ("empty", "it is empty"),
    ] {
        let words = fixture.failure(&[&plugin("rubbish.py"), kind]).await;
        assert!(
            words.contains("rubbish.py on stdout is invalid: "),
            "{words}"
        );
        assert!(words.contains(why), "{kind}: {words}");
    }
}

#[tokio::test]
async fn the_new_package_must_be_valid() {
    let fixture = Fixture::new();
    let duplicate = r#"{"apiVersion": "v1", "kind": "A", "metadata": {"name": "x"}}"#;
    for (answer, why) in [
        ("{prepared: true}".to_owned(), "package is missing"),
        ("{prepared: true, package: [{}]}".to_owned(), "resource 1"),
        (
            format!("{{prepared: true, package: [{duplicate}, {duplicate}]}}"),
            "A x (v1/A) is there twice",
        ),
    ] {
        let words = fixture.failure(&["echo", &answer]).await;
        assert!(
            words.contains("the answer of echo on stdout is invalid: "),
            "{words}"
        );
        assert!(words.contains(why), "{words}");
    }
}

#[tokio::test]
async fn the_error_of_a_program_that_does_not_start_says_what_to_do() {
    let fixture = Fixture::new();
    let (folder, plain) = ids();
    fs::write(&plain, "#!/usr/bin/env python3\n").expect("writes");
    for (program, advice) in [
        (
            "/nowhere/plugin.py",
            "no such file on the machine that runs it",
        ),
        ("no-such-program-anywhere", "not found in the PATH"),
        (text(&plain), "chmod +x"),
        (text(folder.path()), "chmod +x"),
    ] {
        let words = fixture.failure(&[program]).await;
        assert!(
            words.contains(&format!("cannot run {program}: ")),
            "{words}"
        );
        assert!(words.contains(advice), "{words}");
    }
}

#[tokio::test]
async fn an_answer_counts_even_if_the_input_was_not_read() {
    let fixture = Fixture::new();
    let big = serde_json::json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "big"},
        "data": {"text": "x".repeat(1_000_000)},
    });
    let deployment = fixture.deployment(vec![fixture::network(), big]).await;
    for program in ["early_answer.py", "close_stdin.py"] {
        let preparer = fixture.preparer(&[&plugin(program)]).await;
        let answer = fixture.call(&*preparer, &deployment).await;
        let answer = answer.map_err(|error| error.chain());
        assert!(matches!(answer, Ok(Answer::NotYet { .. })), "{answer:?}");
    }
    let preparer = fixture.preparer(&[&plugin("slow_start.py"), "0.2"]).await;
    let answer = fixture.call(&*preparer, &deployment).await;
    assert!(matches!(answer, Ok(Answer::NotYet { .. })), "{answer:?}");
}

#[tokio::test]
async fn the_cause_is_available_to_programs() {
    let error = Fixture::new().prepare(&[&plugin("crash.py")]).await;
    let Err(Error::Unavailable { source, .. }) = error else {
        panic!("{error:?}");
    };
    let failure = source.downcast_ref::<Failure>();
    assert!(
        matches!(failure, Some(Failure::Exit { code: 3, .. })),
        "{failure:?}"
    );
}

#[tokio::test]
async fn s17_a_daemon_in_a_session_of_its_own_does_not_survive() {
    let fixture = Fixture::new();
    let (_folder, file) = ids();
    let program = plugin("daemon.py");
    let answer = fixture.prepare(&[&*program, text(&file)]).await;
    answer.expect("it answers");
    for process in process_ids(&file).await {
        death(process).await;
    }
}
