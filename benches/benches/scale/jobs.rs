//! What each backend is asked to do.

use futures_util::StreamExt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tko_benches::sample::{creations, fresh};
use tko_benches::speed::{CALLERS, Inputs, Speed, speed};
use tko_core::{Ack, Backend, ClaimRequest, Kind, List, Outcome, Pattern, Select, Stage};

/// How long a round of a job is measured.
pub(crate) const TIME: Duration = Duration::from_secs(1);

/// Most deployments that a round creates: they are made before, in memory.
const MOST: usize = 20_000;

/// Records on a page.
pub(crate) const PAGE: usize = 100;

/// Creations in a batch.
pub(crate) const BATCH: usize = 100;

/// Something to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Job {
    FirstPage,
    PageByLabel,
    Stream,
    Claim,
    CreateAlone,
    Create,
    Batch,
}

/// All jobs; those that add deployments come last.
pub(crate) const JOBS: [Job; 7] = [
    Job::FirstPage,
    Job::PageByLabel,
    Job::Stream,
    Job::Claim,
    Job::CreateAlone,
    Job::Create,
    Job::Batch,
];

impl Job {
    /// Its name in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::FirstPage => "list the first page of 100: pages/s",
            Self::PageByLabel => "list a page of 100 by label, 1 of 50: pages/s",
            Self::Stream => "stream all: deployments/s",
            Self::Claim => "claim 10 and hand back, 8 workers: claims/s",
            Self::CreateAlone => "create, 1 caller, each durable: deployments/s",
            Self::Create => "create, 8 callers: deployments/s",
            Self::Batch => "create in batches of 100: deployments/s",
        }
    }
}

/// Runs a round of a job on a backend that holds `size` deployments, all due to be prepared.
///
/// Creations stop when they have added `size` deployments.
pub(crate) async fn measure(job: Job, backend: &Arc<dyn Backend>, size: usize) -> Speed {
    match job {
        Job::FirstPage => pages(backend, Select::all(Kind::Deployment)).await,
        Job::PageByLabel => {
            let mut select = Select::all(Kind::Deployment);
            select
                .metadata
                .insert("region".to_owned(), Pattern::literal("GDC-07"));
            pages(backend, select).await
        }
        Job::Stream => stream(backend).await,
        Job::Claim => claims(backend).await,
        Job::CreateAlone => create(backend, 1, size.min(MOST), 1).await,
        Job::Create => create(backend, CALLERS, size.min(MOST), 1).await,
        Job::Batch => create(backend, 1, size.min(MOST) / BATCH, BATCH).await,
    }
}

async fn pages(backend: &Arc<dyn Backend>, select: Select) -> Speed {
    let list = &list(select, PAGE);
    speed(1, TIME, |_, _| async move {
        let page = backend.list(list).await.expect("a page");
        assert!(!page.items.is_empty(), "deployments match");
        1
    })
    .await
}

fn list(select: Select, limit: usize) -> List {
    List::new(select).limit(limit)
}

/// Several times, as once is soon over.
async fn stream(backend: &Arc<dyn Backend>) -> Speed {
    let mut speed = Speed::default();
    let began = Instant::now();
    while began.elapsed() < TIME {
        let start = Instant::now();
        let mut pages = backend
            .clone()
            .pages(list(Select::all(Kind::Deployment), 1_000));
        let mut count = 0;
        while let Some(page) = pages.next().await {
            count += page.expect("a page").items.len();
        }
        speed.add(Speed::of(count, start.elapsed()));
    }
    speed
}

async fn claims(backend: &Arc<dyn Backend>) -> Speed {
    let back = Outcome::Yield {
        after: Duration::ZERO,
    };
    let back = &back;
    speed(CALLERS, TIME, |caller, _| async move {
        let request = ClaimRequest::new(Stage::Prepare, format!("worker {caller}"))
            .max(10)
            .lease(Duration::from_secs(30));
        let claims = backend.claim(&request).await.expect("claims");
        let back = claims.into_iter().map(|claim| (claim.token, back.clone()));
        let back: Vec<_> = back.collect();
        let settled = backend.settle(&back).await.expect("settled");
        settled.iter().filter(|live| **live).count()
    })
    .await
}

async fn create(backend: &Arc<dyn Backend>, callers: usize, sets: usize, each: usize) -> Speed {
    let sets = Inputs::new(sets, || creations(fresh(each)));
    let sets = &sets;
    speed(callers, TIME, |_, _| async move {
        let Some(set) = sets.next() else {
            return 0;
        };
        backend.commit(set, Ack::Durable).await.expect("created");
        each
    })
    .await
}
