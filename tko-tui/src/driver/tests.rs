//! Keys, mouse, and storms of changes, over a store in memory.

use super::FRAME;
use crate::action::{MenuPage, ScreenAction, ScreenPlace};
use crate::fetch::{FetchReply, FetchRequest};
use crate::fixture::{TestDashboard, TestStore};
use crate::state::{FeedLink, ListView, Screen, ScreenView};
use crate::text::TimeZoneOffset;
use ratatui::crossterm::event::{KeyCode, MouseButton, MouseEventKind};
use tko_core::{
    Ack, Backend, ChangeSet, Condition, DataApi, Deployment, DeploymentId, Entity, Event, Facts,
    Generation, Kind, NewSite, NewTemplate, Package, Page, Put, Record, Revision, SiteId,
    TemplateId,
};
use tokio::time::Instant;

#[tokio::test]
async fn keys_go_through_the_pages_and_back() {
    let store = TestStore::filled().await;
    let mut dashboard = TestDashboard::start(&store, 100, 30).await;
    dashboard.keys("d").await;
    dashboard.until("06h24sr0000000000005").await;
    // The template's cell opens the template.
    dashboard.key(KeyCode::Right).await;
    dashboard.key(KeyCode::Enter).await;
    dashboard.until("template nf/free5gc/upf:v1.2.0").await;
    // Its first link lists its deployments.
    dashboard.until("1 deployments").await;
    dashboard.keys("1").await;
    dashboard.until("--template-id nf/free5gc/upf:v1.2.0").await;
    dashboard.key(KeyCode::Esc).await;
    dashboard.until("template nf/free5gc/upf:v1.2.0").await;
    dashboard.key(KeyCode::Esc).await;
    dashboard.until("Deployments").await;
    dashboard.keys("q").await;
    assert!(dashboard.driver.screen.has_quit);
}

#[tokio::test]
async fn the_overview_says_why_approved_deployments_fail() {
    let store = TestStore::empty();
    let id = DeploymentId::new("d00000").expect("an id");
    let facts = Deployment::default().prepared(true).approved(true);
    let failed = Condition::new(
        "Scheduled",
        false,
        "SchedulerFailed",
        "the cluster refused",
        Generation(1),
    );
    let put = Put::new(id).facts(Facts::Deployment(Box::new(facts)));
    let set = ChangeSet::new().put(put.conditions(vec![failed]));
    let committed = store.backend.commit(set, Ack::Numbered).await;
    committed.expect("committed");
    let mut dashboard = TestDashboard::start(&store, 80, 24).await;
    dashboard.until("▲        1  the cluster refused").await;
    let row = format!("{:<24}{:>18}", "failing deployments", 1);
    dashboard.until(&row).await;
}

#[tokio::test]
async fn a_list_is_filtered_and_an_id_is_found() {
    let store = TestStore::filled().await;
    let mut dashboard = TestDashboard::start(&store, 80, 24).await;
    dashboard.keys("d/").await;
    dashboard.keys("--state nonsense").await;
    dashboard.key(KeyCode::Enter).await;
    dashboard.until("unknown state").await;
    for _ in 0.."nonsense".len() {
        dashboard.key(KeyCode::Backspace).await;
    }
    dashboard.keys("failing").await;
    dashboard.key(KeyCode::Enter).await;
    dashboard.until("1/1 ").await;
    dashboard.until("0000004").await;
    dashboard.keys(":").await;
    dashboard.keys("site india/bangalore/south-100").await;
    dashboard.key(KeyCode::Enter).await;
    dashboard.until("siteId").await;
    dashboard.keys("/").await;
    dashboard.keys("CONDITIONS").await;
    dashboard.key(KeyCode::Enter).await;
    let ScreenView::Detail(detail) = &dashboard.driver.screen.view else {
        panic!("not the page of an entity");
    };
    assert_eq!(detail.matches.len(), 1);
}

#[tokio::test]
async fn what_is_marked_is_approved_and_deleted_after_a_question() {
    let store = TestStore::filled().await;
    let mut dashboard = TestDashboard::start(&store, 80, 24).await;
    dashboard.keys("d").await;
    dashboard.until("◆ waiting").await;
    dashboard.key(KeyCode::Down).await;
    dashboard.key(KeyCode::Down).await;
    dashboard.keys("A").await;
    dashboard.until("approve this?").await;
    dashboard.keys("n").await;
    assert!(dashboard.text().contains("◆ waiting"));
    dashboard.keys("Ay").await;
    dashboard.until("approved 1").await;
    dashboard
        .until_that("no waiting deployment", |driver| {
            !driver
                .terminal()
                .backend()
                .to_string()
                .contains("◆ waiting")
        })
        .await;
    dashboard.key(KeyCode::End).await;
    dashboard.keys(" ").await;
    dashboard.key(KeyCode::Up).await;
    dashboard.keys(" D").await;
    dashboard.until("delete 2?").await;
    dashboard
        .click(ScreenPlace::Answer(true), MouseButton::Left)
        .await;
    dashboard.until("deleted 2").await;
    dashboard
        .until_that("gone rows", |driver| {
            !driver.terminal().backend().to_string().contains("0000005")
        })
        .await;
}

