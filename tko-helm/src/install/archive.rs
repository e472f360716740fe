//! The charts to install: paths of this machine, and archives that were downloaded.
//!
//! A folder keeps archives by the hash of their content. For each chart with an exact version or
//! digest, it keeps the hash of the archive. So the chart is downloaded only once, even across
//! restarts. Several processes can share the folder: a process holds a lock on each archive that it
//! uses, and an archive with a lock is not removed.

use super::inventory::hash;
use crate::chart::HelmChart;
use crate::program::HelmRun;
use crate::settings::HelmSettings;
use crate::template::{files, is_fixed, local, plain_http};
use std::fs::{File, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tko_core::BoxError;
use tko_plugin::log::LogSubject;

/// Maximum bytes of an archive.
const MAX_ARCHIVE: u64 = 64 << 20;
/// Maximum number of archives that are kept, and of references to them.
const MAX_ARCHIVES: usize = 256;

/// A chart on this machine.
pub(crate) struct ChartArchive {
    /// The path that helm installs: an archive or a folder.
    pub(crate) path: PathBuf,
    /// A hash that changes with the chart.
    pub(crate) digest: String,
    /// Keeps an archive alive if there is no folder for archives.
    _folder: Option<tempfile::TempDir>,
    /// Holds the lock on an archive in the folder.
    _lock: Option<File>,
}

/// Finds charts, and downloads them.
#[derive(Debug)]
pub(crate) struct ChartArchives {
    folder: Option<PathBuf>,
}

impl ChartArchives {
    /// Keeps archives in this folder, which is created when it is first needed.
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        Self { folder }
    }

    /// The chart on this machine.
    ///
    /// # Errors
    /// It cannot be read or downloaded, or is too large.
    pub(crate) async fn find(
        &self,
        settings: &HelmSettings,
        chart: &HelmChart,
        subject: &LogSubject,
    ) -> Result<ChartArchive, BoxError> {
        if let Some(path) = local(settings, chart) {
            let listed = path.clone();
            let listed = tokio::task::spawn_blocking(move || files(&listed)).await?;
            let listed = listed.ok_or_else(|| {
                format!(
                    "the files of {} cannot be read, or are too many",
                    path.display()
                )
            })?;
            return Ok(ChartArchive {
                path,
                digest: hash(&listed),
                _folder: None,
                _lock: None,
            });
        }
        let reference = format!(
            "{}\n{}\n{}",
            chart.chart,
            chart.repository.as_deref().unwrap_or_default(),
            chart.version.as_deref().unwrap_or_default()
        );
        let reference = format!("{}.ref", hash(&reference));
        if is_fixed(chart)
            && let Some(folder) = self.folder.clone()
        {
            let reference = reference.clone();
            let kept = tokio::task::spawn_blocking(move || kept(&folder, &reference)).await?;
            if let Some(archive) = kept {
                return Ok(archive);
            }
        }
        let download = tempfile::Builder::new().prefix("tko-chart-").tempdir()?;
        let mut arguments = vec![
            "pull".to_owned(),
            chart.chart.clone(),
            format!("--destination={}", download.path().display()),
        ];
        let options = [("--repo", &chart.repository), ("--version", &chart.version)];
        for (option, value) in options {
            arguments.extend(value.as_ref().map(|value| format!("{option}={value}")));
        }
        arguments.extend(plain_http(chart));
        let run = HelmRun {
            arguments,
            timeout: settings.timeout,
            kubeconfig: None,
        };
        run.run(settings, subject).await?;
        let folder = self.folder.clone();
        let keep = move || keep(download, folder.as_deref(), &reference);
        Ok(tokio::task::spawn_blocking(keep).await??)
    }
}

/// The archive that a reference leads to.
fn kept(folder: &Path, reference: &str) -> Option<ChartArchive> {
    let reference = folder.join(reference);
    let digest = std::fs::read_to_string(&reference).ok()?;
    if digest.len() != 64 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let archive = locked(folder, &digest)?;
    mark_used(folder, &File::open(&reference).ok()?);
    Some(archive)
}

