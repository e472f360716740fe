//! Charts that the scheduler installs.
//!
//! `cargo xtask kubernetes` builds the API server that the ignored tests need. `TKO_HELM` names
//! another helm, such as version 3.

use crate::program::helm;
use crate::repository::{run, serve};
use crate::world::chart_folder;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tko_core::{
    Condition, Deployment, DeploymentId, Entity, Error, Facts, Key, Package, Record, Result,
    ScheduleCall, ScheduleReports, Scheduler, SiteId,
};
use tko_helm::{HelmScheduler, HelmSettings, InstallSettings, KubeconfigFinder, SiteKubeconfig};
use tko_kubernetes_server::{ApiServer, Programs};

/// A time limit that a correct run never reaches, even on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

fn record(key: impl Into<Key>, facts: Facts, resources: Vec<Value>) -> Record {
    let mut record = Record::new(Entity::new(key.into(), facts));
    record.package = Some(Package::from_values(resources).expect("a package"));
    record
}

fn site(file: &str) -> Record {
    let cluster = json!({
        "apiVersion": "cluster.nephio.org/v1alpha1", "kind": "KubernetesCluster",
        "metadata": {"name": "cluster"}, "spec": {"kubeconfig": {"file": file}},
    });
    let id = SiteId::new("india/pune/1").expect("an id");
    record(Key::Site(id), Facts::site(None, None), vec![cluster])
}

fn deployment(id: &str, charts: Vec<Value>) -> Record {
    let id = DeploymentId::new(id).expect("an id");
    let facts = Facts::from(Deployment::default());
    record(Key::Deployment(id), facts, charts)
}

fn chart(name: &str, folder: &Path, more: Value) -> Value {
    let mut spec = json!({"chart": folder.display().to_string(), "namespace": "edge"});
    if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
        spec.extend(more);
    }
    json!({
        "apiVersion": "workload.nephio.org/v1alpha1", "kind": "HelmChart",
        "metadata": {"name": name}, "spec": spec,
    })
}

async fn schedule(
    scheduler: &HelmScheduler,
    site: &Record,
    wanted: &[Record],
) -> Result<Vec<Condition>> {
    scheduler
        .schedule(ScheduleCall::new(site, 1).wanted(wanted))
        .await
}

async fn failure(scheduler: &HelmScheduler, site: &Record, wanted: &[Record]) -> String {
    let error = schedule(scheduler, site, wanted).await;
    error.expect_err("it fails").chain()
}

fn settings(folder: &Path, program: &Path) -> InstallSettings {
    let helm = HelmSettings::default().with_timeout(PATIENCE);
    InstallSettings::new(folder).with_helm(helm.with_program(program.display().to_string()))
}

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}-map'}\n\
                   data: {v: {{ .Values.v | quote }}}\n";
const SCHEMA: &str = r#"{"properties": {"v": {"type": "string"}}}"#;

fn web_chart() -> TempDir {
    chart_folder(&[
        ("templates/map.yaml", MAP),
        ("values.yaml", "v: first\n"),
        ("values.schema.json", SCHEMA),
    ])
}

#[tokio::test]
async fn a_cluster_that_cannot_be_reached_is_an_error_with_helms_words() {
    let Some(helm) = helm() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let kubeconfig = "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts:\n- name: a\n  \
                      context: {cluster: a, user: a}\nclusters:\n- name: a\n  cluster: {server: \
                      'https://127.0.0.1:9'}\nusers:\n- name: a\n  user: {}\n";
    std::fs::write(folder.path().join("edge.yaml"), kubeconfig).expect("a file");
    let scheduler = HelmScheduler::new(settings(folder.path(), helm));
    let source = web_chart();
    let wanted = [deployment(
        "one",
        vec![chart("web", source.path(), json!({}))],
    )];
    let error = failure(&scheduler, &site("edge.yaml"), &wanted).await;
    assert!(error.contains("127.0.0.1:9"), "{error}");
    let error = failure(&scheduler, &site("../edge.yaml"), &wanted).await;
    assert!(error.contains("below the folder"), "{error}");
    let error = failure(&scheduler, &site("other.yaml"), &wanted).await;
    assert!(error.contains("other.yaml"), "{error}");
}

