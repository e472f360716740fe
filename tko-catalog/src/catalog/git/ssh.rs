//! Runs ssh for git with the keys of the user, or with those that an entry refers to.

use crate::properties::Properties;
use crate::settings::CatalogSettings;
use std::io::Write;
use std::net::IpAddr;
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

    /// The command that git runs as ssh; `None` means the command from the environment. With a
    /// checked host, ssh connects to its address.
    pub(super) fn command(&self, checked: Option<&CheckedHost>) -> Option<String> {
        let environment = std::env::var("GIT_SSH_COMMAND").ok();
        self.command_over(environment, checked)
    }

    /// As [`command`](Self::command), with the command from the environment.
    fn command_over(
        &self,
        environment: Option<String>,
        checked: Option<&CheckedHost>,
    ) -> Option<String> {
        let is_own = self.key.is_some() || self.hosts.is_some();
        let mut words = Vec::new();
        if let Some(command) = environment.filter(|_| !is_own) {
            checked?;
            words.push(command);
        } else {
            // Nobody could answer a prompt, and an unreachable host must not block the sync.
            words.extend(["ssh", "-oBatchMode=yes", "-oConnectTimeout=30"].map(str::to_owned));
        }
        words.extend(checked.into_iter().flat_map(CheckedHost::options));
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

/// A host whose address was checked.
#[derive(Debug)]
pub(super) struct CheckedHost {
    /// The name, of letters, digits, `.`, `-` and `_`.
    pub(super) name: String,
    pub(super) port: u16,
    pub(super) address: IpAddr,
}

impl CheckedHost {
    /// The options with which ssh connects to the address, and expects the keys of the name.
    fn options(&self) -> [String; 2] {
        let Self {
            name,
            port,
            address,
        } = self;
        // An alias replaces the port, too.
        let alias = if *port == 22 {
            name.clone()
        } else {
            format!("[{name}]:{port}")
        };
        [
            format!("-oHostName={address}"),
            // The shell would expand brackets.
            format!("'-oHostKeyAlias={alias}'"),
        ]
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

#[cfg(test)]
mod tests {
    use super::{CheckedHost, SshCredentials};

    #[test]
    fn ssh_connects_to_the_address_that_was_checked() {
        let credentials = SshCredentials::default();
        let host = |port| CheckedHost {
            name: "h.example".to_owned(),
            port,
            address: [192, 0, 2, 1].into(),
        };
        let command = credentials.command_over(None, Some(&host(22)));
        let command = command.expect("a command");
        let options = " -oHostName=192.0.2.1 '-oHostKeyAlias=h.example'";
        assert!(command.starts_with("ssh ") && command.ends_with(options));
        // The operator's own command keeps its options.
        let own = || Some("ssh -i key".to_owned());
        let command = credentials.command_over(own(), Some(&host(2222)));
        let options = "-oHostName=192.0.2.1 '-oHostKeyAlias=[h.example]:2222'";
        assert_eq!(command, Some(format!("ssh -i key {options}")));
        assert_eq!(credentials.command_over(own(), None), None);
    }
}
