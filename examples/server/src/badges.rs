//! Authentication by badge.

use tko_core::{Caller, Error, Result};
use tko_serve::{Authenticate, Credentials, async_trait};

/// Accepts callers that show a badge as their bearer token.
pub struct Badges;

#[async_trait]
impl Authenticate for Badges {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Caller> {
        // A real implementation would ask an identity provider, and cache its answers.
        match credentials.bearer() {
            Some("badge-of-alice") => Caller::new("alice")?.role("operator"),
            Some(_) => Err(Error::Forbidden("the badge is not valid here".to_owned())),
            None => Err(Error::Unauthenticated("show a badge".to_owned())),
        }
    }
}
