//! Killed processes and full disks: no acknowledged change is lost, and none is applied twice.

use futures_util::StreamExt;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tko_backend_sqlite::{Sqlite, SqliteSettings};
use tko_core::system::SystemClock;
use tko_core::{
    Ack, Backend, ChangeSet, ErrorKind, Key, Kind, List, Metadata, Pattern, Put, Require, Revision,
    Select, Want,
};

/// The file that a writing process uses. Its tests do nothing without it.
const FILE: &str = "TKO_SQLITE_TEST_FILE";

/// The number of rounds of the kill test; `.ci/long` sets it.
const ROUNDS: &str = "TKO_TEST_SEEDS";

/// The number of sites that each task of a writing process creates. Without it, the process writes
/// until it is killed.
const SITES: &str = "TKO_SQLITE_TEST_SITES";

/// The number of writing tasks of a process.
const WRITERS: u64 = 8;

async fn open(path: &Path) -> Arc<Sqlite> {
    let clock = Arc::new(SystemClock::new());
    let sqlite = Sqlite::open(clock, SqliteSettings::new(path)).await;
    Arc::new(sqlite.expect("the file opens"))
}

fn site(id: &str) -> Key {
    Key::new(Kind::Site, id).expect("an id")
}

fn put(key: &Key, count: u64) -> Put {
    let mut put = Put::new(key);
    put.metadata = Metadata::from_iter([("count", count.to_string())]);
    put
}

fn create(key: &Key) -> ChangeSet {
    ChangeSet::new()
        .require(Require::Absent(key.clone()))
        .put(put(key, 0))
}

async fn count(store: &Sqlite, key: &Key) -> u64 {
    let found = store.get(std::slice::from_ref(key), Want::ROW).await;
    let record = found.expect("it is read").remove(0).expect("it is there");
    let count = record.entity.metadata.get("count").expect("it counts");
    count.parse().expect("a number")
}

/// A process that writes: eight tasks create sites and count in shared ones, and print every answer.
/// Not a test by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_writes() {
    let Some(path) = std::env::var_os(FILE) else {
        return;
    };
    let store = open(Path::new(&path)).await;
    let sites = std::env::var(SITES).ok();
    let sites = sites.map(|text| text.parse().expect("a number"));
    if sites.is_some() {
        let other = tokio::time::timeout(Duration::from_mins(1), wait_for_the_other(&store));
        other.await.expect("the other process starts");
    }
    let writers = (0..WRITERS).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for number in 0..sites.unwrap_or(u64::MAX) {
                let name = format!("own/{}/{writer}/{number}", std::process::id());
                let done = store.commit(create(&site(&name)), Ack::Durable).await;
                done.expect("it is created");
                say(&format!("created {name}"));
                let shared = site(&format!("shared/{}", number % 2));
                let found = store.get(std::slice::from_ref(&shared), Want::ROW).await;
                let found = found.expect("it is read").remove(0).expect("it is there");
                let next = count(&store, &shared).await + 1;
                let set = ChangeSet::new()
                    .require(Require::At(shared.clone(), found.entity.version))
                    .put(put(&shared, next));
                match store.commit(set, Ack::Durable).await {
                    Ok(_) => say(&format!("counted {} {next}", shared.id())),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}"),
                }
            }
        })
    });
    for done in futures_util::future::join_all(writers).await {
        done.expect("no panic");
    }
}

