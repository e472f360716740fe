//! The cost of one function: as a process, in WebAssembly, and native, alternating in one run.
//!
//! `cargo bench -p tko-kpt --features wasm`. The process is this program itself, which does the same
//! as the other two. Prints the median time of a call, and the ratio to the process. Fails if a call with
//! one resource misses its bar.

use serde_json::json;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tko_backend_memory::{Memory, MemorySettings};
use tko_core::system::{SystemClock, TimeOrderedIds};
use tko_core::{
    Admission, DataApi, Gvk, Limits, NewDeployment, NewPlugin, Package, PluginId, PluginType,
    Result, Store, Violation,
};
use tko_kpt::executor::KptSettings;
use tko_kpt::function::run;
use tko_kpt::{
    FunctionCall, FunctionReference, Item, KptExecutor, KrmFunction, NativeFunction, ResourceList,
};
use tko_plugin::log::LogSubject;
use tko_preparer::{PrepareController, ResultCache};
use tko_worker::CancellationToken;

/// The names of this program's own functions.
const ZONE: &str = "set-zone";
const NAMESPACE: &str = "set-namespace";

/// The calls that a row of the table stands for.
struct Size {
    /// Resources in all.
    resources: usize,
    /// Calls, each with an equal part of the resources.
    calls: usize,
    rounds: usize,
}

const SIZES: [Size; 2] = [
    Size {
        resources: 1_000,
        calls: 1_000,
        rounds: 3,
    },
    Size {
        resources: 1_000,
        calls: 1,
        rounds: 15,
    },
];

/// The names of the functions that have a bar.
const WASM: &str = "wasm (set-zone)";
const NATIVE: &str = "native (set-namespace)";

fn main() {
    // As a separate program: `functions NAME` is a function.
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some(ZONE) => return as_program(|text| text.replace("TODO-zone", "zone-east")),
        Some(NAMESPACE) => return as_program(namespace),
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(measure());
    runtime.block_on(equal_input());
}

fn as_program(work: impl FnOnce(&str) -> String) {
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input).expect("reads");
    let output = work(&input);
    std::io::stdout()
        .write_all(output.as_bytes())
        .expect("writes");
}

fn namespace(text: &str) -> String {
    let mut list = ResourceList::decode(text.as_bytes(), &Limits::default()).expect("a list");
    let function = NativeFunction::new(NAMESPACE, None).expect("is there");
    function.run(&mut list).expect("succeeds");
    String::from_utf8(list.encode()).expect("UTF-8")
}

fn list(resources: usize) -> ResourceList {
    let items = (0..resources).map(|number| {
        let value = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": format!("gateway-{number}"), "labels": {"zone": "TODO-zone"}},
            "spec": {"replicas": 3, "template": {"spec": {"containers": [
                {"name": "main", "image": "registry.example.com/gateway:v1.2.3"},
            ]}}},
        });
        let mut item = Item::new(value);
        item.origin = Some(number);
        item
    });
    ResourceList {
        items: items.collect(),
        function_config: Some(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": {"namespace": "edge"},
        })),
        results: Vec::new(),
    }
}

