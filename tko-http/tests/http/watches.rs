//! Watches: events, resume, limits, restarts.

use crate::harness::{TIME, TestServer, answer, sent, store};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tko_core::{ApiCall, Caller, DataApi, Error, Guard, Guarded, Kind, NewSite, Package, SiteId};
use tko_http::HttpServerSettings;
use tko_serve::Access;

/// The events of a watch, one after the other.
struct Events {
    response: Response,
    text: String,
}

/// One event: name, id, data.
type SeenEvent = (String, Option<u64>, Value);

impl Events {
    async fn open(request: RequestBuilder) -> Self {
        let response = sent(request, StatusCode::OK).await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            response,
            text: String::new(),
        }
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<SeenEvent> {
        loop {
            while let Some(end) = self.text.find("\n\n") {
                let event: String = self.text.drain(..end + 2).collect();
                if !event.starts_with(':') {
                    return Some(parsed(&event));
                }
            }
            let chunk = tokio::time::timeout(TIME, self.response.chunk()).await;
            match chunk.expect("an event in time") {
                Ok(Some(chunk)) => self.text.push_str(&String::from_utf8_lossy(&chunk)),
                Ok(None) | Err(_) => return None,
            }
        }
    }
}

fn parsed(event: &str) -> SeenEvent {
    let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
    (
        field("event: ").expect("a name").to_owned(),
        field("id: ").map(|id| id.parse().expect("a number")),
        serde_json::from_str(field("data: ").expect("data")).expect("JSON"),
    )
}

#[tokio::test]
async fn changes_come_as_events_and_a_watch_resumes() {
    let server = TestServer::start().await;
    let watch = || server.get("/api/v1/watch?kind=site&after=0");
    let mut events = Events::open(watch()).await;
    server.register("/api/v1/sites/a", "").await;
    let (name, first, data) = events.next().await.expect("an event");
    assert_eq!((&*name, &data["siteId"]), ("added", &Value::from("a")));
    server.register("/api/v1/sites/a?metadata=x%3Dy", "").await;
    assert_eq!(events.next().await.expect("an event").0, "changed");
    answer(server.delete("/api/v1/sites/a"), StatusCode::NO_CONTENT).await;
    let (name, last, data) = events.next().await.expect("an event");
    assert_eq!((&*name, &data["id"]), ("removed", &Value::from("a")));
    drop(events);
    // The browser sends the last id that it saw, and the URL as it was.
    let first = first.expect("an id").to_string();
    let mut again = Events::open(watch().header("last-event-id", &first)).await;
    assert_eq!(again.next().await.expect("an event").0, "changed");
    let (name, id, _) = again.next().await.expect("an event");
    assert_eq!((&*name, id), ("removed", last));
}

#[tokio::test]
async fn an_old_watch_catches_up_with_the_shared_feed() {
    let mut settings = HttpServerSettings::default();
    settings.backlog = 4;
    let server = TestServer::with(store(), settings, Access::new(), 0).await;
    for number in 0..20 {
        server
            .register(&format!("/api/v1/sites/s{number:02}"), "")
            .await;
    }
    let mut events = Events::open(server.get("/api/v1/watch?kind=site&after=0")).await;
    for number in 0..40 {
        if number >= 20 {
            server
                .register(&format!("/api/v1/sites/s{number:02}"), "")
                .await;
        }
        let (_, _, data) = events.next().await.expect("an event");
        assert_eq!(data["siteId"], format!("s{number:02}"));
    }
}

#[tokio::test]
async fn a_filter_leaves_out_what_cannot_match() {
    let server = TestServer::start().await;
    let mut events = Events::open(server.get("/api/v1/watch?kind=site&after=0&id=b*")).await;
    for site in ["a", "b1", "c", "b2"] {
        server.register(&format!("/api/v1/sites/{site}"), "").await;
    }
    for site in ["b1", "b2"] {
        assert_eq!(events.next().await.expect("an event").2["siteId"], site);
    }
    for query in [
        "",
        "kind=thing",
        "kind=deployment&site-metadata=a%3Db",
        "kind=site&after=x",
    ] {
        let refused = server.get(&format!("/api/v1/watch?{query}"));
        answer(refused, StatusCode::BAD_REQUEST).await;
    }
}

#[tokio::test]
async fn a_revision_that_is_not_in_the_feed_is_told_and_the_watch_goes_on() {
    let server = TestServer::start().await;
    let watch = server
        .get("/api/v1/watch?kind=site")
        .header("last-event-id", "999999");
    let mut events = Events::open(watch).await;
    let (name, id, data) = events.next().await.expect("an event");
    assert_eq!((&*name, id), ("expired", Some(0)), "{data}");
    server.register("/api/v1/sites/a", "").await;
    assert_eq!(events.next().await.expect("an event").0, "added");
}

