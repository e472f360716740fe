//! Secrets of tokens: which claim a token is for.

use tko_core::{Key, Token};
use uuid::Uuid;

/// The claim that a secret names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenSecret {
    /// A lease of a piece of work.
    Lease(Uuid),
    /// A modification of an entity.
    Modification(Uuid),
    /// This backend did not issue the token.
    Unknown,
}

const LEASE: &str = "lease.";
const MODIFICATION: &str = "edit.";

impl TokenSecret {
    /// Reads the secret of a token.
    pub(crate) fn of(token: &Token) -> Self {
        let uuid = |prefix| {
            let text = token.secret.strip_prefix(prefix)?;
            Uuid::try_parse(text).ok()
        };
        match (uuid(LEASE), uuid(MODIFICATION)) {
            (Some(lease), _) => Self::Lease(lease),
            (_, Some(modification)) => Self::Modification(modification),
            _ => Self::Unknown,
        }
    }
}

/// The token of a lease.
pub(crate) fn lease_token(key: &Key, uuid: Uuid) -> Token {
    token(key, LEASE, uuid)
}

/// The token of a modification.
pub(crate) fn modification_token(key: &Key, uuid: Uuid) -> Token {
    token(key, MODIFICATION, uuid)
}

fn token(key: &Key, prefix: &str, uuid: Uuid) -> Token {
    Token::new(key.clone(), format!("{prefix}{}", uuid.simple()))
}
