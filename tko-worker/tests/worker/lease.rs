//! Leases are renewed while they are held, and lost if the store refuses or does not answer.

use async_trait::async_trait;
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tko_core::change::FeedPosition;
use tko_core::{
    Ack, Admission, Backend, ChangeRecord, ChangeSet, Claim, ClaimRequest, Clock, Committed, Count,
    DeploymentId, Error, Ids, Key, Kind, List, MAX_CHANGES, Modification, Outcome, Package, Page,
    Record, Result, Revision, Select, Store, Timestamp, Token, Violation, Want,
};
use tko_worker::lease::{Lease, Leases};
use tokio::time::Instant;

const TIME: Duration = Duration::from_secs(30);

/// How the store answers renewals.
#[derive(Clone, Default)]
enum Answers {
    #[default]
    Live,
    /// All are live except these.
    Refuses(BTreeSet<Token>),
    Fails,
    Hangs,
}

/// A backend that can only renew.
#[derive(Default)]
struct Renewing {
    answers: Mutex<Answers>,
    /// The tokens of each renewal.
    asked: Mutex<Vec<Vec<Token>>>,
}

impl Renewing {
    fn set(&self, answers: Answers) {
        *self.answers.lock().expect("whole") = answers;
    }

    fn asked(&self) -> Vec<Vec<Token>> {
        std::mem::take(&mut self.asked.lock().expect("whole"))
    }
}

#[async_trait]
impl Backend for Renewing {
    fn name(&self) -> &'static str {
        "renewing"
    }

    async fn renew(&self, tokens: &[Token], ttl: Duration) -> Result<Vec<bool>> {
        assert_eq!(ttl, TIME);
        self.asked.lock().expect("whole").push(tokens.to_vec());
        let answers = self.answers.lock().expect("whole").clone();
        match answers {
            Answers::Live => Ok(vec![true; tokens.len()]),
            Answers::Refuses(dead) => Ok(tokens.iter().map(|t| !dead.contains(t)).collect()),
            Answers::Fails => Err(Error::unavailable("renew", "no such host")),
            Answers::Hangs => std::future::pending().await,
        }
    }

    async fn get(&self, _: &[Key], _: Want) -> Result<Vec<Option<Record>>> {
        unreachable!("leases are renewed only")
    }

    async fn list(&self, _: &List) -> Result<Page> {
        unreachable!("leases are renewed only")
    }

    async fn count(&self, _: &Select, _: u64, _: Want) -> Result<Count> {
        unreachable!("leases are renewed only")
    }

    async fn commit(&self, _: ChangeSet, _: Ack) -> Result<Committed> {
        unreachable!("leases are renewed only")
    }

    async fn start_modification(&self, _: &Key, _: Duration, _: Want) -> Result<Modification> {
        unreachable!("leases are renewed only")
    }

    async fn claim(&self, _: &ClaimRequest) -> Result<Vec<Claim>> {
        unreachable!("leases are renewed only")
    }

    async fn settle(&self, _: &[(Token, Outcome)]) -> Result<Vec<bool>> {
        unreachable!("leases are renewed only")
    }

    async fn feed_position(&self) -> Result<FeedPosition> {
        unreachable!("leases are renewed only")
    }

    fn tail(&self, _: Revision, _: Want) -> BoxStream<'static, Result<ChangeRecord>> {
        unreachable!("leases are renewed only")
    }

    async fn history(&self, _: &Key, _: Option<Revision>, _: usize) -> Result<Vec<ChangeRecord>> {
        unreachable!("leases are renewed only")
    }
}

struct Nothing;

#[async_trait]
impl Admission for Nothing {
    async fn admit(&self, _: &Package, _: bool) -> Result<Vec<Violation>> {
        unreachable!("nothing is stored")
    }
}

impl Ids for Nothing {
    fn next(&self) -> DeploymentId {
        unreachable!("nothing is made")
    }
}

struct Paused(Instant);

impl Clock for Paused {
    fn now(&self) -> Timestamp {
        Timestamp::default().plus(self.0.elapsed())
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(time))
    }
}

struct Fixture {
    backend: Arc<Renewing>,
    clock: Arc<Paused>,
    leases: Arc<Leases>,
}

impl Fixture {
    /// A fixture whose renewer runs.
    fn new() -> Self {
        let backend = Arc::new(Renewing::default());
        let clock = Arc::new(Paused(Instant::now()));
        let store = Store::new(backend.clone(), Arc::new(Nothing), Arc::new(Nothing));
        let leases = Leases::new(Arc::new(store), clock.clone(), TIME);
        let keeping = leases.clone();
        tokio::spawn(async move { keeping.keep().await });
        Self {
            backend,
            clock,
            leases,
        }
    }

