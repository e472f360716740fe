//! Runs ssh for git with the keys of the user, or with those that an entry refers to.

use crate::properties::Properties;
use crate::settings::CatalogSettings;
use std::io::Write;
use tempfile::NamedTempFile;
use tko_core::{Error, Result};

/// A private key, and the hosts whose keys are known; each is a file while the entry is in use.
#[derive(Debug, Default)]
pub(super) struct SshCredentials {
    key: Option<NamedTempFile>,
    hosts: Option<NamedTempFile>,
}

impl SshCredentials {
    /// The credentials for a host.
    ///
    /// # Errors
    /// `BadArgument`: a reference cannot be read, or the key is not for the host.
    pub(super) async fn open(
        properties: Properties<'_>,
        host: &str,
        settings: &CatalogSettings,
    ) -> Result<Self> {
        // Resolving a reference removes a final line end, but ssh cannot read a key without it.
        let key = match properties.host_secret("key", settings).await? {
            None => None,
            Some(key) => Some(private_file(&format!("{}\n", key.for_host("key", host)?))?),
        };
        let hosts = match properties.secret("hosts", settings).await? {
            None => None,
            Some(hosts) => Some(private_file(&format!("{hosts}\n"))?),
        };
        Ok(Self { key, hosts })
    }

    /// The command that git runs as ssh; `None` means the command from the environment.
    pub(super) fn command(&self) -> Option<String> {
        let is_own = self.key.is_some() || self.hosts.is_some();
        if !is_own && std::env::var_os("GIT_SSH_COMMAND").is_some() {
            return None;
        }
        // Nobody could answer a prompt, and an unreachable host must not block the sync.
        let mut words: Vec<String> = ["ssh", "-oBatchMode=yes", "-oConnectTimeout=30"]
            .map(str::to_owned)
            .into();
        if let Some(key) = &self.key {
            words.push("-oIdentitiesOnly=yes".to_owned());
            // Not `-i`: ssh looks for that file by the path with each `%` doubled.
            words.push(quoted("-oIdentityFile=", key));
        }
        if let Some(hosts) = &self.hosts {
            let strict = [
                "-oStrictHostKeyChecking=yes",
                "-oGlobalKnownHostsFile=/dev/null",
            ];
            words.extend(strict.map(str::to_owned));
            words.push(quoted("-oUserKnownHostsFile=", hosts));
        }
        Some(words.join(" "))
    }
}

/// An option with the path of a file, as a word of the shell. ssh itself splits options at spaces and
/// replaces what follows `%`, so the path is in quotes, and each `%` is doubled.
fn quoted(option: &str, file: &NamedTempFile) -> String {
    let path = file.path().to_string_lossy().replace('%', "%%");
    let word = format!("{option}\"{path}\"");
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// A file that only this user can read, with this text.
///
/// # Errors
/// `Internal`: it cannot be written.
pub(super) fn private_file(text: &str) -> Result<NamedTempFile> {
    let cannot = |error| Error::internal("keep a credential of a repository", error);
    let mut file = NamedTempFile::new().map_err(cannot)?;
    file.write_all(text.as_bytes()).map_err(cannot)?;
    Ok(file)
}
