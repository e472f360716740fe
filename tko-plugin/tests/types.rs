//! Plugins of each type in plain Python: well-behaved ones and the meaning of their answers.

mod fixture;

use fixture::{Fixture, example, network, plugin, target};
use serde_json::{Value, json};
use std::fs;
use std::sync::Arc;
use tko_core::{Answer, Error, Executor, Gvk, Identifier, Package, PluginType, Record, Violation};
use tko_plugin::{
    CommandExecutor, CommandSettings, ObservedExecutor, WorkerExecutor, WorkerPoolSettings,
};

fn parameters() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "region-parameters", "namespace": "upf"},
        "data": {"N3_SUBNET": "10.1.0.0/16", "N3_GATEWAY": "10.1.0.1"},
    })
}

fn done(answer: Answer) -> Package {
    match answer {
        Answer::Done { package, effects } if effects.is_empty() => package,
        other => panic!("not done: {other:?}"),
    }
}

#[tokio::test]
async fn a_preparer_returns_a_new_package() {
    let fixture = Fixture::new();
    let deployment = fixture.deployment(vec![network(), parameters()]).await;
    let preparer = fixture.preparer(&[&example("prepare_upf.py")]).await;
    let answer = fixture.call(&*preparer, &deployment).await;
    let package = done(answer.expect("it prepares"));
    let old = deployment.package.expect("was wanted");
    assert_eq!(package.len(), old.len());
    for (before, after) in old.iter().zip(&package) {
        assert_eq!(before.identifier(), after.identifier());
        assert_eq!(before == after, *after.identifier() != target());
    }
    let network = package.find(&target()).expect("is still there");
    assert_eq!(
        network.annotation("nephio.org/prepared").as_deref(),
        Some("true")
    );
    let config = network.get(&["spec", "config"]).and_then(Value::as_str);
    assert_eq!(
        config,
        Some(
            r#"{"type":"macvlan","ipam":{"type":"whereabouts","range":"10.1.0.0/16","gateway":"10.1.0.1"}}"#
        )
    );
}

#[tokio::test]
async fn not_yet_includes_the_last_line_of_stderr() {
    let answer = Fixture::new().prepare(&[&example("prepare_upf.py")]).await;
    let Answer::NotYet { reason, waits_for } = answer.expect("no error") else {
        panic!("it is not prepared");
    };
    assert!(
        reason.contains(
            "plugin prepare|test is not ready to prepare NetworkAttachmentDefinition upf/n3"
        ),
        "{reason}"
    );
    assert!(
        reason.ends_with("waiting for N3_SUBNET in ConfigMap region-parameters"),
        "{reason}"
    );
    assert!(waits_for.is_empty());
}

#[tokio::test]
async fn an_error_is_shown_in_the_plugins_words() {
    let failure = Fixture::new().failure(&[&plugin("error.py")]).await;
    assert_eq!(
        failure,
        "could not prepare NetworkAttachmentDefinition upf/n3 with plugin prepare|test: \
         the plugin reported: no free VLAN in 100-199"
    );
}

#[tokio::test]
async fn a_validator_returns_its_violations() {
    let fixture = Fixture::new();
    let record = fixture
        .plugin(PluginType::Validate, &[&example("validate_upf.py")])
        .await;
    let validator = fixture.executor.validator(&record).expect("a validator");
    let workload = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "upf", "namespace": "upf"},
        "spec": {"template": {"spec": {"volumes": [{"configMap": {"name": "region-parameters"}}]}}},
    });
    let target = Identifier::new(
        Gvk::new("metadata.nephio.org", "v1alpha1", "NetworkFunction"),
        "upf",
    );
    for (values, complete, expected) in [
        (
            vec![workload.clone()],
            true,
            Some("Deployment upf: no ConfigMap region-parameters in namespace upf"),
        ),
        (vec![workload.clone()], false, None),
        (vec![workload, parameters()], true, None),
    ] {
        let package = Package::from_values(values).expect("a package");
        let violations = validator.validate(&package, &target, complete).await;
        let expected =
            expected.map(|message| Violation::new(message.to_owned()).resource(target.clone()));
        assert_eq!(violations.expect("it judges"), Vec::from_iter(expected));
    }
}

