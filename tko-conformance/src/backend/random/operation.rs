//! Generated operations on few keys, so that they collide.
//!
//! Everything is a small number that each side resolves when it is used. A token number means a
//! token issued so far, a version number an earlier version of a key.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};

/// The relative frequencies of operations.
#[derive(Clone, Copy)]
pub(super) struct OperationWeights {
    pub(super) commits: u32,
    pub(super) reads: u32,
    pub(super) edits: u32,
    pub(super) work: u32,
    pub(super) time: u32,
}

/// The number of a key: see `naming`.
pub(super) type KeyNumber = u8;

/// The number of keys.
pub(super) const KEYS: KeyNumber = 10;

/// The number of an issued token, counted back from the latest; beyond them, an unknown token.
pub(super) type TokenNumber = u8;

#[derive(Clone, Debug)]
pub(super) enum Operation {
    Commit(RandomSet),
    Modification(KeyNumber, Length),
    Claim { stage: u8, max: u8, lease: Length },
    Renew(Vec<TokenNumber>, Length),
    Settle(Vec<(TokenNumber, RandomOutcome)>),
    Pass(Length),
    Get(Vec<KeyNumber>),
    List(RandomSelect, u8),
    Count(RandomSelect, u8),
    Tail { back: u8 },
    History { key: KeyNumber, back: u8, limit: u8 },
}

/// A duration in steps of ten seconds; time advances in odd steps of five.
pub(super) type Length = u8;

#[derive(Clone, Debug)]
pub(super) struct RandomSet {
    pub(super) require: Vec<(RandomPrecondition, KeyNumber)>,
    pub(super) changes: Vec<(KeyNumber, RandomChange)>,
    pub(super) due: Vec<(u8, KeyNumber, u8, Length)>,
    pub(super) under: Option<TokenNumber>,
    pub(super) settle: Option<RandomOutcome>,
    pub(super) progress: Option<u8>,
}

#[derive(Clone, Debug)]
pub(super) enum RandomPrecondition {
    Absent,
    Exists,
    /// An earlier version, counted back from the latest.
    At(u8),
    /// An earlier version, counted back from the latest.
    Current(u8),
    Generation(u8),
    Unreferenced,
}

#[derive(Clone, Debug)]
pub(super) enum RandomChange {
    Put(RandomEntity),
    Delete,
    Conditions(u8),
}

/// The fields of a generated entity.
#[derive(Clone, Debug)]
pub(super) struct RandomEntity {
    pub(super) body: Option<u8>,
    pub(super) word: u8,
    pub(super) template: Option<KeyNumber>,
    pub(super) site: Option<KeyNumber>,
    pub(super) parent: Option<KeyNumber>,
    pub(super) placed: Option<KeyNumber>,
    pub(super) once: Option<u8>,
    pub(super) prepared: bool,
    pub(super) deleting: bool,
    pub(super) beside_modification: bool,
    pub(super) condition: Option<u8>,
}

#[derive(Clone, Debug)]
pub(super) enum RandomOutcome {
    Done,
    Retry(Length),
    Yield(Length),
}

/// The filters of a generated selection.
#[derive(Clone, Debug)]
pub(super) struct RandomSelect {
    pub(super) kind: u8,
    pub(super) id: Option<u8>,
    pub(super) word: Option<u8>,
    pub(super) template: Option<u8>,
    pub(super) template_word: Option<u8>,
    pub(super) site: Option<u8>,
    pub(super) site_word: Option<u8>,
    pub(super) parent: Option<KeyNumber>,
    pub(super) prepared: Option<bool>,
    pub(super) concerning: Option<KeyNumber>,
    pub(super) deleting: bool,
}

/// Up to forty operations.
pub(super) fn sequences(weights: OperationWeights) -> impl Strategy<Value = Vec<Operation>> {
    vec(operation(weights), 1..40)
}

