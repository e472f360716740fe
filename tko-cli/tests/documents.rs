//! Runs every command and code block of the project's documents.
//!
//! The blocks of a document run in order, in one shell, in a folder that has only the `examples`.
//! `tko` is in the path; `$TKO_GRPC_PORT` and `$TKO_WEB_PORT` are free ports. Documents that use PostgreSQL find an
//! empty database by `PGHOST` and similar variables.
//!
//! | fence | what the test does |
//! |---|---|
//! | `sh` | runs each command, which must succeed; servers keep running until the end of the document |
//! | `console` | runs what follows `$ ` and compares its output with the lines after it. `…` stands for anything, also several lines, and columns may have any width. Commands that only read are repeated for a while. A command that fails must be followed by `$ echo $?` |
//! | `bash` | nothing: `documents/cluster.rs` runs it on a Kubernetes API server |
//! | `yaml`, `python` | saves the block under the name in a comment of its first two lines |
//! | `rust` | nothing: it is a documentation test of the crate `tko-examples` |
//! | `text` | nothing: it is output or a picture. If it has commands, a comment before it must say why they are not run |

#[path = "documents/cluster.rs"]
mod cluster;
#[path = "documents/limits.rs"]
mod limits;
#[path = "documents/not_run.rs"]
mod not_run;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Builds and runs `tko`. The test has built it already.
const BUILD_AND_RUN: &str = "cargo run --release --bin tko -- ";

/// Commands that another test covers: their prefix, and the reason to skip them.
const ELSEWHERE: &[(&str, &str)] = &[
    ("cargo xtask test", "this test is a part of it"),
    (
        "cargo run --package tko-examples --example embed",
        "another test runs it",
    ),
    (
        "cargo bench",
        "takes long; docs/benchmarks.md has the results",
    ),
    (
        "cargo xtask growth",
        "other tests cover it; needs the output of cargo bench",
    ),
    (
        "cargo run --release --package tko-backend-memory --example million",
        "takes long, and more than a gigabyte; compiled by the tests",
    ),
    (
        "cargo fuzz run",
        "takes long; fuzz/README.md has the results",
    ),
    ("bash .ci/run", "this test is a part of it"),
];

/// Commands that keep running until the end of the document.
const SERVERS: &[&str] = &[
    "tko up",
    "tko data start",
    "tko preparer start",
    "tko scheduler start",
];

/// The folder below the shell's folder in which a document's commands run.
const WORK: &str = "work";

/// The longest time for one command, and for its output to become as documented.
const PATIENCE: Duration = Duration::from_mins(2);

#[test]
fn the_readme_works() {
    check("README.md");
}

#[test]
fn the_architecture_works() {
    check("ARCHITECTURE.md");
}

#[test]
fn the_guide_for_contributors_works() {
    check("CONTRIBUTING.md");
}

#[test]
fn the_changelog_works() {
    check("CHANGELOG.md");
}

#[test]
fn the_plugins_readme_works() {
    check("examples/plugins/README.md");
}

#[test]
fn the_documents_of_the_folder_work() {
    let mut found = 0;
    for entry in fs::read_dir(root().join("docs")).expect("there is a folder docs") {
        let name = entry.expect("an entry").file_name();
        let name = name.to_str().expect("names are text");
        // One document alone: `TKO_TEST_DOCUMENT=guide.md cargo test -p tko-cli --test documents`.
        if std::env::var("TKO_TEST_DOCUMENT").is_ok_and(|only| only != name) {
            found += 1;
            continue;
        }
        if Path::new(name)
            .extension()
            .is_some_and(|extension| extension == "md")
        {
            check(&format!("docs/{name}"));
            found += 1;
        }
    }
    assert!(found >= 3, "only {found} documents in docs");
}

/// Whether this test runs the blocks of a document.
fn is_checked(name: &str) -> bool {
    let others = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "examples/plugins/README.md",
    ];
    name.starts_with("docs/") || others.contains(&name)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A fenced block.
struct Block {
    language: String,
    /// The number of its first line, from 1.
    line: usize,
    lines: Vec<String>,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in text.lines().enumerate() {
        match (open.take(), line.trim_start().strip_prefix("```")) {
            (None, None) => {}
            (None, Some(language)) => {
                open = Some(Block {
                    language: language.trim().to_owned(),
                    line: index + 2,
                    lines: Vec::new(),
                });
            }
            (Some(block), Some("")) => blocks.push(block),
            (Some(mut block), _) => {
                block.lines.push(line.to_owned());
                open = Some(block);
            }
        }
    }
    assert!(open.is_none(), "a fence is not closed");
    blocks
}

/// A command and its expected output.
struct Step {
    line: usize,
    command: String,
    /// The expected lines; `None` accepts any output.
    prints: Option<Vec<String>>,
}

