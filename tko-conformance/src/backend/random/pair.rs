//! The backend under test and the model, side by side.

use super::compare::{self, PairTime};
use super::naming;
use super::operation::{
    Operation, RandomChange, RandomPrecondition, RandomSelect, RandomSet, TokenNumber,
};
use crate::backend::fixture::{ALL, BackendFixture};
use crate::backend::sample::d;
use crate::explore::ensure;
use crate::reference::ReferenceState;
use std::collections::{BTreeMap, BTreeSet};
use tko_core::{
    Ack, Change, ChangeSet, Enqueue, Facts, Key, Kind, Lane, Require, Revision, Timestamp, Token,
    Version, Want,
};

/// The number of changes that the backend must keep.
pub(super) const HISTORY: usize = 30;

/// A backend, and a model that goes through the same operations.
pub(super) struct BackendPair {
    pub(super) fixture: BackendFixture,
    /// The revision of the empty backend.
    pub(super) start: Revision,
    pub(super) model: ReferenceState,
    pub(super) now: Timestamp,
    /// Issued tokens: the backend's and the model's.
    pub(super) tokens: Vec<(Token, Token)>,
    /// Versions of each key: the backend's and the model's.
    versions: BTreeMap<Key, Vec<(Version, Version)>>,
    commits: u32,
}

impl BackendPair {
    pub(super) async fn new(fixture: BackendFixture) -> Self {
        let start = fixture.feed_position().await.revision;
        Self {
            fixture,
            start,
            model: ReferenceState::starting_after(start, usize::MAX),
            now: Timestamp(1_000_000_000),
            tokens: Vec::new(),
            versions: BTreeMap::new(),
            commits: 0,
        }
    }

    /// Returns the current time of both sides.
    pub(super) async fn times(&self) -> PairTime {
        PairTime {
            subject: self.fixture.feed_position().await.now,
            model: self.now,
        }
    }

    fn token(&self, number: TokenNumber) -> (Token, Token) {
        let made_up = Token::new(d("d0"), "made.up");
        let at = self.tokens.len().checked_sub(usize::from(number) + 1);
        let given = at.and_then(|at| self.tokens.get(at));
        given.cloned().unwrap_or((made_up.clone(), made_up))
    }

