//! Lists and watches over HTTP, as informers use them.

use crate::serving::{Serving, config_map, package, store};
use futures_util::StreamExt;
use reqwest::Client;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tko_backend_memory::MemorySettings;
use tko_core::{
    ApiCall, Caller, DataApi, Error, Guard, Guarded, Key, Metadata, NewSite, NewTemplate, Package,
    Result, Revision, SiteId, TemplateId,
};
use tko_krm::KrmSettings;
use tko_serve::Access;

const PATIENCE: Duration = Duration::from_secs(20);

fn client() -> Client {
    // Another test may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::new()
}

fn url(serving: &Serving, rest: &str) -> String {
    format!(
        "http://{}/apis/tko.nephio.org/v1alpha1/{rest}",
        serving.address
    )
}

async fn get(serving: &Serving, rest: &str) -> (u16, Value) {
    let response = client()
        .get(url(serving, rest))
        .send()
        .await
        .expect("it is there");
    let status = response.status().as_u16();
    (status, response.json().await.expect("JSON"))
}

/// The lines of a watch.
struct Lines {
    chunks: futures_util::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    buffer: Vec<u8>,
}

impl Lines {
    async fn of(serving: &Serving, rest: &str) -> Self {
        let response = client()
            .get(url(serving, rest))
            .send()
            .await
            .expect("it is there");
        assert_eq!(response.status(), 200);
        Self {
            chunks: response.bytes_stream().boxed(),
            buffer: Vec::new(),
        }
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).expect("a line of JSON"));
            }
            let chunk = tokio::time::timeout(PATIENCE, self.chunks.next());
            let chunk = chunk.await.expect("something comes in time")?;
            self.buffer
                .extend_from_slice(&chunk.expect("the connection holds"));
        }
    }

    async fn event(&mut self) -> (String, Value) {
        let event = self.next().await.expect("the stream goes on");
        let kind = event["type"].as_str().expect("a type").to_owned();
        (kind, event["object"].clone())
    }
}

async fn register(serving: &Serving, id: &str, content: &str, labels: &[(&str, &str)]) {
    let id = TemplateId::new(id).expect("an id");
    let metadata: Metadata = labels.iter().copied().collect();
    let new = NewTemplate::new(id, package(content)).metadata(metadata);
    serving.data.register_template(new).await.expect("valid");
}

async fn delete(serving: &Serving, id: &str) {
    let key = Key::from(TemplateId::new(id).expect("an id"));
    serving.data.delete(&key).await.expect("it exists");
}

