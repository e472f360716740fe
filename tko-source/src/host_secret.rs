//! Secrets that are sent to hosts.

use crate::host_list::HostList;
use std::fmt;
use tko_core::{Error, Result};

/// A secret, and the hosts that it may be sent to. `Debug` leaves the secret out.
#[derive(Clone, PartialEq, Eq)]
pub struct HostSecret {
    text: String,
    /// The reference and the hosts; `None` if the secret may be sent to every host.
    limit: Option<(String, HostList)>,
}

impl HostSecret {
    /// A secret for every host.
    pub fn for_all_hosts(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            limit: None,
        }
    }

    pub(crate) fn for_hosts(text: String, reference: &str, hosts: HostList) -> Self {
        Self {
            text,
            limit: Some((reference.to_owned(), hosts)),
        }
    }

    /// The secret, if it may be sent to a host. `property` is the property that refers to it.
    ///
    /// # Errors
    /// `BadArgument` for `property`: the host is not in the list of the secret.
    pub fn for_host(&self, property: &str, host: &str) -> Result<&str> {
        match &self.limit {
            Some((reference, hosts)) if !hosts.contains(host) => {
                let why = format!(
                    "{reference} is not for the host {host:?}; use another secret, or add the host \
                     to the list of the secret"
                );
                Err(Error::bad(property.to_owned(), why))
            }
            _ => Ok(&self.text),
        }
    }

    /// Whether the secret is for some hosts only.
    pub fn is_limited(&self) -> bool {
        self.limit.is_some()
    }
}

impl fmt::Debug for HostSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostSecret")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::HostSecret;

    #[test]
    fn the_secret_is_not_shown() {
        let shown = format!("{:?}", HostSecret::for_all_hosts("hunter2"));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
