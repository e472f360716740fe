//! The pipes of a process, each read or written by a task, and its memory.

use super::frame::{self, Frame, FrameError};
use super::process_log::ProcessLog;
use crate::lines::Lines;
use crate::log::CHUNK;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::mpsc;

/// Bytes that are read from stdout at a time.
const BUFFER: usize = 64 * 1024;

/// The resident memory of a process in MiB; `None` if `/proc` does not show it.
pub(super) fn resident_mib(process: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib >> 10)
}

/// Reads frames until the end, or until the first error.
pub(super) async fn read(
    stdout: ChildStdout,
    limit: usize,
    to: mpsc::Sender<Result<Frame, FrameError>>,
) {
    let mut from = BufReader::with_capacity(BUFFER, stdout);
    while let Some(frame) = frame::read(&mut from, limit).await.transpose() {
        let is_last = frame.is_err();
        if to.send(frame).await.is_err() || is_last {
            return;
        }
    }
}

/// Writes frames until there are no more.
pub(super) async fn write(mut stdin: ChildStdin, mut frames: mpsc::UnboundedReceiver<Vec<u8>>) {
    while let Some(frame) = frames.recv().await {
        if stdin.write_all(&frame).await.is_err() {
            // The process has closed its stdin; it ends, or its calls reach their time limits.
            return;
        }
    }
}

/// Logs stderr to its end.
pub(super) async fn follow(mut stderr: ChildStderr, log: Arc<ProcessLog>) {
    let mut lines = Lines::default();
    let mut chunk = vec![0; CHUNK];
    while let Ok(read @ 1..) = stderr.read(&mut chunk).await {
        log.keep(&chunk[..read]);
        lines.push(&chunk[..read], &&*log);
    }
    lines.finish(&&*log);
}