/// Returns when two processes have come here, so that they write at the same time.
async fn wait_for_the_other(store: &Sqlite) {
    let key = site(&format!("ready/{}", std::process::id()));
    store
        .commit(create(&key), Ack::Durable)
        .await
        .expect("made");
    let mut ready = Select::all(Kind::Site);
    ready.ids = vec![Pattern::id("ready/*").expect("a pattern")];
    while store
        .count(&ready, 2, Want::ROW)
        .await
        .expect("counted")
        .found
        < 2
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Prints a line at once, and past the capture of test output.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // The parent may have gone.
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

fn writing(path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command
        .args(["--exact", "a_process_that_writes", "--nocapture"])
        .env(FILE, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// Without the test program's own words, which may stand before an answer; a torn line is none.
fn answer(line: &str) -> Option<&str> {
    let line = line.rsplit(" ... ").next()?;
    let is_answer = line.starts_with("created ") || line.starts_with("counted ");
    is_answer.then_some(line)
}

/// Runs a writing process for a while, kills it, and returns the answers that it got.
fn killed_after(path: &Path, lines: usize) -> Vec<String> {
    let mut child = writing(path).spawn().expect("it starts");
    let out = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut answers = Vec::new();
    for line in out.lines().map_while(Result::ok) {
        answers.push(line);
        if answers.len() == lines {
            // SIGKILL. What is in the pipe already was acknowledged, too.
            child.kill().expect("our own process");
        }
    }
    child.wait().expect("our own process");
    let answers = answers.iter().filter_map(|line| answer(line));
    answers.map(str::to_owned).collect()
}

/// Creates the sites that writing processes count in.
async fn create_shared(store: &Sqlite) -> Vec<Key> {
    let shared = (0..2).map(|number| site(&format!("shared/{number}")));
    let shared: Vec<Key> = shared.collect();
    for key in &shared {
        store.commit(create(key), Ack::Durable).await.expect("made");
    }
    shared
}

/// Two processes write to one file at the same time: both are answered, and nothing is lost or
/// done twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_write_at_the_same_time_lose_nothing() {
    const EACH: usize = 40;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tko.db");
    let store = open(&path).await;
    let shared = create_shared(&store).await;
    let run = || {
        let mut command = writing(&path);
        command.env(SITES, EACH.to_string());
        tokio::task::spawn_blocking(move || command.output().expect("it starts"))
    };
    let (one, other) = tokio::join!(run(), run());
    let mut created = BTreeSet::new();
    let mut counted: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for output in [one, other] {
        let output = output.expect("no panic");
        assert!(output.status.success(), "{}", output.status);
        let text = String::from_utf8(output.stdout).expect("text");
        for line in text.lines().filter_map(answer) {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["created", id] => assert!(created.insert(id.to_owned()), "{id} twice"),
                ["counted", id, number] => {
                    let number = number.parse().expect("a number");
                    counted.entry(id.to_owned()).or_default().push(number);
                }
                _ => panic!("{line}"),
            }
        }
    }
    let tasks = 2 * usize::try_from(WRITERS).expect("few");
    assert_eq!(created.len(), tasks * EACH);
    for id in &created {
        let found = store.get(&[site(id)], Want::ROW).await.expect("read");
        assert!(found[0].is_some(), "{id} was acknowledged");
    }
    for key in &shared {
        let mut counted = counted.remove(key.id()).expect("somebody counts");
        counted.sort_unstable();
        let all: Vec<u64> = (1..=count(&store, key).await).collect();
        assert_eq!(counted, all, "{key}");
    }
    exact_feed(&store).await;
    let report = store.check(false).await.expect("it is checked");
    assert!(report.findings.is_empty(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_processes_lose_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tko.db");
    let store = open(&path).await;
    let shared = create_shared(&store).await;
    drop(store);
    let rounds = std::env::var(ROUNDS)
        .ok()
        .and_then(|text| text.parse().ok());
    let rounds: usize = rounds.unwrap_or(10);
    let mut created = BTreeSet::new();
    let mut counted: BTreeMap<String, u64> = BTreeMap::new();
    for round in 0..rounds {
        // Different places in the life of the file: few writes, and past a checkpoint.
        let lines = 20 + (round * 97) % 700;
        let at = path.clone();
        let answers = tokio::task::spawn_blocking(move || killed_after(&at, lines)).await;
        for line in answers.expect("no panic") {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["created", id] => _ = created.insert(id.to_owned()),
                ["counted", id, number] => {
                    let number: u64 = number.parse().expect("a number");
                    let most = counted.entry(id.to_owned()).or_default();
                    *most = number.max(*most);
                }
                _ => {}
            }
        }
        let store = open(&path).await;
        for id in &created {
            let found = store.get(&[site(id)], Want::ROW).await.expect("read");
            assert!(found[0].is_some(), "{id} was acknowledged");
        }
        for key in &shared {
            let least = counted.get(key.id()).copied().unwrap_or_default();
            assert!(count(&store, key).await >= least, "{key} counts backwards");
        }
        let report = store.check(false).await.expect("it is checked");
        assert!(report.findings.is_empty(), "round {round}: {report:?}");
    }
    let store = open(&path).await;
    exact_feed(&store).await;
    eprintln!("{rounds} kills, {} sites, {counted:?}", created.len());
    assert!(created.len() > rounds * 10);
}

/// Every change has the state before it, and every entity is created once.
async fn exact_feed(store: &Sqlite) {
    let last = store.feed_position().await.expect("a position").revision;
    let mut feed = store.tail(Revision(0), Want::ROW);
    let mut counts: BTreeMap<Key, u64> = BTreeMap::new();
    for revision in 1..=last.0 {
        let change = feed.next().await.expect("no end").expect("no gap");
        assert_eq!(change.revision.0, revision);
        let of = |record: &tko_core::Record| -> u64 {
            let count = record.entity.metadata.get("count").expect("it counts");
            count.parse().expect("a number")
        };
        let before = change.before.as_ref().map(of);
        let after = change.after.as_ref().map(of).expect("nothing is deleted");
        assert_eq!(counts.insert(change.key.clone(), after), before);
        assert_eq!(
            after,
            before.map_or(0, |before| before + 1),
            "{}",
            change.key
        );
    }
    let sites = Select::all(Kind::Site);
    let found = store.count(&sites, u64::MAX / 2, Want::ROW).await;
    assert_eq!(found.expect("counted").found, counts.len() as u64);
}

/// Two processes write to one file, and each sees the other's changes in the feed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_share_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tko.db");
    let (one, other) = (open(&path).await, open(&path).await);
    let mut feed = other.tail(Revision(0), Want::ROW);
    for number in 0..20 {
        let (writer, key) = if number % 2 == 0 {
            (&one, site(&format!("one/{number}")))
        } else {
            (&other, site(&format!("other/{number}")))
        };
        writer
            .commit(create(&key), Ack::Durable)
            .await
            .expect("made");
        let change = tokio::time::timeout(Duration::from_secs(30), feed.next()).await;
        let change = change.expect("in time").expect("no end").expect("no gap");
        assert_eq!(change.key, key);
    }
}

/// A mounted file system that holds little. `None`: this user may not mount, as
/// `cargo xtask test` found.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"])
            .arg(folder.path())
            .stderr(Stdio::null())
            .status();
        let is_mounted = mounted.is_ok_and(|status| status.success());
        // Only root may mount here; `cargo xtask test` finds out whether root may.
        let is_root = std::fs::metadata("/proc/self").is_ok_and(|file| file.uid() == 0);
        let is_told = std::env::var_os("TKO_TEST_WITHOUT_DISK").is_some();
        assert!(
            is_mounted || !is_root || is_told,
            "root mounts a small disk"
        );
        is_mounted.then_some(Self { folder })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.folder.path())
            .status();
    }
}

