//! Compares one Python script under `command` and under `worker`, in one run, in turns.
//!
//! ```sh
//! cargo run --release -p tko-plugin --example warm -- target/python/venv/bin/python 1000
//! ```
//!
//! The Python must have TKO's SDK. The second argument is the number of resources for each
//! executor. A third one, such as 100000, makes as many more calls and shows the memory of this
//! process before and after them. It fails if a warm call costs more than 1/50 of `command`, or
//! takes more than 2 ms with 80 KB. It also fails if the additional calls take more than 16 MiB.

use async_trait::async_trait;
use serde_json::{Value, json};
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tko_backend_memory::{Memory, MemorySettings};
use tko_core::system::{SystemClock, TimeOrderedIds};
use tko_core::{
    Admission, Answer, DataApi, Executor, Gvk, Identifier, Key, NewDeployment, NewPlugin, Package,
    PluginId, PluginType, PrepareCall, Preparer, Record, Store, Violation, Want,
};
use tko_plugin::{CommandExecutor, CommandSettings, WorkerExecutor};

/// Rounds in which the executors take turns.
const ROUNDS: usize = 10;

/// A script with the SDK; `-c` makes it independent of the folder.
const SCRIPT: &str = "
import tko
def prepare():
    resource = tko.get_target_resource()
    resource.setdefault('spec', {})['vlan'] = 17
    tko.set_prepared(resource)
    return True
tko.prepare(prepare)
";

/// Admits every package.
struct AdmitAll;

#[async_trait]
impl Admission for AdmitAll {
    async fn admit(&self, _: &Package, _: bool) -> tko_core::Result<Vec<Violation>> {
        Ok(Vec::new())
    }
}

struct PluginCalls {
    store: Store<Memory>,
    target: Identifier,
}

impl PluginCalls {
    fn new() -> Self {
        let memory = Memory::new(Arc::new(SystemClock::new()), MemorySettings::default());
        Self {
            store: Store::new(
                Arc::new(memory),
                Arc::new(AdmitAll),
                Arc::new(TimeOrderedIds),
            ),
            target: Identifier::new(Gvk::new("example.org", "v1", "Port"), "n3"),
        }
    }

    async fn preparer(
        &self,
        executor: &dyn Executor,
        python: &str,
    ) -> tko_core::Result<Arc<dyn Preparer>> {
        let id = PluginId::new(PluginType::Prepare, executor.name())?;
        let arguments = [python, "-c", SCRIPT].map(str::to_owned).to_vec();
        let new = NewPlugin::new(id.clone(), executor.name()).arguments(arguments);
        self.store.register_plugin(new).await?;
        executor.preparer(&self.store.get(&Key::Plugin(id), Want::ROW).await?)
    }

    /// A deployment whose package has about this many bytes.
    async fn deployment(&self, bytes: usize) -> tko_core::Result<Record> {
        let port =
            json!({"apiVersion": "example.org/v1", "kind": "Port", "metadata": {"name": "n3"}});
        let fill = (0..bytes / 1_000).map(|number| {
            json!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": format!("c{number}"), "namespace": "upf"},
                "data": (0..40).map(|key| (format!("key{key}"), Value::from("0123456789"))).collect::<serde_json::Map<_, _>>(),
            })
        });
        let merge = Package::from_values(std::iter::once(port).chain(fill))?;
        let id = self
            .store
            .create_deployment(NewDeployment::new().merge(merge))
            .await?;
        self.store.get(&id.into(), Want::PACKAGE).await
    }

    /// The time of some calls, one after the other.
    async fn time(
        &self,
        preparer: &dyn Preparer,
        deployment: &Record,
        calls: usize,
    ) -> Result<Duration, Box<dyn Error>> {
        let package = deployment.package.as_ref().ok_or("no package")?;
        let started = Instant::now();
        for _ in 0..calls {
            let call = PrepareCall::new(
                deployment,
                package,
                &self.target,
                &self.store,
                &TimeOrderedIds,
            );
            match preparer
                .prepare(call)
                .await
                .map_err(|error| error.chain())?
            {
                Answer::Done { .. } => {}
                other => return Err(format!("not prepared: {other:?}").into()),
            }
        }
        Ok(started.elapsed())
    }
}

/// The resident memory of this process, in KiB.
fn resident() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.ok_or("no VmRSS in /proc/self/status")?.parse()?)
}

fn milliseconds(time: Duration, calls: usize) -> f64 {
    #[allow(clippy::cast_precision_loss)] // Some thousands.
    let calls = calls as f64;
    time.as_secs_f64() * 1000.0 / calls
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let python = arguments.next().unwrap_or_else(|| "python3".to_owned());
    let calls: usize = arguments.next().map_or(Ok(1_000), |text| text.parse())?;
    let more: usize = arguments.next().map_or(Ok(0), |text| text.parse())?;
    let plugins = PluginCalls::new();
    let settings = CommandSettings::default();
    let (command, worker) = (
        CommandExecutor::new(settings.clone()),
        WorkerExecutor::new(settings),
    );
    let cold = plugins.preparer(&command, &python).await?;
    let warm = plugins.preparer(&worker, &python).await?;
    let small = plugins.deployment(0).await?;
    let large = plugins.deployment(80_000).await?;
    plugins.time(&*warm, &small, 1).await?;
    let (mut colds, mut warms, mut larges) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let each = calls / ROUNDS;
    for _ in 0..ROUNDS {
        colds += plugins.time(&*cold, &small, each).await?;
        warms += plugins.time(&*warm, &small, each).await?;
        larges += plugins.time(&*warm, &large, each).await?;
    }
    let calls = each * ROUNDS;
    let (cold_ms, warm_ms) = (milliseconds(colds, calls), milliseconds(warms, calls));
    println!("command            {cold_ms:8.3} ms a call");
    println!(
        "worker             {warm_ms:8.3} ms a call, 1/{:.0}",
        cold_ms / warm_ms
    );
    let large_ms = milliseconds(larges, calls);
    println!("worker, 80 kB      {large_ms:8.3} ms a call");
    let mut missed = Vec::new();
    if cold_ms / warm_ms < 50.0 {
        missed.push("1/50 of command");
    }
    if large_ms > 2.0 {
        missed.push("2 ms for 80 KB");
    }
    if more > 0 {
        let before = resident()?;
        plugins.time(&*warm, &small, more).await?;
        let after = resident()?;
        println!("memory before {more} calls: {before} KiB, after them: {after} KiB");
        if after > before + 16 * 1024 {
            missed.push("flat memory");
        }
    }
    drop((cold, warm));
    worker.close().await;
    match missed.as_slice() {
        [] => Ok(()),
        missed => Err(format!("missed: {}", missed.join(", ")).into()),
    }
}