    pub(super) async fn step(&mut self, operation: &Operation) -> Result<(), String> {
        match operation {
            Operation::Commit(draft) => self.commit(draft).await,
            Operation::Modification(key, ttl) => {
                let (key, ttl) = (naming::key(*key), naming::length(*ttl));
                let subject = self
                    .fixture
                    .backend
                    .start_modification(&key, ttl, ALL)
                    .await;
                let now = self.times().await;
                match (subject, self.model.edit(&key, ttl, ALL, self.now)) {
                    (Ok(subject), Ok(model)) => {
                        self.tokens.push((subject.token, model.token));
                        ensure!(
                            compare::times(subject.until, model.until, now),
                            "the modification expires at another time"
                        );
                        compare::records(&subject.record, &model.record, now)
                    }
                    (Err(subject), Err(model)) => compare::refusal(&subject, &[model]),
                    (subject, model) => Err(format!("{subject:?} instead of {model:?}")),
                }
            }
            Operation::Claim { stage, max, lease } => {
                let request =
                    crate::backend::fixture::request(naming::stage(*stage), usize::from(*max))
                        .lease(naming::length(*lease));
                let claims = self.fixture.backend.claim(&request).await;
                self.claimed(&request, claims.map_err(|error| error.chain())?)
                    .await
            }
            Operation::Renew(numbers, ttl) => {
                let ttl = naming::length(*ttl);
                let (subject, model) = self.pairs(numbers.iter().copied());
                let renewed = self.fixture.backend.renew(&subject, ttl).await;
                let renewed = renewed.map_err(|error| error.chain())?;
                let model: Vec<bool> = model
                    .iter()
                    .map(|token| self.model.renew(token, ttl, self.now))
                    .collect();
                ensure!(renewed == model, "{renewed:?} instead of {model:?}");
                Ok(())
            }
            Operation::Settle(ends) => {
                let (subject, model) = self.pairs(ends.iter().map(|(number, _)| *number));
                let outcomes: Vec<_> = ends.iter().map(|(_, end)| naming::outcome(end)).collect();
                let subject: Vec<_> = subject.into_iter().zip(outcomes.clone()).collect();
                let settled = self.fixture.backend.settle(&subject).await;
                let settled = settled.map_err(|error| error.chain())?;
                let model: Vec<bool> = model
                    .iter()
                    .zip(&outcomes)
                    .map(|(token, outcome)| self.model.end(token, outcome, self.now))
                    .collect();
                ensure!(settled == model, "{settled:?} instead of {model:?}");
                Ok(())
            }
            Operation::Pass(length) => {
                let time = naming::passing(*length);
                self.fixture.advance(time).await;
                self.now = self.now.plus(time);
                Ok(())
            }
            Operation::Get(numbers) => {
                let keys: Vec<Key> = numbers.iter().map(|n| naming::key(*n)).collect();
                let subject = self.fixture.backend.get(&keys, ALL).await;
                let subject = subject.map_err(|error| error.chain())?;
                let model: Vec<_> = keys.iter().map(|k| self.model.record(k, ALL)).collect();
                let now = self.times().await;
                compare::lists("the answers", &subject, &model, |subject, model| {
                    compare::options(subject.as_ref(), model.as_ref(), now)
                })
            }
            Operation::List(choice, limit) => self.list(choice, usize::from(*limit)).await,
            Operation::Count(choice, bound) => {
                let (select, bound) = (naming::select(choice), u64::from(*bound));
                let subject = self.fixture.backend.count(&select, bound, Want::ROW).await;
                let subject = subject.map_err(|error| error.chain())?;
                let model = self.model.count(&select, bound);
                ensure!(subject == model, "{subject:?} instead of {model:?}");
                Ok(())
            }
            Operation::Tail { back } => self.tail(u64::from(*back)).await,
            Operation::History { key, back, limit } => {
                let before = Revision(self.model.revision().0.saturating_sub(u64::from(*back)) + 1);
                let before = Some(before).filter(|_| *back > 0);
                self.history(&naming::key(*key), before, usize::from(*limit))
                    .await
            }
        }
    }

    fn pairs(&self, numbers: impl Iterator<Item = TokenNumber>) -> (Vec<Token>, Vec<Token>) {
        numbers.map(|number| self.token(number)).unzip()
    }

    async fn commit(&mut self, draft: &RandomSet) -> Result<(), String> {
        let (subject, model) = self.sets(draft);
        let done = self.fixture.backend.commit(subject, Ack::Numbered).await;
        let reasons = self.model.refusals(&model, self.now);
        let done = match done {
            Err(error) => return compare::refusal(&error, &reasons),
            Ok(done) => done,
        };
        ensure!(reasons.is_empty(), "accepted, in spite of {reasons:?}");
        let expected = self.model.apply(model, self.now);
        ensure!(
            done.revision == expected.revision,
            "the revision {:?} instead of {:?}",
            done.revision,
            expected.revision
        );
        ensure!(
            done.existing == expected.existing,
            "existing {:?} instead of {:?}",
            done.existing,
            expected.existing
        );
        let given: BTreeMap<Key, Version> = done.versions.into_iter().collect();
        let keys: BTreeSet<&Key> = expected.versions.iter().map(|(key, _)| key).collect();
        ensure!(
            given.keys().collect::<BTreeSet<_>>() == keys,
            "versions of {given:?} instead of {keys:?}"
        );
        for (key, model) in expected.versions {
            let subject = given[&key];
            self.versions.entry(key).or_default().push((subject, model));
        }
        Ok(())
    }

