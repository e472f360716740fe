//! Reads blobs of a repository through a git process that keeps running.

use super::contents::TreeFile;
use std::process::Stdio;
use std::time::Duration;
use tko_core::{Error, Result};
use tko_source::program_not_started;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// A process `git cat-file --batch`.
pub(super) struct ObjectReader {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl ObjectReader {
    /// # Errors
    /// The program cannot be started.
    pub(super) fn start(mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| program_not_started("git", error))?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(stdin), Some(stdout)) => Ok(Self {
                child,
                stdin,
                stdout: BufReader::new(stdout),
            }),
            _ => Err(Error::unavailable("read a repository", "git has no pipes")),
        }
    }

    /// Reads one blob. After an error, the reader cannot be used any more.
    pub(super) async fn read(&mut self, file: &TreeFile) -> Result<Vec<u8>> {
        let failed =
            |error: std::io::Error| Error::unavailable("read a file of a repository", error);
        let request = format!("{}\n", file.blob);
        self.stdin
            .write_all(request.as_bytes())
            .await
            .map_err(failed)?;
        self.stdin.flush().await.map_err(failed)?;
        let mut header = String::new();
        self.stdout.read_line(&mut header).await.map_err(failed)?;
        // The size is that of the listing, which was checked.
        let expected = format!("{} blob {}\n", file.blob, file.size);
        if header != expected {
            let why = format!("{}: git answered {:?}", file.name, header.trim());
            return Err(Error::unavailable("read a file of a repository", why));
        }
        let mut bytes = vec![0; usize::try_from(file.size).unwrap_or_default() + 1];
        self.stdout.read_exact(&mut bytes).await.map_err(failed)?;
        bytes.pop();
        Ok(bytes)
    }

    /// Ends the process.
    pub(super) async fn end(self) {
        let Self {
            mut child,
            stdin,
            stdout,
        } = self;
        drop((stdin, stdout));
        // The process ends with its input; dropping it kills a process that does not.
        let _ = tokio::time::timeout(Duration::from_secs(1), child.wait()).await;
    }
}