/// A program in place of helm.
fn program(folder: &Path, script: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join("helm");
    std::fs::write(&path, script).expect("a file");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&path, mode).expect("our own file");
    path
}

/// A program in place of helm: prints no releases, and notes where its kubeconfig is and what it has.
fn noting(folder: &Path) -> PathBuf {
    let note = folder.join("note").display().to_string();
    let script = format!(
        "#!/bin/sh\nstat -c '%a' \"$KUBECONFIG\" > {note}\necho \"$KUBECONFIG\" >> {note}\ncat \
         \"$KUBECONFIG\" >> {note}\necho \"$*\" >> {note}\necho '[]'\n"
    );
    program(folder, &script)
}

/// A program in place of helm that can install the release `edge/web` alone. The file in the second
/// place exists while the release does.
fn one_release(folder: &Path) -> (PathBuf, PathBuf) {
    std::fs::write(folder.join("edge.yaml"), "{}").expect("a file");
    let release = folder.join("release");
    let shown = release.display();
    let script = format!(
        "#!/bin/sh\n\
         case \"$1 $3\" in\n\
         'list '*) if [ -e '{shown}' ]; then\n\
         echo '[{{\"name\":\"web\",\"namespace\":\"edge\",\"status\":\"deployed\"}}]'; else echo '[]'; fi;;\n\
         'upgrade web') : > '{shown}';;\n\
         'upgrade '*) echo 'it is broken' >&2; exit 1;;\n\
         'uninstall '*) rm -f '{shown}';;\n\
         esac\n"
    );
    (program(folder, &script), release)
}

fn with_conditions(site: &Record, conditions: Vec<Condition>) -> Record {
    let mut site = site.clone();
    site.entity = Arc::new(Entity::clone(&site.entity).conditions(conditions));
    site
}

#[tokio::test]
async fn a_release_that_another_process_installed_is_uninstalled() {
    let folder = tempfile::tempdir().expect("a folder");
    let (program, release) = one_release(folder.path());
    let scheduler = || HelmScheduler::new(settings(folder.path(), &program));
    let (first, second) = (scheduler(), scheduler());
    let site = site("edge.yaml");
    let done = schedule(&first, &site, &[]).await;
    assert_eq!(done.expect("the site has no charts"), []);
    let web = [deployment(
        "one",
        vec![chart("web", folder.path(), json!({}))],
    )];
    let installed = schedule(&second, &site, &web).await.expect("it installs");
    assert!(release.exists());

    // The deployment is deleted before the condition is stored.
    let call = ScheduleCall::new(&site, 3).removed(&web);
    let done = first.schedule(call).await;
    assert_eq!(done.expect("it uninstalls"), []);
    assert!(!release.exists());

    // Its chart is gone.
    let installed_again = schedule(&second, &site, &web).await.expect("it installs");
    assert_eq!(installed_again, installed);
    let site = with_conditions(&site, installed);
    let done = schedule(&first, &site, &[]).await.expect("it uninstalls");
    assert!(!release.exists());
    assert_eq!(done[0].kind, "ChartsInstalled");
    assert_eq!(done[0].reason, "NoCharts");

    // From then on the site costs nothing.
    std::fs::remove_file(&program).expect("our own file");
    let site = with_conditions(&site, done);
    let done = schedule(&first, &site, &[]).await;
    assert_eq!(done.expect("helm does not run"), []);
}

#[tokio::test]
async fn a_chart_beside_one_that_fails_is_uninstalled_by_another_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let (program, release) = one_release(folder.path());
    let scheduler = || HelmScheduler::new(settings(folder.path(), &program));
    let (first, second) = (scheduler(), scheduler());
    let site = site("edge.yaml");
    schedule(&first, &site, &[])
        .await
        .expect("it has no charts");
    let charts = ["web", "bad"].map(|name| chart(name, folder.path(), json!({})));
    let wanted = [deployment("one", charts.into())];
    let reports = ScheduleReports::default();
    let call = ScheduleCall::new(&site, 2)
        .wanted(&wanted)
        .reports(&reports);
    let error = second.schedule(call).await.expect_err("one fails").chain();
    assert!(error.contains("it is broken"), "{error}");
    assert!(release.exists());
    let reported = reports.of(&site.entity.key);
    assert_eq!(reported[0].kind, "ChartsInstalled");
    assert_eq!(reported[0].status, None);
    let site = with_conditions(&site, reported);
    schedule(&first, &site, &[]).await.expect("it uninstalls");
    assert!(!release.exists());
}

