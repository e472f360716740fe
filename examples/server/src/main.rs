//! TKO inside a program of one's own: a memory backend with validation, a gRPC server that
//! authenticates callers by badge, and a preparer.
//!
//! The program then acts as its own client: it creates a deployment, waits until it is prepared,
//! and prints who created it. Run it with `cargo run` in this folder.

mod badges;
mod slices;

use badges::Badges;
use serde_json::{Value, json};
use slices::Slices;
use std::sync::Arc;
use std::time::Duration;
use tko_backend_memory::{Memory, MemorySettings};
use tko_core::system::{SystemClock, TimeOrderedIds};
use tko_core::{
    DataApi, DeploymentId, Error, Gvk, Key, NewDeployment, NewTemplate, Package, Registry, Result,
    Store, TemplateId, Want,
};
use tko_grpc::client::{Client, ClientSettings};
use tko_grpc::server::{Listen, Server, Sockets};
use tko_preparer::PrepareController;
use tko_validate::{SchemaValidator, Validation};
use tokio_util::sync::CancellationToken;

/// How long the preparer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<()> {
    // The API: the rules of TKO over a backend.
    let clock = Arc::new(SystemClock::new());
    let memory = Memory::new(clock, MemorySettings::default());
    let validation = Validation::new(Arc::new(SchemaValidator::builder().build()?));
    let store = Store::new(
        Arc::new(memory),
        Arc::new(validation),
        Arc::new(TimeOrderedIds),
    );
    let api = Arc::new(store);

    // The server: any free port of loopback, with authentication of our own.
    let stop = CancellationToken::new();
    let sockets = Sockets::bind(&Listen::default()).await?;
    let address = sockets.addresses()[0].to_string();
    let server = Server::new(api.clone()).with_authentication(Arc::new(Badges));
    let serving = tokio::spawn(server.serve(sockets, stop.clone()));

    // The preparer: works on the same API, and would also work through a client.
    let slice = Gvk::new("example.org", "v1", "Slice");
    let registry = Registry::new().preparer(slice, "slices", Arc::new(Slices));
    let preparing = PrepareController::new(api).with_registry(registry);
    let preparing = tokio::spawn(preparing.run(stop.clone()));

    let outcome = tokio::time::timeout(TIMEOUT, use_it(&address)).await;

    // Both finish what they are doing.
    stop.cancel();
    preparing.await.expect("the preparer does not panic")?;
    serving.await.expect("the server does not panic")?;
    outcome.map_err(|elapsed| Error::unavailable("prepare the deployment", elapsed))?
}

/// Creates a deployment as alice, waits until it is prepared, and prints who created it.
async fn use_it(address: &str) -> Result<()> {
    let unauthenticated = Client::new(ClientSettings::new(address))?;
    let refused = unauthenticated.feed_position().await;
    println!("without a badge: {}", refused.expect_err("it has no badge"));

    let mut settings = ClientSettings::new(address);
    settings.token = Some("badge-of-alice".to_owned());
    let alice = Client::new(settings)?;
    let package = Package::from_values([slice()])?;
    let template = NewTemplate::new("slice/gold:v1".parse()?, package);
    alice.register_template(template).await?;
    let deployment = NewDeployment::new().template(TemplateId::new("slice/gold:v1")?);
    let id = alice.create_deployment(deployment).await?;

    prepared(&alice, &id).await?;
    // Newest first, so the last change is the creation.
    let changes = alice.history(&Key::from(&id), None, 100).await?;
    let created = changes.last().and_then(|change| change.cause.as_deref());
    println!("deployment: {}", created.unwrap_or("created by nobody"));
    Ok(())
}

/// Waits until a deployment is prepared.
async fn prepared(api: &Client, id: &DeploymentId) -> Result<()> {
    // `watch` would save the polling; this is shorter.
    loop {
        let record = api.get(&Key::from(id), Want::ROW).await?;
        if record.entity.deployment().is_some_and(|it| it.prepared) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn slice() -> Value {
    json!({
        "apiVersion": "example.org/v1",
        "kind": "Slice",
        "metadata": {"name": "gold"},
        "spec": {"vlan": 17},
    })
}