#[tokio::test]
async fn a_watch_survives_a_restart_of_the_server() {
    let server = TestServer::start().await;
    let mut events = Events::open(server.get("/api/v1/watch?kind=site&after=0")).await;
    server.register("/api/v1/sites/a", "").await;
    let (_, id, _) = events.next().await.expect("an event");
    let port = server.address.port();
    let store = server.stop().await;
    assert!(events.next().await.is_none());
    let server = TestServer::with(store, HttpServerSettings::default(), Access::new(), port).await;
    server.register("/api/v1/sites/b", "").await;
    let watch = server.get("/api/v1/watch?kind=site&after=0");
    let id = id.expect("an id").to_string();
    let mut again = Events::open(watch.header("last-event-id", id)).await;
    assert_eq!(again.next().await.expect("an event").2["siteId"], "b");
}

#[tokio::test]
async fn watches_are_limited_and_give_their_place_back() {
    let mut settings = HttpServerSettings::default();
    settings.max_watches = 1;
    let server = TestServer::with(store(), settings, Access::new(), 0).await;
    let watch = || server.get("/api/v1/watch?kind=site");
    let first = Events::open(watch()).await;
    answer(watch(), StatusCode::SERVICE_UNAVAILABLE).await;
    drop(first);
    let reopened = async {
        while watch().send().await.expect("an answer").status() != StatusCode::OK {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(TIME, reopened)
        .await
        .expect("the place is free again");
}

/// Counts the watches of the API.
struct CountingGuard(Arc<AtomicUsize>);

impl Guard for CountingGuard {
    fn check(&self, _: Option<&Caller>, call: ApiCall<'_>) -> tko_core::Result<()> {
        if matches!(call, ApiCall::Watch(_)) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

#[tokio::test]
async fn many_watches_read_the_feed_once() {
    let store = store();
    let watches = Arc::new(AtomicUsize::new(0));
    let api = Guarded::new(Arc::new(store.clone()), CountingGuard(watches.clone()));
    let settings = HttpServerSettings::default();
    let server = TestServer::serving(Arc::new(api), store, settings, Access::new(), 0).await;
    let counted = async {
        let summary = || server.get("/api/v1/summary");
        while answer(summary(), StatusCode::OK).await["complete"] != true {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(TIME, counted).await.expect("in time");
    let mut readers = Vec::new();
    for _ in 0..50 {
        readers.push(Events::open(server.get("/api/v1/watch?kind=site")).await);
        sent(server.get("/events?scope=all"), StatusCode::OK).await;
    }
    server.register("/api/v1/sites/a", "").await;
    for reader in &mut readers {
        assert_eq!(reader.next().await.expect("an event").0, "added");
    }
    // One for each kind of entity.
    assert_eq!(watches.load(Ordering::Relaxed), 4);
}

/// Fails the first lists of sites.
struct FailingListsGuard(AtomicUsize);

impl Guard for FailingListsGuard {
    fn check(&self, _: Option<&Caller>, call: ApiCall<'_>) -> tko_core::Result<()> {
        if let ApiCall::List(list) = call
            && list.select.kind == Kind::Site
            && self.0.fetch_add(1, Ordering::Relaxed) < 2
        {
            return Err(Error::unavailable("list sites", "the database restarts"));
        }
        Ok(())
    }
}

#[tokio::test]
async fn counts_become_complete_after_counting_has_failed() {
    let store = store();
    let site = SiteId::new("a").expect("an id");
    let new = NewSite::new(site, Package::default());
    store.register_site(new).await.expect("valid");
    let guard = FailingListsGuard(AtomicUsize::new(0));
    let api = Guarded::new(Arc::new(store.clone()), guard);
    let settings = HttpServerSettings::default();
    let server = TestServer::serving(Arc::new(api), store, settings, Access::new(), 0).await;
    let counted = async {
        loop {
            let summary = answer(server.get("/api/v1/summary"), StatusCode::OK).await;
            if summary["complete"] == true {
                return summary;
            }
            tokio::task::yield_now().await;
        }
    };
    let summary = tokio::time::timeout(TIME, counted).await.expect("in time");
    assert_eq!(summary["sites"], 1, "{summary}");
}

#[tokio::test]
async fn a_quiet_watch_has_heartbeats() {
    let mut settings = HttpServerSettings::default();
    settings.heartbeat = Duration::from_millis(20);
    let server = TestServer::with(store(), settings, Access::new(), 0).await;
    let mut response = sent(server.get("/api/v1/watch?kind=site"), StatusCode::OK).await;
    let mut text = String::new();
    while text.matches(": heartbeat").count() < 3 {
        let chunk = tokio::time::timeout(TIME, response.chunk()).await;
        let chunk = chunk.expect("in time").expect("a stream").expect("no end");
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
}
