//! One task: runs its script and logs each answer with its moment.

use super::script::{Action, ReadPrecondition, ScriptStep, key};
use crate::backend::fixture::{ALL, BackendFixture, TTL, request};
use crate::backend::sample::{PutBuilder, changes, condition, deployment, set, site};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tko_core::{
    Ack, Change, ChangeSet, Committed, Enqueue, Error, Key, Kind, Lane, Outcome, Put, Require,
    Stage, Token, Want,
};

/// The common log of all tasks.
#[derive(Default)]
pub(super) struct Notes {
    time: AtomicU64,
    told: Mutex<Vec<Note>>,
}

impl Notes {
    /// Returns a moment later than all before it.
    fn now(&self) -> u64 {
        self.time.fetch_add(1, Ordering::SeqCst)
    }

    fn write(&self, note: Note) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.push(note);
    }

    pub(super) fn read(&self) -> Vec<Note> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.clone()
    }
}

/// One logged answer.
#[derive(Clone, Debug)]
pub(super) enum Note {
    /// A set that was acknowledged (`done`) or refused between these moments.
    Commit {
        name: String,
        asked: u64,
        told: u64,
        set: Box<ChangeSet>,
        done: Option<Committed>,
    },
    /// A modification that the task held at least between these moments.
    Modification { token: Token, from: u64, to: u64 },
    /// A lease that the task held between these moments, if it was live at the second.
    Lease {
        key: Key,
        fence: u64,
        asked: u64,
        from: u64,
        to: u64,
        /// Whether it was live then. Otherwise it ended with its entity at an unknown moment.
        live: bool,
    },
}

pub(super) struct Actor {
    number: usize,
    fixture: BackendFixture,
    notes: Arc<Notes>,
    commits: usize,
}

impl Actor {
    pub(super) fn new(number: usize, fixture: BackendFixture, notes: Arc<Notes>) -> Self {
        Self {
            number,
            fixture,
            notes,
            commits: 0,
        }
    }

