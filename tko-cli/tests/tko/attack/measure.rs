//! Measurements of a server: the durations of a client's requests, memory, and processor time.

use crate::harness::Server;
use std::time::{Duration, Instant};
use tko_core::{DataApi, Key, NewDeployment, TemplateId, Want};
use tko_grpc::client::Client;

/// The longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The time in which a process must do nothing to be idle.
const QUIET: Duration = Duration::from_millis(250);

/// The duration that 99 of 100 requests of a client do not exceed: reads, and one creation in ten.
pub(super) async fn p99(server: &Server, template: &TemplateId, time: Duration) -> Duration {
    let client = server.client();
    let key = Key::from(template);
    let end = Instant::now() + time;
    let mut took = Vec::new();
    while Instant::now() < end {
        let start = Instant::now();
        let request = async {
            if took.len() % 10 == 9 {
                let new = NewDeployment::new().template(template.clone());
                client.create_deployment(new).await.expect("valid");
            } else {
                client.get(&key, Want::ROW).await.expect("it exists");
            }
        };
        let answered = tokio::time::timeout(PATIENCE, request).await;
        answered.unwrap_or_else(|_| panic!("no answer within {PATIENCE:?}"));
        took.push(start.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    took.sort();
    took[took.len() * 99 / 100]
}

/// The requests of a client between two looks.
pub(super) async fn some_requests(client: &Client, template: &TemplateId) {
    let key = Key::from(template);
    for _ in 0..50 {
        let answered = tokio::time::timeout(PATIENCE, client.get(&key, Want::ROW)).await;
        answered.expect("in time").expect("it exists");
    }
}

/// The resident memory of a process, in bytes.
pub(super) fn memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"));
    let status = status.expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
    let kilobytes: Option<u64> = kilobytes.and_then(|text| text.parse().ok());
    kilobytes.expect("a number") << 10
}

/// Notices when a process has little to do.
pub(super) struct Idle {
    process: u32,
    ticks: u64,
}

impl Idle {
    pub(super) fn of(process: u32) -> Self {
        Self {
            process,
            ticks: ticks(process),
        }
    }

    /// Whether the process used less than a tenth of a processor in the next moments.
    pub(super) async fn next(&mut self) -> bool {
        tokio::time::sleep(QUIET).await;
        let before = std::mem::replace(&mut self.ticks, ticks(self.process));
        // A tick is a hundredth of a second.
        u128::from(self.ticks - before) * 10 * 10 < QUIET.as_millis()
    }
}

/// The processor time of a process, of the user and of the kernel, in ticks.
fn ticks(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
    // The name of the program, in parentheses, may contain spaces.
    let (_, fields) = stat.rsplit_once(')').expect("a name");
    let times = fields.split_whitespace().skip(11).take(2);
    times
        .map(|ticks| ticks.parse::<u64>().expect("a number"))
        .sum()
}