/// The archive with this digest, which no process removes before it is dropped.
fn locked(folder: &Path, digest: &str) -> Option<ChartArchive> {
    let path = folder.join(format!("{digest}.tgz"));
    let mut file = File::open(&path).ok()?;
    // Some file systems have no locks. Then the time of the last use has to be enough.
    let _ = file.lock_shared();
    // Another process may have removed or replaced the file before it was locked.
    let (opened, current) = (file.metadata().ok()?, std::fs::metadata(&path).ok()?);
    if (opened.dev(), opened.ino()) != (current.dev(), current.ino()) {
        return None;
    }
    // Another program may have changed it.
    let mut content = Vec::new();
    file.read_to_end(&mut content).ok()?;
    if blake3::hash(&content).to_hex().as_str() != digest {
        return None;
    }
    mark_used(folder, &file);
    Some(ChartArchive {
        path,
        digest: digest.to_owned(),
        _folder: None,
        _lock: Some(file),
    })
}

/// Sets the time of a file to now, because the files that were used least recently are removed
/// first.
fn mark_used(folder: &Path, file: &File) {
    // By the clock of the file system, which may be that of another machine.
    let now = tempfile::tempfile_in(folder)
        .and_then(|file| file.metadata())
        .and_then(|metadata| metadata.modified());
    // A file of another user keeps its time, and is only removed earlier.
    let _ = now.and_then(|now| file.set_modified(now));
}

/// Keeps the archive in a download folder.
fn keep(
    download: tempfile::TempDir,
    folder: Option<&Path>,
    reference: &str,
) -> io::Result<ChartArchive> {
    let mut entries = std::fs::read_dir(download.path())?;
    let archive = entries.find_map(|entry| {
        let path = entry.ok()?.path();
        (path.extension()? == "tgz").then_some(path)
    });
    let archive = archive.ok_or_else(|| io::Error::other("helm pull downloaded no archive"))?;
    let size = std::fs::metadata(&archive)?.len();
    if size > MAX_ARCHIVE {
        return Err(io::Error::other(format!(
            "the chart has {size} bytes; at most {MAX_ARCHIVE} are allowed"
        )));
    }
    let content = std::fs::read(&archive)?;
    let digest = blake3::hash(&content).to_hex().to_string();
    let Some(folder) = folder else {
        return Ok(ChartArchive {
            path: archive,
            digest,
            _folder: Some(download),
            _lock: None,
        });
    };
    std::fs::create_dir_all(folder)?;
    let archive = if let Some(archive) = locked(folder, &digest) {
        archive
    } else {
        write(folder, &folder.join(format!("{digest}.tgz")), &content)?;
        let removed = || io::Error::other("another process removed the chart; try again");
        locked(folder, &digest).ok_or_else(removed)?
    };
    write(folder, &folder.join(reference), digest.as_bytes())?;
    forget(folder, "tgz", &archive.path)?;
    forget(folder, "ref", &folder.join(reference))?;
    Ok(archive)
}

/// Writes a temporary file and renames it, because another process may read the file.
fn write(folder: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    io::Write::write_all(&mut file, content)?;
    file.persist(path)?;
    Ok(())
}

/// Deletes the files with this ending above the limit that were used least recently, but neither
/// `newest` nor those that a process uses.
fn forget(folder: &Path, ending: &str, newest: &Path) -> io::Result<()> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path != newest
            && path
                .extension()
                .is_some_and(|extension| extension == ending)
        {
            // Another process may just have deleted it.
            let modified = std::fs::metadata(&path).and_then(|file| file.modified());
            found.extend(modified.ok().map(|modified| (modified, path)));
        }
    }
    found.sort();
    let mut surplus = found.len().saturating_sub(MAX_ARCHIVES - 1);
    for (_, path) in found {
        if surplus == 0 {
            break;
        }
        if remove_unused(&path)? {
            surplus -= 1;
        }
    }
    Ok(())
}

