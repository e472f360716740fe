//! Runs test programs side by side, the longest first.

use anyhow::Result;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Test programs that take long on any machine, the longest first: they start first where no
/// earlier run has left its times.
const LONG: [&str; 4] = [
    "tko-cli tests/documents.rs",
    "tko-cli tests/tko/main.rs",
    "tko-backend-postgres tests/faults.rs",
    "documentation tests",
];

/// The interval at which a running program is checked.
const LOOK: Duration = Duration::from_millis(20);

/// A program to run, its name in the report, and the time after which it is killed.
pub(super) struct Job {
    name: String,
    pub(super) command: Command,
    pub(super) limit: Duration,
}

impl Job {
    /// A program that may run for a day.
    pub(super) fn new(name: &str, command: Command) -> Self {
        Self {
            name: name.to_owned(),
            command,
            limit: Duration::from_hours(24),
        }
    }
}

/// How long each program took when it last ran, in seconds.
#[derive(Default)]
pub(super) struct Times(BTreeMap<String, f64>);

impl Times {
    /// Times of an earlier run; none if the file is missing or not readable.
    pub(super) fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_default();
        Self(serde_json::from_slice(&bytes).unwrap_or_default())
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        std::fs::write(path, serde_json::to_vec_pretty(&self.0)?)?;
        Ok(())
    }

    /// Seconds to sort by; for unknown programs a guess.
    fn of(&self, name: &str) -> f64 {
        let guess = || match LONG.iter().rev().position(|long| *long == name) {
            Some(position) => 30.0 + if position > 2 { 2.0 } else { 1.0 },
            None => 1.0,
        };
        self.0.get(name).copied().unwrap_or_else(guess)
    }
}

/// If more programs than this fail, none is run again: that is not chance.
const MOST_AGAIN: usize = 3;

/// How a program ended.
struct Ended {
    job: Job,
    status: io::Result<ExitStatus>,
    took: Duration,
    output: Vec<u8>,
}

impl Ended {
    fn passed(&self) -> bool {
        self.status.as_ref().is_ok_and(ExitStatus::success)
    }

    fn print(&self, out: &mut dyn Write) -> Result<()> {
        let seconds = self.took.as_secs_f64();
        match &self.status {
            Ok(status) if status.success() => {
                writeln!(out, "\n-- {} ({seconds:.1} s)", self.job.name)?;
            }
            Ok(status) => writeln!(
                out,
                "\n-- {} FAILED: {status} ({seconds:.1} s)",
                self.job.name
            )?,
            Err(error) => writeln!(
                out,
                "\n-- {} FAILED: could not run it: {error}",
                self.job.name
            )?,
        }
        out.write_all(&self.output)?;
        out.flush()?;
        Ok(())
    }
}

/// Runs all jobs, `at_once` of them at a time, and prints the output of each when it ends.
///
/// A job that fails is run again, alone, up to `retries` times, unless many failed; one that then
/// passes is reported as unstable. The output of failed jobs is printed again at the end. Returns
/// 0 if all passed in the end, otherwise the exit code of one that failed.
pub(super) fn run_all(
    mut jobs: Vec<Job>,
    at_once: usize,
    retries: u8,
    times: &mut Times,
    out: &mut dyn Write,
) -> Result<ExitCode> {
    let count = jobs.len();
    // The queue is taken from its end.
    jobs.sort_by(|one, other| times.of(&one.name).total_cmp(&times.of(&other.name)));
    let queue = Mutex::new(jobs);
    let mut failed: Vec<Ended> = Vec::new();
    thread::scope(|scope| {
        let (send, ended) = channel();
        for _ in 0..at_once {
            let (send, queue) = (send.clone(), &queue);
            scope.spawn(move || work(queue, &send));
        }
        drop(send);
        for ended in ended {
            ended.print(out)?;
            let took = ended.took.as_secs_f64();
            times.0.insert(ended.job.name.clone(), took);
            if !ended.passed() {
                failed.push(ended);
            }
        }
        anyhow::Ok(())
    })?;
    let (unstable, failed) = run_again(failed, retries, out)?;
    for ended in &failed {
        writeln!(out, "\nagain, because it failed:")?;
        ended.print(out)?;
    }
    let passed = count - failed.len();
    writeln!(out, "\n{passed} of {count} test programs passed")?;
    for name in &unstable {
        writeln!(out, "unstable: {name} failed at first, and passed alone")?;
    }
    for ended in &failed {
        writeln!(out, "failed: {}", ended.job.name)?;
    }
    Ok(match failed.first() {
        None => ExitCode::SUCCESS,
        Some(ended) => code(ended.status.as_ref().ok().copied()),
    })
}

