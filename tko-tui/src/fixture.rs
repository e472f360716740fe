//! A store in memory with a fixed clock, and a dashboard over it.

use crate::action::ScreenPlace;
use crate::draw::ScreenTheme;
use crate::driver::Driver;
use crate::state::Screen;
use crate::text::TimeZoneOffset;
use async_trait::async_trait;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{
    Event, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tko_backend_memory::{Memory, MemorySettings};
use tko_core::{
    Ack, Admission, Backend, BoxFuture, ChangeSet, Clock, Condition, Deployment, DeploymentId,
    Facts, Generation, Gvk, Ids, Key, Kind, Package, Plugin, Put, Result, SiteId, Store,
    TemplateId, Timestamp, Violation,
};
use tokio::sync::mpsc;

/// The longest wait for anything: far more than a busy machine needs.
const TIME: Duration = Duration::from_mins(1);

/// A clock that stands still.
struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_795_882_711_000_000)
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(time))
    }
}

/// Ids in a row: `d00000`, `d00001`.
#[derive(Default)]
struct NumberedIds(AtomicU32);

impl Ids for NumberedIds {
    fn next(&self) -> DeploymentId {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        DeploymentId::new(&format!("d{number:05}")).expect("an id")
    }
}

/// Admits everything.
struct AdmitAll;

#[async_trait]
impl Admission for AdmitAll {
    async fn admit(&self, _: &Package, _: bool) -> Result<Vec<Violation>> {
        Ok(Vec::new())
    }
}

/// A backend with some entities of each kind, one of them with hostile text.
pub(crate) struct TestStore {
    pub(crate) backend: Arc<Memory>,
    pub(crate) store: Arc<Store<Memory>>,
}

impl TestStore {
    /// An empty store.
    pub(crate) fn empty() -> Self {
        let backend = Arc::new(Memory::new(Arc::new(StillClock), MemorySettings::default()));
        let ids = Arc::new(NumberedIds::default());
        let store = Store::new(backend.clone(), Arc::new(AdmitAll), ids);
        Self {
            backend,
            store: Arc::new(store),
        }
    }

    /// A store with some entities of each kind.
    pub(crate) async fn filled() -> Self {
        let store = Self::empty();
        let template = TemplateId::new("nf/free5gc/upf:v1.2.0").expect("an id");
        let site = SiteId::new("india/bangalore/south-100").expect("an id");
        let plugin = Key::new(Kind::Plugin, "prepare|free5gc-upf").expect("an id");
        let trigger = Gvk::new("workload.nephio.org", "v1alpha1", "UPFDeployment");
        let plugin_facts = Plugin::new("command").triggers(vec![trigger]);
        let values = [serde_json::json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "upf"},
            "data": {"hostile": "\u{1b}[2J\u{202e}", "pool": "10.0.0.0/8"},
        })];
        let package = Package::from_values(values).expect("a package");
        let metadata = |pairs: [(&str, &str); 1]| tko_core::Metadata::from_iter(pairs);
        let mut set = ChangeSet::new()
            .cause("registered")
            .put(
                Put::new(&template)
                    .metadata(metadata([("NetworkFunction.type", "UPF")]))
                    .body(package.clone()),
            )
            .put(Put::new(&site).metadata(metadata([("Site.region", "south\u{1b}[31m")])))
            .put(Put::new(plugin).facts(Facts::Plugin(Arc::new(plugin_facts))));
        for number in 0..6_u32 {
            let id = DeploymentId::new(&format!("06h24sr0000000000{number:03}")).expect("an id");
            let facts = Deployment::default()
                .template(template.clone())
                .site(site.clone())
                .prepared(number < 3)
                .approved(number < 2);
            let facts = if number == 0 {
                facts.placed((site.clone(), Generation(1)))
            } else {
                facts
            };
            let mut put = Put::new(&id).facts(Facts::Deployment(Box::new(facts)));
            if number == 0 {
                put = put.conditions(vec![Condition::new(
                    "Scheduled",
                    true,
                    "Scheduled",
                    "on site india/bangalore/south-100",
                    Generation(1),
                )]);
            }
            if number == 4 {
                put = put.conditions(vec![Condition::new(
                    "Prepared",
                    false,
                    "PluginFailed",
                    "prepare/free5gc-upf failed: no address pool left in region south\u{1b}[2J",
                    Generation(1),
                )]);
            }
            set = set.put(put.body(package.clone()));
        }
        store
            .backend
            .commit(set, Ack::Numbered)
            .await
            .expect("committed");
        store
    }
}

