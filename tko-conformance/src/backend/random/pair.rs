//! Subject and model side by side.

use super::compare::{self, Now};
use super::naming;
use super::operation::{Alter, Choice, Draft, Need, Operation, TokenNumber};
use crate::backend::bench::{ALL, Bench};
use crate::backend::sample::d;
use crate::explore::ensure;
use crate::reference::{Asked, State};
use futures_util::StreamExt;
use std::collections::{BTreeMap, BTreeSet};
use tko_core::{
    Ack, Change, ChangeSet, Claim, ClaimRequest, Error, Facts, Key, Kind, Lane, List, Mark, Record,
    Require, Revision, Timestamp, Token, Version, Want,
};

/// How many changes the subject is asked to keep.
pub(super) const HISTORY: usize = 30;

/// The subject, and the model that goes through the same.
pub(super) struct Pair {
    bench: Bench,
    model: State,
    now: Timestamp,
    /// Each that was given out: the subject's, the model's.
    tokens: Vec<(Token, Token)>,
    /// Each that was given: the subject's, the model's.
    versions: BTreeMap<Key, Vec<(Version, Version)>>,
    commits: u32,
}

impl Pair {
    pub(super) fn new(bench: Bench) -> Self {
        Self {
            bench,
            model: State::new(usize::MAX),
            now: Timestamp(1_000_000_000),
            tokens: Vec::new(),
            versions: BTreeMap::new(),
            commits: 0,
        }
    }

    async fn times(&self) -> Now {
        Now {
            subject: self.bench.head().await.now,
            model: self.now,
        }
    }

    fn token(&self, number: TokenNumber) -> (Token, Token) {
        let made_up = Token {
            key: d("d0"),
            secret: "made.up".into(),
        };
        let at = self.tokens.len().checked_sub(usize::from(number) + 1);
        let given = at.and_then(|at| self.tokens.get(at));
        given.cloned().unwrap_or((made_up.clone(), made_up))
    }

