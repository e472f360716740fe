//! Reads a backup, and checks it while reading.

use super::{DELETED, END, ENTITY, HEAD, MAGIC, MAX_FRAME, PACKAGE, VERSION, WINDOW, damaged};
use crate::codec::{decode, key_of};
use crate::encoding::Limits;
use crate::entity::Record;
use crate::error::{Error, Result};
use crate::id::Key;
use crate::package::Package;
use crate::revision::{Revision, Timestamp};
use std::collections::VecDeque;
use std::io::{ErrorKind as IoErrorKind, Read};

/// How many bytes are read at once, so that a wrong length does not allocate all the memory that it
/// announces.
const PIECE: usize = 64 << 10;

/// One item of a backup.
#[derive(Clone, Debug)]
pub enum BackupFrame {
    /// An entity with its package.
    Entity(Record),
    /// The entity was deleted. A later item may have it again.
    Deleted(Key),
}

/// Reads the items of a backup.
pub struct BackupReader<R> {
    input: R,
    hasher: blake3::Hasher,
    revision: Revision,
    at: Timestamp,
    frames: u64,
    window: VecDeque<Package>,
    is_ended: bool,
}

impl<R> std::fmt::Debug for BackupReader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackupReader")
            .field("revision", &self.revision)
            .field("frames", &self.frames)
            .finish_non_exhaustive()
    }
}

impl<R: Read> BackupReader<R> {
    /// Reads the beginning.
    ///
    /// # Errors
    /// - `BadArgument`: the input is not a backup, has a later version, or is damaged.
    /// - `Unavailable`: the input cannot be read.
    pub fn new(input: R) -> Result<Self> {
        let mut reader = Self {
            input,
            hasher: blake3::Hasher::new(),
            revision: Revision(0),
            at: Timestamp(0),
            frames: 0,
            window: VecDeque::new(),
            is_ended: false,
        };
        let mut start = [0; MAGIC.len() + 1];
        let is_short = reader.exact(&mut start).is_err();
        if is_short || !start.starts_with(MAGIC) {
            return Err(damaged("it is not a backup of TKO"));
        }
        if start[MAGIC.len()] != VERSION {
            return Err(damaged(format!(
                "it has format version {}; this program reads version {VERSION}: upgrade it",
                start[MAGIC.len()]
            )));
        }
        let (kind, content) = reader.frame()?;
        let numbers = (content.get(..8), content.get(8..16));
        match (kind, content.len(), numbers) {
            (HEAD, 16, (Some(revision), Some(at))) => {
                reader.revision = Revision(u64::from_be_bytes(fixed(revision)?));
                reader.at = Timestamp(i64::from_be_bytes(fixed(at)?));
                Ok(reader)
            }
            _ => Err(damaged("it has no head: it is damaged")),
        }
    }

    /// The revision of the state.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The time at which the backup was begun, by the clock of its store.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Reads the next item. `None`: the backup was read completely, and its checksum is right.
    ///
    /// # Errors
    /// - `BadArgument`: the backup is damaged or incomplete.
    /// - `Unavailable`: the input cannot be read.
    pub fn next_frame(&mut self) -> Result<Option<BackupFrame>> {
        while !self.is_ended {
            let expected = self.hasher.clone();
            let (kind, content) = self.frame()?;
            match kind {
                PACKAGE => {
                    let package: Package =
                        decode(&content, &Limits::stored()).map_err(undecoded)?;
                    self.window.push_back(package);
                    if self.window.len() > WINDOW {
                        self.window.pop_front();
                    }
                }
                ENTITY => {
                    let record: Record = decode(&content, &Limits::stored()).map_err(undecoded)?;
                    let hash = record.entity.body;
                    let package = self.window.iter().rev().find(|p| p.hash() == hash);
                    let package = package.cloned().ok_or_else(|| {
                        damaged(format!("the package of {} is missing", record.entity.key))
                    })?;
                    return Ok(Some(BackupFrame::Entity(record.package(package))));
                }
                DELETED => {
                    let key = key_of(&content).map_err(undecoded)?;
                    return Ok(Some(BackupFrame::Deleted(key)));
                }
                END => {
                    let frames = content.get(..8).map(fixed).transpose()?;
                    let frames = frames.map(u64::from_be_bytes);
                    let hash = expected.finalize();
                    if frames != Some(self.frames - 1) || content.get(8..) != Some(hash.as_bytes())
                    {
                        return Err(damaged("its checksum is wrong: it is damaged"));
                    }
                    if self.input.read(&mut [0]).map_err(unread)? != 0 {
                        return Err(damaged("there are bytes after its end"));
                    }
                    self.is_ended = true;
                }
                other => {
                    return Err(damaged(format!("unknown frame {other}: it is damaged")));
                }
            }
        }
        Ok(None)
    }

    fn frame(&mut self) -> Result<(u8, Vec<u8>)> {
        let mut start = [0; 5];
        self.exact(&mut start)?;
        let [kind, length @ ..] = start;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > MAX_FRAME {
            return Err(damaged(format!(
                "a frame announces {length} bytes; at most {MAX_FRAME} are allowed: it is damaged"
            )));
        }
        let mut content = Vec::new();
        while content.len() < length {
            let from = content.len();
            content.resize(length.min(from + PIECE), 0);
            self.exact(&mut content[from..])?;
        }
        self.frames += 1;
        Ok((kind, content))
    }

    fn exact(&mut self, into: &mut [u8]) -> Result<()> {
        self.input.read_exact(into).map_err(unread)?;
        self.hasher.update(into);
        Ok(())
    }
}

fn fixed(bytes: &[u8]) -> Result<[u8; 8]> {
    bytes
        .try_into()
        .map_err(|_| damaged("a number is too short: it is damaged"))
}

#[allow(clippy::needless_pass_by_value)] // For `map_err`.
fn undecoded(error: crate::codec::CodecError) -> Error {
    damaged(error.to_string())
}

fn unread(error: std::io::Error) -> Error {
    if error.kind() == IoErrorKind::UnexpectedEof {
        return damaged("it ends early: it is incomplete, make a new one");
    }
    Error::unavailable("read the backup", error)
}