/// A dashboard over a store, on a terminal in memory.
pub(crate) struct TestDashboard {
    pub(crate) driver: Driver<TestBackend>,
    inputs: mpsc::Sender<Event>,
}

impl TestDashboard {
    /// A dashboard of this size. It waits until the overview is shown.
    pub(crate) async fn start(store: &TestStore, width: u16, height: u16) -> Self {
        let (inputs, events) = mpsc::channel(64);
        let server = vec![("address".to_owned(), "[::1]:50050".to_owned())];
        let screen = Screen::new(TimeZoneOffset::default(), server);
        let terminal = Terminal::new(TestBackend::new(width, height)).expect("in memory");
        let theme = ScreenTheme::new(true);
        let driver = Driver::new(terminal, screen, theme, store.store.clone(), events);
        let mut dashboard = Self {
            driver: driver.expect("a size"),
            inputs,
        };
        dashboard.until("● live").await;
        dashboard.until("deployments  ").await;
        dashboard
    }

    /// The text of the screen.
    pub(crate) fn text(&self) -> String {
        self.driver.terminal().backend().to_string()
    }

    /// Continues until the screen has this text.
    pub(crate) async fn until(&mut self, text: &str) {
        self.until_that(text, |driver| {
            driver.terminal().backend().to_string().contains(text)
        })
        .await;
    }

    /// Continues until this holds.
    pub(crate) async fn until_that(
        &mut self,
        what: &str,
        holds: impl Fn(&Driver<TestBackend>) -> bool,
    ) {
        let wait = async {
            while !holds(&self.driver) {
                self.driver.step().await.expect("draws");
            }
        };
        let in_time = tokio::time::timeout(TIME, wait).await.is_ok();
        assert!(in_time, "waiting for {what}:\n{}", self.text());
    }

    /// Sends a key.
    pub(crate) async fn key(&mut self, code: KeyCode) {
        self.send(Event::Key(KeyEvent::new(code, KeyModifiers::NONE)))
            .await;
    }

    /// Types text.
    pub(crate) async fn keys(&mut self, text: &str) {
        for c in text.chars() {
            self.key(KeyCode::Char(c)).await;
        }
    }

    /// Types keys one by one, as a person who looks at each screen does; a line feed is Enter.
    pub(crate) async fn keys_in_turn(&mut self, text: &str) {
        for c in text.chars() {
            self.key(match c {
                '\n' => KeyCode::Enter,
                c => KeyCode::Char(c),
            })
            .await;
            self.until_that("the replies", |driver| !driver.screen.is_waiting())
                .await;
        }
    }

    /// Sends an event, handles it and draws.
    pub(crate) async fn send(&mut self, event: Event) {
        self.inputs.send(event).await.expect("the driver lives");
        self.driver.step().await.expect("draws");
        let frames = self.driver.frames;
        self.until_that("a frame", |driver| {
            driver.frames > frames || driver.screen.has_quit
        })
        .await;
    }

    /// Clicks on a place with a button.
    pub(crate) async fn click(&mut self, place: ScreenPlace, button: MouseButton) {
        let area = self
            .driver
            .map()
            .area(place)
            .expect("the place is on the screen");
        self.mouse(MouseEventKind::Down(button), area.x, area.y)
            .await;
    }

    /// Sends a mouse event.
    pub(crate) async fn mouse(&mut self, kind: MouseEventKind, column: u16, row: u16) {
        let modifiers = KeyModifiers::NONE;
        self.send(Event::Mouse(MouseEvent {
            kind,
            column,
            row,
            modifiers,
        }))
        .await;
    }
}