    fn hold(&self, token: &Token) -> Lease {
        self.leases.hold(token, self.clock.now())
    }

    /// Seconds from the start to the loss of the lease; `None` if it lasts an hour.
    async fn lost(&self, lease: &Lease) -> Option<u64> {
        let lost = tokio::time::timeout(Duration::from_hours(1), lease.lost()).await;
        lost.ok().map(|()| self.clock.0.elapsed().as_secs())
    }
}

fn token(number: usize) -> Token {
    Token::new(
        Key::new(Kind::Site, &format!("s{number}")).expect("a good id"),
        "x",
    )
}

#[tokio::test(start_paused = true)]
async fn leases_are_renewed_together_at_a_third_of_their_duration() {
    let fixture = Fixture::new();
    let [one, two] = [token(1), token(2)].map(|token| fixture.hold(&token));
    assert_eq!(fixture.lost(&one).await, None);
    assert_eq!(fixture.lost(&two).await, None);
    let asked = fixture.backend.asked();
    assert!((719..=720).contains(&asked.len()), "{}", asked.len());
    for mut tokens in asked {
        tokens.sort();
        assert_eq!(tokens, [token(1), token(2)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_not_renewed() {
    let fixture = Fixture::new();
    let one = fixture.hold(&token(1));
    drop(fixture.hold(&token(2)));
    assert_eq!(fixture.leases.tokens(), [token(1)]);
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(fixture.backend.asked(), [[token(1)]]);
    drop(one);
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(fixture.backend.asked(), Vec::<Vec<Token>>::new());
}

#[tokio::test(start_paused = true)]
async fn only_a_refused_lease_is_lost_and_at_once() {
    let fixture = Fixture::new();
    let [one, two] = [token(1), token(2)].map(|token| fixture.hold(&token));
    fixture.backend.set(Answers::Refuses([token(1)].into()));
    assert_eq!(fixture.lost(&one).await, Some(10));
    assert_eq!(fixture.lost(&one).await, Some(10), "it stays lost");
    assert_eq!(fixture.lost(&two).await, None);
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_a_lease_is_lost_when_it_expires() {
    for answers in [Answers::Fails, Answers::Hangs] {
        let fixture = Fixture::new();
        // Requested some time ago: it counts from then.
        let asked = fixture.clock.now();
        tokio::time::sleep(Duration::from_secs(5)).await;
        let one = fixture.leases.hold(&token(1), asked);
        fixture.backend.set(answers);
        assert_eq!(fixture.lost(&one).await, Some(30));
        assert!(fixture.backend.asked().len() >= 2, "it is retried");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_recovers_in_time_loses_no_lease() {
    for answers in [Answers::Fails, Answers::Hangs] {
        let fixture = Fixture::new();
        let one = fixture.hold(&token(1));
        fixture.backend.set(answers);
        tokio::time::sleep(Duration::from_secs(22)).await;
        fixture.backend.set(Answers::Live);
        assert_eq!(fixture.lost(&one).await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn no_request_renews_more_tokens_than_the_store_accepts() {
    let fixture = Fixture::new();
    let held: Vec<_> = (0..=MAX_CHANGES)
        .map(|number| fixture.hold(&token(number)))
        .collect();
    tokio::time::sleep(Duration::from_secs(11)).await;
    let sizes: Vec<_> = fixture.backend.asked().iter().map(Vec::len).collect();
    assert_eq!(sizes, [MAX_CHANGES, 1]);
    // All of them are renewed, by two calls.
    for lease in &held {
        let lost = tokio::time::timeout(Duration::from_millis(1), lease.lost()).await;
        assert!(lost.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn work_is_dropped_when_its_lease_is_lost() {
    let fixture = Fixture::new();
    let one = fixture.hold(&token(1));
    let done = one.keep(tokio::time::sleep(Duration::from_mins(2))).await;
    assert_eq!(done, Some(()));
    fixture.backend.set(Answers::Refuses([token(1)].into()));
    let work = Arc::new(());
    let working = work.clone();
    let done = one.keep(async move {
        tokio::time::sleep(Duration::from_mins(2)).await;
        drop(working);
    });
    assert_eq!(done.await, None);
    assert_eq!(Arc::strong_count(&work), 1);
}
