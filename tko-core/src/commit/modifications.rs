//! Modifications: exclusive rights of people, kept in memory.
//!
//! A modification belongs to one key. It ends when it is used or cancelled, when it expires, or
//! when its key is removed. A key has at most one open modification. Every method takes the time of
//! the store's clock, and a modification is open before its end, but no longer at its end.
//!
//! Used and cancelled modifications are forgotten at once, so their tokens are `Unknown`. Expired
//! ones are kept for a while, so that a person who is too late gets the reason.

use super::snapshot::{Right, TokenState};
use crate::id::Key;
use crate::revision::Timestamp;
use crate::work::Token;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// The number of expired modifications that are remembered after others took their place.
const REMEMBERED: usize = 10_000;

/// The state of a modification's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModificationState {
    /// The modification is open.
    Open,
    /// The modification expired before it was used.
    Expired,
    /// The modification was never started, was used, or was cancelled.
    Unknown,
}

impl From<ModificationState> for TokenState {
    fn from(state: ModificationState) -> Self {
        match state {
            ModificationState::Open => Self::Live(Right::Modification),
            ModificationState::Expired => Self::Expired,
            ModificationState::Unknown => Self::Unknown,
        }
    }
}

/// The modifications of all keys, for a backend that keeps them in memory.
///
/// Nothing sweeps expired modifications: the next one of the same key takes their place. The last
/// 10,000 that expired are remembered, so that a client that is too late gets `ClaimExpired`, not
/// `NotFound`.
#[derive(Clone, Debug, Default)]
pub struct Modifications {
    /// The last modification of each key; it may have expired.
    latest: HashMap<Key, (Token, Timestamp)>,
    /// The tokens of expired modifications that are no longer the last of their key.
    expired: HashSet<Token>,
    /// The same tokens, the oldest first: the order in which they are dropped.
    order: VecDeque<Token>,
}

impl Modifications {
    /// Opens a modification until `until`. The secret must be unguessable, and new. `None`: another
    /// modification of this key is open.
    ///
    /// Whether the key exists is for the caller to check. An expired modification of the key is
    /// replaced, and remembered.
    pub fn open(
        &mut self,
        key: &Key,
        secret: impl Into<Arc<str>>,
        until: Timestamp,
        now: Timestamp,
    ) -> Option<Token> {
        if self.excludes(key, None, now) {
            return None;
        }
        let token = Token::new(key, secret);
        self.forget(key, now);
        self.latest.insert(key.clone(), (token.clone(), until));
        Some(token)
    }

    /// The state of a token at this time.
    ///
    /// Only the token of the last modification of its key can be open. A token that expired too
    /// long ago, with 10,000 others remembered after it, is `Unknown`.
    pub fn state(&self, token: &Token, now: Timestamp) -> ModificationState {
        match self.latest.get(&token.key) {
            Some((latest, until)) if latest == token && *until > now => ModificationState::Open,
            Some((latest, _)) if latest == token => ModificationState::Expired,
            _ if self.expired.contains(token) => ModificationState::Expired,
            _ => ModificationState::Unknown,
        }
    }

    /// Whether an open modification other than `own` forbids writing this key.
    ///
    /// Without `own`, every open modification of the key forbids it.
    pub fn excludes(&self, key: &Key, own: Option<&Token>, now: Timestamp) -> bool {
        self.latest
            .get(key)
            .is_some_and(|(token, until)| *until > now && Some(token) != own)
    }

    /// Moves the end of an open modification. False: it is not open.
    ///
    /// The new end may be earlier than the old one. An expired modification cannot be renewed, even
    /// if no other took its place.
    pub fn renew(&mut self, token: &Token, until: Timestamp, now: Timestamp) -> bool {
        let open = self.state(token, now) == ModificationState::Open;
        if open {
            self.latest
                .insert(token.key.clone(), (token.clone(), until));
        }
        open
    }

    /// Ends an open modification. False: it is not open.
    ///
    /// Call it when the modification is used or cancelled. Its token is `Unknown` from now on.
    pub fn close(&mut self, token: &Token, now: Timestamp) -> bool {
        let open = self.state(token, now) == ModificationState::Open;
        if open {
            self.latest.remove(&token.key);
        }
        open
    }

    /// Ends the modification of a key that is removed. An expired one is remembered.
    ///
    /// One that is still open is forgotten, so its token is `Unknown` from now on. Does nothing
    /// without a modification of the key.
    pub fn forget(&mut self, key: &Key, now: Timestamp) {
        let Some((token, until)) = self.latest.remove(key) else {
            return;
        };
        if until <= now && self.expired.insert(token.clone()) {
            self.order.push_back(token);
            if self.order.len() > REMEMBERED
                && let Some(oldest) = self.order.pop_front()
            {
                self.expired.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ModificationState, Modifications, REMEMBERED};
    use crate::id::{Key, Kind};
    use crate::revision::Timestamp;

    fn site(name: &str) -> Key {
        Key::new(Kind::Site, name).expect("a site's id")
    }

    #[test]
    fn an_expired_modification_stays_expired_after_takeover_and_after_deletion() {
        let (mut all, key) = (Modifications::default(), site("s"));
        let first = all
            .open(&key, "one", Timestamp(10), Timestamp(0))
            .expect("no other is open");
        assert!(
            all.open(&key, "two", Timestamp(20), Timestamp(9)).is_none(),
            "the first is still open"
        );
        let second = all
            .open(&key, "two", Timestamp(20), Timestamp(10))
            .expect("the first expired");
        assert_eq!(all.state(&first, Timestamp(11)), ModificationState::Expired);
        assert_eq!(all.state(&second, Timestamp(11)), ModificationState::Open);
        all.forget(&key, Timestamp(21));
        assert_eq!(
            all.state(&second, Timestamp(22)),
            ModificationState::Expired
        );
    }

    #[test]
    fn a_used_modification_is_unknown_even_after_its_time() {
        let (mut all, key) = (Modifications::default(), site("s"));
        let token = all
            .open(&key, "one", Timestamp(10), Timestamp(0))
            .expect("no other is open");
        assert!(all.close(&token, Timestamp(5)));
        assert!(!all.close(&token, Timestamp(5)), "it is used");
        assert_eq!(all.state(&token, Timestamp(50)), ModificationState::Unknown);
    }

    #[test]
    fn the_memory_of_expired_modifications_is_bounded() {
        let (mut all, key) = (Modifications::default(), site("s"));
        for at in 0..i64::try_from(REMEMBERED).expect("small") + 10 {
            all.open(&key, at.to_string(), Timestamp(at + 1), Timestamp(at))
                .expect("the one before expired");
        }
        assert_eq!(all.expired.len(), REMEMBERED);
        assert_eq!(all.order.len(), REMEMBERED);
    }
}