fn operation(weights: OperationWeights) -> impl Strategy<Value = Operation> {
    let reads = prop_oneof![
        vec(key(), 0..4).prop_map(Operation::Get),
        (choice(), 0..4_u8).prop_map(|(choice, limit)| Operation::List(choice, limit)),
        (choice(), 0..6_u8).prop_map(|(choice, bound)| Operation::Count(choice, bound)),
        (0..60_u8).prop_map(|back| Operation::Tail { back }),
        (key(), 0..40_u8, 0..6_u8).prop_map(|(key, back, limit)| Operation::History {
            key,
            back,
            limit
        }),
    ];
    let work = prop_oneof![
        4 => (0..2_u8, 1..5_u8, 1..4_u8)
            .prop_map(|(stage, max, lease)| Operation::Claim { stage, max, lease }),
        1 => (vec(token(), 1..3), 1..4_u8)
            .prop_map(|(tokens, length)| Operation::Renew(tokens, length)),
        4 => vec((token(), end()), 1..3).prop_map(Operation::Settle),
    ];
    prop_oneof![
        weights.commits => draft().prop_map(Operation::Commit),
        weights.reads => reads,
        weights.edits => (key(), 1..4_u8).prop_map(|(key, ttl)| Operation::Modification(key, ttl)),
        weights.work => work,
        weights.time => (1..9_u8).prop_map(Operation::Pass),
    ]
}

fn key() -> impl Strategy<Value = KeyNumber> {
    0..KEYS
}

fn token() -> impl Strategy<Value = TokenNumber> {
    prop_oneof![8 => 0..3_u8, 2 => 3..8_u8, 1 => Just(TokenNumber::MAX)]
}

fn end() -> impl Strategy<Value = RandomOutcome> {
    prop_oneof![
        Just(RandomOutcome::Done),
        (0..3_u8).prop_map(RandomOutcome::Retry),
        (0..3_u8).prop_map(RandomOutcome::Yield),
    ]
}

fn draft() -> impl Strategy<Value = RandomSet> {
    let need = prop_oneof![
        1 => Just(RandomPrecondition::Absent),
        3 => Just(RandomPrecondition::Exists),
        3 => (0..3_u8).prop_map(RandomPrecondition::At),
        2 => (0..3_u8).prop_map(RandomPrecondition::Current),
        2 => (0..3_u8).prop_map(RandomPrecondition::Generation),
        1 => Just(RandomPrecondition::Unreferenced),
    ];
    let alter = prop_oneof![
        6 => look().prop_map(RandomChange::Put),
        2 => Just(RandomChange::Delete),
        2 => (0..4_u8).prop_map(RandomChange::Conditions),
    ];
    (
        vec((need, key()), 0..3),
        vec((key(), alter), 0..5),
        vec((0..2_u8, key(), 0..16_u8, 0..3_u8), 0..3),
        option::weighted(0.3, token()),
        option::weighted(0.5, end()),
        option::weighted(0.3, 0..4_u8),
    )
        .prop_map(
            |(require, changes, due, under, settle, progress)| RandomSet {
                require,
                changes,
                due,
                under,
                settle,
                progress,
            },
        )
}

fn look() -> impl Strategy<Value = RandomEntity> {
    let reference = || option::weighted(0.4, key());
    (
        (option::weighted(0.5, 0..3_u8), 0..3_u8),
        (reference(), reference(), reference(), reference()),
        (option::weighted(0.2, 0..2_u8), any::<bool>()),
        (
            proptest::bool::weighted(0.15),
            proptest::bool::weighted(0.3),
        ),
        option::weighted(0.2, 0..4_u8),
    )
        .prop_map(
            |((body, word), refers, (once, prepared), marks, condition)| {
                let (deleting, beside_modification) = marks;
                let (template, site, parent, placed) = refers;
                RandomEntity {
                    body,
                    word,
                    template,
                    site,
                    parent,
                    placed,
                    once,
                    prepared,
                    deleting,
                    beside_modification,
                    condition,
                }
            },
        )
}

fn choice() -> impl Strategy<Value = RandomSelect> {
    let rarely = || option::weighted(0.25, 0..3_u8);
    let one = || option::weighted(0.1, key());
    (
        (prop_oneof![1 => 0..2_u8, 2 => Just(2)], rarely(), rarely()),
        (rarely(), rarely(), rarely(), rarely()),
        (one(), option::weighted(0.2, any::<bool>()), one()),
        any::<bool>(),
    )
        .prop_map(
            |((kind, id, word), joins, (parent, prepared, concerning), deleting)| {
                let (template, template_word, site, site_word) = joins;
                RandomSelect {
                    kind,
                    id,
                    word,
                    template,
                    template_word,
                    site,
                    site_word,
                    parent,
                    prepared,
                    concerning,
                    deleting,
                }
            },
        )
}