impl Step {
    /// A command that no document has.
    fn of_test(command: &str) -> Self {
        Self {
            line: 0,
            command: command.to_owned(),
            prints: None,
        }
    }
}

fn steps(block: &Block) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut continued = false;
    let console = block.language == "console";
    for (index, line) in block.lines.iter().enumerate() {
        let command = if console {
            line.strip_prefix("$ ")
        } else {
            Some(line.as_str())
        };
        match (steps.last_mut(), command) {
            (Some(step), _) if continued => {
                step.command.push('\n');
                step.command.push_str(line);
                continued = line.ends_with('\\');
            }
            (_, Some(command)) => {
                let command = command.replace(BUILD_AND_RUN, "tko ");
                continued = command.ends_with('\\');
                if !command.is_empty() && !command.starts_with('#') {
                    steps.push(Step {
                        line: block.line + index,
                        command,
                        prints: console.then(Vec::new),
                    });
                }
            }
            (Some(step), None) => step.prints.get_or_insert_default().push(line.clone()),
            (None, None) => panic!("line {}: a console begins with $", block.line),
        }
    }
    steps
}

fn check(name: &str) {
    assert!(is_checked(name), "{name} is missing in `is_checked`");
    let text = fs::read_to_string(root().join(name)).expect(name);
    let mut shell: Option<Shell> = None;
    for block in blocks(&text) {
        let place = format!("{name}:{}", block.line);
        let database = text.contains("--backend postgresql");
        let shell = shell.get_or_insert_with(|| Shell::start(database));
        match block.language.as_str() {
            "sh" | "console" => run(shell, name, &steps(&block)),
            "yaml" | "python" => save(&shell.work(), &place, &block),
            "rust" => {
                let doctests = root().join("examples/packages.rs");
                let doctests = fs::read_to_string(doctests).expect("the crate tko-examples");
                let included = format!("include_str!(\"../{name}\")");
                assert!(
                    doctests.contains(&included),
                    "{place}: tko-examples does not test this block"
                );
            }
            "bash" | "text" => {}
            other => panic!("{place}: nobody runs blocks of {other:?}"),
        }
    }
}

/// The variables of an empty database, as every client reads them.
fn postgres() -> Vec<(&'static str, String)> {
    let server = tko_postgres_server::shared();
    let database = server.create_database().expect("a database is made");
    vec![
        ("PGHOST", server.folder().display().to_string()),
        ("PGPORT", "5432".to_owned()),
        ("PGUSER", "tko".to_owned()),
        ("PGDATABASE", database),
    ]
}

fn save(folder: &Path, place: &str, block: &Block) {
    let named = block.lines.iter().take(2).find_map(|line| {
        let name = line.strip_prefix("# ")?;
        (!name.contains(' ') && name.contains('.')).then_some(name)
    });
    let path = folder.join(named.unwrap_or_else(|| panic!("{place}: the block has no file name")));
    fs::create_dir_all(path.parent().expect("it is in the folder")).expect("a folder");
    fs::write(&path, block.lines.join("\n") + "\n").expect("a file");
    if block.lines[0].starts_with("#!") {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("permissions");
    }
}

fn run(shell: &mut Shell, name: &str, steps: &[Step]) {
    for (index, step) in steps.iter().enumerate() {
        let place = format!("{name}:{}: {}", step.line, step.command);
        let begins = |with: &&str| step.command.starts_with(with);
        if ELSEWHERE.iter().any(|(with, _)| begins(with)) {
            continue;
        }
        assert!(!begins(&"cargo "), "{place}\nwhere is it checked?");
        if step.prints.is_none() && SERVERS.iter().any(begins) {
            shell.serve(&step.command, &place);
        } else {
            let next = steps.get(index + 1);
            let may_fail = next.is_some_and(|next| next.command == "echo $?");
            shell.expect(step, may_fail, &place);
        }
    }
}

/// Whether a command only reads: its output may need a moment to become as documented.
fn is_look(command: &str) -> bool {
    let words: Vec<&str> = command.split_whitespace().collect();
    match words[..] {
        ["tko", _, verb, ..] => ["list", "get", "show"].contains(&verb),
        ["kubectl", ref words @ ..] => words.iter().any(|word| ["explain", "get"].contains(word)),
        [first, ..] => ["cat", "find", "git", "ls"].contains(&first),
        [] => false,
    }
}

/// Whether lines are as expected; `…` stands for anything.
fn matches(expected: &[String], lines: &[String]) -> bool {
    match (expected, lines) {
        ([], []) => true,
        ([any, rest @ ..], _) if any.trim() == "…" => {
            (0..=lines.len()).any(|skipped| matches(rest, &lines[skipped..]))
        }
        ([first, rest @ ..], [line, others @ ..]) => {
            line_matches(&aligned(first), &aligned(line)) && matches(rest, others)
        }
        _ => false,
    }
}

