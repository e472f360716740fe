//! Scripts on few keys, so that tasks collide.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use tko_core::Key;

use crate::backend::sample::{d, s};

/// The relative frequencies of steps.
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

/// Six keys: three sites, three deployments.
pub(super) fn key(number: u8) -> Key {
    match number % 6 {
        site @ 0..3 => s(&format!("s{site}")),
        deployment => d(&format!("d{deployment}")),
    }
}

#[derive(Clone, Debug)]
pub(super) struct ScriptStep {
    /// How often other tasks may run between a read and the write.
    pub(super) pauses: u8,
    pub(super) what: Action,
}

#[derive(Clone, Debug)]
pub(super) enum Action {
    /// Reads one or two keys, then writes them if they are unchanged.
    Put {
        keys: (u8, Option<u8>),
        word: u8,
        site: Option<u8>,
        need: ReadPrecondition,
    },
    /// Deletes a key that nothing references.
    Delete(u8),
    /// Creates a deployment under one of few idempotency keys.
    Create(u8),
    Conditions(u8, bool),
    /// Starts a modification and uses or cancels it.
    Modification {
        key: u8,
        used: bool,
    },
    Mark(u8),
    /// Claims work, and commits under the lease or settles it.
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

/// Three or four tasks with up to fifteen steps each.
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
