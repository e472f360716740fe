//! Memory that processes have for themselves, from what Linux says of them.

use sqlx::PgPool;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

/// How often it is looked at.
const EVERY: Duration = Duration::from_millis(20);

/// How much this process, and all of the server's together, have grown since, at most; in MiB.
#[derive(Debug)]
pub(crate) struct Grown {
    pub(crate) client: f64,
    pub(crate) server: f64,
}

/// This process and those of the server, while something is done.
pub(crate) struct Watched {
    before: [u64; 2],
    most: Arc<[AtomicU64; 2]>,
    looking: JoinHandle<()>,
}

impl Watched {
    pub(crate) async fn new(pool: &PgPool) -> Self {
        let before = now(pool).await;
        let most = Arc::new(before.map(AtomicU64::new));
        let looking = tokio::spawn({
            let (pool, most) = (pool.clone(), most.clone());
            async move {
                let mut tick = tokio::time::interval(EVERY);
                loop {
                    tick.tick().await;
                    for (most, now) in most.iter().zip(now(&pool).await) {
                        most.fetch_max(now, Ordering::Relaxed);
                    }
                }
            }
        });
        Self {
            before,
            most,
            looking,
        }
    }

    pub(crate) fn grown(self) -> Grown {
        self.looking.abort();
        let [client, server] = [0, 1].map(|who| {
            let most = self.most[who].load(Ordering::Relaxed);
            #[allow(clippy::cast_precision_loss)] // Far below 2^52.
            let grown = most.saturating_sub(self.before[who]) as f64;
            grown / 1024.0
        });
        Grown { client, server }
    }
}

/// Of this process, and of all processes of the server; in KiB.
async fn now(pool: &PgPool) -> [u64; 2] {
    let pids: Vec<i32> = sqlx::query_scalar("SELECT pid FROM pg_stat_activity")
        .fetch_all(pool)
        .await
        .expect("processes");
    let server = pids.into_iter().map(|pid| anonymous(&pid.to_string()));
    [anonymous("self"), server.sum()]
}

/// Memory of a process that no other has, in KiB; 0 if it is gone.
fn anonymous(pid: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.and_then(|line| line.trim().strip_suffix("kB"));
    number.map_or(0, |number| number.trim().parse().expect("a number"))
}
