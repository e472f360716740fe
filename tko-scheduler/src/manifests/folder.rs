//! The folder of a site: brought to exactly its manifests.

use super::fence::RaisedFence;
use super::job::SiteManifests;
use super::{names, render};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use tempfile::Builder;
use tko_core::{Error, Result};

/// The file that marks a folder as TKO's.
pub(super) const MARK: &str = ".tko";

/// The folder of a site.
pub(super) struct SiteFolder {
    pub(super) path: PathBuf,
    /// Whether files are forced to disk.
    pub(super) sync: bool,
}

/// The result of a write.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WriteSummary {
    pub(super) resources: usize,
}

impl SiteFolder {
    /// Writes the manifests, with the fence in the mark.
    pub(super) fn write_fenced(&self, job: &SiteManifests) -> Result<WriteSummary> {
        if job.deleting && !self.is_owned()? {
            return Ok(WriteSummary::default());
        }
        self.take()?;
        let held = job.fence().raise(&self.path.join(MARK))?;
        if job.deleting {
            self.remove(Some(held))?;
            return Ok(WriteSummary::default());
        }
        let written = self.fill(job)?;
        drop(held);
        Ok(written)
    }

    /// Writes the manifests, with a constant mark. The caller holds the fence.
    pub(super) fn write(&self, job: &SiteManifests) -> Result<WriteSummary> {
        if job.deleting {
            if self.is_owned()? {
                self.remove(None)?;
            }
            return Ok(WriteSummary::default());
        }
        self.take()?;
        let mut mark = json!({"site": job.site.as_str()}).to_string();
        mark.push('\n');
        let path = self.path.join(MARK);
        self.put(&path, mark.as_bytes(), false)
            .map_err(|error| failed("write", &path, error))?;
        self.fill(job)
    }

    /// Whether there is a marked folder to remove.
    fn is_owned(&self) -> Result<bool> {
        let mark = self.path.join(MARK);
        match fs::symlink_metadata(&mark) {
            Ok(kind) => Ok(kind.is_file()),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                // A removal may have been interrupted here. Fails unless the folder is empty.
                let _ = fs::remove_dir(&self.path);
                Ok(false)
            }
            Err(error) => Err(failed("inspect", &mark, error)),
        }
    }

    /// Creates the folder, or checks that it is marked or empty.
    fn take(&self) -> Result<()> {
        let path = &self.path;
        let made = fs::create_dir_all(path);
        made.map_err(|error| failed("create", path, error))?;
        let foreign = |why: &str| {
            let text = format!(
                "{} {why}; move it away, or use another directory",
                path.display()
            );
            Err(Error::bad("manifests", text))
        };
        let kind = fs::symlink_metadata(path).map_err(|error| failed("inspect", path, error))?;
        if !kind.is_dir() {
            return foreign("is a link or a file, not a folder");
        }
        let mark = path.join(MARK);
        match fs::symlink_metadata(&mark) {
            Ok(kind) if kind.is_file() => return Ok(()),
            Ok(_) => return foreign("has a .tko that is not a file"),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed("inspect", &mark, error)),
        }
        let mut entries = fs::read_dir(path).map_err(|error| failed("read", path, error))?;
        if entries.next().is_some() {
            return foreign("is not empty, and has no file .tko that marks it as TKO's");
        }
        Ok(())
    }

    /// Removes the folder. The mark is removed last, so that an interrupted removal can be
    /// continued.
    fn remove(&self, held: Option<RaisedFence>) -> Result<()> {
        keep_only(&self.path, &BTreeSet::from([MARK.to_owned()]))?;
        let mark = self.path.join(MARK);
        fs::remove_file(&mark).map_err(|error| failed("remove", &mark, error))?;
        drop(held);
        fs::remove_dir(&self.path).map_err(|error| failed("remove", &self.path, error))
    }

    /// Writes all files, and removes everything else.
    ///
    /// New files come first, so that a resource that moves from one deployment to another exists
    /// all the time. Only if the disk is full, superfluous files are removed first to make room.
    fn fill(&self, job: &SiteManifests) -> Result<WriteSummary> {
        match self.write_and_remove(job) {
            Err(error) if is_full(&error) => {
                self.make_room(job)?;
                self.write_and_remove(job)
            }
            written => written,
        }
    }

    /// Removes everything that is in no manifest of the job.
    fn make_room(&self, job: &SiteManifests) -> Result<()> {
        let mut folders = BTreeSet::from([MARK.to_owned()]);
        for (id, package) in &job.wanted {
            let files: BTreeSet<String> = render::files(package).into_keys().collect();
            let name = names::folder(id.as_str());
            let path = self.path.join(&name);
            if !files.is_empty() && path.is_dir() {
                keep_only(&path, &files)?;
            }
            folders.insert(name);
        }
        keep_only(&self.path, &folders)?;
        Ok(())
    }

    fn write_and_remove(&self, job: &SiteManifests) -> Result<WriteSummary> {
        let mut written = WriteSummary::default();
        let mut folders = BTreeSet::from([MARK.to_owned()]);
        let mut made = false;
        for (id, package) in &job.wanted {
            // The files of one deployment at a time are in memory.
            let files = render::files(package);
            if files.is_empty() {
                continue;
            }
            written.resources += files.len();
            let name = names::folder(id.as_str());
            let path = self.path.join(&name);
            folders.insert(name);
            made |= make(&path).map_err(|error| failed("create", &path, error))?;
            let mut changed = false;
            for (name, file) in &files {
                let path = path.join(name);
                let put = self.put(&path, &file.text, file.is_secret);
                changed |= put.map_err(|error| failed("write", &path, error))?;
            }
            changed |= keep_only(&path, &files.into_keys().collect())?;
            self.sync_entries(&path, changed)?;
        }
        made |= keep_only(&self.path, &folders)?;
        self.sync_entries(&self.path, made)?;
        Ok(written)
    }

    /// Writes a file. Returns whether it changed.
    fn put(&self, path: &Path, text: &[u8], is_secret: bool) -> io::Result<bool> {
        match fs::symlink_metadata(path) {
            Ok(kind) if kind.is_file() => {
                let same = kind.len() == text.len() as u64 && fs::read(path)? == text;
                if same && !(is_secret && is_shared(&kind)) {
                    return Ok(false);
                }
            }
            Ok(kind) if kind.is_dir() => fs::remove_dir_all(path)?,
            Ok(_) => fs::remove_file(path)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut builder = Builder::new();
        if !is_secret {
            readable(&mut builder);
        }
        let mut file = builder.prefix(".tko-").tempfile_in(folder)?;
        file.write_all(text)?;
        if self.sync {
            file.as_file().sync_all()?;
        }
        file.persist(path)?;
        Ok(true)
    }

    /// Forces the entries of a changed folder to disk.
    fn sync_entries(&self, path: &Path, changed: bool) -> Result<()> {
        if changed && self.sync && cfg!(unix) {
            let synced = File::open(path).and_then(|folder| folder.sync_all());
            synced.map_err(|error| failed("write", path, error))?;
        }
        Ok(())
    }
}

