//! What each task does: on few keys, so that they get in each other's way.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use tko_core::Key;

use crate::backend::sample::{d, s};

/// How often which acts come.
#[derive(Clone, Copy)]
pub(super) struct ScriptWeights {
    commits: u32,
    rights: u32,
}

pub(super) const COMMITS: ScriptWeights = ScriptWeights {
    commits: 8,
    rights: 1,
};

pub(super) const RIGHTS: ScriptWeights = ScriptWeights {
    commits: 3,
    rights: 6,
};

/// One of the few keys: three sites, three deployments.
pub(super) fn key(number: u8) -> Key {
    match number % 6 {
        site @ 0..3 => s(&format!("s{site}")),
        deployment => d(&format!("d{deployment}")),
    }
}

#[derive(Clone, Debug)]
pub(super) struct ScriptStep {
    /// How often others may go first, between what is read and what is written.
    pub(super) pauses: u8,
    pub(super) what: Action,
}

#[derive(Clone, Debug)]
pub(super) enum Action {
    /// Reads, then writes one or two, on condition of what was read.
    Put {
        keys: (u8, Option<u8>),
        word: u8,
        site: Option<u8>,
        need: ReadPrecondition,
    },
    /// On condition that nothing refers to it.
    Delete(u8),
    /// Under one of few `once` keys.
    Create(u8),
    Conditions(u8, bool),
    /// Starts an edit and uses it, or gives it up.
    Modification {
        key: u8,
        used: bool,
    },
    Mark(u8),
    /// Claims work, and commits under the lease, or settles it.
    Work {
        max: u8,
        commit: bool,
        done: bool,
    },
}

#[derive(Clone, Copy, Debug)]
pub(super) enum ReadPrecondition {
    Nothing,
    Version,
    Generation,
    Exists,
    Absent,
}

/// Of three or four tasks, each with up to fifteen acts.
pub(super) fn scripts(weights: ScriptWeights) -> impl Strategy<Value = Vec<Vec<ScriptStep>>> {
    vec(vec(act(weights), 1..15), 3..=4)
}

fn act(weights: ScriptWeights) -> impl Strategy<Value = ScriptStep> {
    let key = || 0..6_u8;
    let need = prop_oneof![
        Just(ReadPrecondition::Nothing),
        Just(ReadPrecondition::Version),
        Just(ReadPrecondition::Generation),
        Just(ReadPrecondition::Exists),
        Just(ReadPrecondition::Absent),
    ];
    let put = (key(), option::of(key()), 0..3_u8, option::of(0..3_u8), need);
    let commit = prop_oneof![
        6 => put.prop_map(|(one, other, word, site, need)| Action::Put {
            keys: (one, other.filter(|other| *other != one)),
            word,
            site,
            need,
        }),
        2 => key().prop_map(Action::Delete),
        2 => (0..2_u8).prop_map(Action::Create),
        1 => (key(), any::<bool>()).prop_map(|(key, status)| Action::Conditions(key, status)),
    ];
    let right = prop_oneof![
        3 => (key(), any::<bool>()).prop_map(|(key, used)| Action::Modification { key, used }),
        2 => key().prop_map(Action::Mark),
        3 => (1..3_u8, any::<bool>(), any::<bool>())
            .prop_map(|(max, commit, done)| Action::Work { max, commit, done }),
    ];
    let what = prop_oneof![weights.commits => commit, weights.rights => right];
    (0..3_u8, what).prop_map(|(pauses, what)| ScriptStep { pauses, what })
}
