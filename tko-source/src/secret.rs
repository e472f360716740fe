//! Secrets by reference: a secret that a plugin's property names is read where the plugin runs.

use std::path::{Path, PathBuf};
use tko_core::{Error, Result};
use tokio::io::AsyncReadExt;

/// Maximum number of bytes of a secret.
const MOST_BYTES: u64 = 64 << 10;

/// The prefix of property values that name a secret.
const PREFIX: &str = "secret:";

/// A folder with one secret in each file, such as a mounted Kubernetes Secret.
///
/// A plugin's property with the value `secret:NAME` stands for the content of the file NAME. People
/// who can read the plugin see only the name. Names have letters, digits, `-`, `_` and `.` only.
#[derive(Clone, Debug, Default)]
pub struct SecretFolder {
    path: Option<PathBuf>,
}

impl SecretFolder {
    /// The secrets in this folder.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: Some(path.into()),
        }
    }

    /// The value of a property: itself, or the secret that it names. One line end is removed.
    ///
    /// # Errors
    /// `BadArgument` for `property`: it names a secret, but there is no folder of secrets, the name
    /// is not one, or the file cannot be read.
    pub async fn resolve(&self, property: &str, value: &str) -> Result<String> {
        let Some(name) = value.strip_prefix(PREFIX) else {
            return Ok(value.to_owned());
        };
        let bad = |message: String| Error::bad(property.to_owned(), message);
        let folder = self.path.as_ref().ok_or_else(|| {
            bad(format!(
                "{value} names a secret: start this controller with --secrets DIR"
            ))
        })?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(is_name) {
            return Err(bad(format!("{value} is not the name of a secret")));
        }
        secret_in(&folder.join(name))
            .await
            .map_err(|error| bad(format!("{value} cannot be read: {error}")))
    }
}

/// Reads a file with a secret. One line end is removed.
///
/// # Errors
/// The file cannot be read, is not UTF-8, or has more than 64 KiB.
pub async fn secret_in(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    // Pipes and devices have no meaningful length.
    let file = tokio::fs::File::open(path).await?;
    file.take(MOST_BYTES + 1).read_to_string(&mut text).await?;
    if text.len() as u64 > MOST_BYTES {
        let message = format!("more than {MOST_BYTES} bytes");
        return Err(std::io::Error::other(message));
    }
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}
