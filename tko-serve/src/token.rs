//! Tokens: new tokens, and the hashes that files store instead of them.

use std::fmt;
use tko_core::{Error, Result};

/// The random bytes of a token.
const RANDOM: usize = 32;

/// The prefix of every new token, by which secret scanners find leaked tokens.
const PREFIX: &str = "tko_";

/// Makes a random token of 256 bits.
///
/// # Errors
/// [`Internal`](Error::Internal): the system has no random numbers.
pub fn new_token() -> Result<String> {
    let mut bytes = [0; RANDOM];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| Error::internal("make a token", "the system has no random numbers"))?;
    Ok(bytes
        .iter()
        .fold(PREFIX.to_owned(), |text, byte| format!("{text}{byte:02x}")))
}

/// The hashes of a token. `Display` shows the BLAKE3 hash in the format of a file of callers.
pub(crate) struct TokenHashes {
    pub(crate) blake3: [u8; 32],
    pub(crate) sha256: [u8; 32],
}

impl TokenHashes {
    pub(crate) fn of(token: &str) -> Self {
        Self {
            blake3: *blake3::hash(token.as_bytes()).as_bytes(),
            sha256: sha256(token.as_bytes()),
        }
    }

    /// Parses 64 hexadecimal digits.
    pub(crate) fn parse(digits: &str) -> Option<[u8; 32]> {
        let mut hash = [0; 32];
        let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
        if pairs.len() != hash.len() || !rest.is_empty() {
            return None;
        }
        for (byte, pair) in hash.iter_mut().zip(pairs) {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            let value = digit(pair[0])? * 16 + digit(pair[1])?;
            *byte = u8::try_from(value).ok()?;
        }
        Some(hash)
    }
}

impl fmt::Display for TokenHashes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("blake3:")?;
        self.blake3
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// SHA-256, from the TLS library.
fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    let suite = rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
    if let Some(suite) = suite.tls13() {
        let output = suite.common.hash_provider.hash(bytes);
        hash.copy_from_slice(output.as_ref());
    }
    hash
}
