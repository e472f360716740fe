//! A site's folder: made to hold exactly what it is to hold.

use super::fence::Held;
use super::{Job, render};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use tempfile::Builder;
use tko_core::{Error, Result};

/// Marks a folder as TKO's.
pub(super) const MARK: &str = ".tko";

pub(super) struct Folder {
    pub(super) path: PathBuf,
    pub(super) sync: bool,
}

/// What a pass came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    pub(super) resources: usize,
}

impl Folder {
    /// With the fence in the mark.
    pub(super) fn write_fenced(&self, job: &Job) -> Result<Written> {
        if job.going && !self.is_ours()? {
            return Ok(Written::default());
        }
        self.take()?;
        let held = job.fence().raise(&self.path.join(MARK))?;
        if job.going {
            self.remove(Some(held))?;
            return Ok(Written::default());
        }
        let written = self.fill(job)?;
        drop(held);
        Ok(written)
    }

    /// With a mark that stays the same; the fence is the caller's.
    pub(super) fn write(&self, job: &Job) -> Result<Written> {
        if job.going {
            if self.is_ours()? {
                self.remove(None)?;
            }
            return Ok(Written::default());
        }
        self.take()?;
        let mut mark = json!({"site": job.site.as_str()}).to_string();
        mark.push('\n');
        let path = self.path.join(MARK);
        self.put(&path, mark.as_bytes())
            .map_err(|error| trouble("write", &path, error))?;
        self.fill(job)
    }

    /// Whether there is anything of ours to be removed.
    fn is_ours(&self) -> Result<bool> {
        let mark = self.path.join(MARK);
        match fs::symlink_metadata(&mark) {
            Ok(kind) => Ok(kind.is_file()),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                // A removal may have been interrupted here; what is not empty is not ours.
                let _ = fs::remove_dir(&self.path);
                Ok(false)
            }
            Err(error) => Err(trouble("look at", &mark, error)),
        }
    }

    /// Makes the folder, or makes sure that it is ours.
    fn take(&self) -> Result<()> {
        let path = &self.path;
        let made = fs::create_dir_all(path);
        made.map_err(|error| trouble("make", path, error))?;
        let foreign = |why: &str| {
            let text = format!(
                "{} {why}; move it away, or use another directory",
                path.display()
            );
            Err(Error::bad("manifests", text))
        };
        let kind = fs::symlink_metadata(path).map_err(|error| trouble("look at", path, error))?;
        if !kind.is_dir() {
            return foreign("is a link, not a folder of TKO's");
        }
        let mark = path.join(MARK);
        match fs::symlink_metadata(&mark) {
            Ok(kind) if kind.is_file() => return Ok(()),
            Ok(_) => return foreign("has a .tko that is no file"),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(trouble("look at", &mark, error)),
        }
        let mut entries = fs::read_dir(path).map_err(|error| trouble("read", path, error))?;
        if entries.next().is_some() {
            return foreign("is not marked as TKO's by a file .tko, and is not empty");
        }
        Ok(())
    }

    /// The mark goes last: a folder that is half removed is still ours.
    fn remove(&self, held: Option<Held>) -> Result<()> {
        keep_only(&self.path, &BTreeSet::from([MARK.to_owned()]))?;
        let mark = self.path.join(MARK);
        fs::remove_file(&mark).map_err(|error| trouble("remove", &mark, error))?;
        drop(held);
        fs::remove_dir(&self.path).map_err(|error| trouble("remove", &self.path, error))
    }

    fn fill(&self, job: &Job) -> Result<Written> {
        let mut written = Written::default();
        let mut names = BTreeSet::from([MARK.to_owned()]);
        let mut made = false;
        for (id, package) in &job.wanted {
            // One deployment's text at a time is held in memory.
            let files = render::files(package);
            if files.is_empty() {
                continue;
            }
            written.resources += files.len();
            let name = super::names::folder(id.as_str());
            let path = self.path.join(&name);
            names.insert(name);
            made |= make(&path).map_err(|error| trouble("make", &path, error))?;
            let mut changed = false;
            for (name, text) in &files {
                let path = path.join(name);
                let put = self.put(&path, text);
                changed |= put.map_err(|error| trouble("write", &path, error))?;
            }
            changed |= keep_only(&path, &files.into_keys().collect())?;
            self.keep(&path, changed)?;
        }
        made |= keep_only(&self.path, &names)?;
        self.keep(&self.path, made)?;
        Ok(written)
    }

    /// Writes the file; false: it is so already.
    fn put(&self, path: &Path, text: &[u8]) -> io::Result<bool> {
        match fs::symlink_metadata(path) {
            Ok(kind) if kind.is_file() => {
                if kind.len() == text.len() as u64 && fs::read(path)? == text {
                    return Ok(false);
                }
            }
            Ok(kind) if kind.is_dir() => fs::remove_dir_all(path)?,
            Ok(_) => fs::remove_file(path)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut file = readable(&mut Builder::new())
            .prefix(".tko-")
            .tempfile_in(folder)?;
        file.write_all(text)?;
        if self.sync {
            file.as_file().sync_all()?;
        }
        file.persist(path)?;
        Ok(true)
    }

    /// What has changed in a folder stays so, whatever happens to the machine.
    fn keep(&self, path: &Path, changed: bool) -> Result<()> {
        if changed && self.sync && cfg!(unix) {
            let synced = File::open(path).and_then(|folder| folder.sync_all());
            synced.map_err(|error| trouble("write", path, error))?;
        }
        Ok(())
    }
}

/// Removes everything else; false: there was nothing else. Links are removed, not followed.
fn keep_only(path: &Path, names: &BTreeSet<String>) -> Result<bool> {
    let read = |error| trouble("read", path, error);
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
        removed.map_err(|error| trouble("remove", &path, error))?;
        changed = true;
    }
    Ok(changed)
}

/// Makes a folder, in the place of whatever is no folder; false: it is there.
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

/// Temporary files are their owner's alone unless told otherwise; these are for others to read, as
/// far as the process's mask lets them.
fn readable<'a, 'b>(builder: &'a mut Builder<'b, 'b>) -> &'a mut Builder<'b, 'b> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder
}

fn trouble(what: &'static str, path: &Path, error: io::Error) -> Error {
    Error::unavailable(format!("{what} {}", path.display()), error)
}
