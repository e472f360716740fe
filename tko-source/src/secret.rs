//! Secrets by reference: a secret that a plugin's property names is read where the plugin runs.

use crate::host_list::HostList;
use crate::host_secret::HostSecret;
use std::io;
use std::path::{Path, PathBuf};
use tko_core::{Error, Result};
use tokio::io::AsyncReadExt;

/// Maximum number of bytes of a secret.
const MOST_BYTES: u64 = 64 << 10;

/// The prefix of property values that name a secret.
const PREFIX: &str = "secret:";

/// The ending of the file with the hosts of a secret.
const HOSTS: &str = ".hosts";

/// A folder with one secret in each file, such as a mounted Kubernetes Secret.
///
/// A plugin's property with the value `secret:NAME` stands for the content of the file NAME. People
/// who can read the plugin see only the name. Names have letters, digits, `-`, `_` and `.` only.
///
/// The file `NAME.hosts`, if there is one, lists the hosts that the secret may be sent to, one per
/// line, as a [`HostList`]. Without it, everybody who may register a plugin can have the secret sent
/// to a host of their choice.
#[derive(Clone, Debug, Default)]
pub struct SecretFolder {
    path: Option<PathBuf>,
    requires_hosts: bool,
}

impl SecretFolder {
    /// The secrets in this folder.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: Some(path.into()),
            requires_hosts: false,
        }
    }

    /// Whether a secret without a list of hosts is refused if it would be sent. Default: no.
    #[must_use]
    pub fn requiring_hosts(mut self, requires_hosts: bool) -> Self {
        self.requires_hosts = requires_hosts;
        self
    }

    /// The value of a property that is not sent to another host, such as a certificate: itself, or
    /// the secret that it names. One line end is removed.
    ///
    /// # Errors
    /// `BadArgument` for `property`: it names a secret, but there is no folder of secrets, the name
    /// is not one, or the file cannot be read.
    pub async fn resolve(&self, property: &str, value: &str) -> Result<String> {
        let Some(path) = self.file(property, value)? else {
            return Ok(value.to_owned());
        };
        secret_in(&path)
            .await
            .map_err(|error| unreadable(property, value, &error))
    }

    /// The value of a property that is sent to a host: itself, for every host, or the secret that it
    /// names, for the hosts in its list.
    ///
    /// # Errors
    /// `BadArgument` for `property`: as [`resolve`](Self::resolve). Also if the list of hosts is
    /// damaged, or is missing and [required](Self::requiring_hosts).
    pub async fn resolve_to_send(&self, property: &str, value: &str) -> Result<HostSecret> {
        let text = self.resolve(property, value).await?;
        let Some(path) = self.file(property, value)? else {
            return Ok(HostSecret::for_all_hosts(text));
        };
        let mut list = path.into_os_string();
        list.push(HOSTS);
        let bad = |why: String| Error::bad(property.to_owned(), why);
        match secret_in(Path::new(&list)).await {
            Ok(hosts) => {
                let hosts = HostList::parse(&hosts)
                    .map_err(|error| bad(format!("the list of hosts of {value}: {error}")))?;
                Ok(HostSecret::for_hosts(text, value, hosts))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if self.requires_hosts {
                    let name = value.strip_prefix(PREFIX).unwrap_or(value);
                    return Err(bad(format!(
                        "{value} has no list of hosts, without which this controller does not send \
                         it; write its hosts into the file {name}{HOSTS} next to it, one per line"
                    )));
                }
                Ok(HostSecret::for_all_hosts(text))
            }
            Err(error) => Err(bad(format!(
                "the list of hosts of {value} cannot be read: {error}"
            ))),
        }
    }

    /// The file of the secret that a value names; `None` if it names none.
    fn file(&self, property: &str, value: &str) -> Result<Option<PathBuf>> {
        let Some(name) = value.strip_prefix(PREFIX) else {
            return Ok(None);
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
        Ok(Some(folder.join(name)))
    }
}

fn unreadable(property: &str, value: &str, error: &io::Error) -> Error {
    Error::bad(
        property.to_owned(),
        format!("{value} cannot be read: {error}"),
    )
}

/// Reads a file with a secret. One line end is removed.
///
/// # Errors
/// The file cannot be read, is not UTF-8, or has more than 64 KiB.
pub async fn secret_in(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    // Pipes and devices have no meaningful length.
    let file = tokio::fs::File::open(path).await?;
    file.take(MOST_BYTES + 1).read_to_string(&mut text).await?;
    if text.len() as u64 > MOST_BYTES {
        let message = format!("more than {MOST_BYTES} bytes");
        return Err(io::Error::other(message));
    }
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

#[cfg(test)]
mod tests {
    use super::SecretFolder;
    use std::fs;

    #[tokio::test]
    async fn a_secret_is_sent_to_the_hosts_in_its_list_only() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("git"), "hunter2\n").expect("a file");
        let secrets = SecretFolder::new(folder.path());
        let strict = secrets.clone().requiring_hosts(true);
        // Without a list.
        let anywhere = secrets.resolve_to_send("token", "secret:git").await;
        let anywhere = anywhere.expect("a secret");
        assert_eq!(
            anywhere.for_host("token", "h").expect("any host"),
            "hunter2"
        );
        let error = strict.resolve_to_send("token", "secret:git").await;
        let error = error.expect_err("no list").to_string();
        assert!(error.contains("git.hosts"), "{error}");
        // With one.
        fs::write(folder.path().join("git.hosts"), "git.example.com\n").expect("a file");
        for secrets in [&secrets, &strict] {
            let secret = secrets.resolve_to_send("token", "secret:git").await;
            let secret = secret.expect("a secret");
            assert!(secret.is_limited());
            let sent = secret.for_host("token", "git.example.com");
            assert_eq!(sent.expect("a listed host"), "hunter2");
            for host in ["git.example.com.attacker.example", "", "attacker"] {
                let error = secret.for_host("token", host).expect_err(host).to_string();
                assert!(error.contains("secret:git"), "{error}");
                assert!(!error.contains("hunter2"), "{error}");
            }
        }
        // A damaged list permits nothing.
        fs::write(folder.path().join("git.hosts"), "https://h/\n").expect("a file");
        assert!(
            secrets
                .resolve_to_send("token", "secret:git")
                .await
                .is_err()
        );
        fs::write(folder.path().join("git.hosts"), "").expect("a file");
        let secret = secrets.resolve_to_send("token", "secret:git").await;
        assert!(secret.expect("a secret").for_host("token", "h").is_err());
    }

    #[tokio::test]
    async fn a_value_that_names_no_secret_is_sent_as_it_is() {
        let strict = SecretFolder::default().requiring_hosts(true);
        let value = strict.resolve_to_send("token", "abc").await;
        let value = value.expect("a value");
        assert_eq!(value.for_host("token", "h").expect("any host"), "abc");
        assert!(strict.resolve_to_send("token", "secret:a").await.is_err());
    }
}
