//! Archives: `.tar`, `.tar.gz`, `.tgz` and `.zip`, read in memory; nothing is unpacked onto the
//! disk.

use crate::budget::ReadBudget;
use crate::folder::irregular;
use crate::package::SourceFile;
use flate2::read::MultiGzDecoder;
use std::fmt;
use std::io::{self, Cursor, Read};
use tko_core::{Error, Result};

/// The format of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ArchiveFormat {
    /// Plain or compressed with gzip.
    Tar,
    Zip,
}

impl ArchiveFormat {
    /// By the end of its name.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        const ENDS: [(&str, ArchiveFormat); 4] = [
            (".tar", ArchiveFormat::Tar),
            (".tar.gz", ArchiveFormat::Tar),
            (".tgz", ArchiveFormat::Tar),
            (".zip", ArchiveFormat::Zip),
        ];
        let name = name.to_ascii_lowercase();
        let end = ENDS.iter().find(|(end, _)| name.ends_with(end));
        end.map(|(_, format)| *format)
    }
}

/// The YAML files below `path` (all, if it is empty), in the order of their names.
pub(crate) fn files(
    format: ArchiveFormat,
    bytes: &[u8],
    path: &str,
    budget: &mut ReadBudget,
) -> Result<Vec<SourceFile>> {
    let below = path.trim_matches('/');
    let mut files = match format {
        ArchiveFormat::Tar => tar(bytes, below, budget)?,
        ArchiveFormat::Zip => zip(bytes, below, budget)?,
    };
    files.sort();
    Ok(files)
}

/// Whether an entry counts. A folder counts only if it has the name of a file that is read besides
/// YAML files.
fn counts(name: &str, is_folder: bool, below: &str, budget: &ReadBudget) -> bool {
    let name = name.trim_start_matches("./");
    let is_below = below.is_empty()
        || name == below
        || name
            .strip_prefix(below)
            .is_some_and(|rest| rest.starts_with('/'));
    is_below && budget.reads(name) && (!is_folder || budget.is_also(name))
}

fn source_file(name: &str, bytes: Vec<u8>) -> SourceFile {
    SourceFile {
        // The names of folders end with `/`.
        name: name.trim_end_matches('/').to_owned(),
        bytes,
    }
}

fn damaged(error: impl fmt::Display, budget: &ReadBudget) -> Error {
    budget.error(format_args!(
        "the archive is damaged or too large when unpacked: {error}"
    ))
}

fn tar(bytes: &[u8], below: &str, budget: &mut ReadBudget) -> Result<Vec<SourceFile>> {
    let plain: Box<dyn Read + '_> = if bytes.starts_with(&[0x1f, 0x8b]) {
        // Some tools write several gzip members in sequence. A reader of only the first would take
        // its end for the end of the archive if they meet on the border of a block.
        Box::new(MultiGzDecoder::new(bytes))
    } else {
        Box::new(bytes)
    };
    let mut archive = tar::Archive::new(UnpackLimit {
        inner: plain,
        left: budget.limits.max_unpacked_bytes,
    });
    let mut files = Vec::new();
    let entries = archive.entries().map_err(|error| damaged(error, budget))?;
    for entry in entries {
        let entry = entry.map_err(|error| damaged(error, budget))?;
        budget.count_file()?;
        let path = entry.path().map_err(|error| damaged(error, budget))?;
        let name = path.to_string_lossy().into_owned();
        let entry_type = entry.header().entry_type();
        if !counts(&name, entry_type.is_dir(), below, budget) {
            continue;
        }
        let bytes = if entry_type.is_file() {
            budget.keep(&name, entry)?
        } else if budget.is_also(&name) {
            Vec::new()
        } else {
            let is_link = entry_type.is_symlink() || entry_type.is_hard_link();
            irregular(&name, is_link, budget)?;
            continue;
        };
        files.push(source_file(&name, bytes));
    }
    Ok(files)
}

/// Fails after a number of bytes, because a small archive can unpack to a huge size. `Read::take`
/// does not work here: its end looks like the end of the archive.
struct UnpackLimit<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for UnpackLimit<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => {
                self.left = left;
                Ok(read)
            }
            None => Err(io::Error::other("it unpacks to more than is allowed")),
        }
    }
}

fn zip(bytes: &[u8], below: &str, budget: &mut ReadBudget) -> Result<Vec<SourceFile>> {
    let mut archive =
        zip::ZipArchive::new(Cursor::new(bytes)).map_err(|error| damaged(error, budget))?;
    let mut files = Vec::new();
    for index in 0..archive.len() {
        budget.count_file()?;
        let entry = archive
            .by_index(index)
            .map_err(|error| damaged(error, budget))?;
        let name = entry
            .name()
            .map_err(|error| damaged(error, budget))?
            .into_owned();
        if !counts(&name, entry.is_dir(), below, budget) {
            continue;
        }
        let bytes = if entry.is_file() {
            budget.keep(&name, entry)?
        } else if budget.is_also(&name) {
            Vec::new()
        } else {
            irregular(&name, entry.is_symlink(), budget)?;
            continue;
        };
        files.push(source_file(&name, bytes));
    }
    Ok(files)
}