    pub(super) async fn step(&mut self, operation: &Operation) -> Result<(), String> {
        match operation {
            Operation::Commit(draft) => self.commit(draft).await,
            Operation::Edit(key, ttl) => {
                let (key, ttl) = (naming::key(*key), naming::length(*ttl));
                let subject = self.bench.backend.edit(&key, ttl, ALL).await;
                let now = self.times().await;
                match (subject, self.model.edit(&key, ttl, ALL, self.now)) {
                    (Ok(subject), Ok(model)) => {
                        self.tokens.push((subject.token, model.token));
                        ensure!(
                            compare::times(subject.until, model.until, now),
                            "it lapses at another time"
                        );
                        compare::records(&subject.record, &model.record, now)
                    }
                    (Err(subject), Err(model)) => compare::refusal(&subject, &[model]),
                    (subject, model) => Err(format!("{subject:?} instead of {model:?}")),
                }
            }
            Operation::Claim { stage, max, lease } => {
                let request = ClaimRequest {
                    lease: naming::length(*lease),
                    ..crate::backend::bench::request(naming::stage(*stage), usize::from(*max))
                };
                let claims = self.bench.backend.claim(&request).await;
                self.claimed(&request, claims.map_err(|error| error.chain())?)
                    .await
            }
            Operation::Renew(numbers, ttl) => {
                let ttl = naming::length(*ttl);
                let (subject, model) = self.pairs(numbers.iter().copied());
                let renewed = self.bench.backend.renew(&subject, ttl).await;
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
                let settled = self.bench.backend.settle(&subject).await;
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
                self.bench.advance(time).await;
                self.now = self.now.plus(time);
                Ok(())
            }
            Operation::Get(numbers) => {
                let keys: Vec<Key> = numbers.iter().map(|n| naming::key(*n)).collect();
                let subject = self.bench.backend.get(&keys, ALL).await;
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
                let subject = self.bench.backend.count(&select, bound).await;
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

    async fn commit(&mut self, draft: &Draft) -> Result<(), String> {
        let (subject, model) = self.sets(draft);
        let done = self.bench.backend.commit(subject, Ack::Numbered).await;
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

    /// The set for the subject, and the same for the model.
    fn sets(&mut self, draft: &Draft) -> (ChangeSet, ChangeSet) {
        self.commits += 1;
        let mut keys = BTreeSet::new();
        let changes = draft.changes.iter().filter(|(key, _)| keys.insert(*key));
        let changes: Vec<Change> = changes
            .map(|(key, alter)| self.change(*key, alter))
            .collect();
        let mark = |(stage, key, lane, after): &(u8, u8, u8, u8)| Mark {
            after: naming::length(*after),
            ..Mark::now(naming::stage(*stage), naming::key(*key), Lane::new(*lane))
        };
        let under = draft.under.map(|number| self.token(number));
        let (subject_require, model_require) = draft
            .require
            .iter()
            .map(|(need, key)| self.require(need, naming::key(*key)))
            .unzip();
        let model = ChangeSet {
            require: model_require,
            changes,
            due: draft.due.iter().map(mark).collect(),
            settle: draft
                .settle
                .as_ref()
                .filter(|_| under.is_some())
                .map(naming::outcome),
            progress: draft
                .progress
                .filter(|_| under.is_some())
                .map(naming::progress),
            under: under.as_ref().map(|(_, model)| model.clone()),
            cause: Some(format!("commit {}", self.commits).into()),
        };
        let subject = ChangeSet {
            require: subject_require,
            under: under.map(|(subject, _)| subject),
            ..model.clone()
        };
        (subject, model)
    }

    fn change(&self, number: u8, alter: &Alter) -> Change {
        let mut change = naming::change(number, alter);
        if let (Change::Put(put), Alter::Put(look)) = (&mut change, alter)
            && put.key.kind() == Kind::Deployment
        {
            // The key is for good: what is there keeps its own.
            let there = self.model.record(&put.key, Want::ROW);
            let once = match &there {
                Some(record) => record.entity.deployment().and_then(|d| d.once.clone()),
                None => look.once.map(|number| format!("once {number}").into()),
            };
            if let Facts::Deployment(facts) = &mut put.facts {
                facts.once = once;
            }
        }
        change
    }

    fn require(&self, need: &Need, key: Key) -> (Require, Require) {
        let same = |require: Require| (require.clone(), require);
        match need {
            Need::Absent => same(Require::Absent(key)),
            Need::Exists => same(Require::Exists(key)),
            Need::Unreferenced => same(Require::Unreferenced(key)),
            Need::Generation(back) => {
                let there = self.model.record(&key, Want::ROW);
                let now = there.map_or(1, |record| record.entity.generation.0);
                let then = now.saturating_sub(u64::from(*back));
                same(Require::Generation(key, tko_core::Generation(then)))
            }
            Need::At(back) => {
                let given = self.versions.get(&key).map_or(&[][..], Vec::as_slice);
                let at = given.len().checked_sub(usize::from(*back) + 1);
                let never = (Version(u64::MAX), Version(u64::MAX));
                let (subject, model) = at.map_or(never, |at| given[at]);
                (Require::At(key.clone(), subject), Require::At(key, model))
            }
        }
    }

    /// That these are claims which the model allows; then it makes the same.
    async fn claimed(&mut self, request: &ClaimRequest, claims: Vec<Claim>) -> Result<(), String> {
        let due = self.model.due(request.stage, self.now);
        allowed(request, &claims, &due)?;
        let now = self.times().await;
        for claim in claims {
            let key = &claim.work.key;
            let model = self
                .model
                .lease(request.stage, key, request.lease, self.now);
            compare::works(&claim.work, &model.work, now)?;
            ensure!(
                compare::times(claim.until, model.until, now),
                "{key}: the lease lapses at another time"
            );
            self.tokens.push((claim.token, model.token));
        }
        Ok(())
    }

    async fn list(&self, choice: &Choice, limit: usize) -> Result<(), String> {
        let mut list = List {
            select: naming::select(choice),
            after: None,
            limit,
            want: ALL,
        };
        let mut subject: Vec<Record> = Vec::new();
        for _ in 0..1_000 {
            let page = self.bench.backend.list(&list).await;
            let page = page.map_err(|error| error.chain())?;
            ensure!(
                limit == 0 || page.items.len() <= limit,
                "{} on a page of {limit}",
                page.items.len()
            );
            ensure!(
                page.revision == self.model.revision(),
                "a page names {} at {}",
                page.revision,
                self.model.revision()
            );
            subject.extend(page.items);
            list.after = page.next;
            if list.after.is_none() {
                break;
            }
        }
        ensure!(list.after.is_none(), "the listing comes to no end");
        let keys = self.model.matching(&list.select);
        let model: Vec<_> = keys.filter_map(|key| self.model.record(key, ALL)).collect();
        let now = self.times().await;
        let subject: Vec<_> = subject.iter().map(Some).collect();
        let model: Vec<_> = model.iter().map(Some).collect();
        compare::lists("the listing", &subject, &model, |subject, model| {
            compare::options(*subject, *model, now)
        })
    }

    async fn tail(&self, back: u64) -> Result<(), String> {
        self.bench.trim().await;
        let head = self.bench.head().await;
        let after = Revision(head.revision.0.saturating_sub(back));
        let kept = head.revision.0.saturating_sub(HISTORY as u64);
        ensure!(
            head.oldest.0 <= kept,
            "changes after {kept} are to be kept: {head:?}"
        );
        let count = usize::try_from(head.revision.0 - after.0).unwrap_or(usize::MAX);
        let mut tail = self.bench.backend.tail(after, Want::PACKAGE);
        if after < head.oldest {
            let first = tail.next().await;
            let expired = matches!(first, Some(Err(Error::Expired { .. })));
            ensure!(expired, "{first:?} after {after}, but it has expired");
            return Ok(());
        }
        let told: Vec<_> = tail.take(count).collect().await;
        let told: Result<Vec<_>, Error> = told.into_iter().collect();
        let told = told.map_err(|error| error.chain())?;
        let mut model = Vec::new();
        let mut at = after;
        while let Ok(Some(change)) = self.model.change_after(at) {
            at = change.revision;
            model.push(change);
        }
        compare::lists("the feed", &told, &model, |told, model| {
            compare::changes(told, model)
        })
    }

    async fn history(
        &self,
        key: &Key,
        before: Option<Revision>,
        limit: usize,
    ) -> Result<(), String> {
        let subject = self.bench.backend.history(key, before, limit).await;
        let subject = subject.map_err(|error| error.chain())?;
        let mut model = self.model.history(key, before, limit);
        let kept = self.model.revision().0.saturating_sub(HISTORY as u64);
        let must = model.iter().filter(|c| c.revision.0 > kept).count();
        ensure!(
            subject.len() >= must,
            "{} changes of {key}, but {must} are to be kept",
            subject.len()
        );
        model.truncate(subject.len());
        compare::lists("the history", &subject, &model, compare::changes)
    }

    /// Compares everything that there is.
    pub(super) async fn compare_all(&self) -> Result<(), String> {
        for kind in 0..3 {
            let everything = Choice {
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

/// Whether these claims may be made of what is due: lanes in turn, earliest first in a lane, what
/// killed three workers alone.
fn allowed(request: &ClaimRequest, claims: &[Claim], due: &[Asked]) -> Result<(), String> {
    let mut taken: BTreeSet<&Key> = BTreeSet::new();
    for claim in claims {
        let key = &claim.work.key;
        ensure!(taken.insert(key), "{key} is leased twice");
        ensure!(
            due.iter().any(|asked| asked.key == *key),
            "{key} is not due, but was leased"
        );
    }
    ensure!(claims.len() <= request.max, "more than {}", request.max);
    ensure!(
        !claims.is_empty() || due.is_empty(),
        "due, but not leased: {due:?}"
    );
    let (taken, left): (Vec<&Asked>, Vec<&Asked>) =
        due.iter().partition(|asked| taken.contains(&asked.key));
    let alone = taken.iter().any(|asked| asked.alone);
    ensure!(!alone || taken.len() == 1, "not alone: {taken:?}");
    if due.iter().any(|asked| asked.attempts >= Lane::PATIENCE) {
        // It may be claimed alone, and others before or after it.
        return Ok(());
    }
    ensure!(
        left.is_empty() || taken.len() == request.max,
        "there is room, but {left:?} are left"
    );
    let of_lane = |lane: Lane| taken.iter().filter(move |asked| asked.lane == lane);
    let most = taken.iter().map(|asked| of_lane(asked.lane).count()).max();
    for waiting in left {
        let mut sooner = of_lane(waiting.lane);
        ensure!(
            sooner.all(|asked| asked.since <= waiting.since),
            "{waiting:?} was due earlier than what was leased of its lane: {taken:?}"
        );
        ensure!(
            of_lane(waiting.lane).count() + 1 >= most.unwrap_or(0),
            "the lane of {waiting:?} did not get its turn: {taken:?}"
        );
    }
    Ok(())
}