#[tokio::test]
async fn a_kubeconfig_that_is_no_file_is_in_a_private_one_while_helm_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = noting(folder.path());
    let finder: KubeconfigFinder = Arc::new(|package| {
        let is_site = package
            .iter()
            .any(|r| &*r.gvk().kind == "KubernetesCluster");
        Box::pin(async move {
            assert!(is_site, "it gets the package of the site");
            SiteKubeconfig::text("the secret", Some("edge".to_owned())).map(Some)
        })
    });
    let settings = settings(folder.path(), &program).with_finder(finder);
    let scheduler = HelmScheduler::new(settings);
    let done = schedule(&scheduler, &site("unused"), &[]).await;
    done.expect("there is nothing to do");
    let note = std::fs::read_to_string(folder.path().join("note")).expect("it ran");
    let lines: Vec<&str> = note.lines().collect();
    assert_eq!(lines[0], "600");
    assert!(lines[2].starts_with("the secret"), "{note}");
    assert!(note.contains("--kube-context=edge"), "{note}");
    assert!(!Path::new(lines[1]).exists(), "it is removed");
}

#[tokio::test]
async fn charts_wait_for_a_cluster_that_is_not_provisioned_and_go_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let finder: KubeconfigFinder = Arc::new(|_| Box::pin(async { Ok(None) }));
    let settings = settings(folder.path(), Path::new("/nowhere/helm")).with_finder(finder);
    let scheduler = HelmScheduler::new(settings);
    let cluster = json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster",
        "metadata": {"name": "edge"}, "spec": {},
    });
    let id = SiteId::new("india/pune/1").expect("an id");
    let site = record(Key::Site(id), Facts::site(None, None), vec![cluster]);
    let web = deployment("one", vec![chart("web", folder.path(), json!({}))]);
    let error = failure(&scheduler, &site, &[web]).await;
    assert!(error.contains("until it is provisioned"), "{error}");
    let done = schedule(&scheduler, &site, &[]).await;
    assert_eq!(done.expect("its releases are gone"), []);
    // Sites that another program provisions need no management cluster here, as long as they have no
    // charts.
    let package = site.package.as_ref().expect("it has a package");
    let target = package.resources()[0].identifier();
    let without = HelmScheduler::new(self::settings(folder.path(), Path::new("/nowhere/helm")));
    let call = || ScheduleCall::new(&site, 1).target(target);
    let done = without.schedule(call()).await;
    assert_eq!(done.expect("nothing to do"), []);
    let web = deployment("one", vec![chart("web", folder.path(), json!({}))]);
    let refused = without.schedule(call().wanted(&[web])).await;
    assert!(refused.is_err(), "it has a chart");
    // With a kubeconfig that is not valid, charts may still be installed.
    let finder: KubeconfigFinder =
        Arc::new(|_| Box::pin(async { Err(Error::bad("kubeconfig", "is not YAML")) }));
    let settings = self::settings(folder.path(), Path::new("/nowhere/helm")).with_finder(finder);
    let refused = HelmScheduler::new(settings).schedule(call()).await;
    let refused = refused.expect_err("its kubeconfig is not valid").chain();
    assert!(refused.contains("is not YAML"), "{refused}");
}

/// A cluster, a scheduler for it, and helm.
struct ChartCluster {
    server: ApiServer,
    scheduler: HelmScheduler,
    site: Record,
    helm: &'static Path,
    folder: TempDir,
}