/// Runs failed jobs again. Returns the names of those that passed, and those that failed.
fn run_again(
    failed: Vec<Ended>,
    retries: u8,
    out: &mut dyn Write,
) -> Result<(Vec<String>, Vec<Ended>)> {
    if failed.len() > MOST_AGAIN {
        return Ok((Vec::new(), failed));
    }
    let (mut unstable, mut still) = (Vec::new(), Vec::new());
    for mut ended in failed {
        for _ in 0..retries {
            if ended.passed() {
                break;
            }
            writeln!(out, "\nalone, because it failed beside others:")?;
            ended = run(ended.job);
            ended.print(out)?;
        }
        if ended.passed() {
            unstable.push(ended.job.name);
        } else {
            still.push(ended);
        }
    }
    Ok((unstable, still))
}

fn work(queue: &Mutex<Vec<Job>>, ended: &Sender<Ended>) {
    loop {
        // In a separate statement, so that the queue is free while the job runs.
        let job = queue.lock().expect("no thread panics with it").pop();
        let Some(job) = job else { return };
        // The receiver is gone only if printing failed.
        if ended.send(run(job)).is_err() {
            return;
        }
    }
}

fn run(mut job: Job) -> Ended {
    let began = Instant::now();
    let (status, output) = match run_into_file(&mut job.command, job.limit) {
        Ok((status, output)) => (Ok(status), output),
        Err(error) => (Err(error), Vec::new()),
    };
    Ended {
        job,
        status,
        took: began.elapsed(),
        output,
    }
}

/// Runs a command and returns what it printed on both of its outputs.
///
/// They go to a file: a pipe would stay open while a process that the test left behind holds it.
/// A command that is not done at the limit is killed, and what it printed until then says where it
/// hung.
fn run_into_file(command: &mut Command, limit: Duration) -> io::Result<(ExitStatus, Vec<u8>)> {
    let mut file: File = tempfile::tempfile()?;
    let began = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file.try_clone()?)
        .spawn()?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if began.elapsed() >= limit {
            child.kill()?;
            let minutes = limit.as_secs_f64() / 60.0;
            writeln!(file, "\nkilled: it was not done after {minutes:.1} minutes")?;
            break child.wait()?;
        }
        thread::sleep(LOOK);
    };
    let mut output = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut output)?;
    Ok((status, output))
}

/// The exit code to pass on; any but 0 if the program was killed or did not start.
fn code(status: Option<ExitStatus>) -> ExitCode {
    let code = status.and_then(|status| status.code());
    let code = code.and_then(|code| u8::try_from(code).ok());
    code.filter(|code| *code != 0)
        .map_or(ExitCode::FAILURE, ExitCode::from)
}