#[tokio::test]
async fn a_scheduler_places_and_removes_deployments() {
    let fixture = Fixture::new();
    let folder = tempfile::tempdir().expect("a folder");
    let site = fixture.site("region/edge.1", vec![]).await;
    let (one, two) = (
        fixture.deployment(vec![parameters()]).await,
        fixture.deployment(vec![network()]).await,
    );
    let arguments = [
        &*example("schedule_site.py"),
        folder.path().to_str().expect("UTF-8"),
    ];
    let files = || {
        let path = folder.path().join("region%2Fedge%2E1");
        let mut names: Vec<_> = fs::read_dir(path)
            .into_iter()
            .flatten()
            .map(|entry| {
                entry
                    .expect("is there")
                    .file_name()
                    .into_string()
                    .expect("UTF-8")
            })
            .collect();
        names.sort();
        names
    };
    let file = |record: &Record| format!("{}.json", record.entity.key.id());
    let both = [one.clone(), two.clone()];
    fixture
        .schedule(&arguments, &site, &both, &[])
        .await
        .expect("schedules");
    assert_eq!(files(), [file(&one), file(&two)]);
    fixture
        .schedule(&arguments, &site, &both[..1], &both[1..])
        .await
        .expect("schedules");
    assert_eq!(files(), [file(&one)]);
    let text = fs::read_to_string(folder.path().join("region%2Fedge%2E1").join(file(&one)));
    let manifests: Value = serde_json::from_str(&text.expect("is there")).expect("JSON");
    assert_eq!(manifests["items"], json!([parameters()]));
    fixture
        .schedule(&arguments, &site, &[], &both)
        .await
        .expect("schedules");
    assert_eq!(files(), [""; 0]);
}

#[tokio::test]
async fn a_failing_scheduler_names_the_site() {
    let fixture = Fixture::new();
    let site = fixture.site("edge", vec![]).await;
    let error = fixture
        .schedule(&[&plugin("error.py")], &site, &[], &[])
        .await;
    assert_eq!(
        error.expect_err("it fails").chain(),
        "could not schedule site edge with plugin schedule|test: the plugin reported: no free VLAN in 100-199"
    );
}

#[tokio::test]
async fn a_site_read_without_packages_is_not_scheduled_as_an_empty_one() {
    let fixture = Fixture::new();
    let mut site = fixture.site("edge", vec![]).await;
    site.package = None;
    let error = fixture
        .schedule(&[&plugin("echo.py")], &site, &[], &[])
        .await;
    assert!(matches!(error, Err(Error::Internal { .. })), "{error:?}");
}

#[tokio::test]
async fn plugins_limit_their_calls_themselves() {
    let settings = CommandSettings::default();
    let command = Fixture::with(settings.clone());
    let worker = Fixture::workers(settings.clone(), WorkerPoolSettings::default());
    let metrics = settings.metrics.clone();
    let observed: [Arc<dyn Executor>; 2] = [
        Arc::new(ObservedExecutor::new(
            CommandExecutor::new(settings.clone()),
            metrics.clone(),
        )),
        Arc::new(ObservedExecutor::new(
            WorkerExecutor::new(settings),
            metrics,
        )),
    ];
    for (fixture, observed) in [command, worker].iter().zip(observed) {
        for executor in [&fixture.executor, &observed] {
            let plugin = fixture.plugin(PluginType::Prepare, &["a"]).await;
            let preparer = executor.preparer(&plugin).expect("a preparer");
            let plugin = fixture.plugin(PluginType::Validate, &["a"]).await;
            let validator = executor.validator(&plugin).expect("a validator");
            let plugin = fixture.plugin(PluginType::Schedule, &["a"]).await;
            let scheduler = executor.scheduler(&plugin).expect("a scheduler");
            // A controller's limit would include the time in which a call waits for a process.
            assert!(preparer.limits_itself());
            assert!(validator.limits_itself());
            assert!(scheduler.limits_itself());
        }
    }
}