/// Whether there is certainly no marked folder.
pub(super) fn is_unmarked(path: &Path) -> bool {
    let mark = fs::symlink_metadata(path.join(MARK));
    mark.is_err_and(|error| matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory))
}

/// Removes all entries but these. Returns whether there were any. Does not follow links.
fn keep_only(path: &Path, names: &BTreeSet<String>) -> Result<bool> {
    let read = |error| failed("read", path, error);
    let mut changed = false;
    for entry in fs::read_dir(path).map_err(read)? {
        let entry = entry.map_err(read)?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| names.contains(name)) {
            continue;
        }
        let path = entry.path();
        let kind = entry.file_type().map_err(read)?;
        let removed = if kind.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.map_err(|error| failed("remove", &path, error))?;
        changed = true;
    }
    Ok(changed)
}

/// Creates a folder, replacing anything else of that name. Returns whether it was created.
fn make(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(kind) if kind.is_dir() => return Ok(false),
        Ok(_) => fs::remove_file(path)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    fs::create_dir(path)?;
    Ok(true)
}

/// Whether other users may read the file.
fn is_shared(metadata: &fs::Metadata) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        metadata.permissions().mode() & 0o077 != 0
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        false
    }
}

/// Lets other users read the file, as far as the umask allows. Temporary files are private by
/// default.
fn readable<'a, 'b>(builder: &'a mut Builder<'b, 'b>) -> &'a mut Builder<'b, 'b> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder
}

fn failed(what: &'static str, path: &Path, error: io::Error) -> Error {
    Error::unavailable(format!("{what} {}", path.display()), error)
}

/// Whether there was no room on the disk.
fn is_full(error: &Error) -> bool {
    let source = std::error::Error::source(error);
    let source = source.and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|error| {
        matches!(
            error.kind(),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded
        )
    })
}
