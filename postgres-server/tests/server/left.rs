//! The remains of a server.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::fs;
use std::path::{Path, PathBuf};

/// The limit of waiting for the end of a process.
const PATIENCE: Timespec = Timespec {
    tv_sec: 60,
    tv_nsec: 0,
};

/// Everything that belongs to a running server: its folder, its shared memory segment, and its
/// processes, including the controlling ones.
pub(crate) struct Left {
    folder: PathBuf,
    segment: String,
    processes: Vec<(String, OwnedFd)>,
}

impl Left {
    pub(crate) fn of(folder: &Path) -> Self {
        let named = naming(folder);
        let mut runner = named.iter().filter(|&&id| command(id).contains("runner"));
        let runner = runner.next().expect("it is watched");
        // The path inside the namespace of its file system.
        let seen = format!(
            "/proc/{runner}/root{}/data/postmaster.pid",
            folder.display()
        );
        let lock = fs::read_to_string(seen).expect("it runs");
        let lines: Vec<&str> = lock.lines().collect();
        let segment = lines[6].split_whitespace().nth(1).expect("a number");
        assert!(segments().contains(&segment.to_owned()), "{lock}");
        let server: u32 = lines[0].parse().expect("a number");
        let mut ids = vec![server];
        ids.extend(children(server));
        assert!(ids.len() > 3, "the server has children: {ids:?}");
        ids.extend(named);
        ids.sort_unstable();
        ids.dedup();
        let processes = ids
            .into_iter()
            .filter_map(|id| Some((command(id), open(id)?)));
        let processes: Vec<(String, OwnedFd)> = processes.collect();
        for watching in ["keeper", "runner"] {
            assert!(
                processes
                    .iter()
                    .any(|(command, _)| command.contains(watching))
            );
        }
        Self {
            folder: folder.to_owned(),
            segment: segment.to_owned(),
            processes,
        }
    }

    /// Waits until everything has ended, and checks that nothing is left.
    pub(crate) fn nothing(self) {
        for (command, process) in &self.processes {
            let mut ended = [PollFd::new(process, PollFlags::IN)];
            let ready = poll(&mut ended, Some(&PATIENCE)).expect("it can be waited for");
            assert_eq!(ready, 1, "still there: {command}");
        }
        assert!(!self.folder.exists(), "{}", self.folder.display());
        assert!(!segments().contains(&self.segment), "{}", self.segment);
    }
}

/// Opens a process; `None` if it has ended.
fn open(id: u32) -> Option<OwnedFd> {
    let id = Pid::from_raw(i32::try_from(id).ok()?)?;
    pidfd_open(id, PidfdFlags::empty()).ok()
}

fn children(id: u32) -> Vec<u32> {
    let path = format!("/proc/{id}/task/{id}/children");
    let children = fs::read_to_string(path).expect("it runs");
    let numbers = children
        .split_whitespace()
        .map(|id| id.parse().expect("a number"));
    numbers.collect()
}

/// The processes with this folder in their command line.
fn naming(folder: &Path) -> Vec<u32> {
    let folder = folder.to_str().expect("it is plain");
    let processes = fs::read_dir("/proc").expect("this is Linux").flatten();
    let ids = processes.filter_map(|process| process.file_name().to_str()?.parse().ok());
    ids.filter(|&id| command(id).contains(folder)).collect()
}

fn command(id: u32) -> String {
    let command = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&command).replace('\0', " ")
}

fn segments() -> Vec<String> {
    let segments = fs::read_to_string("/proc/sysvipc/shm").expect("this is Linux");
    let numbers = segments
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1));
    numbers.map(str::to_owned).collect()
}