/// Removes a file, unless a process holds a lock on it. Returns whether the file is gone.
fn remove_unused(path: &Path) -> io::Result<bool> {
    // Held until the file is removed: a process that waits for the lock then finds no file.
    let file = File::open(path);
    if let Ok(file) = &file
        && matches!(file.try_lock(), Err(TryLockError::WouldBlock))
    {
        return Ok(false);
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_ARCHIVES, keep, kept};
    use std::fs::File;
    use std::path::Path;
    use std::time::{Duration, SystemTime};
    use tempfile::TempDir;

    fn download(content: &[u8]) -> TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("web-1.0.0.tgz"), content).expect("a file");
        folder
    }

    #[test]
    fn an_archive_is_kept_by_its_digest_and_found_by_its_reference() {
        let cache = tempfile::tempdir().expect("a folder");
        let first = keep(download(b"one"), Some(cache.path()), "a.ref").expect("kept");
        let again = keep(download(b"one"), Some(cache.path()), "b.ref").expect("kept");
        assert_eq!(first.path, again.path);
        let found = kept(cache.path(), "a.ref").expect("it is there");
        assert_eq!(
            (found.path, found.digest),
            (first.path.clone(), first.digest)
        );
        assert!(kept(cache.path(), "c.ref").is_none());
        std::fs::write(&first.path, b"other").expect("a file");
        assert!(
            kept(cache.path(), "a.ref").is_none(),
            "its content has changed"
        );
    }

    #[test]
    fn without_a_folder_the_archive_lives_as_long_as_its_use() {
        let archive = keep(download(b"one"), None, "a.ref").expect("found");
        assert!(archive.path.exists());
        let path = archive.path.clone();
        drop(archive);
        assert!(!path.exists());
    }

    #[test]
    fn the_number_of_archives_is_limited() {
        let cache = tempfile::tempdir().expect("a folder");
        fill(cache.path(), 0..MAX_ARCHIVES + 5);
        let files = std::fs::read_dir(cache.path()).expect("a folder").count();
        assert_eq!(files, 2 * MAX_ARCHIVES);
    }

    /// Keeps archives with the numbers as contents and references.
    fn fill(cache: &Path, numbers: std::ops::Range<usize>) {
        for number in numbers {
            let content = number.to_string();
            let name = format!("{number}.ref");
            keep(download(content.as_bytes()), Some(cache), &name).expect("kept");
        }
    }

    /// Sets the time of all files to one in the past.
    fn age(cache: &Path) {
        for entry in std::fs::read_dir(cache).expect("a folder") {
            let file = File::open(entry.expect("a file").path()).expect("a file");
            let past = SystemTime::UNIX_EPOCH + Duration::from_hours(24);
            file.set_modified(past).expect("our own file");
        }
    }

    #[test]
    fn an_archive_in_use_is_not_removed() {
        let cache = tempfile::tempdir().expect("a folder");
        let used = keep(download(b"used"), Some(cache.path()), "used.ref").expect("kept");
        age(cache.path());
        fill(cache.path(), 0..MAX_ARCHIVES + 2);
        assert!(used.path.exists());
        let path = used.path.clone();
        drop(used);
        age(cache.path());
        fill(cache.path(), MAX_ARCHIVES + 2..2 * MAX_ARCHIVES + 4);
        assert!(!path.exists());
    }

    #[test]
    fn the_archives_that_were_used_least_recently_are_removed() {
        let cache = tempfile::tempdir().expect("a folder");
        fill(cache.path(), 0..MAX_ARCHIVES);
        age(cache.path());
        // The reference and the archive are used, and neither is written.
        let path = kept(cache.path(), "7.ref").expect("it is there").path;
        fill(cache.path(), MAX_ARCHIVES..2 * MAX_ARCHIVES - 1);
        assert!(path.exists());
        assert!(kept(cache.path(), "7.ref").is_some());
        assert!(kept(cache.path(), "8.ref").is_none());
    }

    #[test]
    fn a_download_without_an_archive_is_an_error() {
        let empty = tempfile::tempdir().expect("a folder");
        assert!(keep(empty, None, "a.ref").is_err());
    }
}
