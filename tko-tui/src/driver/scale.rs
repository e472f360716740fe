//! Figures: the time of a redraw, and the requests for very many deployments.
//!
//! `TKO_SCALE=1000000 cargo test --release -p tko-tui scale -- --ignored --nocapture`

use crate::fixture::{TestDashboard, TestStore};
use crate::state::ScreenView;
use ratatui::crossterm::event::KeyCode;
use std::time::Duration;
use tko_core::{
    Ack, Backend, ChangeSet, DataApi, Deployment, DeploymentId, Facts, NewSite, Package, Put,
    SiteId,
};
use tokio::time::Instant;

/// How long changes come in.
const LONG: Duration = Duration::from_secs(5);

/// The pause between two changes: 1,000 changes a second.
const PAUSE: Duration = Duration::from_millis(1);

/// The longest that 95 of 100 redraws may take.
const MOST: Duration = Duration::from_millis(16);

fn scale() -> u32 {
    let asked = std::env::var("TKO_SCALE").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(100_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures; the recipe `terminal` of .ci/long runs it"]
async fn redraws_are_short_under_a_thousand_changes_a_second() {
    let store = TestStore::filled().await;
    for keys in ["", "s"] {
        let mut dashboard = TestDashboard::start(&store, 200, 60).await;
        dashboard.keys(keys).await;
        let api = store.store.clone();
        let storm = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(PAUSE);
            let began = Instant::now();
            let mut made = 0_u32;
            while began.elapsed() < LONG {
                ticks.tick().await;
                let id = SiteId::new(&format!("site-{:04}", made % 2_000)).expect("an id");
                let package = Package::default();
                let new = NewSite::new(id, package).metadata([("change", made.to_string())]);
                api.register_site(new).await.expect("registered");
                made += 1;
            }
            made
        });
        dashboard.driver.draw_times.clear();
        while !storm.is_finished() {
            // After the last change nothing wakes the dashboard.
            let step = tokio::time::timeout(PAUSE * 100, dashboard.driver.step());
            let _ = step.await;
        }
        let made = storm.await.expect("it ends");
        let times = &mut dashboard.driver.draw_times;
        times.sort();
        let frames = times.len();
        let (median, p95) = (times[frames / 2], times[frames * 95 / 100]);
        println!("{made} changes in {LONG:?}: {frames} frames, median {median:?}, p95 {p95:?}");
        assert!(p95 < MOST, "{p95:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "creates very many deployments; the recipe `terminal` of .ci/long runs it"]
async fn very_many_deployments_cost_a_screenful_of_requests() {
    let store = TestStore::empty();
    let count = scale();
    for thousand in 0..count / 1_000 {
        let mut set = ChangeSet::new();
        for number in 0..1_000 {
            let id = format!("d{:08}", thousand * 1_000 + number);
            let facts = Deployment::default().prepared(number % 10 > 0);
            let facts = Facts::Deployment(Box::new(facts.approved(number % 10 > 1)));
            set = set.put(Put::new(DeploymentId::new(&id).expect("an id")).facts(facts));
        }
        store
            .backend
            .commit(set, Ack::Numbered)
            .await
            .expect("committed");
    }
    let began = Instant::now();
    let mut dashboard = TestDashboard::start(&store, 80, 24).await;
    println!(
        "{count} deployments: the overview is there after {:?}",
        began.elapsed()
    );
    let requests = dashboard.driver.requests;
    let began = Instant::now();
    dashboard.keys("d").await;
    dashboard.until("1/100+").await;
    println!("the list is there after {:?}", began.elapsed());
    for _ in 0..20 {
        dashboard.key(KeyCode::PageDown).await;
        dashboard
            .until_that("rows", |driver| !driver.screen.is_waiting())
            .await;
    }
    let made = dashboard.driver.requests - requests;
    let ScreenView::List(list) = &dashboard.driver.screen.view else {
        panic!("not a list");
    };
    println!(
        "20 screens further: {made} requests, {} rows kept",
        list.len()
    );
    assert!(made <= 10 && list.len() <= 400);
}
