//! Archives, folders and files that hold service templates.
//!
//! A CSAR is a zip archive (TOSCA Simple Profile in YAML 1.3, section 6; TOSCA 2.0, section 14). It
//! is never unpacked: only its YAML files are read, into memory and within limits. A path never
//! leaves the archive or folder.

mod meta;

use crate::limits::ToscaLimits;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use zip::ZipArchive;

/// Why an archive, folder or file cannot be opened or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CsarError {
    /// The bytes are not a zip archive that can be read.
    #[error("not a CSAR: {0}")]
    Malformed(String),
    /// A limit of [`ToscaLimits`] is exceeded.
    #[error("{what} is too large: the limit is {limit}")]
    TooLarge {
        /// The part that is too large.
        what: String,
        /// The limit, with its unit.
        limit: String,
    },
    /// `TOSCA.meta` is invalid.
    #[error("{file}:{line}: {message}")]
    Meta {
        /// The path of the file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// The fault.
        message: String,
    },
    /// It is not clear which file holds the service template.
    #[error("{0}")]
    NoEntry(String),
    /// A file or folder cannot be read.
    #[error("cannot read {path}: {reason}")]
    Io {
        /// The path.
        path: String,
        /// The operating system's reason.
        reason: String,
    },
}

/// The files of a service template: a CSAR, a folder, or one file with its neighbours.
pub struct Csar {
    entry: String,
    store: CsarFiles,
}

enum CsarFiles {
    /// YAML files of a zip archive, by path.
    Archive(BTreeMap<String, String>),
    /// Files below a folder, which are read on demand.
    Folder(PathBuf),
}

impl fmt::Debug for Csar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Csar")
            .field("entry", &self.entry)
            .finish_non_exhaustive()
    }
}

impl Csar {
    /// Opens a zip archive.
    ///
    /// The service template is the `Entry-Definitions` of `TOSCA-Metadata/TOSCA.meta`, or of
    /// `TOSCA.meta` at the root. Without either it is the only `.yaml` or `.yml` file at the root.
    ///
    /// # Errors
    /// All of [`CsarError`] but `Io`.
    pub fn from_zip(bytes: &[u8], limits: &ToscaLimits) -> Result<Self, CsarError> {
        if let Some(format) = other_format(bytes) {
            let message = format!("{format} archives are not supported: make a zip archive");
            return Err(CsarError::Malformed(message));
        }
        let malformed = |error: zip::result::ZipError| CsarError::Malformed(error.to_string());
        let mut zip = ZipArchive::new(Cursor::new(bytes)).map_err(malformed)?;
        if zip.len() > limits.entries {
            return Err(CsarError::TooLarge {
                what: format!("the archive, with {} entries,", zip.len()),
                limit: format!("{} entries", limits.entries),
            });
        }
        let (mut files, mut total) = (BTreeMap::new(), 0);
        for index in 0..zip.len() {
            let file = zip.by_index(index).map_err(malformed)?;
            let Some(path) = file.enclosed_name().as_deref().and_then(slashes) else {
                let message = format!("the name of entry {index} leads out of the archive");
                return Err(CsarError::Malformed(message));
            };
            if !file.is_file() || !(is_yaml(&path) || meta::PATHS.contains(&path.as_str())) {
                continue;
            }
            let text = bounded_text(file, &path, limits.file_bytes)?;
            total += text.len() as u64;
            if total > limits.total_bytes {
                return Err(CsarError::TooLarge {
                    what: "the archive".to_owned(),
                    limit: format!("{} bytes of YAML", limits.total_bytes),
                });
            }
            files.insert(path, text);
        }
        let entry = entry_of(&files)?;
        Ok(Self {
            entry,
            store: CsarFiles::Archive(files),
        })
    }

    /// Opens a file or a folder.
    ///
    /// A `.csar` or `.zip` file is an archive. Any other file is a service template that may import
    /// files of its folder and below. A folder is treated as an unpacked archive.
    ///
    /// # Errors
    /// All of [`CsarError`].
    pub fn open(path: &Path, limits: &ToscaLimits) -> Result<Self, CsarError> {
        let root = fs::canonicalize(path).map_err(|error| io(path, &error))?;
        let metadata = fs::metadata(&root).map_err(|error| io(path, &error))?;
        if metadata.is_dir() {
            return Self::open_folder(root, limits);
        }
        if !metadata.is_file() {
            return Err(CsarError::Io {
                path: path.display().to_string(),
                reason: "neither a file nor a folder".to_owned(),
            });
        }
        let extension = path.extension().and_then(|text| text.to_str());
        let tarball = matches!(extension, Some("tar" | "gz" | "tgz" | "zst" | "xz" | "bz2"));
        if tarball || matches!(extension, Some("csar" | "zip")) {
            let limit = limits.total_bytes;
            if metadata.len() > limit {
                return Err(CsarError::TooLarge {
                    what: path.display().to_string(),
                    limit: format!("{limit} bytes"),
                });
            }
            let bytes = fs::read(&root).map_err(|error| io(path, &error))?;
            return Self::from_zip(&bytes, limits);
        }
        let folder = root.parent().map_or_else(PathBuf::new, Path::to_path_buf);
        let name = root.file_name().and_then(|name| name.to_str());
        let entry = name.ok_or_else(|| CsarError::NoEntry("the name is not UTF-8".to_owned()))?;
        Ok(Self {
            entry: entry.to_owned(),
            store: CsarFiles::Folder(folder),
        })
    }

    /// A service template in a single text, without importable files.
    pub fn from_text(name: &str, text: &str) -> Self {
        Self {
            entry: name.to_owned(),
            store: CsarFiles::Archive(BTreeMap::from([(name.to_owned(), text.to_owned())])),
        }
    }