/// While the disk is full, reads continue and writes fail with a reason. With space again, so do
/// writes, and nothing that was acknowledged is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("skipped: this user may not mount a small disk");
        return;
    };
    let folder = disk.folder.path();
    let path = folder.join("tko.db");
    let store = open(&path).await;
    std::fs::write(folder.join("ballast"), vec![0; 256 << 10]).expect("there is space");
    let mut made = Vec::new();
    let refused = loop {
        let key = site(&format!("site/{}", made.len()));
        let mut set = create(&key);
        if let Some(tko_core::Change::Put(put)) = set.changes.first_mut() {
            put.given = Metadata::from_iter([("text", "x".repeat(8_000))]);
        }
        match store.commit(set, Ack::Durable).await {
            Ok(_) => made.push(key),
            Err(error) => break error,
        }
        assert!(made.len() < 10_000, "the disk is not full");
    };
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused:?}");
    let said = refused.to_string();
    assert!(said.contains("free space"), "{said}");
    assert!(!made.is_empty());
    let page = store.list(&List::new(Select::all(Kind::Site))).await;
    assert_eq!(page.expect("reads go on").items.len(), made.len());
    std::fs::remove_file(folder.join("ballast")).expect("it is there");
    let last = site("last");
    store
        .commit(create(&last), Ack::Durable)
        .await
        .expect("there is space");
    drop(store);
    let store = open(&path).await;
    made.push(last);
    let found = store.get(&made, Want::ROW).await.expect("read");
    assert!(
        found.iter().all(Option::is_some),
        "an acknowledged write is lost"
    );
    let report = store.check(false).await.expect("it is checked");
    assert!(report.findings.is_empty(), "{report:?}");
}

