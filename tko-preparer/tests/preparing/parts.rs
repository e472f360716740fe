//! Preparers for tests: they do what their kind says.

use crate::world::{annotated, thing};
use async_trait::async_trait;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tko_core::{
    Answer, Error, Gvk, Key, Package, PrepareCall, Preparer, Registry, Resource, Result, SiteId,
    Subscription, annotation,
};
use tko_preparer::native;

pub(crate) fn gvk(kind: &str) -> Gvk {
    Gvk::new("x", "v1", kind)
}

/// The native preparers and those of this module.
pub(crate) fn registry() -> Registry<dyn Preparer> {
    added_to(native())
}

/// A registry, and the preparers of this module.
pub(crate) fn added_to(registry: Registry<dyn Preparer>) -> Registry<dyn Preparer> {
    let kinds = [
        "Marks", "Fails", "Panics", "Hangs", "Slow", "Spawns", "Forever", "Idle", "Bad", "Waits",
        "Asks", "Vanishes", "Flood", "Stuck", "Extra", "Queues",
    ];
    kinds.into_iter().fold(registry, |registry, kind| {
        let name = kind.to_lowercase();
        registry.with(gvk(kind), &name, Arc::new(Does(kind)))
    })
}

pub(crate) struct Does(pub(crate) &'static str);

/// The package with the target marked.
pub(crate) fn marked(call: &PrepareCall<'_>) -> Package {
    let target = call.package.find(call.target).expect("it is there");
    call.package.with(annotation::prepared(target))
}

fn done(package: Package) -> Answer {
    Answer::Done {
        package,
        effects: Vec::new(),
    }
}

fn add(package: &Package, resource: serde_json::Value) -> Package {
    package.with(Arc::new(Resource::new(resource).expect("a resource")))
}

#[async_trait]
impl Preparer for Does {
    async fn prepare(&self, call: PrepareCall<'_>) -> Result<Answer> {
        let name = call.target.name.to_string();
        match self.0 {
            "Fails" => Err(Error::bad("poison", "never works")),
            "Panics" => panic!("out of order"),
            "Hangs" => std::future::pending().await,
            "Slow" | "Queues" => {
                tokio::time::sleep(Duration::from_secs(100)).await;
                Ok(done(marked(&call)))
            }
            // Adds three resources, one after the other.
            "Spawns" => {
                let package = marked(&call);
                let next = format!("{name}+");
                Ok(done(if next.len() > 4 {
                    package
                } else {
                    add(&package, thing("Spawns", &next, &json!({})))
                }))
            }
            "Forever" => {
                let package = marked(&call);
                Ok(done(add(
                    &package,
                    thing("Forever", &format!("{name}+"), &json!({})),
                )))
            }
            "Idle" => Ok(done(call.package.clone())),
            "Stuck" => Ok(Answer::More {
                effects: Vec::new(),
                progress: json!("here"),
            }),
            "Flood" => {
                let package = call.package.clone();
                let effect = tko_core::Effect::Deployment(tko_core::NewDeployment::default());
                Ok(Answer::Done {
                    package,
                    effects: vec![effect; 501],
                })
            }
            "Bad" => Ok(done(add(
                &marked(&call),
                thing("Any", "bad", &json!({"bad": 1})),
            ))),
            "Vanishes" => Ok(done(call.package.without(call.target))),
            // Waits for the site of its name.
            "Waits" => {
                let key = Key::Site(SiteId::new(&name)?);
                match call.data.get(&key, tko_core::Want::ROW).await {
                    Ok(_) => Ok(done(marked(&call))),
                    Err(_) => Ok(Answer::NotYet {
                        reason: format!("{key} is not there"),
                        waits_for: vec![Subscription::Entity(key)],
                    }),
                }
            }
            // Waits for an Answer in the package, without a subscription.
            "Asks" => Ok(if call.package.of(&gvk("Answer")).next().is_some() {
                done(marked(&call))
            } else {
                Answer::NotYet {
                    reason: String::new(),
                    waits_for: Vec::new(),
                }
            }),
            _ => Ok(done(marked(&call))),
        }
    }

    fn limits_itself(&self) -> bool {
        self.0 == "Queues"
    }
}

/// Appends its name to the target's `spec.seen`, and marks it.
pub(crate) struct Signs(pub(crate) &'static str);

#[async_trait]
impl Preparer for Signs {
    async fn prepare(&self, call: PrepareCall<'_>) -> Result<Answer> {
        let package = marked(&call);
        let target = package.find(call.target).expect("it is there");
        let seen = target.get(&["spec", "seen"]).and_then(|seen| seen.as_str());
        let seen = format!("{}{}", seen.unwrap_or_default(), self.0);
        let mut signed = target.value().clone();
        signed["spec"]["seen"] = json!(seen);
        Ok(done(add(&package, signed)))
    }
}

/// Marks its resource, and counts its calls.
pub(crate) struct Counts(pub(crate) Arc<AtomicUsize>);

#[async_trait]
impl Preparer for Counts {
    async fn prepare(&self, call: PrepareCall<'_>) -> Result<Answer> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(done(marked(&call)))
    }
}

/// A resource that the preparer `kind` of the tests prepares.
pub(crate) fn part(kind: &str, name: &str) -> serde_json::Value {
    thing(kind, name, &json!({}))
}

/// The same with the annotation `prepare: Here`.
pub(crate) fn here(kind: &str, name: &str) -> serde_json::Value {
    annotated(part(kind, name), "prepare", "Here")
}
