//! A reflector of the crate `kube` over TKO's deployments, which prints its store on demand.
//!
//! ```text
//! reflector http://127.0.0.1:PORT [PAGE | stream]
//! ```
//!
//! It lists in pages of this size, or has the watch begin with the objects. For each line of its
//! input it prints one line of JSON: the resource version of each object by name, and what it has
//! seen. `.ci/kubernetes-client.py` compares that with the data.

use futures_util::StreamExt;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{self, store::Writer};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};

/// The events of the stream, counted and checked.
#[derive(Default)]
struct Seen {
    events: u64,
    lists: u64,
    errors: u64,
    /// Objects whose version went back, or whose deletion was of an unknown object.
    wrong: Vec<String>,
    versions: HashMap<String, u64>,
}

impl Seen {
    fn note(&mut self, event: &Event<DynamicObject>) {
        match event {
            Event::Init => self.lists += 1,
            Event::InitDone => {}
            // A list repeats what is known.
            Event::InitApply(object) => self.rise(object, false),
            Event::Apply(object) => self.rise(object, true),
            Event::Delete(object) => {
                self.events += 1;
                let (name, version) = identity(object);
                match self.versions.remove(&name) {
                    Some(known) if version > known => {}
                    known => self
                        .wrong
                        .push(format!("{name} deleted at {version}, known {known:?}")),
                }
            }
        }
    }

    fn rise(&mut self, object: &DynamicObject, strictly: bool) {
        self.events += u64::from(strictly);
        let (name, version) = identity(object);
        if let Some(known) = self.versions.insert(name.clone(), version)
            && (version < known || (strictly && version == known))
        {
            self.wrong
                .push(format!("{name} goes from {known} to {version}"));
        }
    }
}

/// A short pause after every failure. The default of up to half a minute would see little of what
/// happens, as connections are cut all the time.
struct SteadyPause;

impl Iterator for SteadyPause {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(Duration::from_millis(250))
    }
}

impl Backoff for SteadyPause {
    fn reset(&mut self) {}
}

fn identity(object: &DynamicObject) -> (String, u64) {
    let metadata = &object.metadata;
    let version = metadata.resource_version.as_deref().unwrap_or_default();
    let name = metadata.name.clone().unwrap_or_default();
    (name, version.parse().unwrap_or(0))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // It is the same provider that the tests install.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("name the address of the server")?;
    let config = match arguments.next().as_deref() {
        None => watcher::Config::default(),
        Some("stream") => watcher::Config::default().streaming_lists(),
        Some(page) => watcher::Config::default().page_size(page.parse()?),
    };
    let client = kube::Client::try_from(kube::Config::new(address.parse()?))?;
    let kind = GroupVersionKind::gvk("tko.nephio.org", "v1alpha1", "Deployment");
    let resource = ApiResource::from_gvk_with_plural(&kind, "deployments");
    let api: Api<DynamicObject> = Api::all_with(client, &resource);
    let writer = Writer::new(resource);
    let store = writer.as_reader();
    let seen = Arc::new(Mutex::new(Seen::default()));
    let noted = seen.clone();
    let events = watcher(api, config.timeout(20)).backoff(SteadyPause);
    let mut events = reflector::reflector(writer, events).boxed();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            let mut seen = noted.lock().unwrap_or_else(PoisonError::into_inner);
            match event {
                Ok(event) => seen.note(&event),
                Err(_) => seen.errors += 1,
            }
        }
    });
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while lines.next_line().await?.is_some() {
        let versions: Map<String, Value> = store
            .state()
            .iter()
            .map(|object| {
                let (name, version) = identity(object);
                (name, version.to_string().into())
            })
            .collect();
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let said = json!({
            "store": versions, "events": seen.events, "lists": seen.lists, "errors": seen.errors,
            "wrong": seen.wrong,
        });
        println!("{said}");
    }
    Ok(())
}