#[tokio::test]
async fn the_mouse_selects_opens_sorts_and_goes_back() {
    let store = TestStore::filled().await;
    let mut dashboard = TestDashboard::start(&store, 120, 24).await;
    let sites = ScreenPlace::Menu(MenuPage::List(Kind::Deployment));
    dashboard.click(sites, MouseButton::Left).await;
    dashboard.until("06h24sr0000000000005").await;
    dashboard
        .click(ScreenPlace::Head(1), MouseButton::Left)
        .await;
    dashboard
        .click(ScreenPlace::Head(1), MouseButton::Left)
        .await;
    dashboard.until("Deployment▼").await;
    let ScreenView::List(list) = &dashboard.driver.screen.view else {
        panic!("not a list");
    };
    let first = list.row(0).map(|row| row.key.id().to_owned());
    assert_eq!(first.as_deref(), Some("06h24sr0000000000005"));
    dashboard.mouse(MouseEventKind::ScrollDown, 40, 10).await;
    dashboard
        .click(ScreenPlace::Cell(0, 3), MouseButton::Left)
        .await;
    dashboard
        .click(ScreenPlace::Cell(0, 3), MouseButton::Left)
        .await;
    dashboard.until("site india/bangalore/south-100").await;
    dashboard
        .mouse(MouseEventKind::Down(MouseButton::Right), 40, 10)
        .await;
    dashboard.until("Deployment▼").await;
}

#[tokio::test]
async fn a_storm_of_changes_is_drawn_in_bounded_frames() {
    const CHANGES: u64 = 1_000;
    let store = TestStore::filled().await;
    let mut dashboard = TestDashboard::start(&store, 80, 24).await;
    dashboard.keys("s").await;
    dashboard.until("south-100").await;
    let (frames, requests) = (dashboard.driver.frames, dashboard.driver.requests);
    let begin = Instant::now();
    let api = store.store.clone();
    let storm = tokio::spawn(async move {
        for number in 0..CHANGES {
            let id = SiteId::new(&format!("site-{number:04}")).expect("an id");
            let new = NewSite::new(id, Package::default());
            api.register_site(new).await.expect("registered");
        }
    });
    dashboard
        .until_that("all changes", |driver| driver.screen.changes >= CHANGES)
        .await;
    storm.await.expect("it ends");
    dashboard.until("1,000 changes").await;
    let most = begin.elapsed().as_millis() / FRAME.as_millis() + 2;
    let drawn = dashboard.driver.frames - frames;
    assert!(u128::from(drawn) <= most, "{drawn} frames, at most {most}");
    // Events alone keep the list current.
    assert!(dashboard.driver.requests - requests <= 2);
    let ScreenView::List(list) = &dashboard.driver.screen.view else {
        panic!("not a list");
    };
    assert!(list.len() <= 1_000, "{} rows", list.len());
}

#[tokio::test]
async fn many_deployments_cost_a_screenful_of_requests() {
    let store = TestStore::empty();
    for thousand in 0..5 {
        let mut set = ChangeSet::new();
        for number in 0..1_000 {
            let id = format!("d{thousand}{number:04}");
            let facts = Facts::Deployment(Box::default());
            set = set.put(Put::new(DeploymentId::new(&id).expect("an id")).facts(facts));
        }
        store
            .backend
            .commit(set, Ack::Numbered)
            .await
            .expect("committed");
    }
    let mut dashboard = TestDashboard::start(&store, 80, 24).await;
    let requests = dashboard.driver.requests;
    dashboard.keys("d").await;
    dashboard.until("1/100+").await;
    assert!(dashboard.driver.requests - requests <= 2);
    for _ in 0..60 {
        dashboard.key(KeyCode::PageDown).await;
        dashboard
            .until_that("rows", |driver| !driver.screen.is_waiting())
            .await;
    }
    dashboard.until("d10").await;
    let ScreenView::List(list) = &dashboard.driver.screen.view else {
        panic!("not a list");
    };
    assert!(list.len() <= 400 && list.window.has_previous());
    assert!(dashboard.driver.requests - requests <= 20);
    dashboard.key(KeyCode::Home).await;
    dashboard.until("1/100+").await;
    dashboard.until("d00000").await;
}

fn site(id: &str) -> Record {
    let id = SiteId::new(id).expect("an id");
    Record::new(Entity::new(id, Facts::site(None, None)))
}

