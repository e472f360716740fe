//! What the server can do at most, without anything of TKO.

use futures_util::TryStreamExt;
use sqlx::{Connection, Executor, PgPool};
use std::time::{Duration, Instant};

/// How long each is measured.
pub(crate) const TIME: Duration = Duration::from_secs(5);

/// Rounds of creations.
pub(crate) const CREATES: usize = 3;

/// Rounds of claims.
pub(crate) const CLAIMS: usize = 3;

/// Rounds of streams.
pub(crate) const STREAMS: usize = 5;

/// Connections at once.
pub(crate) const CALLERS: usize = 8;

/// Vacuums and writes everything, so that what is measured next is not disturbed.
pub(crate) async fn settle(pool: &PgPool) {
    pool.execute("VACUUM ANALYZE")
        .await
        .expect("it is vacuumed");
    pool.execute("CHECKPOINT").await.expect("it is written");
}

/// How fast something was.
#[derive(Clone, Debug, Default)]
pub(crate) struct Speed {
    count: usize,
    time: Duration,
    /// How long each call took, if that was measured.
    calls: Vec<Duration>,
}

impl Speed {
    /// So many in this time.
    pub(crate) fn of(count: usize, time: Duration) -> Self {
        let calls = Vec::new();
        Self { count, time, calls }
    }

    /// A second.
    pub(crate) fn rate(&self) -> f64 {
        #[allow(clippy::cast_precision_loss)] // Far below 2^52.
        let count = self.count as f64;
        count / self.time.as_secs_f64()
    }

    /// The median of a call, and what one in a hundred exceeds; if calls were timed.
    pub(crate) fn times(&self) -> Option<(Duration, Duration)> {
        let mut calls = self.calls.clone();
        calls.sort();
        let at = |percent: usize| calls.get(calls.len() * percent / 100).copied();
        at(50).zip(at(99))
    }

    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.time += other.time;
        self.calls.extend(other.calls);
    }
}

/// Rounds of what is held against one another: so both meet the machine in the same moods.
pub(crate) async fn in_turn<A, B>(
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

/// So much work, from so many tasks, which says how much it did; nothing: the task is at its end.
pub(crate) async fn speed<F, Fut>(callers: usize, work: F) -> Speed
where
    F: Fn(usize, usize) -> Fut,
    Fut: Future<Output = usize>,
{
    let start = Instant::now();
    let callers = (0..callers).map(|caller| {
        let work = &work;
        async move {
            let (mut total, mut times) = (0, Vec::new());
            while start.elapsed() < TIME {
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

/// One integer a transaction.
pub(crate) async fn tiny_commits(pool: &PgPool) -> Speed {
    pool.execute("CREATE TABLE IF NOT EXISTS raw_tiny (i bigint)")
        .await
        .expect("a table");
    speed(CALLERS, |_, count| async move {
        sqlx::query("INSERT INTO raw_tiny VALUES ($1)")
            .bind(i64::try_from(count).expect("small"))
            .execute(pool)
            .await
            .expect("inserted");
        1
    })
    .await
}

/// An id and 2 KB a transaction.
pub(crate) async fn inserts(pool: &PgPool) -> Speed {
    pool.execute("CREATE TABLE IF NOT EXISTS raw_row (id uuid PRIMARY KEY, body bytea)")
        .await
        .expect("a table");
    let body: Vec<u8> = (0..2_060_u32).map(|i| (i * 7 % 251) as u8).collect();
    let body = &body;
    speed(CALLERS, |_, _| async move {
        sqlx::query("INSERT INTO raw_row VALUES ($1, $2)")
            .bind(uuid::Uuid::now_v7())
            .bind(body)
            .execute(pool)
            .await
            .expect("inserted");
        1
    })
    .await
}

/// The same by COPY.
pub(crate) async fn copy_in(pool: &PgPool) -> Speed {
    pool.execute("CREATE TABLE IF NOT EXISTS raw_copy (id uuid PRIMARY KEY, body bytea)")
        .await
        .expect("a table");
    let bytes = (0..2_060_u32).map(|i| format!("{:02x}", i * 7 % 251));
    let body = bytes.collect::<Vec<_>>().concat();
    let body = &body;
    speed(1, |_, _| async move {
        let mut connection = pool.acquire().await.expect("a connection");
        let mut copy = connection
            .copy_in_raw("COPY raw_copy FROM STDIN")
            .await
            .expect("it copies");
        for _ in 0..100 {
            let line = |_| format!("{}\t\\\\x{body}\n", uuid::Uuid::now_v7());
            let lines = (0..100).map(line).collect::<Vec<_>>().concat();
            copy.send(lines.as_bytes()).await.expect("sent");
        }
        copy.finish().await.expect("copied");
        10_000
    })
    .await
}

/// All rows of deployments, in the order of their ids.
pub(crate) async fn copy_out(pool: &PgPool) -> Speed {
    let mut connection = pool.acquire().await.expect("a connection");
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM entity WHERE kind = 2")
        .fetch_one(&mut *connection)
        .await
        .expect("counted");
    connection.ping().await.expect("alive");
    let start = Instant::now();
    let columns = "id, version, generation, created, updated, body_at, skeleton, deleting, \
         prepared, approved, template, site, parent, place, body, metadata, rest";
    let sql = format!(
        "COPY (SELECT {columns} FROM entity WHERE kind = 2 ORDER BY kind, id) TO STDOUT (FORMAT binary)"
    );
    let stream = connection.copy_out_raw(&sql).await.expect("it copies");
    let bytes: usize = stream
        .try_fold(0, |sum, bytes| async move { Ok(sum + bytes.len()) })
        .await
        .expect("copied");
    assert!(bytes > 0, "something was copied");
    Speed::of(usize::try_from(count).expect("small"), start.elapsed())
}

/// What each table takes, in bytes a deployment.
pub(crate) async fn sizes(pool: &PgPool) -> Vec<(String, f64)> {
    settle(pool).await;
    sqlx::query_as(
        "SELECT c.relname::text, pg_total_relation_size(c.oid)::float8 / \
         (SELECT count(*) FROM entity WHERE kind = 2) FROM pg_class c \
         WHERE c.relkind = 'r' AND c.relname IN ('entity', 'facet', 'body', 'event') \
         ORDER BY 2 DESC",
    )
    .fetch_all(pool)
    .await
    .expect("sizes")
}
