//! Packages in archives: `.tar`, `.tar.gz`, `.tgz` and `.zip`, read in memory; nothing is unpacked
//! onto the disk.

use super::{MAX_BYTES, SourceFile, is_yaml, limited};
use anyhow::{Context, bail};
use flate2::read::GzDecoder;
use std::io::{Cursor, Read};

/// Most files that are looked at in one archive.
const MAX_FILES: usize = 100_000;

/// What sort of archive.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Tar,
    Zip,
}

impl Kind {
    /// By the end of its name.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        const ENDS: [(&str, Kind); 4] = [
            (".tar", Kind::Tar),
            (".tar.gz", Kind::Tar),
            (".tgz", Kind::Tar),
            (".zip", Kind::Zip),
        ];
        let name = name.to_ascii_lowercase();
        let end = ENDS.iter().find(|(end, _)| name.ends_with(end));
        end.map(|(_, kind)| *kind)
    }
}

/// The YAML files below `path` (all, if it is empty), by name.
pub(super) fn files(kind: Kind, bytes: &[u8], path: &str) -> anyhow::Result<Vec<SourceFile>> {
    let below = path.trim_matches('/');
    let mut files = match kind {
        Kind::Tar => tar(bytes, below)?,
        Kind::Zip => zip(bytes, below)?,
    };
    files.sort();
    if files.is_empty() {
        bail!("it has no .yaml or .yml file below {path:?}");
    }
    Ok(files)
}

fn is_below(name: &str, below: &str) -> bool {
    let name = name.trim_start_matches("./");
    below.is_empty()
        || name == below
        || name
            .strip_prefix(below)
            .is_some_and(|rest| rest.starts_with('/'))
}

fn tar(bytes: &[u8], below: &str) -> anyhow::Result<Vec<SourceFile>> {
    let plain: Box<dyn Read + '_> = if bytes.starts_with(&[0x1f, 0x8b]) {
        Box::new(GzDecoder::new(bytes))
    } else {
        Box::new(bytes)
    };
    // A small archive can unpack to very much.
    let mut archive = tar::Archive::new(plain.take(MAX_BYTES * 4));
    let mut files = Vec::new();
    let mut total = 0;
    for (index, entry) in archive.entries()?.enumerate() {
        let entry = entry.context("it is damaged, or too large when unpacked")?;
        if index >= MAX_FILES {
            bail!("it has more than {MAX_FILES} files");
        }
        let name = entry.path()?.to_string_lossy().into_owned();
        if entry.header().entry_type().is_file() && is_yaml(&name) && is_below(&name, below) {
            files.push(take(name, entry, &mut total)?);
        }
    }
    Ok(files)
}

fn zip(bytes: &[u8], below: &str) -> anyhow::Result<Vec<SourceFile>> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes))?;
    if archive.len() > MAX_FILES {
        bail!("it has more than {MAX_FILES} files");
    }
    let mut files = Vec::new();
    let mut total = 0;
    for index in 0..archive.len() {
        let entry = archive.by_index(index)?;
        let name = entry.name()?.into_owned();
        if entry.is_file() && is_yaml(&name) && is_below(&name, below) {
            files.push(take(name, entry, &mut total)?);
        }
    }
    Ok(files)
}

fn take(name: String, entry: impl Read, total: &mut u64) -> anyhow::Result<SourceFile> {
    let bytes = limited(entry).with_context(|| format!("cannot unpack {name}"))?;
    *total += bytes.len() as u64;
    if *total > MAX_BYTES {
        bail!("its files are larger than {} MiB together", MAX_BYTES >> 20);
    }
    Ok((name, bytes))
}