/// A screen with the list of sites. Its page was requested first; then these events arrived, and
/// then the page, of revision 10 with the sites `gone` and `stays`.
fn screen_after(events: Vec<Event>) -> Screen {
    let mut screen = Screen::new(TimeZoneOffset::default(), Vec::new());
    let requests = screen.act(ScreenAction::Menu(MenuPage::List(Kind::Site)));
    let [FetchRequest::Page { ticket, growth, .. }] = requests[..] else {
        panic!("not a request for a page: {requests:?}");
    };
    screen.receive(FetchReply::Events(events));
    let page = Page::new(Revision(10), vec![site("gone"), site("stays")]);
    screen.receive(FetchReply::Page {
        ticket,
        growth,
        page: Ok(page),
    });
    screen
}

fn shown_list(screen: &Screen) -> &ListView {
    let ScreenView::List(list) = &screen.view else {
        panic!("not a list");
    };
    list
}

fn gone(revision: u64) -> Event {
    Event::Gone {
        revision: Revision(revision),
        before: site("gone"),
    }
}

fn put(revision: u64, id: &str) -> Event {
    Event::Put {
        revision: Revision(revision),
        record: site(id),
        entered: true,
    }
}

#[test]
fn a_page_does_not_undo_later_events_that_came_before_it() {
    // The page is later than the first event: `old` was deleted before it was read.
    let screen = screen_after(vec![put(9, "old"), gone(11), put(12, "new")]);
    let list = shown_list(&screen);
    let rows = list.window.rows().iter().map(|row| row.key.id());
    assert_eq!(rows.collect::<Vec<_>>(), ["new", "stays"]);
    assert!(!list.is_stale);
}

#[test]
fn an_entity_that_is_deleted_while_it_is_read_is_read_again() {
    let mut screen = screen_after(Vec::new());
    let requests = screen.act(ScreenAction::Open);
    let [FetchRequest::Detail { ticket, .. }] = requests[..] else {
        panic!("not a request for an entity: {requests:?}");
    };
    screen.receive(FetchReply::Events(vec![gone(11)]));
    screen.receive(FetchReply::Detail {
        ticket,
        record: Box::new(Ok(site("gone"))),
    });
    let ScreenView::Detail(detail) = &screen.view else {
        panic!("not the page of an entity");
    };
    assert!(detail.is_stale);
}

#[test]
fn a_page_is_read_again_after_more_events_than_are_kept() {
    let events = (0..5_000).map(|number| put(11 + number, "new"));
    let screen = screen_after(events.collect());
    assert!(shown_list(&screen).is_stale);
}

#[tokio::test]
async fn a_lost_connection_is_said_and_healed() {
    let store = TestStore::filled().await;
    let mut dashboard = TestDashboard::start(&store, 80, 24).await;
    let lost = FetchReply::Lost("could not watch: refused".to_owned());
    dashboard.driver.receive(lost);
    dashboard.until("disconnected").await;
    dashboard.until("could not watch: refused").await;
    dashboard
        .driver
        .receive(FetchReply::Connected { anew: false });
    dashboard.until("● live").await;
    assert_eq!(dashboard.driver.screen.link, FeedLink::Live);
    let id = TemplateId::new("nf/new:v1").expect("an id");
    let new = NewTemplate::new(id, Package::default());
    store
        .store
        .register_template(new)
        .await
        .expect("registered");
    dashboard.until("template nf/new:v1").await;
}

#[tokio::test]
async fn waiting_work_is_retried_without_a_question() {
    use tko_core::{ClaimRequest, Outcome, Stage, WorkerApi};
    let store = TestStore::filled().await;
    let id = DeploymentId::new("06h24sr0000000000005").expect("an id");
    let work = tko_core::Enqueue::now(Stage::Prepare, &id, tko_core::Lane::new(0));
    store.store.enqueue(vec![work]).await.expect("enqueued");
    let claim = ClaimRequest::new(Stage::Prepare, "preparer");
    let claimed = store.store.claim(&claim).await.expect("claims");
    let later = Outcome::Retry {
        after: std::time::Duration::from_hours(1),
        reason: "refused".to_owned(),
    };
    let outcomes = [(claimed[0].token.clone(), later)];
    let settled = store.store.settle(&outcomes).await;
    assert_eq!(settled.expect("settled"), [true]);
    let mut dashboard = TestDashboard::start(&store, 100, 24).await;
    dashboard.keys("d").await;
    dashboard.until("06h24sr0000000000005").await;
    dashboard.key(KeyCode::End).await;
    dashboard.keys("R").await;
    dashboard.until("due now: 1").await;
    assert_eq!(store.store.claim(&claim).await.expect("claims").len(), 1);
    dashboard.keys("R").await;
    dashboard.until("does not wait for its next attempt").await;
}