    /// The files of an archive or folder that was read elsewhere, by path.
    ///
    /// # Errors
    /// `NoEntry`, `Meta`: as for [`from_zip`](Self::from_zip).
    pub fn from_files(files: BTreeMap<String, String>) -> Result<Self, CsarError> {
        Ok(Self {
            entry: entry_of(&files)?,
            store: CsarFiles::Archive(files),
        })
    }

    /// Whether bytes begin as a zip archive does.
    pub fn is_zip(bytes: &[u8]) -> bool {
        bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06")
    }

    fn open_folder(root: PathBuf, limits: &ToscaLimits) -> Result<Self, CsarError> {
        let mut files = BTreeMap::new();
        for path in meta::PATHS {
            if let Some(text) = read_below(&root, path, limits.file_bytes)? {
                files.insert(path.to_owned(), text);
            }
        }
        if files.is_empty() {
            let entries = fs::read_dir(&root).map_err(|error| io(&root, &error))?;
            for entry in entries.take(limits.entries) {
                let entry = entry.map_err(|error| io(&root, &error))?;
                if let Some(name) = entry.file_name().to_str().filter(|name| is_yaml(name)) {
                    files.insert(name.to_owned(), String::new());
                }
            }
        }
        Ok(Self {
            entry: entry_of(&files)?,
            store: CsarFiles::Folder(root),
        })
    }

    /// The path of the service template.
    pub fn entry(&self) -> &str {
        &self.entry
    }

    /// The text of a file. `None` if there is no such file.
    ///
    /// # Errors
    /// - `TooLarge`: the file exceeds the limit.
    /// - `Io`: it cannot be read, is not UTF-8, or a link leads out of the folder.
    pub(crate) fn read(
        &self,
        path: &str,
        limits: &ToscaLimits,
    ) -> Result<Option<String>, CsarError> {
        match &self.store {
            CsarFiles::Archive(files) => Ok(files.get(path).cloned()),
            CsarFiles::Folder(root) => read_below(root, path, limits.file_bytes),
        }
    }
}

/// The path of the service template among the files of an archive.
fn entry_of(files: &BTreeMap<String, String>) -> Result<String, CsarError> {
    for path in meta::PATHS {
        if let Some(text) = files.get(path) {
            return meta::entry_definitions(path, text);
        }
    }
    let at_root = |path: &&String| !path.contains('/') && is_yaml(path);
    let found: Vec<&String> = files.keys().filter(at_root).take(6).collect();
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(CsarError::NoEntry(
            "there is no TOSCA-Metadata/TOSCA.meta, and no .yaml file at the root".to_owned(),
        )),
        several => {
            let names: Vec<&str> = several.iter().map(|name| name.as_str()).collect();
            Err(CsarError::NoEntry(format!(
                "there is no TOSCA-Metadata/TOSCA.meta, and several .yaml files at the root: {}",
                names.join(", ")
            )))
        }
    }
}

/// The name of another format of archives, by the first bytes.
fn other_format(bytes: &[u8]) -> Option<&'static str> {
    let magic: [(usize, &[u8], &'static str); 5] = [
        (0, b"\x1f\x8b", "gzip"),
        (0, b"\x28\xb5\x2f\xfd", "zstd"),
        (0, b"\xfd7zXZ", "xz"),
        (0, b"BZh", "bzip2"),
        (257, b"ustar", "tar"),
    ];
    let found = magic.iter().find(|(at, text, _)| {
        let rest = bytes.get(*at..);
        rest.is_some_and(|rest| rest.starts_with(text))
    });
    found.map(|(_, _, name)| *name)
}

fn is_yaml(path: &str) -> bool {
    let extension = Path::new(path).extension();
    extension.is_some_and(|e| e.eq_ignore_ascii_case("yaml") || e.eq_ignore_ascii_case("yml"))
}

/// A relative path with `/` between its parts.
fn slashes(path: &Path) -> Option<String> {
    let parts: Option<Vec<&str>> = path.iter().map(|part| part.to_str()).collect();
    Some(parts?.join("/"))
}

/// Reads at most `limit` bytes of text.
fn bounded_text(source: impl Read, path: &str, limit: u64) -> Result<String, CsarError> {
    let mut bytes = Vec::new();
    source
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| CsarError::Io {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
    if bytes.len() as u64 > limit {
        return Err(CsarError::TooLarge {
            what: path.to_owned(),
            limit: format!("{limit} bytes"),
        });
    }
    String::from_utf8(bytes).map_err(|_| CsarError::Io {
        path: path.to_owned(),
        reason: "not UTF-8 text".to_owned(),
    })
}

/// The text of a regular file below a folder; links may not lead out of the folder.
fn read_below(root: &Path, path: &str, limit: u64) -> Result<Option<String>, CsarError> {
    let Ok(real) = fs::canonicalize(root.join(path)) else {
        return Ok(None);
    };
    let shown = Path::new(path);
    if !real.starts_with(root) {
        return Err(CsarError::Io {
            path: path.to_owned(),
            reason: "a link leads out of the folder".to_owned(),
        });
    }
    let metadata = fs::metadata(&real).map_err(|error| io(shown, &error))?;
    if !metadata.is_file() {
        return Ok(None);
    }
    let file = fs::File::open(&real).map_err(|error| io(shown, &error))?;
    bounded_text(file, path, limit).map(Some)
}

fn io(path: &Path, error: &std::io::Error) -> CsarError {
    CsarError::Io {
        path: path.display().to_string(),
        reason: error.to_string(),
    }
}
