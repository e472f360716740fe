//! The other kinds of packages: functions of a Kptfile, a function in WebAssembly, a Helm chart.
//!
//! Each is prepared after the fleet, by the same preparer, and checked.

use super::PATIENCE;
use anyhow::{Context, anyhow, ensure};
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tko_core::entity::PREPARED;
use tko_core::{
    DataApi, Dialect, Event, Expect, Format, Gvk, Key, Kind, Limits, NewDeployment, NewPlugin,
    NewTemplate, Package, Pattern, PluginId, PluginType, Record, Select, Watch,
};
use tko_kpt::KptExecutor;
use tko_source::SourceFile;

/// One package, and the result of its preparation.
pub(super) struct KindResult {
    pub(super) what: &'static str,
    pub(super) outcome: String,
}

/// The folder of the chart and the function.
pub(super) fn folder(root: &Path) -> PathBuf {
    root.join("examples")
}

/// Writes the chart and the function, which are read as files.
pub(super) fn unpack(folder: &Path) -> anyhow::Result<()> {
    let chart = tko_examples::chart().into_iter();
    let chart = chart.map(|(path, bytes)| (folder.join("web").join(path), bytes));
    let function = (folder.join("set-zone.wasm"), tko_examples::ZONE_FUNCTION);
    for (path, bytes) in chart.chain([function]) {
        let written = path
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| std::fs::write(&path, bytes));
        written.with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Prepares a package of each kind whose runtime is available.
pub(super) async fn prepare(data: &dyn DataApi, folder: &Path) -> anyhow::Result<[KindResult; 3]> {
    let outcomes = [
        ("functions of a Kptfile", kptfile(data).await),
        ("a function in WebAssembly", function(data, folder).await),
        ("a Helm chart with expressions", chart(data).await),
    ];
    let [first, second, third] = outcomes.map(|(what, outcome)| {
        let outcome = outcome.with_context(|| format!("cannot prepare {what}"))?;
        Ok::<_, anyhow::Error>(KindResult { what, outcome })
    });
    Ok([first?, second?, third?])
}

/// A package whose Kptfile has a pipeline of native functions.
async fn kptfile(data: &dyn DataApi) -> anyhow::Result<String> {
    let files = tko_examples::kptfile_package().into_iter();
    let files = files.map(|(path, bytes)| SourceFile {
        name: path.to_owned(),
        bytes: bytes.to_vec(),
    });
    let package = tko_source::package_of(files)?;
    let id = "kpt/gateway:v1.0.0";
    let new = NewTemplate::new(id.parse()?, package).expect(Expect::Absent);
    data.register_template(new).await?;
    let new = NewDeployment::new().template(id.parse::<tko_core::TemplateId>()?);
    let record = prepared(data, new, |package| {
        let gateway = find(package, "apps/v1", "Deployment", "gateway")?;
        (gateway["spec"]["replicas"] == 3).then(|| gateway["metadata"]["namespace"].clone())
    })
    .await?;
    Ok(format!("3 replicas in namespace {}", text(&record)))
}

/// A plugin whose function is a module.
async fn function(data: &dyn DataApi, folder: &Path) -> anyhow::Result<String> {
    if cfg!(not(feature = "wasm")) {
        return Ok("skipped: built without WebAssembly".to_owned());
    }
    let id = PluginId::new(PluginType::Prepare, "set-zone")?;
    let module = format!("wasm:{}", folder.join("set-zone.wasm").display());
    let mut plugin = NewPlugin::new(id, KptExecutor::NAME).argument(module);
    plugin.triggers = vec![Gvk::of("example.com/v1", "Zone")];
    data.register_plugin(plugin).await?;
    let package = Package::from_values([
        // The deployment waits for the plugin, which the preparer finds a moment later.
        json!({
            "apiVersion": "example.com/v1", "kind": "Zone",
            "metadata": {"name": "zone", "annotations": {"nephio.org/prepare": "Here"}},
        }),
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "gateway"},
            "data": {"zone": "TODO-zone"},
        }),
    ])?;
    let zone = prepared(data, NewDeployment::new().merge(package), |package| {
        let zone = &find(package, "v1", "ConfigMap", "gateway")?["data"]["zone"];
        (zone != "TODO-zone").then(|| zone.clone())
    })
    .await?;
    Ok(format!("zone set to {}", text(&zone)))
}

/// A chart, which the program Helm renders.
async fn chart(data: &dyn DataApi) -> anyhow::Result<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|folder| folder.join("helm").is_file()) {
        return Ok("skipped: no helm in PATH".to_owned());
    }
    let bytes = tko_examples::CHART_PACKAGE;
    let package = Package::decode(bytes, Format::Yaml, Dialect::People, &Limits::default())?;
    let replicas = prepared(data, NewDeployment::new().merge(package), |package| {
        let mut deployments = package
            .iter()
            .filter(|r| &*r.gvk().group == "apps" && &*r.gvk().kind == "Deployment");
        Some(deployments.next()?.value()["spec"]["replicas"].clone())
    })
    .await?;
    ensure!(replicas == 6, "{replicas} replicas; expected 6");
    Ok(format!("{replicas} replicas"))
}

fn find<'a>(package: &'a Package, api: &str, kind: &str, name: &str) -> Option<&'a Value> {
    let gvk = Gvk::of(api, kind);
    let is_it = |found: &tko_core::Identifier| found.gvk == gvk && &*found.name == name;
    let mut resources = package.iter();
    let found = resources.find(|resource| is_it(resource.identifier()));
    found.map(|resource| resource.value())
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// Creates a deployment, and waits until it is prepared and its package has the expected content.
///
/// # Errors
/// The deployment is not prepared after [`PATIENCE`]; the error shows its condition.
async fn prepared(
    data: &dyn DataApi,
    new: NewDeployment,
    find: impl Fn(&Package) -> Option<Value>,
) -> anyhow::Result<Value> {
    let start = data.feed_position().await?.revision;
    let id = data.create_deployment(new).await?;
    let select = Select::all(Kind::Deployment).ids(vec![Pattern::literal(id.as_str())]);
    let mut events = data.watch(Watch::new(select, start).package(true));
    let mut last = String::new();
    let wait = async {
        while let Some(event) = events.next().await {
            let Event::Put { record, .. } = event? else {
                continue;
            };
            if let Some(found) = found_in(&record, &find) {
                return Ok(found);
            }
            let condition = record.entity.condition(PREPARED);
            last = condition.map_or_else(String::new, |condition| condition.message.clone());
        }
        Err(anyhow!("the watch ended"))
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    waited.unwrap_or_else(|_| {
        let id = Key::from(&id);
        Err(anyhow!("{id} is not prepared as expected: {last}"))
    })
}

fn found_in(record: &Record, find: &impl Fn(&Package) -> Option<Value>) -> Option<Value> {
    let is_prepared = record.entity.deployment()?.prepared;
    find(record.package.as_ref()?).filter(|_| is_prepared)
}
