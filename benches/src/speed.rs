//! Rates: how often something can be done in a second, measured in rounds that alternate.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Callers at once, unless a job says otherwise.
pub const CALLERS: usize = 8;

/// How much was done in a time.
#[derive(Clone, Debug, Default)]
pub struct Speed {
    count: usize,
    time: Duration,
    /// How long each call took, if that was measured.
    calls: Vec<Duration>,
}

impl Speed {
    /// This many in this time, without the times of single calls.
    pub fn of(count: usize, time: Duration) -> Self {
        let calls = Vec::new();
        Self { count, time, calls }
    }

    /// How many a second.
    pub fn rate(&self) -> f64 {
        #[allow(clippy::cast_precision_loss)] // Far below 2^52.
        let count = self.count as f64;
        count / self.time.as_secs_f64()
    }

    /// The median of a call, and what one call in a hundred exceeds; `None` if calls were not timed.
    pub fn times(&self) -> Option<(Duration, Duration)> {
        let mut calls = self.calls.clone();
        calls.sort();
        let at = |percent: usize| calls.get(calls.len() * percent / 100).copied();
        at(50).zip(at(99))
    }

    /// Adds the counts and times of another round.
    pub fn add(&mut self, other: Self) {
        self.count += other.count;
        self.time += other.time;
        self.calls.extend(other.calls);
    }
}

/// Measures two jobs in alternating rounds, so that both meet the same state of the machine.
pub async fn in_turn<A, B>(
    rounds: usize,
    one: impl Fn() -> A,
    other: impl Fn() -> B,
) -> (Speed, Speed)
where
    A: Future<Output = Speed>,
    B: Future<Output = Speed>,
{
    let mut both = (Speed::default(), Speed::default());
    for _ in 0..rounds {
        both.0.add(one().await);
        both.1.add(other().await);
    }
    both
}

/// Calls `work` from `callers` tasks for about `time`; the calls in progress then are finished.
///
/// `work` gets the number of its caller and how many calls that caller has made before. It returns
/// how much it did; 0 ends its caller.
pub async fn speed<F, Fut>(callers: usize, time: Duration, work: F) -> Speed
where
    F: Fn(usize, usize) -> Fut,
    Fut: Future<Output = usize>,
{
    let start = Instant::now();
    let callers = (0..callers).map(|caller| {
        let work = &work;
        async move {
            let (mut total, mut times) = (0, Vec::new());
            while start.elapsed() < time {
                let begun = Instant::now();
                match work(caller, times.len()).await {
                    0 => break,
                    done => total += done,
                }
                times.push(begun.elapsed());
            }
            (total, times)
        }
    });
    let done = futures_util::future::join_all(callers).await;
    let elapsed = start.elapsed();
    Speed {
        count: done.iter().map(|(total, _)| total).sum(),
        time: elapsed,
        calls: done.into_iter().flat_map(|(_, times)| times).collect(),
    }
}

/// Inputs that callers take one after the other, all made before anything is measured.
pub struct Inputs<T>(Mutex<std::vec::IntoIter<T>>);

impl<T> Inputs<T> {
    /// Makes this many.
    pub fn new(count: usize, make: impl Fn() -> T) -> Self {
        let all: Vec<_> = (0..count).map(|_| make()).collect();
        Self(Mutex::new(all.into_iter()))
    }

    /// The next input; `None` if all are taken.
    ///
    /// # Panics
    /// If another caller panicked while it took one.
    pub fn next(&self) -> Option<T> {
        self.0.lock().expect("no caller panics here").next()
    }
}
