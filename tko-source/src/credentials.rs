//! Credentials for web servers.

use std::env::{VarError, var};
use std::fmt;
use tko_core::{Error, Result};

/// The variable that names the host.
const HOST: &str = "TKO_SOURCE_HOST";
/// The variable that holds the token.
const TOKEN: &str = "TKO_SOURCE_TOKEN";

/// A bearer token for one web server. `Debug` leaves it out.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceCredentials {
    /// The host that gets the token, such as `gitlab.example.org`. No other host gets it.
    pub host: String,
    /// The secret of the header `Authorization: Bearer`.
    pub token: String,
}

impl SourceCredentials {
    /// A token for a host.
    pub fn new(host: impl Into<String>, token: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            token: token.into(),
        }
    }

    /// Reads `TKO_SOURCE_HOST` and `TKO_SOURCE_TOKEN`; `None` if neither is set.
    ///
    /// # Errors
    /// [`Error::BadArgument`]: one is set without the other, or is not Unicode.
    pub fn from_environment() -> Result<Option<Self>> {
        match (variable(HOST)?, variable(TOKEN)?) {
            (Some(host), Some(token)) => Ok(Some(Self { host, token })),
            (None, None) => Ok(None),
            (None, Some(_)) => Err(missing(HOST, TOKEN)),
            (Some(_), None) => Err(missing(TOKEN, HOST)),
        }
    }
}

fn variable(name: &'static str) -> Result<Option<String>> {
    match var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(Error::bad(name, "is not Unicode")),
    }
}

fn missing(name: &'static str, other: &str) -> Error {
    Error::bad(
        name,
        format!("is not set, but {other} is; set both or none"),
    )
}

impl fmt::Debug for SourceCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceCredentials({})", self.host)
    }
}

#[cfg(test)]
mod tests {
    use super::SourceCredentials;

    #[test]
    fn the_token_is_not_shown() {
        let shown = format!("{:?}", SourceCredentials::new("h", "secret"));
        assert_eq!(shown, "SourceCredentials(h)");
    }
}