fn version(object: &Value) -> u64 {
    let text = object["metadata"]["resourceVersion"].as_str();
    text.and_then(|text| text.parse().ok())
        .expect("a resource version")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_of_a_list_is_of_the_state_of_the_first() {
    let serving = Serving::start().await;
    for at in 0..10 {
        register(&serving, &format!("t{at}"), "a", &[]).await;
    }
    let (_, first) = get(&serving, "templates?limit=3").await;
    let token = first["metadata"]["continue"]
        .as_str()
        .expect("there is more")
        .to_owned();
    register(&serving, "t4", "changed", &[]).await;
    register(&serving, "t4", "changed again", &[]).await;
    register(&serving, "t55", "new", &[]).await;
    delete(&serving, "t7").await;
    let (_, second) = get(&serving, &format!("templates?limit=3&continue={token}")).await;
    let (_, rest) = get(
        &serving,
        &format!(
            "templates?continue={}",
            second["metadata"]["continue"].as_str().expect("more")
        ),
    )
    .await;
    let mut names = Vec::new();
    for page in [&first, &second, &rest] {
        assert_eq!(version(page), version(&first));
        for item in page["items"].as_array().expect("items") {
            names.push(
                item["metadata"]["name"]
                    .as_str()
                    .expect("a name")
                    .to_owned(),
            );
            assert!(version(item) <= version(&first), "{item}");
            let resources = &item["spec"]["package"]["resources"];
            assert_eq!(resources[0]["metadata"]["name"], "a", "the old content");
        }
    }
    let expected: Vec<String> = (0..10).map(|at| format!("t{at}")).collect();
    assert_eq!(names, expected);
    let exact = format!(
        "templates?resourceVersion={}&resourceVersionMatch=Exact",
        version(&first)
    );
    let (_, all) = get(&serving, &exact).await;
    assert_eq!(all["items"].as_array().map(Vec::len), Some(10));
    let matching = format!("continue={token}&resourceVersionMatch=Exact");
    let versioned = format!("continue={token}&resourceVersion=5");
    for (query, expected) in [
        ("resourceVersionMatch=Exact&resourceVersion=0", 422),
        ("resourceVersionMatch=Exact", 422),
        ("sendInitialEvents=true", 422),
        (matching.as_str(), 422),
        (versioned.as_str(), 400),
    ] {
        let (status, refused) = get(&serving, &format!("templates?{query}")).await;
        assert_eq!(status, expected, "{query}: {refused}");
    }
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_every_change_and_transitions_of_selections() {
    let serving = Serving::start().await;
    let (_, empty) = get(&serving, "templates").await;
    assert_eq!((version(&empty), empty["items"].clone()), (1, json!([])));
    let mut all = Lines::of(&serving, "templates?watch=1&resourceVersion=1").await;
    let mut some = Lines::of(
        &serving,
        "templates?watch=1&resourceVersion=1&labelSelector=x%3D1",
    )
    .await;
    register(&serving, "a", "a", &[]).await;
    register(&serving, "a", "a", &[("x", "1")]).await;
    register(&serving, "a", "b", &[("x", "1")]).await;
    register(&serving, "a", "b", &[("x", "2")]).await;
    delete(&serving, "a").await;
    let mut last = 1;
    for expected in [
        "ADDED", "MODIFIED", "MODIFIED", "MODIFIED", "MODIFIED", "DELETED",
    ] {
        // The deletion of a template has two steps.
        let (kind, object) = all.event().await;
        assert_eq!(kind, expected);
        assert!(version(&object) > last, "versions rise");
        last = version(&object);
    }
    for (expected, label, at) in [("ADDED", "1", 3), ("MODIFIED", "1", 4), ("DELETED", "1", 5)] {
        let (kind, object) = some.event().await;
        assert_eq!((kind.as_str(), version(&object)), (expected, at));
        assert_eq!(
            object["metadata"]["labels"]["x"], label,
            "the content before, at the end"
        );
    }
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_begins_with_the_present_objects_and_has_bookmarks() {
    let mut settings = KrmSettings::default();
    settings.bookmark = Duration::from_millis(100);
    let serving = Serving::with(settings, Access::new()).await;
    serving.fill().await;
    let query = "sites?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan\
                 &allowWatchBookmarks=true&resourceVersion=0";
    let mut lines = Lines::of(&serving, query).await;
    let (kind, object) = lines.event().await;
    assert_eq!((kind.as_str(), &object["kind"]), ("ADDED", &json!("Site")));
    let (kind, object) = lines.event().await;
    assert_eq!(kind, "BOOKMARK");
    assert_eq!(
        object["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    let before = version(&object);
    register(&serving, "elsewhere", "a", &[]).await;
    loop {
        let (kind, object) = lines.event().await;
        assert_eq!(kind, "BOOKMARK", "templates are not watched");
        if version(&object) > before {
            break;
        }
    }
    let (status, refusal) = get(&serving, "sites?watch=1&sendInitialEvents=true").await;
    assert_eq!((status, &refusal["reason"]), (422, &json!("Invalid")));
    let mut ends = Lines::of(&serving, "plugins?watch=1&timeoutSeconds=1").await;
    assert_eq!(ends.event().await.0, "ADDED");
    assert!(ends.next().await.is_none(), "the watch ends in time");
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_objects_are_sent_in_several_pages_each_once_and_in_order() {
    let serving = Serving::start().await;
    for at in 0..30 {
        let mut resource = config_map("a");
        resource["data"]["greeting"] = "x".repeat(200_000).into();
        let package = Package::from_values([resource]).expect("a resource");
        let id = TemplateId::new(&format!("t{at:02}")).expect("an id");
        let new = NewTemplate::new(id, package);
        serving.data.register_template(new).await.expect("valid");
    }
    let query = "templates?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan\
                 &allowWatchBookmarks=true";
    let mut lines = Lines::of(&serving, query).await;
    for at in 0..30 {
        let (kind, object) = lines.event().await;
        assert_eq!(kind, "ADDED");
        assert_eq!(object["metadata"]["name"], format!("t{at:02}"));
    }
    assert_eq!(lines.event().await.0, "BOOKMARK");
    serving.stop().await;
}

/// Changes a template nine times. A watch that began before gets all changes, and so does one that
/// begins afterwards at a version that the server no longer keeps: the feed of the store has it.
async fn nine_changes_reach_old_and_new_watches(serving: &Serving) {
    register(serving, "a", "0", &[]).await;
    let mut early = Lines::of(serving, "templates?watch=1").await;
    early.event().await;
    for at in 1..10 {
        register(serving, "a", &at.to_string(), &[]).await;
    }
    let mut late = Lines::of(serving, "templates?watch=1&resourceVersion=2").await;
    for expected in 3..12 {
        for lines in [&mut early, &mut late] {
            let (kind, object) = lines.event().await;
            assert_eq!((kind.as_str(), version(&object)), ("MODIFIED", expected));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_that_are_not_kept_are_expired_within_the_stream() {
    let mut settings = KrmSettings::default();
    settings.kept_changes = 2;
    let serving = Serving::with(settings, Access::new()).await;
    nine_changes_reach_old_and_new_watches(&serving).await;
    let (status, ahead) = get(&serving, "templates?resourceVersion=1000").await;
    assert_eq!((status, &ahead["reason"]), (504, &json!("Timeout")));
    assert_eq!(
        ahead["details"]["causes"][0]["reason"],
        "ResourceVersionTooLarge"
    );
    for bad in [
        "templates?resourceVersion=x",
        "templates?continue=x",
        "templates?fieldSelector=a%3Db",
        "templates?labelSelector=%3D",
    ] {
        assert_eq!(get(&serving, bad).await.0, 400, "{bad}");
    }
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_take_too_much_memory_are_read_from_the_store() {
    let mut settings = KrmSettings::default();
    settings.kept_bytes = 1;
    let serving = Serving::with(settings, Access::new()).await;
    nine_changes_reach_old_and_new_watches(&serving).await;
    serving.stop().await;
}

/// A state that is gone: where the list continues, and what it says, depend on what the client has.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_is_not_kept_is_expired_for_lists() {
    let serving = Serving::remembering(100).await;
    for at in 0..600 {
        register(&serving, &format!("t{at:03}"), "a", &[]).await;
    }
    let (_, first) = get(&serving, "templates?limit=3").await;
    let (_, wide) = get(&serving, "templates?limit=450").await;
    for at in 0..1_300_u32 {
        register(&serving, "t999", &at.to_string(), &[]).await;
    }
    for (first, has) in [(&first, 3), (&wide, 450)] {
        let token = first["metadata"]["continue"].as_str().expect("more");
        // With the limit, without one, and with one that is read in several parts.
        for limit in ["limit=3&", "", "limit=1000&"] {
            let (status, failure) =
                get(&serving, &format!("templates?{limit}continue={token}")).await;
            assert_eq!((status, &failure["reason"]), (410, &json!("Expired")));
            let fresh = failure["metadata"]["continue"].as_str().expect("a token");
            let (status, rest) = get(&serving, &format!("templates?continue={fresh}")).await;
            assert_eq!(status, 200);
            assert_eq!(rest["items"].as_array().map(Vec::len), Some(601 - has));
        }
    }
    // The client has nothing yet, so nothing can be continued.
    for limit in ["", "&limit=1000"] {
        let exact = format!(
            "templates?resourceVersion={}&resourceVersionMatch=Exact{limit}",
            version(&first)
        );
        let (status, failure) = get(&serving, &exact).await;
        assert_eq!((status, &failure["reason"]), (410, &json!("Expired")));
        assert_eq!(failure["metadata"]["continue"], Value::Null, "{failure}");
        let said = failure["message"].as_str().expect("a message");
        assert!(said.starts_with("The resourceVersion for the provided list is too old"));
    }
    serving.stop().await;
}

/// client-go's check of consistency compares the objects of a watch with the items of a list.
#[tokio::test(flavor = "multi_thread")]
async fn items_of_a_list_of_metadata_have_no_kind_as_in_kubernetes() {
    let serving = Serving::start().await;
    register(&serving, "a", "a", &[]).await;
    let list = client()
        .get(url(&serving, "templates"))
        .header(
            "accept",
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
        )
        .send()
        .await
        .expect("it is there");
    let list: Value = list.json().await.expect("JSON");
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    let item = list["items"][0].as_object().expect("an item");
    assert_eq!(item.keys().collect::<Vec<_>>(), ["metadata"]);
    assert_eq!(item["metadata"]["name"], "a");
    serving.stop().await;
}

/// A client that lists, watches, loses its connection at any time, and resumes.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_loses_connections_ends_with_the_same_objects() {
    let mut settings = KrmSettings::default();
    settings.kept_changes = 5;
    let serving = Serving::with(settings, Access::new()).await;
    let done = AtomicBool::new(false);
    let writing = async {
        for at in 0..300_u32 {
            let id = format!("t{}", at * 7 % 13);
            if at % 5 == 4 {
                let key = Key::from(TemplateId::new(&id).expect("an id"));
                // It may be gone already.
                let _ = serving.data.delete(&key).await;
            } else {
                register(&serving, &id, &at.to_string(), &[]).await;
            }
        }
        done.store(true, Ordering::Release);
    };
    let following = async {
        let (_, list) = get(&serving, "templates").await;
        let mut at = version(&list);
        let mut known: BTreeMap<String, u64> = BTreeMap::new();
        let mut note = |kind: &str, object: &Value| {
            let name = object["metadata"]["name"]
                .as_str()
                .expect("a name")
                .to_owned();
            let new = version(object);
            if let Some(old) = known.get(&name) {
                assert!(new > *old, "{name} goes from {old} to {new}");
            }
            known.insert(name.clone(), new);
            if kind == "DELETED" {
                known.remove(&name);
            }
        };
        for item in list["items"].as_array().expect("items") {
            note("ADDED", item);
        }
        let mut taken = 0;
        loop {
            let query = format!(
                "templates?watch=1&allowWatchBookmarks=1&timeoutSeconds=3&resourceVersion={at}"
            );
            let mut lines = Lines::of(&serving, &query).await;
            // Cuts the connection after some events.
            for _ in 0..=taken % 17 {
                let Some(event) = lines.next().await else {
                    break;
                };
                let kind = event["type"].as_str().expect("a type");
                at = version(&event["object"]);
                if kind != "BOOKMARK" {
                    note(kind, &event["object"]);
                }
                taken += 1;
            }
            let (_, now) = get(&serving, "templates?limit=1").await;
            if done.load(Ordering::Acquire) && at >= version(&now) {
                return known;
            }
        }
    };
    let ((), known) = tokio::join!(writing, following);
    let (_, list) = get(&serving, "templates").await;
    let expected: BTreeMap<String, u64> = list["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| {
            (
                item["metadata"]["name"]
                    .as_str()
                    .expect("a name")
                    .to_owned(),
                version(item),
            )
        })
        .collect();
    assert_eq!(known, expected);
    serving.stop().await;
}

/// Fails watches that would read the change of this revision.
struct UnreadableChange(Revision);

impl Guard for UnreadableChange {
    fn check(&self, _: Option<&Caller>, call: ApiCall<'_>) -> Result<()> {
        match call {
            ApiCall::Watch(watch) if watch.after < self.0 => {
                Err(Error::internal("read a stored row", "it is damaged"))
            }
            _ => Ok(()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_across_a_change_that_cannot_be_read_is_expired_and_continues() {
    let data = store(MemorySettings::default());
    let api = Arc::new(Guarded::new(
        data.clone(),
        UnreadableChange(Revision(u64::MAX)),
    ));
    let settings = KrmSettings::default();
    let serving = Serving::through(api, data, 0, settings, Access::new(), None).await;
    for id in ["a", "b", "c"] {
        register(&serving, id, "a", &[]).await;
    }
    let (_, first) = get(&serving, "templates?limit=1").await;
    register(&serving, "c", "changed", &[]).await;
    let token = first["metadata"]["continue"].as_str().expect("more");
    for limit in ["limit=1&", ""] {
        let (status, failure) = get(&serving, &format!("templates?{limit}continue={token}")).await;
        assert_eq!((status, &failure["reason"]), (410, &json!("Expired")));
        let fresh = failure["metadata"]["continue"].as_str().expect("a token");
        let (status, rest) = get(&serving, &format!("templates?continue={fresh}")).await;
        assert_eq!(status, 200);
        assert_eq!(rest["items"].as_array().map(Vec::len), Some(2));
    }
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_cannot_be_read_does_not_stop_the_watches_of_other_entities() {
    let data = store(MemorySettings::default());
    let position = data.feed_position().await.expect("a position");
    let damaged = Revision(position.revision.0 + 1);
    let api = Arc::new(Guarded::new(data.clone(), UnreadableChange(damaged)));
    let settings = KrmSettings::default();
    let serving = Serving::through(api, data, 0, settings, Access::new(), None).await;
    let initial = "sites?watch=true&allowWatchBookmarks=true&sendInitialEvents=true\
                   &resourceVersionMatch=NotOlderThan";
    let mut early = Lines::of(&serving, initial).await;
    assert_eq!(early.event().await.0, "BOOKMARK", "the feed has started");
    register(&serving, "damaged", "a", &[]).await;
    let (kind, status) = early.event().await;
    assert_eq!((kind.as_str(), &status["code"]), ("ERROR", &json!(410)));

    let after = format!("sites?watch=true&resourceVersion={}", damaged.0 + 1);
    let mut later = Lines::of(&serving, &after).await;
    let site = NewSite::new(SiteId::new("a").expect("an id"), package("a"));
    serving.data.register_site(site).await.expect("valid");
    assert_eq!(later.event().await.0, "ADDED");
    serving.stop().await;
}