async fn measure() {
    let executor = KptExecutor::new(KptSettings::default());
    let make = |text: String| {
        let reference: FunctionReference = text.parse().expect("a reference");
        executor.function(&reference, true).expect("a function")
    };
    let own = std::env::current_exe().expect("a path");
    let program = |name: &str| -> Arc<dyn KrmFunction> {
        let path = own.display().to_string();
        Arc::new(tko_kpt::exec::ExecFunction::new(
            name,
            path,
            vec![name.to_owned()],
        ))
    };
    let zone = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/kpt/set-zone.wat");
    let functions = [
        ("process (set-zone)", program(ZONE)),
        (WASM, make(format!("wasm:{}", zone.display()))),
        ("process (set-namespace)", program(NAMESPACE)),
        (NATIVE, make(format!("native:{NAMESPACE}"))),
    ];
    for size in SIZES {
        let part = list(size.resources / size.calls);
        let mut times = vec![Vec::new(); functions.len()];
        for round in 0..=size.rounds {
            for (at, (_, function)) in functions.iter().enumerate() {
                let parts = vec![part.clone(); size.calls];
                let started = Instant::now();
                for part in parts {
                    call(function, part).await;
                }
                // The first round warms up: it compiles the code.
                if round > 0 {
                    times[at].push(started.elapsed());
                }
            }
        }
        println!("{} resources in {} calls:", size.resources, size.calls);
        let medians: Vec<Duration> = times.into_iter().map(median).collect();
        for (at, (name, _)) in functions.iter().enumerate() {
            let calls = u32::try_from(size.calls).expect("few");
            let process = medians[at / 2 * 2];
            let ratio = process.as_secs_f64() / medians[at].as_secs_f64();
            println!(
                "  {name:<24} {:>12.1?} a call, 1/{ratio:.1} of the process",
                medians[at] / calls
            );
            // With one resource a call: what all of them together cost is not the call.
            if size.calls > 1 {
                let bar = match *name {
                    WASM => 20.0,
                    NATIVE => 100.0,
                    _ => continue,
                };
                assert!(ratio >= bar, "{name}: the bar is 1/{bar}");
            }
        }
    }
}

async fn call(function: &Arc<dyn KrmFunction>, list: ResourceList) {
    let count = list.items.len();
    let call = FunctionCall {
        subject: LogSubject::default(),
        timeout: Duration::from_mins(1),
        output: 64 << 20,
    };
    let output = run(function, list, &call).await.expect("succeeds");
    assert_eq!(output.items.len(), count);
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Admits every package.
struct AdmitAll;

#[tko_core::async_trait]
impl Admission for AdmitAll {
    async fn admit(&self, _: &Package, _: bool) -> Result<Vec<Violation>> {
        Ok(Vec::new())
    }
}

/// Prepares many deployments of equal input, and prints how often the function ran.
async fn equal_input() {
    const DEPLOYMENTS: usize = 10_000;
    let memory = Memory::new(Arc::new(SystemClock::new()), MemorySettings::default());
    let ids = Arc::new(TimeOrderedIds);
    let store = Arc::new(Store::new(Arc::new(memory), Arc::new(AdmitAll), ids));
    let results = Arc::new(ResultCache::new(64 << 20));
    let gvk = Gvk::of("apps/v1", "Deployment");
    let id = PluginId::new(PluginType::Prepare, "namespace").expect("an id");
    let mut plugin = NewPlugin::new(id, KptExecutor::NAME)
        .argument(format!("native:{NAMESPACE}"))
        .property("namespace", "spec.zone");
    plugin.triggers = vec![gvk];
    store.register_plugin(plugin).await.expect("registers");
    let resource = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "gateway"},
        "spec": {"zone": "edge"},
    });
    let package = Package::from_values([resource]).expect("a package");
    for _ in 0..DEPLOYMENTS {
        let new = NewDeployment::new().merge(package.clone());
        store.create_deployment(new).await.expect("creates");
    }
    let stop = CancellationToken::new();
    let started = Instant::now();
    let controller = PrepareController::new(store.clone())
        .with_result_cache(results.clone())
        .with_executors(vec![Arc::new(KptExecutor::new(KptSettings::default()))]);
    let task = tokio::spawn(controller.run(stop.clone()));
    let done = |results: &ResultCache| {
        let counts = results.counts();
        counts.hits + counts.misses >= DEPLOYMENTS as u64
    };
    while !done(&results) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let took = started.elapsed();
    stop.cancel();
    task.await.expect("does not panic").expect("ends well");
    let counts = results.counts();
    assert_eq!(counts.misses, 1, "equal input ran more than once");
    println!(
        "{DEPLOYMENTS} deployments of equal input: {} runs of the function, {} results reused, {took:.1?}",
        counts.misses, counts.hits
    );
}
