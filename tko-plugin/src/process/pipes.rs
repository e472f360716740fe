//! Moves bytes between a program and its caller.

use crate::log::LineLog;
use crate::stderr::Tail;
use std::future::Future;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};

const CHUNK: usize = 64 * 1024;

/// The output exceeded its limit.
pub(super) struct TooMuch;

/// Moves all pipes at the same time: a program may fill one pipe before it empties another.
pub(super) async fn pump(
    collect: impl Future<Output = Result<(), TooMuch>>,
    rest: impl Future<Output = ()>,
) -> Result<(), TooMuch> {
    let rest = async {
        rest.await;
        Ok(())
    };
    tokio::try_join!(collect, rest).map(drop)
}

pub(super) async fn collect(
    stdout: Option<ChildStdout>,
    into: &mut Vec<u8>,
    limit: usize,
) -> Result<(), TooMuch> {
    let Some(mut stdout) = stdout else {
        return Ok(());
    };
    loop {
        into.reserve(CHUNK.min(limit.saturating_add(1) - into.len()));
        match stdout.read_buf(into).await {
            // A pipe that cannot be read has ended; decoding the answer shows whether that was too
            // early.
            Ok(0) | Err(_) => return Ok(()),
            Ok(_) if into.len() > limit => return Err(TooMuch),
            Ok(_) => {}
        }
    }
}

pub(super) async fn feed(stdin: Option<ChildStdin>, input: &[u8]) {
    if let Some(mut stdin) = stdin {
        // A program may answer without reading all of its input.
        let _ = stdin.write_all(input).await;
    }
}

pub(super) async fn follow(stderr: Option<ChildStderr>, log: &LineLog<'_>, tail: &mut Tail) {
    if let Some(stderr) = stderr {
        log.follow(stderr, |bytes| tail.push(bytes)).await;
    }
}