/// Damage of each sort that a check can find, and the repair of what can be repaired.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_found_and_repaired() {
    use sqlx::{ConnectOptions, Executor};
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tko.db");
    let store = open(&path).await;
    for number in 0..3 {
        let key = site(&format!("site/{number}"));
        store
            .commit(create(&key), Ack::Durable)
            .await
            .expect("made");
    }
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let mut raw = options.connect().await.expect("the file opens");
    for damage in [
        "DELETE FROM posting WHERE id = 'site/1'",
        "INSERT INTO posting SELECT num, 'nobody' FROM term LIMIT 1",
        "INSERT INTO work (kind, id, stage, lane, ready, data) VALUES (1, 'nobody', 1, 0, 0, x'00')",
        "INSERT INTO holder VALUES (x'00', 'nobody')",
        "INSERT INTO body (hash, refs, data) VALUES (zeroblob(32), 0, x'')",
        "UPDATE body SET refs = 7 WHERE refs = 3",
    ] {
        raw.execute(damage).await.expect("the statement works");
    }
    let report = store.check(false).await.expect("it is checked");
    let found: Vec<String> = report
        .findings
        .iter()
        .map(|f| f.problem.to_string())
        .collect();
    assert_eq!(found.len(), 6, "{report:?}");
    let repaired = store.check(true).await.expect("it is repaired");
    // The invented package is damaged as well, until it is deleted.
    assert_eq!(repaired.left(), 1, "{repaired:?}");
    let report = store.check(false).await.expect("it is checked");
    assert!(report.findings.is_empty(), "{report:?}");
    let page = store.list(&List::new(Select::all(Kind::Site))).await;
    assert_eq!(page.expect("listed").items.len(), 3);
}

/// The file of another program is left alone.
#[tokio::test]
async fn a_foreign_file_is_refused() {
    use sqlx::{ConnectOptions, Executor};
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("other.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true);
    let mut raw = options.connect().await.expect("the file opens");
    raw.execute("CREATE TABLE notes (text)")
        .await
        .expect("made");
    let opened = Sqlite::open(Arc::new(SystemClock::new()), SqliteSettings::new(&path)).await;
    let error = opened.expect_err("it is not ours");
    assert_eq!(error.kind(), ErrorKind::BadArgument, "{error:?}");
}

/// Packages may have secrets, so nobody else may read the files.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_file_is_private() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tko.db");
    let store = open(&path).await;
    store
        .commit(create(&site("a")), Ack::Durable)
        .await
        .expect("committed");
    let mut files = 0;
    for entry in std::fs::read_dir(folder.path()).expect("a folder") {
        let entry = entry.expect("a file");
        let mode = entry.metadata().expect("there").mode();
        assert_eq!(mode & 0o077, 0, "{:?}: {mode:o}", entry.file_name());
        files += 1;
    }
    assert!(files >= 2, "the file, and its log");
}
