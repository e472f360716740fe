//! An orchestrator of your own: own preparer, own scheduler, storage in memory; no command line, no
//! network. Run it with `cargo run --package tko-examples --example embed`.

use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::Arc;
use tko_backend_memory::Memory;
use tko_core::system::{SystemClock, TimeOrderedIds};
use tko_core::{
    Answer, Condition, DataApi, Error, Gvk, NewDeployment, NewSite, NewTemplate, Package,
    PrepareCall, Preparer, Record, Registry, Resource, Result, ScheduleCall, Scheduler, SiteId,
    Store, TemplateId, Want, annotation,
};
use tko_preparer::PrepareController;
use tko_scheduler::ScheduleController;
use tko_validate::{SchemaValidator, Validation};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

/// Prepares a Slice: adds the Port that its switch needs.
struct Slices;

#[async_trait]
impl Preparer for Slices {
    async fn prepare(&self, call: PrepareCall<'_>) -> Result<Answer> {
        let slice = call.package.find(call.target);
        let slice = slice.ok_or_else(|| Error::bad("target", "it is not in the package"))?;
        let spec = json!({"vlan": slice.get(&["spec", "vlan"])});
        let port = Arc::new(Resource::new(resource("Port", &spec))?);
        let package = call.package.with(port).with(annotation::prepared(slice));
        let effects = Vec::new();
        Ok(Answer::Done { package, effects })
    }
}

/// Updates a Switch. A real scheduler would call the switch; this one passes its message on.
struct Switches(UnboundedSender<String>);

#[async_trait]
impl Scheduler for Switches {
    async fn schedule(&self, call: ScheduleCall<'_>) -> Result<Vec<Condition>> {
        for package in call.wanted.iter().flat_map(|record| &record.package) {
            for port in package.of(&gvk("Port")) {
                let message = format!("{}: {}", call.site.entity.key, port.value()["spec"]);
                let sent = self.0.send(message);
                sent.map_err(|gone| Error::unavailable("reach the switch", gone))?;
            }
        }
        Ok(Vec::new())
    }
}

/// Runs an orchestrator until a deployment is on its site; returns the switch's message and the
/// deployment.
async fn orchestrate() -> Result<(Option<String>, Record)> {
    // The storage, the validation, and the store over both.
    let (clock, ids) = (Arc::new(SystemClock::new()), Arc::new(TimeOrderedIds));
    let memory = Memory::new(clock.clone(), tko_backend_memory::MemorySettings::default());
    let validation = Validation::new(Arc::new(SchemaValidator::builder().build()?));
    let store = Store::new(Arc::new(memory), Arc::new(validation), ids.clone());
    let data = Arc::new(store);

    // The controllers and their handlers.
    let preparers = Registry::new().preparer(gvk("Slice"), "slices", Arc::new(Slices));
    let (switch, mut told) = unbounded_channel();
    let switches = Arc::new(Switches(switch));
    let schedulers = Registry::new().scheduler(gvk("Switch"), "switches", switches);
    let preparing = PrepareController::new(data.clone()).with_registry(preparers);
    let scheduling = ScheduleController::new(data.clone()).with_registry(schedulers);
    let stop = CancellationToken::new();
    let preparing = tokio::spawn(preparing.run(stop.clone()));
    let scheduling = tokio::spawn(scheduling.run(stop.clone()));

    // The entities that they work on.
    let package = |value| Package::from_values([value]);
    let gold = package(resource("Slice", &json!({"vlan": 17})))?;
    let rack = package(resource("Switch", &json!({})))?;
    data.register_template(NewTemplate::new("slice/gold:v1".parse()?, gold))
        .await?;
    data.register_site(NewSite::new("edge/1".parse()?, rack))
        .await?;
    let deployment = NewDeployment::new()
        .template(TemplateId::new("slice/gold:v1")?)
        .site(SiteId::new("edge/1")?);
    let id = data.create_deployment(deployment).await?;

    let message = told.recv().await;
    // The controllers finish the work in progress.
    stop.cancel();
    for controller in [preparing, scheduling] {
        controller.await.expect("it does not panic")?;
    }
    Ok((message, data.get(&id.into(), Want::ROW).await?))
}

fn gvk(kind: &str) -> Gvk {
    Gvk::new("example.org", "v1", kind)
}

fn resource(kind: &str, spec: &Value) -> Value {
    json!({"apiVersion": "example.org/v1", "kind": kind, "metadata": {"name": "it"}, "spec": spec})
}

#[tokio::main]
async fn main() -> Result<()> {
    let (told, deployment) = orchestrate().await?;
    println!("told {}", told.unwrap_or_default());
    for condition in &deployment.entity.conditions {
        println!("{}: {}", condition.kind, condition.message);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::orchestrate;
    use std::time::Duration;

    #[tokio::test]
    async fn the_deployment_gets_to_its_site() {
        let outcome = tokio::time::timeout(Duration::from_mins(1), orchestrate()).await;
        let (told, deployment) = outcome.expect("it ends").expect("it works");
        assert_eq!(told.as_deref(), Some(r#"site edge/1: {"vlan":17}"#));
        let scheduled = deployment.entity.condition(tko_core::entity::SCHEDULED);
        assert_eq!(scheduled.and_then(|said| said.status), Some(true));
    }
}