impl ChartCluster {
    async fn start() -> Option<Self> {
        let helm = helm()?;
        let programs = Programs::find().expect("run `cargo xtask kubernetes` first");
        let server = tokio::task::spawn_blocking(move || ApiServer::start(&programs)).await;
        let server = server.expect("no panic").expect("it starts");
        let folder = tempfile::tempdir().expect("a folder");
        let kubeconfig = std::fs::read(server.kubeconfig("admin")).expect("a kubeconfig");
        std::fs::write(folder.path().join("edge.yaml"), kubeconfig).expect("a file");
        let cache = folder.path().join("charts");
        let settings = settings(folder.path(), helm).with_cache(cache);
        Some(Self {
            scheduler: HelmScheduler::new(settings),
            site: site("edge.yaml"),
            server,
            helm,
            folder,
        })
    }

    async fn bring(&self, wanted: &[Record]) -> Vec<Condition> {
        let done = schedule(&self.scheduler, &self.site, wanted).await;
        done.unwrap_or_else(|error| panic!("{}", error.chain()))
    }

    fn helm(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.helm);
        command
            .args(arguments)
            .env("KUBECONFIG", self.server.kubeconfig("admin"))
            .env("HOME", self.folder.path());
        command
    }

    /// Namespace, name, revision and status of all releases.
    fn releases(&self) -> Vec<String> {
        let shown = ["--deployed", "--failed", "--pending"];
        let arguments = [&["list", "-A", "-o", "json"][..], &shown].concat();
        let out = self.helm(&arguments).output().expect("helm runs");
        let all: Vec<Value> =
            serde_json::from_slice(&out.stdout).unwrap_or_else(|error| panic!("{error}: {out:?}"));
        let shown = all.iter().map(|release| {
            let parts = ["namespace", "name", "revision", "status"];
            let parts = parts.map(|part| release[part].as_str().unwrap_or_default());
            parts.join(" ")
        });
        shown.collect()
    }

    /// The value in the ConfigMap of a release.
    fn value(&self, release: &str) -> Option<String> {
        let name = format!("{release}-map");
        let arguments = [
            "get",
            "configmap",
            "-n",
            "edge",
            &name,
            "-o",
            "jsonpath={.data.v}",
        ];
        let out = self
            .server
            .kubectl(&arguments)
            .output()
            .expect("kubectl runs");
        out.status
            .success()
            .then(|| String::from_utf8_lossy(&out.stdout).into_owned())
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server that cargo xtask kubernetes builds"]
async fn releases_follow_the_charts_of_the_deployments() {
    let Some(cluster) = ChartCluster::start().await else {
        return;
    };
    let source = web_chart();
    let web = |more: Value| chart("web", source.path(), more);
    let conditions = cluster
        .bring(&[deployment("one", vec![web(json!({}))])])
        .await;
    assert_eq!(conditions[0].message, "releases: edge/web");
    assert_eq!(cluster.value("web").as_deref(), Some("first"));
    // Nothing has changed: Helm makes no revision.
    cluster
        .bring(&[deployment("one", vec![web(json!({}))])])
        .await;
    assert_eq!(cluster.releases(), ["edge web 1 deployed"]);
    let changed = json!({"parameters": {"v": "{{ get('', 'v1', 'ConfigMap').data.v }}"}});
    let input = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "input"},
        "data": {"v": "second"}});
    let wanted = [deployment("one", vec![input, web(changed.clone())])];
    cluster.bring(&wanted).await;
    assert_eq!(cluster.releases(), ["edge web 2 deployed"]);
    assert_eq!(cluster.value("web").as_deref(), Some("second"));
    // One chart fails, and the other is installed.
    let other = chart("other", source.path(), json!({}));
    let bad = chart("bad", source.path(), json!({"parameters": {"v": 7}}));
    let wanted = [
        deployment("one", vec![web(json!({}))]),
        deployment("two", vec![bad, other.clone()]),
    ];
    let error = failure(&cluster.scheduler, &cluster.site, &wanted).await;
    assert!(error.contains("HelmChart bad of deployment two"), "{error}");
    assert_eq!(cluster.value("other").as_deref(), Some("first"));
    // The chart and its deployment are gone.
    cluster.bring(&[deployment("two", vec![other])]).await;
    assert_eq!(cluster.releases(), ["edge other 1 deployed"]);
    assert_eq!(cluster.value("web"), None);
    // A chart that cannot be read may be one that is installed: nothing is removed.
    let unread = chart("other", source.path(), json!({"chart": "{{ gone }}"}));
    failure(
        &cluster.scheduler,
        &cluster.site,
        &[deployment("two", vec![unread])],
    )
    .await;
    assert_eq!(cluster.releases(), ["edge other 1 deployed"]);
    assert!(cluster.bring(&[]).await.is_empty());
    assert_eq!(cluster.releases(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server that cargo xtask kubernetes builds"]
async fn releases_of_others_stay_and_those_of_a_killed_helm_are_repaired() {
    let Some(cluster) = ChartCluster::start().await else {
        return;
    };
    let source = web_chart();
    let path = source.path().to_str().expect("text");
    let install = ["install", "web", path, "-n", "edge", "--create-namespace"];
    let installed = cluster.helm(&install).output().expect("helm runs");
    assert!(installed.status.success(), "{installed:?}");
    let wanted = [deployment(
        "one",
        vec![chart("web", source.path(), json!({}))],
    )];
    let error = failure(&cluster.scheduler, &cluster.site, &wanted).await;
    assert!(error.contains("is not of this site"), "{error}");
    cluster.bring(&[]).await;
    assert_eq!(cluster.releases(), ["edge web 1 deployed"]);

    let mine = [deployment(
        "one",
        vec![chart("mine", source.path(), json!({}))],
    )];
    cluster.bring(&mine).await;
    // A hook that never ends, because the cluster runs no jobs.
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: wait\n  annotations: \
               {helm.sh/hook: pre-upgrade}\nspec:\n  template:\n    spec:\n      restartPolicy: \
               Never\n      containers: [{name: a, image: a}]\n";
    let slow = chart_folder(&[
        ("templates/map.yaml", MAP),
        ("templates/job.yaml", job),
        ("values.yaml", "v: third\n"),
    ]);
    let path = slow.path().to_str().expect("text");
    let upgrade = ["upgrade", "mine", path, "-n", "edge"];
    let mut killed = cluster
        .helm(&upgrade)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("helm runs");
    let began = Instant::now();
    while !cluster
        .releases()
        .iter()
        .any(|line| line.contains("pending-upgrade"))
    {
        assert!(began.elapsed() < PATIENCE, "{:?}", cluster.releases());
    }
    killed.kill().expect("it runs");
    killed.wait().expect("it ends");
    let more = json!({"parameters": {"v": "repaired"}});
    let mine = [deployment("one", vec![chart("mine", source.path(), more)])];
    cluster.bring(&mine).await;
    assert_eq!(cluster.value("mine").as_deref(), Some("repaired"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server that cargo xtask kubernetes builds"]
async fn charts_of_repositories_are_kept_by_their_digest() {
    let Some(cluster) = ChartCluster::start().await else {
        return;
    };
    let source = web_chart();
    let repository = tempfile::tempdir().expect("a folder");
    let (from, to) = (
        source.path().to_str().expect("text"),
        repository.path().to_str().expect("text"),
    );
    run(
        cluster.helm,
        &["package", from, "--version", "1.0.0", "-d", to],
    );
    run(cluster.helm, &["repo", "index", to]);
    let url = serve(repository.path().to_owned());
    let web = |more: Value| {
        let mut spec = json!({"chart": "web", "repository": url, "version": "1.0.0"});
        if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
            spec.extend(more);
        }
        [deployment("one", vec![chart("web", source.path(), spec)])]
    };
    cluster.bring(&web(json!({}))).await;
    assert_eq!(cluster.value("web").as_deref(), Some("first"));
    // The repository is not asked again.
    std::fs::remove_dir_all(repository.path()).expect("it was there");
    cluster
        .bring(&web(json!({"parameters": {"v": "second"}})))
        .await;
    assert_eq!(cluster.value("web").as_deref(), Some("second"));
    let error = failure(
        &cluster.scheduler,
        &cluster.site,
        &web(json!({"version": "2.0.0"})),
    )
    .await;
    assert!(error.contains("HelmChart web of deployment one"), "{error}");
    assert_eq!(cluster.value("web").as_deref(), Some("second"));
}
