//! Fences: refuse writes under an older claim than the last one.
//!
//! A fence file contains the site, its time of creation, and the number of the claim. It is locked
//! during a write. It is rewritten in place, because replacing the file would lose the lock.

use serde_json::{Value, json};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use tko_core::{Error, Result, SiteId, Timestamp};

/// Maximum size of a fence file, in bytes: an id has at most 1,024.
const MAX_FILE: u64 = 4_096;

/// The age of a claim, compared with other claims of the same site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fence {
    pub(super) site: SiteId,
    pub(super) created: Timestamp,
    pub(super) number: u64,
}

/// A fence whose file stays locked until it is dropped.
pub(super) struct RaisedFence {
    #[expect(dead_code, reason = "holds the lock")]
    file: File,
}

impl Fence {
    /// Locks the file and writes this fence into it.
    ///
    /// # Errors
    ///
    /// - `Unavailable`: another process is writing, a newer claim has written, or the file cannot
    ///   be read or written.
    /// - `BadArgument`: the file belongs to another site.
    pub(super) fn raise(&self, path: &Path) -> Result<RaisedFence> {
        let failed = |error: std::io::Error| {
            Error::unavailable(format!("write the fence {}", path.display()), error)
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(self.refused("another process is writing them"));
            }
            // Some file systems have no locks; the number still refuses late writes.
            Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let mut text = String::new();
        // A file that a loss of power damaged counts as empty.
        if (&mut file)
            .take(MAX_FILE)
            .read_to_string(&mut text)
            .is_err()
        {
            text.clear();
        }
        if let Some(last) = Self::parse(&text) {
            self.check(&last, path)?;
        }
        let text = self.text();
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        file.set_len(text.len() as u64).map_err(failed)?;
        Ok(RaisedFence { file })
    }

    fn check(&self, last: &Self, path: &Path) -> Result<()> {
        if last.site != self.site {
            return Err(Error::bad(
                "manifests",
                format!(
                    "{} marks this as the folder of site {}, not of {}; remove or rename the folder",
                    path.display(),
                    last.site,
                    self.site
                ),
            ));
        }
        if (last.created, last.number) > (self.created, self.number) {
            return Err(self.refused(&format!(
                "they were written under claim {}, which is newer than {}; if the store was \
                 restored from a backup, remove {}",
                last.number,
                self.number,
                path.display()
            )));
        }
        Ok(())
    }

    fn refused(&self, why: &str) -> Error {
        Error::unavailable(format!("write the manifests of site {}", self.site), why)
    }

    fn text(&self) -> String {
        let mut text = json!({
            "site": self.site.as_str(),
            "created": self.created.0,
            "fence": self.number,
        })
        .to_string();
        text.push('\n');
        text
    }

    fn parse(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        Some(Self {
            site: SiteId::new(value.get("site")?.as_str()?).ok()?,
            created: Timestamp(value.get("created").and_then(Value::as_i64).unwrap_or(0)),
            number: value.get("fence").and_then(Value::as_u64).unwrap_or(0),
        })
    }
}
