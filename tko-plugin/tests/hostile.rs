//! Plugins that hang, crash, or say what makes no sense: each is an error that says so, leaves no
//! process behind and holds nothing back.

mod fixture;

use fixture::{Fixture, PATIENCE, death, plugin, process_ids};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;
use tko_core::{Answer, Error};
use tko_plugin::{Failure, Settings};

/// A folder, and a file in it for process ids.
fn ids() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ids");
    (folder, file)
}

fn text(path: &std::path::Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[tokio::test]
async fn a_plugin_that_hangs_is_ended_when_its_time_is_over() {
    let fixture = Fixture::new();
    tokio::time::pause();
    let error = fixture.prepare(&[&plugin("hang.py")]).await;
    let error = error.expect_err("it hangs");
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    let words = error.chain();
    assert!(words.contains("with plugin prepare|test: "), "{words}");
    assert!(
        words.contains("hang.py did not end within 30 s and was killed"),
        "{words}"
    );
}

#[tokio::test]
async fn each_type_of_plugin_has_its_own_time() {
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
async fn what_ignores_a_polite_request_is_killed_with_its_children() {
    let fixture = Fixture::new();
    let (_folder, file) = ids();
    let program = plugin("hang_hard.py");
    let arguments = [&*program, text(&file)];
    let call = fixture.failure(&arguments);
    let watch = async {
        let processes = process_ids(&file).await;
        // From now on time passes as fast as nothing happens: first the call's, then the grace.
        tokio::time::pause();
        processes
    };
    let (words, processes) = tokio::join!(call, watch);
    tokio::time::resume();
    assert!(
        words.contains("was killed with all its children"),
        "{words}"
    );
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
async fn nobody_waits_for_a_child_that_is_left_behind() {
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
async fn a_plugin_that_hangs_holds_back_no_other() {
    let fixture = Fixture::with(Settings {
        concurrency: std::num::NonZeroUsize::MIN,
        ..Settings::default()
    });
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
async fn a_crash_tells_the_exit_code_and_what_was_on_stderr() {
    let words = Fixture::new().failure(&[&plugin("crash.py")]).await;
    assert!(
        words.ends_with(
            "crash.py ended with exit code 3; on stderr it wrote: the address pool is exhausted"
        ),
        "{words}"
    );
}

#[tokio::test]
async fn a_death_by_signal_tells_which() {
    let words = Fixture::new().failure(&[&plugin("killed.py")]).await;
    assert!(
        words.ends_with("killed.py was killed by signal 9 (SIGKILL; perhaps it ran out of memory); it wrote nothing to stderr"),
        "{words}"
    );
}

#[tokio::test]
async fn rubbish_is_refused_with_what_is_wrong_with_it() {
    let fixture = Fixture::new();
    for (kind, why) in [
        ("text", "begins: {{{ : ]"),
        ("binary", "is UTF-16, not UTF-8"),
        ("list", "a plugin answers with one YAML map"),
        ("empty", "it is empty"),
    ] {
        let words = fixture.failure(&[&plugin("rubbish.py"), kind]).await;
        assert!(
            words.contains("rubbish.py on stdout makes no sense: "),
            "{words}"
        );
        assert!(words.contains(why), "{kind}: {words}");
    }
}

#[tokio::test]
async fn a_new_package_must_be_one() {
    let fixture = Fixture::new();
    let duplicate = r#"{"apiVersion": "v1", "kind": "A", "metadata": {"name": "x"}}"#;
    for (answer, why) in [
        ("{prepared: true}".to_owned(), "has no package"),
        ("{prepared: true, package: [{}]}".to_owned(), "resource 1"),
        (
            format!("{{prepared: true, package: [{duplicate}, {duplicate}]}}"),
            "A x (v1/A) is there twice",
        ),
    ] {
        let words = fixture.failure(&["echo", &answer]).await;
        assert!(
            words.contains("the answer of echo on stdout makes no sense: "),
            "{words}"
        );
        assert!(words.contains(why), "{words}");
    }
}

#[tokio::test]
async fn a_program_that_cannot_be_run_says_what_to_do() {
    let fixture = Fixture::new();
    let (folder, plain) = ids();
    fs::write(&plain, "#!/usr/bin/env python3\n").expect("writes");
    for (program, advice) in [
        (
            "/nowhere/plugin.py",
            "there is no such file where the controller runs",
        ),
        ("no-such-program-anywhere", "it is nowhere in PATH"),
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
async fn what_answers_before_or_without_reading_its_input_is_heard() {
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
async fn the_cause_can_be_told_by_programs() {
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
