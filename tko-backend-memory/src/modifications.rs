//! Modifications: who may write one entity's package, and until when.
//!
//! Nothing sweeps lapsed modifications: the next edit of the key takes their place. What lapsed is
//! remembered for a while, so that whoever comes too late is told so, rather than that there never
//! was such an edit.

use std::collections::{HashMap, HashSet, VecDeque};
use tko_core::{Key, Timestamp, Token};
use uuid::Uuid;

/// How many modifications are remembered that lapsed and were taken over.
const REMEMBERED: usize = 10_000;

/// What a token of an edit is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ModificationState {
    /// Its edit is open.
    Open,
    /// It was not used in time.
    Expired,
    /// Never made, used, or given up.
    Unknown,
}

/// The modifications of all keys.
#[derive(Debug, Default)]
pub(crate) struct Modifications {
    /// By key; a lapsed one stays until somebody takes its place.
    latest: HashMap<Key, (Token, Timestamp)>,
    expired: HashSet<Token>,
    order: VecDeque<Token>,
}

impl Modifications {
    /// Opens an edit, unless another is open.
    pub(crate) fn open(&mut self, key: &Key, until: Timestamp, now: Timestamp) -> Option<Token> {
        if self.excludes(key, None, now) {
            return None;
        }
        let token = Token {
            key: key.clone(),
            secret: format!("edit.{}", Uuid::new_v4().simple()).into(),
        };
        self.forget(key, now);
        self.latest.insert(key.clone(), (token.clone(), until));
        Some(token)
    }

    /// What this token is worth now.
    pub(crate) fn state(&self, token: &Token, now: Timestamp) -> ModificationState {
        match self.latest.get(&token.key) {
            Some((latest, until)) if latest == token && *until > now => ModificationState::Open,
            Some((latest, _)) if latest == token => ModificationState::Expired,
            _ if self.expired.contains(token) => ModificationState::Expired,
            _ => ModificationState::Unknown,
        }
    }

    /// Whether an edit other than `own` keeps writers off this key.
    pub(crate) fn excludes(&self, key: &Key, own: Option<&Token>, now: Timestamp) -> bool {
        self.latest
            .get(key)
            .is_some_and(|(token, until)| *until > now && Some(token) != own)
    }

    /// Lets an open edit end at `until`. False: it is not open.
    pub(crate) fn renew(&mut self, token: &Token, until: Timestamp, now: Timestamp) -> bool {
        let open = self.state(token, now) == ModificationState::Open;
        if open {
            self.latest
                .insert(token.key.clone(), (token.clone(), until));
        }
        open
    }

    /// Uses up or gives up an open edit. False: it is not open.
    pub(crate) fn close(&mut self, token: &Token, now: Timestamp) -> bool {
        let open = self.state(token, now) == ModificationState::Open;
        if open {
            self.latest.remove(&token.key);
        }
        open
    }

    /// Clears the key. An edit of it that lapsed is remembered.
    pub(crate) fn forget(&mut self, key: &Key, now: Timestamp) {
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
    use tko_core::{Key, Kind, Timestamp};

    fn site(name: &str) -> Key {
        Key::new(Kind::Site, name).expect("a site's id")
    }

    #[test]
    fn a_lapsed_edit_is_known_as_such_after_others_took_over_and_after_deletion() {
        let (mut modifications, key) = (Modifications::default(), site("s"));
        let first = modifications
            .open(&key, Timestamp(10), Timestamp(0))
            .expect("nobody else");
        assert!(
            modifications
                .open(&key, Timestamp(20), Timestamp(9))
                .is_none(),
            "still open"
        );
        let second = modifications
            .open(&key, Timestamp(20), Timestamp(10))
            .expect("the first lapsed");
        assert_eq!(
            modifications.state(&first, Timestamp(11)),
            ModificationState::Expired
        );
        assert_eq!(
            modifications.state(&second, Timestamp(11)),
            ModificationState::Open
        );
        modifications.forget(&key, Timestamp(21));
        assert_eq!(
            modifications.state(&second, Timestamp(22)),
            ModificationState::Expired
        );
    }

    #[test]
    fn a_used_edit_is_unknown_even_after_its_time() {
        let (mut modifications, key) = (Modifications::default(), site("s"));
        let token = modifications
            .open(&key, Timestamp(10), Timestamp(0))
            .expect("nobody else");
        assert!(modifications.close(&token, Timestamp(5)));
        assert!(!modifications.close(&token, Timestamp(5)), "used");
        assert_eq!(
            modifications.state(&token, Timestamp(50)),
            ModificationState::Unknown
        );
    }

    #[test]
    fn no_more_lapsed_edits_are_remembered_than_the_bound() {
        let (mut modifications, key) = (Modifications::default(), site("s"));
        for at in 0..i64::try_from(REMEMBERED).expect("small") + 10 {
            modifications
                .open(&key, Timestamp(at + 1), Timestamp(at))
                .expect("the one before lapsed");
        }
        assert_eq!(modifications.expired.len(), REMEMBERED);
        assert_eq!(modifications.order.len(), REMEMBERED);
    }
}
