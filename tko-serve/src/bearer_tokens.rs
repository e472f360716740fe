//! [`BearerTokens`]: authentication by a list of secrets.

use crate::authenticate::Authenticate;
use crate::credentials::Credentials;
use crate::file::read;
use async_trait::async_trait;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use tko_core::caller::ADMIN;
use tko_core::{Caller, Error, Result};

/// Minimum length of a token, in bytes.
const MIN_TOKEN: usize = 16;

/// Accepts requests that carry one of these bearer tokens.
///
/// The caller is named after the token's position: `token-1` is the first; it has the role
/// [`ADMIN`]. For names and other roles, use a [`CallerFile`](crate::CallerFile). `Debug` leaves out
/// the tokens.
#[derive(Clone)]
pub struct BearerTokens(Arc<[String]>);

impl BearerTokens {
    /// Reads one token per line. Empty lines and lines that start with `#` are ignored.
    ///
    /// # Errors
    /// [`BadArgument`](Error::BadArgument): there is no token; or a token has fewer than 16
    /// characters, or a character outside visible ASCII.
    pub fn parse(text: &str) -> Result<Self> {
        let tokens: Arc<[String]> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::to_owned)
            .collect();
        if tokens.is_empty() {
            return Err(Error::bad(
                "bearer tokens",
                "there are no tokens; write one per line",
            ));
        }
        let invalid = |token: &String| {
            token.len() < MIN_TOKEN || !token.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if let Some(at) = tokens.iter().position(invalid) {
            // The message must not contain the token.
            return Err(Error::bad(
                "bearer tokens",
                format!(
                    "token {} is invalid; a token has at least {MIN_TOKEN} characters of visible \
                     ASCII",
                    at + 1
                ),
            ));
        }
        Ok(Self(tokens))
    }

    /// Reads a file of tokens.
    ///
    /// # Errors
    /// [`BadArgument`](Error::BadArgument): the file cannot be read; or as
    /// [`BearerTokens::parse`].
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = read(path)?;
        let text = str::from_utf8(&bytes)
            .map_err(|error| Error::bad("bearer tokens", format!("{}: {error}", path.display())))?;
        Self::parse(text)
    }
}

#[async_trait]
impl Authenticate for BearerTokens {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Caller> {
        let Some(given) = credentials.bearer() else {
            return Err(Error::Unauthenticated(
                "this server requires a bearer token; send it as authorization".to_owned(),
            ));
        };
        // Compare with every token, so that the time taken does not reveal a near match.
        let mut found = None;
        for (at, token) in self.0.iter().enumerate() {
            if equal(token, given) {
                found = Some(at + 1);
            }
        }
        match found {
            Some(number) => Caller::new(&format!("token-{number}"))?.role(ADMIN),
            None => Err(Error::Unauthenticated(
                "this server does not know that bearer token".to_owned(),
            )),
        }
    }
}

impl fmt::Debug for BearerTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BearerTokens({})", self.0.len())
    }
}

/// Compares in constant time, no matter where two texts of equal length differ.
fn equal(one: &str, other: &str) -> bool {
    one.len() == other.len()
        && one
            .bytes()
            .zip(other.bytes())
            .fold(0, |differs, (a, b)| differs | (a ^ b))
            == 0
}