/// Replaces runs of spaces with one space, except at the start of the line: columns may have any
/// width.
fn aligned(line: &str) -> String {
    let words = line.trim_start();
    let indented = " ".repeat(line.len() - words.len());
    indented + &words.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn line_matches(expected: &str, line: &str) -> bool {
    match expected.split_once('…') {
        None => expected == line,
        Some((start, rest)) => line.strip_prefix(start).is_some_and(|line| {
            (0..=line.len())
                .filter(|at| line.is_char_boundary(*at))
                .any(|at| line_matches(rest, &line[at..]))
        }),
    }
}

/// A port that is free now.
fn free_port() -> u16 {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    free.local_addr().expect("it has one").port()
}

/// A shell that runs a document's commands one after the other.
struct Shell {
    folder: TempDir,
    bash: Child,
    input: ChildStdin,
    /// A line with the exit code after each command.
    codes: Receiver<String>,
    /// The file that receives the output of the current command.
    output: PathBuf,
}

impl Shell {
    fn start(database: bool) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (output, work) = (folder.path().join("output"), folder.path().join(WORK));
        fs::create_dir(&work).expect("a folder");
        let examples = root().join("examples").canonicalize().expect("there are");
        symlink(examples, work.join("examples")).expect("a link");
        let program = Path::new(env!("CARGO_BIN_EXE_tko"));
        let mut path = program
            .parent()
            .expect("a program is in a folder")
            .as_os_str()
            .to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let port = free_port();
        let mut bash = Command::new("bash")
            .args(["--noprofile", "--norc"])
            .current_dir(work)
            .env("PATH", path)
            .env("TKO_GRPC_PORT", port.to_string())
            // What the commands keep goes into the document's folder, not into the user's home.
            .env("XDG_DATA_HOME", folder.path().join("data"))
            .env("TKO_WEB_PORT", free_port().to_string())
            .envs(if database { postgres() } else { Vec::new() })
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("there is bash");
        let input = bash.stdin.take().expect("a pipe");
        let answers = BufReader::new(bash.stdout.take().expect("a pipe"));
        let (send, codes) = channel();
        thread::spawn(move || {
            answers
                .lines()
                .map_while(Result::ok)
                .try_for_each(|l| send.send(l))
        });
        Self {
            folder,
            bash,
            input,
            codes,
            output,
        }
    }

    /// The folder in which the commands run.
    fn work(&self) -> PathBuf {
        self.folder.path().join(WORK)
    }

    /// Runs a command; returns its exit code and output.
    fn run(&mut self, command: &str, place: &str) -> (i32, Vec<String>) {
        let output = self.output.display();
        writeln!(
            self.input,
            "(exit $code)\n{{\n{command}\n}} >'{output}' 2>&1 </dev/null\ncode=$?; echo $code"
        )
        .expect("the shell listens");
        let printed = || fs::read_to_string(&self.output).unwrap_or_default();
        let code = self.codes.recv_timeout(PATIENCE);
        let code = code.unwrap_or_else(|_| panic!("{place}\ndoes not end:\n{}", printed()));
        let lines = printed().lines().map(str::to_owned).collect();
        (code.parse().expect("an exit code"), lines)
    }

    /// Runs a command until its output is as expected, or time is up.
    fn expect(&mut self, step: &Step, may_fail: bool, place: &str) {
        let began = Instant::now();
        loop {
            let (code, printed) = self.run(&step.command, place);
            let expected = step.prints.as_ref();
            let right = expected.is_none_or(|expected| matches(expected, &printed));
            if right && (code == 0 || may_fail) {
                return;
            }
            assert!(
                is_look(&step.command) && began.elapsed() < PATIENCE,
                "{place}\nexit code {code}, printed:\n{}\nmust print:\n{}",
                printed.join("\n"),
                expected.map_or_else(String::new, |expected| expected.join("\n")),
            );
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Starts a server and waits until it answers.
    fn serve(&mut self, command: &str, place: &str) {
        let log = self.folder.path().join("log");
        let path = log.display();
        writeln!(self.input, "(exec {command}) >>'{path}' 2>&1 </dev/null &")
            .expect("the shell listens");
        let began = Instant::now();
        while self.run("tko --quiet about", place).0 != 0 {
            let text = || fs::read_to_string(&log).unwrap_or_default();
            assert!(
                began.elapsed() < PATIENCE,
                "{place}\ndoes not serve:\n{}",
                text()
            );
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Stops the servers.
impl Drop for Shell {
    fn drop(&mut self) {
        // Only the shell knows the servers' process ids. If writing fails, the shell has ended.
        let _ = writeln!(self.input, "kill $(jobs -p) 2>/dev/null; wait; exit 0");
        let began = Instant::now();
        while matches!(self.bash.try_wait(), Ok(None)) {
            if began.elapsed() > PATIENCE {
                let _ = self.bash.kill();
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let _ = self.bash.wait();
    }
}