#[cfg(test)]
mod tests {
    use super::{Job, Times, code, run_all};
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, ExitCode, ExitStatus};
    use std::time::Duration;

    fn job(name: &str, script: &str) -> Job {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Job::new(name, command)
    }

    fn run(jobs: Vec<Job>, at_once: usize, times: &mut Times) -> (ExitCode, String) {
        run_with_retries(jobs, at_once, 0, times)
    }

    fn run_with_retries(
        jobs: Vec<Job>,
        at_once: usize,
        retries: u8,
        times: &mut Times,
    ) -> (ExitCode, String) {
        let mut out = Vec::new();
        let code = run_all(jobs, at_once, retries, times, &mut out).expect("it can print");
        (code, String::from_utf8(out).expect("text"))
    }

    #[test]
    fn both_outputs_are_printed_whole() {
        let jobs = vec![job("a", "echo one; echo two >&2"), job("b", "echo three")];
        let (code, out) = run(jobs, 2, &mut Times::default());
        assert_eq!(code, ExitCode::SUCCESS);
        assert!(
            out.contains("one\ntwo\n") && out.contains("three\n"),
            "{out}"
        );
        assert!(out.ends_with("2 of 2 test programs passed\n"), "{out}");
    }

    #[test]
    fn a_failure_gives_its_code_and_its_output_again_at_the_end() {
        let jobs = vec![
            job("good", "echo fine"),
            job("bad", "echo wrong; exit 101"),
            job("last", "echo fine"),
        ];
        let (code, out) = run(jobs, 1, &mut Times::default());
        assert_eq!(code, ExitCode::from(101));
        assert_eq!(out.matches("wrong\n").count(), 2, "{out}");
        let end = "wrong\n\n2 of 3 test programs passed\nfailed: bad\n";
        assert!(out.ends_with(end), "{out}");
    }

    #[test]
    fn a_program_that_passes_when_run_again_is_reported_as_unstable() {
        let folder = tempfile::tempdir().expect("a folder");
        let once = || {
            let path = folder.path().join("seen");
            let path = path.display();
            job(
                "once",
                &format!("[ -e {path} ] || {{ touch {path}; exit 7; }}"),
            )
        };
        let (code, out) = run_with_retries(vec![once()], 1, 1, &mut Times::default());
        assert_eq!(code, ExitCode::SUCCESS, "{out}");
        let end = "1 of 1 test programs passed\n\
                   unstable: once failed at first, and passed alone\n";
        assert!(out.ends_with(end), "{out}");
        // Without retries it fails.
        std::fs::remove_file(folder.path().join("seen")).expect("it was there");
        assert_eq!(
            run(vec![once()], 1, &mut Times::default()).0,
            ExitCode::from(7)
        );
    }

    #[test]
    fn a_program_that_fails_each_time_and_many_failures_stay_failures() {
        let bad = |name| job(name, "echo wrong; exit 3");
        let (code, out) = run_with_retries(vec![bad("a")], 1, 2, &mut Times::default());
        assert_eq!(code, ExitCode::from(3));
        // At first, twice alone, and at the end.
        assert_eq!(out.matches("wrong\n").count(), 4, "{out}");
        let many = ["a", "b", "c", "d"].map(bad).into();
        let (code, out) = run_with_retries(many, 2, 2, &mut Times::default());
        assert_eq!(code, ExitCode::from(3));
        assert!(!out.contains("alone"), "{out}");
    }

    #[test]
    fn a_program_that_does_not_start_is_a_failure() {
        let job = Job::new("none", Command::new("/nowhere/at/all"));
        let (code, out) = run(vec![job], 3, &mut Times::default());
        assert_eq!(code, ExitCode::FAILURE);
        assert!(out.contains("none FAILED: could not run it"), "{out}");
    }

    #[test]
    fn a_program_that_hangs_is_killed_and_shows_what_it_printed() {
        let mut hangs = Job::new("hangs", Command::new("sh"));
        hangs.command.args(["-c", "echo began; exec sleep 600"]);
        hangs.limit = Duration::from_secs(1);
        let (code, out) = run(vec![hangs], 1, &mut Times::default());
        assert_eq!(code, ExitCode::FAILURE);
        assert!(out.contains("began\n"), "{out}");
        assert!(out.contains("killed: it was not done after"), "{out}");
    }

    #[test]
    fn programs_run_side_by_side() {
        // Each waits for the other's file, so that neither ends alone.
        let folder = tempfile::tempdir().expect("a folder");
        let meet = |mine: &str, other: &str| {
            let path = folder.path().display();
            job(
                mine,
                &format!("touch {path}/{mine}; until [ -e {path}/{other} ]; do sleep 0.01; done"),
            )
        };
        let (code, _) = run(
            vec![meet("a", "b"), meet("b", "a")],
            2,
            &mut Times::default(),
        );
        assert_eq!(code, ExitCode::SUCCESS);
    }

    #[test]
    fn the_longest_starts_first_the_next_time() {
        let mut times = Times::default();
        times
            .0
            .extend([("short".to_owned(), 0.1), ("long".to_owned(), 9.0)]);
        let jobs = || vec![job("short", ":"), job("new", ":"), job("long", ":")];
        let (_, out) = run(jobs(), 1, &mut times);
        let position = |name: &str| out.find(&format!("-- {name} (")).expect("it ran");
        assert!(position("long") < position("new"), "{out}");
        assert!(position("new") < position("short"), "{out}");
        // The times of this run replace those of the last.
        assert!(times.of("long") < 9.0);
    }

    #[test]
    fn times_survive_in_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("times");
        let mut times = Times::default();
        times.0.insert("a".to_owned(), 2.5);
        times.write(&path).expect("written");
        assert!((Times::read(&path).of("a") - 2.5).abs() < 1e-9);
        std::fs::write(&path, "nonsense").expect("written");
        assert!(Times::read(&path).0.is_empty());
    }

    #[test]
    fn the_exit_code_is_that_of_the_tests() {
        let ended = |code: i32| Some(ExitStatus::from_raw(code << 8));
        assert_eq!(code(ended(101)), ExitCode::from(101));
        let killed = Some(ExitStatus::from_raw(9));
        assert_eq!(code(killed), ExitCode::FAILURE);
        assert_eq!(code(None), ExitCode::FAILURE);
    }
}
