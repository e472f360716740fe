//! Lists of hosts that operators write.

use std::net::IpAddr;
use tko_core::{Error, Result};

/// A list of hosts: names, addresses, and `*.DOMAIN` for all names below a domain.
///
/// ```
/// use tko_source::HostList;
///
/// let hosts = HostList::new(["git.example.com", "*.example.org", "::1"])?;
/// assert!(hosts.contains("GIT.example.com") && hosts.contains("[::1]"));
/// assert!(hosts.contains("a.b.example.org") && !hosts.contains("example.org"));
/// # Ok::<_, tko_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostList(Vec<String>);

impl HostList {
    /// A list of these hosts, without schemes and ports.
    ///
    /// # Errors
    /// `BadArgument` for `hosts`: one of them is not a host.
    pub fn new<T: AsRef<str>>(hosts: impl IntoIterator<Item = T>) -> Result<Self> {
        let hosts = hosts.into_iter().map(|host| {
            let host = host.as_ref().trim();
            let name = normal(host.strip_prefix("*.").unwrap_or(host));
            let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            let is_name = !name.is_empty() && !name.starts_with('.') && name.chars().all(fine);
            let is_address = name.parse::<IpAddr>().is_ok() && !host.starts_with('*');
            if is_address {
                return Ok(name);
            }
            if !is_name {
                let why = format!(
                    "{host:?} is not a host; write a name or an address without scheme and port, \
                     or *.DOMAIN"
                );
                return Err(Error::bad("hosts", why));
            }
            Ok(if host.starts_with('*') {
                format!("*.{name}")
            } else {
                name
            })
        });
        Ok(Self(hosts.collect::<Result<_>>()?))
    }

    /// Parses a text with one host per line. Empty lines and lines that begin with `#` are skipped.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().map(str::trim);
        Self::new(lines.filter(|line| !line.is_empty() && !line.starts_with('#')))
    }

    /// Whether a host, as URLs have it, is in the list.
    pub fn contains(&self, host: &str) -> bool {
        let host = normal(host);
        self.0.iter().any(|listed| match listed.strip_prefix('*') {
            Some(domain) => host.len() > domain.len() && host.ends_with(domain),
            None => *listed == host,
        })
    }
}

/// A host in lower case, without brackets and the final `.` of a complete name.
fn normal(host: &str) -> String {
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) => host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::HostList;

    #[test]
    fn a_list_has_names_addresses_and_domains() {
        let text = "# the servers of the team\n\nGit.Example.com\n 10.0.0.1\n[0:0::1]\n*.corp\n";
        let hosts = HostList::parse(text).expect("a list");
        for host in [
            "git.example.com",
            "GIT.EXAMPLE.COM.",
            "10.0.0.1",
            "::1",
            "a.corp",
        ] {
            assert!(hosts.contains(host), "{host}");
        }
        for host in [
            "example.com",
            "a.git.example.com",
            "10.0.0.10",
            "corp",
            "acorp",
            ".corp",
            "",
        ] {
            assert!(!hosts.contains(host), "{host}");
        }
    }

    #[test]
    fn what_is_not_a_host_is_refused() {
        for line in [
            "https://h",
            "h:443",
            "h/path",
            "a.*.b",
            "*",
            "*.",
            "*.10.0.0.1:1",
            "h ssh-ed25519 AAAA",
            "user@h",
        ] {
            assert!(HostList::parse(line).is_err(), "{line}");
        }
    }
}
