//! Fences: who wrote a site's files last, so that nobody older does.
//!
//! A fence file is locked for as long as a pass writes, and holds the site, when it was created
//! and the fence of the claim. It is written in place, in one go: replacing it would lose the lock.

use serde_json::{Value, json};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use tko_core::{Error, Result, SiteId, Timestamp};

/// Longest fence file that is read: an id is at most 1,024 bytes.
const LONGEST: u64 = 4_096;

/// A claim, as far as it is older or newer than another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fence {
    pub(super) site: SiteId,
    pub(super) created: Timestamp,
    pub(super) number: u64,
}

/// Locked until it is dropped.
pub(super) struct Held {
    #[expect(dead_code, reason = "holds the lock")]
    file: File,
}

impl Fence {
    /// Locks the file and writes this fence into it.
    ///
    /// # Errors
    /// `Unavailable`: someone else writes at this moment, someone newer has written, or the file
    /// cannot be read or written. `BadArgument`: it is another site's.
    pub(super) fn raise(&self, path: &Path) -> Result<Held> {
        let trouble = |error: std::io::Error| {
            Error::unavailable(format!("write the fence {}", path.display()), error)
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(trouble)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(self.refused("another process is writing them at this moment"));
            }
            // Some file systems have no locks; the number still holds off who is late.
            Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(trouble(error)),
        }
        let mut text = String::new();
        // What a loss of power left of it says nothing.
        if (&mut file).take(LONGEST).read_to_string(&mut text).is_err() {
            text.clear();
        }
        if let Some(last) = Self::parse(&text) {
            self.check(&last, path)?;
        }
        let text = self.text();
        file.seek(SeekFrom::Start(0)).map_err(trouble)?;
        file.write_all(text.as_bytes()).map_err(trouble)?;
        file.set_len(text.len() as u64).map_err(trouble)?;
        Ok(Held { file })
    }

    fn check(&self, last: &Self, path: &Path) -> Result<()> {
        if last.site != self.site {
            return Err(Error::bad(
                "manifests",
                format!(
                    "{} says that this is the folder of site {}, not of {}; remove or rename that \
                     folder",
                    path.display(),
                    last.site,
                    self.site
                ),
            ));
        }
        if (last.created, last.number) > (self.created, self.number) {
            return Err(self.refused(&format!(
                "they were written under a later claim ({}, this one is {}); if the store was set \
                 back, remove {}",
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
