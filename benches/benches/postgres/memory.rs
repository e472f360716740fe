//! Private memory of processes, as Linux reports it.

use sqlx::PgPool;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Time between two samples.
const EVERY: Duration = Duration::from_millis(20);

/// The most by which this process, and all of the server's processes together, have grown; in MiB.
#[derive(Debug)]
pub(crate) struct Grown {
    pub(crate) client: f64,
    pub(crate) server: f64,
}

/// Watches the memory of this process and of the server's processes.
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

/// Private memory of this process, and of all of the server's processes; in KiB.
async fn now(pool: &PgPool) -> [u64; 2] {
    let pids: Vec<i32> = sqlx::query_scalar("SELECT pid FROM pg_stat_activity")
        .fetch_all(pool)
        .await
        .expect("processes");
    let server = pids.into_iter().map(|pid| anonymous(&pid.to_string()));
    [anonymous("self"), server.sum()]
}

/// Private memory of a process, in KiB; 0 if it has ended.
fn anonymous(pid: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.and_then(|line| line.trim().strip_suffix("kB"));
    number.map_or(0, |number| number.trim().parse().expect("a number"))
}