    /// Makes the set for the backend, and the same for the model.
    fn sets(&mut self, draft: &RandomSet) -> (ChangeSet, ChangeSet) {
        self.commits += 1;
        let mut keys = BTreeSet::new();
        let changes = draft.changes.iter().filter(|(key, _)| keys.insert(*key));
        let changes: Vec<Change> = changes
            .map(|(key, alter)| self.change(*key, alter))
            .collect();
        let mark = |(stage, key, lane, after): &(u8, u8, u8, u8)| {
            Enqueue::now(naming::stage(*stage), naming::key(*key), Lane::new(*lane))
                .after(naming::length(*after))
        };
        let under = draft.under.map(|number| self.token(number));
        let (subject_require, model_require): (Vec<_>, Vec<_>) = draft
            .require
            .iter()
            .map(|(need, key)| self.require(need, naming::key(*key)))
            .unzip();
        let model = ChangeSet::new()
            .requirements(model_require)
            .changes(changes)
            .enqueued(draft.due.iter().map(mark))
            .settle(
                draft
                    .settle
                    .as_ref()
                    .filter(|_| under.is_some())
                    .map(naming::outcome),
            )
            .progress(
                draft
                    .progress
                    .filter(|_| under.is_some())
                    .map(naming::progress),
            )
            .under(under.as_ref().map(|(_, model)| model.clone()))
            .cause(format!("commit {}", self.commits));
        let mut subject = model.clone().under(under.map(|(subject, _)| subject));
        subject.require = subject_require;
        (subject, model)
    }

    fn change(&self, number: u8, alter: &RandomChange) -> Change {
        let mut change = naming::change(number, alter);
        if let (Change::Put(put), RandomChange::Put(look)) = (&mut change, alter)
            && put.key.kind() == Kind::Deployment
        {
            // The idempotency key is immutable: an existing deployment keeps its own.
            let there = self.model.record(&put.key, Want::ROW);
            let once = match &there {
                Some(record) => record
                    .entity
                    .deployment()
                    .and_then(|d| d.idempotency_key.clone()),
                None => look.once.map(|number| format!("once {number}").into()),
            };
            if let Facts::Deployment(facts) = &mut put.facts {
                facts.idempotency_key = once;
            }
        }
        change
    }

    fn require(&self, need: &RandomPrecondition, key: Key) -> (Require, Require) {
        let same = |require: Require| (require.clone(), require);
        match need {
            RandomPrecondition::Absent => same(Require::Absent(key)),
            RandomPrecondition::Exists => same(Require::Exists(key)),
            RandomPrecondition::Unreferenced => same(Require::Unreferenced(key)),
            RandomPrecondition::Generation(back) => {
                let there = self.model.record(&key, Want::ROW);
                let now = there.map_or(1, |record| record.entity.generation.0);
                let then = now.saturating_sub(u64::from(*back));
                same(Require::Generation(key, tko_core::Generation(then)))
            }
            RandomPrecondition::At(back) => {
                let (subject, model) = self.given(&key, *back);
                (Require::At(key.clone(), subject), Require::At(key, model))
            }
            RandomPrecondition::Current(back) => {
                let (subject, model) = self.given(&key, *back);
                let subject = Require::Current(key.clone(), subject);
                (subject, Require::Current(key, model))
            }
        }
    }

    /// An earlier version of a key, or one that no entity ever has.
    fn given(&self, key: &Key, back: u8) -> (Version, Version) {
        let given = self.versions.get(key).map_or(&[][..], Vec::as_slice);
        let at = given.len().checked_sub(usize::from(back) + 1);
        at.map_or((Version(u64::MAX), Version(u64::MAX)), |at| given[at])
    }

    /// Compares the complete states.
    pub(super) async fn compare_all(&self) -> Result<(), String> {
        for kind in 0..3 {
            let everything = RandomSelect {
                kind,
                id: None,
                word: None,
                template: None,
                template_word: None,
                site: None,
                site_word: None,
                parent: None,
                prepared: None,
                concerning: None,
                deleting: true,
            };
            self.list(&everything, 0).await?;
        }
        for number in 0..super::operation::KEYS {
            self.history(&naming::key(number), None, 1_000).await?;
        }
        self.tail(HISTORY as u64).await
    }
}
