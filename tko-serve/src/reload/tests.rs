use super::Reloaded;
use crate::file::read;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// Far more than a busy machine needs.
const TIME: Duration = Duration::from_mins(1);

/// A time between two checks that is no time to wait for.
const SOON: Duration = Duration::from_millis(1);

/// An empty folder of this test.
fn folder(test: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("tko-{test}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// Waits until something is true.
fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < TIME, "{what}");
        thread::yield_now();
    }
}

#[test]
fn s13_a_file_system_that_hangs_keeps_no_request_waiting() {
    let folder = folder("hanging");
    let file = folder.join("file");
    std::fs::write(&file, "1").expect("written");
    let (begun, has_begun) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    let (ended, is_first) = (Mutex::new(ended), AtomicBool::new(true));
    let path = file.clone();
    let load = move || {
        if !is_first.swap(false, Ordering::Relaxed) {
            let _ = begun.send(());
            let ended = ended.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = ended.recv_timeout(TIME);
        }
        read(&path)
    };
    let number = Reloaded::checked_every(SOON, "the number", vec![file.clone()], load);
    let number = Arc::new(number.expect("read"));
    std::fs::write(&file, "two").expect("written");
    // Without a request.
    has_begun.recv_timeout(TIME).expect("the change is noticed");
    let (answer, answered) = mpsc::channel();
    let asked = number.clone();
    thread::spawn(move || answer.send(asked.current()));
    let value = answered.recv_timeout(TIME / 2).expect("it does not wait");
    assert_eq!(*value, b"1");
    drop(end);
    until("the new value", || *number.current() == b"two");
    std::fs::remove_dir_all(&folder).expect("it exists");
}

#[test]
fn the_checks_end_with_the_value() {
    let folder = folder("ended");
    let file = folder.join("file");
    std::fs::write(&file, "1").expect("written");
    let alive = Arc::new(());
    let held = alive.clone();
    let load = move || Ok(held.clone());
    let value = Reloaded::checked_every(SOON, "the value", vec![file], load).expect("read");
    drop(value);
    until("nothing holds it", || Arc::strong_count(&alive) == 1);
    std::fs::remove_dir_all(&folder).expect("it exists");
}

#[cfg(target_os = "linux")]
#[test]
fn s13_a_pipe_is_read_once() {
    use rustix::fs::{CWD, Mode, mkfifoat};

    let folder = folder("pipe");
    let pipe = folder.join("pipe");
    let new_pipe = || mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).expect("a pipe");
    new_pipe();
    let written = pipe.clone();
    let writing = thread::spawn(move || std::fs::write(written, "once"));
    let path = pipe.clone();
    let text = Reloaded::new("the text", vec![pipe.clone()], move || read(&path));
    let text = Arc::new(text.expect("read"));
    writing.join().expect("no panic").expect("written");
    assert_eq!(*text.current(), b"once");
    // Another pipe, which nothing is written to.
    std::fs::rename(&pipe, folder.join("former")).expect("it exists");
    new_pipe();
    let (done, is_done) = mpsc::channel();
    let checked = text.clone();
    thread::spawn(move || {
        checked.check_now();
        done.send(())
    });
    is_done.recv_timeout(TIME).expect("it is not read");
    assert_eq!(*text.current(), b"once");
    std::fs::remove_dir_all(&folder).expect("it exists");
}