    pub(super) async fn play(&mut self, script: &[ScriptStep]) -> Result<(), String> {
        for act in script {
            self.act(act).await?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn pause(&self, act: &ScriptStep) {
        for _ in 0..act.pauses {
            tokio::task::yield_now().await;
        }
    }

    async fn act(&mut self, act: &ScriptStep) -> Result<(), String> {
        match &act.what {
            Action::Put {
                keys,
                word,
                site,
                need,
            } => {
                let keys: Vec<Key> = [Some(keys.0), keys.1]
                    .into_iter()
                    .flatten()
                    .map(key)
                    .collect();
                let mut require = Vec::new();
                for key in &keys {
                    require.extend(self.need(key, *need).await?);
                }
                self.pause(act).await;
                let puts = keys.iter().map(|key| look(key, *word, *site));
                let puts: Vec<Put> = puts.collect();
                let site = site.filter(|_| keys.iter().any(|k| k.kind() == Kind::Deployment));
                require.extend(site.map(|number| Require::Exists(key(number))));
                self.commit(set(puts).requirements(require)).await.map(drop)
            }
            Action::Delete(number) => {
                let key = key(*number);
                let require = vec![Require::Unreferenced(key.clone())];
                let delete = changes([Change::Delete(key)]);
                self.commit(delete.requirements(require)).await.map(drop)
            }
            Action::Create(once) => {
                let id = format!("new{}x{}", self.number, self.commits);
                let put = deployment(&id).idempotency_key(&format!("once {once}"));
                self.commit(set([put])).await.map(drop)
            }
            Action::Conditions(number, status) => {
                let said = vec![condition("Said", *status, "By")];
                let change = Change::Conditions(key(*number), said);
                self.commit(changes([change])).await.map(drop)
            }
            Action::Modification { key: number, used } => {
                self.edit(act, &key(*number), *used).await
            }
            Action::Mark(number) => {
                let due = vec![Enqueue::now(
                    Stage::Prepare,
                    key(*number),
                    Lane::new(*number),
                )];
                self.commit(ChangeSet::new().enqueued(due)).await.map(drop)
            }
            Action::Work { max, commit, done } => self.work(act, *max, *commit, *done).await,
        }
    }

    /// A precondition that held when it was read.
    async fn need(&self, key: &Key, need: ReadPrecondition) -> Result<Option<Require>, String> {
        let found = self
            .fixture
            .backend
            .get(std::slice::from_ref(key), Want::ROW)
            .await;
        let found = found.map_err(|error| error.chain())?.pop().flatten();
        Ok(match (need, found) {
            (ReadPrecondition::Nothing, _)
            | (ReadPrecondition::Version | ReadPrecondition::Generation, None) => None,
            (ReadPrecondition::Version, Some(r)) => {
                Some(Require::At(key.clone(), r.entity.version))
            }
            (ReadPrecondition::Generation, Some(r)) => {
                Some(Require::Generation(key.clone(), r.entity.generation))
            }
            (ReadPrecondition::Exists, _) => Some(Require::Exists(key.clone())),
            (ReadPrecondition::Absent, _) => Some(Require::Absent(key.clone())),
        })
    }

    /// Commits a set and logs it. `None`: it was refused for a possible reason.
    async fn commit(&mut self, set: ChangeSet) -> Result<Option<Committed>, String> {
        self.commits += 1;
        let name = format!("{}x{}", self.number, self.commits);
        let set = set.cause(name.as_str());
        let asked = self.notes.now();
        let result = self
            .fixture
            .backend
            .commit(set.clone(), Ack::Numbered)
            .await;
        let told = self.notes.now();
        let lease = set.under.as_ref().is_some_and(|_| set.settle.is_some());
        let done = match result {
            Ok(done) => Some(done),
            Err(
                Error::Conflict(_) | Error::NotFound(_) | Error::AlreadyExists(_) | Error::Busy(_),
            ) => None,
            // The lease ends with its entity.
            Err(Error::ClaimExpired(_)) if lease => None,
            Err(other) => return Err(format!("{set:?}: {}", other.chain())),
        };
        self.notes.write(Note::Commit {
            name,
            asked,
            told,
            set: Box::new(set),
            done: done.clone(),
        });
        Ok(done)
    }

    async fn edit(&mut self, act: &ScriptStep, key: &Key, used: bool) -> Result<(), String> {
        let token = match self.fixture.backend.start_modification(key, TTL, ALL).await {
            Ok(edit) => edit.token,
            Err(Error::Busy(_) | Error::NotFound(_)) => return Ok(()),
            Err(other) => return Err(other.chain()),
        };
        let from = self.notes.now();
        self.pause(act).await;
        let to = self.notes.now();
        let under = Some(token.clone());
        let word = u8::try_from(self.commits % 3).unwrap_or(0);
        let put = set([look(key, word, None)]);
        let committed = used && self.commit(put.under(under)).await?.is_some();
        if !committed {
            let end = [(token.clone(), Outcome::Done)];
            let settled = self.fixture.backend.settle(&end).await;
            let settled = settled.map_err(|error| error.chain())?;
            if settled != [true] {
                return Err(format!("the modification of {key} was not live any more"));
            }
        }
        self.notes.write(Note::Modification { token, from, to });
        Ok(())
    }

    async fn work(
        &mut self,
        act: &ScriptStep,
        max: u8,
        commit: bool,
        done: bool,
    ) -> Result<(), String> {
        let asked = self.notes.now();
        let request = request(Stage::Prepare, usize::from(max));
        let claims = self.fixture.backend.claim(&request).await;
        let from = self.notes.now();
        for claim in claims.map_err(|error| error.chain())? {
            self.pause(act).await;
            let to = self.notes.now();
            let end = if done {
                Outcome::Done
            } else {
                let after = Duration::ZERO;
                Outcome::Yield { after }
            };
            let under = Some(claim.token.clone());
            let settle = Some(end.clone());
            let child = deployment(&format!("c{}x{}", self.number, self.commits));
            let set = set([child]).under(under).settle(settle);
            let committed = commit && self.commit(set).await?.is_some();
            let mut live = committed;
            if !committed {
                let settled = self.fixture.backend.settle(&[(claim.token, end)]).await;
                live = settled.map_err(|error| error.chain())? == [true];
            }
            self.notes.write(Note::Lease {
                key: claim.work.key,
                fence: claim.fence,
                asked,
                from,
                to,
                live,
            });
        }
        Ok(())
    }
}

fn look(key: &Key, word: u8, on: Option<u8>) -> Put {
    let put = match key.kind() {
        Kind::Site => site(key.id()),
        _ => deployment(key.id()),
    };
    let put = put
        .with_label("word", &word.to_string())
        .with_resources(&["a", "b", "c"][..usize::from(word)]);
    match on {
        Some(number) if key.kind() == Kind::Deployment => put.site(self::key(number).id()),
        _ => put,
    }
}
