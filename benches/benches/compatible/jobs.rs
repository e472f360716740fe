//! The jobs: calls of the compatible service.

use crate::service::{Compatible, Service};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tko_benches::{deployment, example};
use tko_core::{DataApi, Expect, Format, Metadata, NewDeployment, NewTemplate, TemplateId};
use tko_grpc::proto;

/// Number of rows in one window, as the original's clients request them.
const WINDOW: usize = 1_000;

/// Deployments that are created in one call when a database is filled.
const BATCH: usize = 500;

/// How a list selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// Everything.
    Offset,
    TemplateId,
    TemplatePattern,
    Metadata,
    MetadataPrefix,
}

/// A kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Job {
    Create,
    Get,
    Delete,
    /// Start and end a modification.
    Modify,
    /// List this many rows, in windows of a thousand.
    List(By, usize),
}

impl Job {
    pub(crate) fn all() -> Vec<Self> {
        let mut all = vec![Self::Create, Self::Get, Self::Delete, Self::Modify];
        for rows in [1_000, 5_000] {
            let by = [
                By::Offset,
                By::TemplateId,
                By::TemplatePattern,
                By::Metadata,
                By::MetadataPrefix,
            ];
            all.extend(by.map(|by| Self::List(by, rows)));
        }
        all
    }

    pub(crate) fn name(self) -> String {
        match self {
            Self::Create => "create".to_owned(),
            Self::Get => "get".to_owned(),
            Self::Delete => "delete".to_owned(),
            Self::Modify => "modification".to_owned(),
            Self::List(by, rows) => {
                let by = match by {
                    By::Offset => "offset",
                    By::TemplateId => "template id",
                    By::TemplatePattern => "template pattern",
                    By::Metadata => "metadata",
                    By::MetadataPrefix => "metadata prefix",
                };
                format!("list {rows} by {by}")
            }
        }
    }

    /// The calls of each client in a round.
    pub(crate) fn calls(self, most: usize) -> usize {
        match self {
            Self::List(_, rows) => (most * 100 / rows).max(3),
            _ => most,
        }
    }

    /// Whether each call needs its own deployment.
    pub(crate) fn takes_inputs(self) -> bool {
        !matches!(self, Self::Create | Self::List(..))
    }
}

fn template(number: usize) -> TemplateId {
    // Half of all are of one template.
    let number = if number.is_multiple_of(2) {
        0
    } else {
        number % 100
    };
    let id = TemplateId::new(&format!("nf/upf:v{number:03}"));
    id.expect("an id")
}

fn new(number: usize) -> NewDeployment {
    let half = ["even", "odd"][number % 2];
    let metadata = Metadata::from_iter([
        ("half", half.to_owned()),
        ("place", format!("{half}-{number:06}")),
    ]);
    NewDeployment::new()
        .template(template(number))
        .metadata(deployment(number).metadata.overlaid(&metadata))
}

/// Registers the templates, and creates `size` deployments.
pub(crate) async fn fill(service: &Service, size: usize) {
    let client = service.client();
    let package = example("upf");
    for number in 0..100 {
        let new = NewTemplate::new(
            TemplateId::new(&format!("nf/upf:v{number:03}")).expect("an id"),
            package.clone(),
        )
        .expect(Expect::Absent);
        client.register_template(new).await.expect("valid");
    }
    for start in (0..size).step_by(BATCH) {
        let all = (start..size.min(start + BATCH)).map(new).collect();
        for created in client.create_deployments(all).await {
            created.expect("valid");
        }
    }
}

/// Creates this many deployments, for calls that need one each.
pub(crate) async fn inputs(service: &Service, count: usize) -> Vec<String> {
    let client = service.client();
    let mut ids = Vec::new();
    for start in (0..count).step_by(BATCH) {
        let all = (start..count.min(start + BATCH)).map(new).collect();
        for created in client.create_deployments(all).await {
            ids.push(created.expect("valid").to_string());
        }
    }
    ids
}

/// Fills the caches of a service and of its sessions.
pub(crate) async fn warm(service: &Service, job: Job, clients: usize) {
    let each = (0..clients).map(|number| async move {
        let mut client = service.compatible().await;
        for _ in 0..3 {
            let id = create(&mut client, number).await;
            match job {
                Job::List(by, _) => _ = list(&mut client, by, 1_000).await,
                Job::Get => get(&mut client, &id).await,
                Job::Modify => modify(&mut client, &id).await,
                Job::Create | Job::Delete => {}
            }
            delete(&mut client, &id).await;
        }
    });
    futures_util::future::join_all(each).await;
}

/// Makes `calls` calls from each of several clients. Returns how long each took.
pub(crate) async fn run(
    service: &Service,
    job: Job,
    clients: usize,
    calls: usize,
    inputs: Vec<String>,
) -> Vec<Duration> {
    let inputs = &Mutex::new(inputs);
    let each = (0..clients).map(|number| async move {
        let mut client = service.compatible().await;
        let mut times = Vec::with_capacity(calls);
        for call in 0..calls {
            let next = || inputs.lock().expect("no caller panics here").pop();
            let input = next().unwrap_or_default();
            let start = Instant::now();
            match job {
                Job::Create => _ = create(&mut client, number * calls + call).await,
                Job::Get => get(&mut client, &input).await,
                Job::Delete => delete(&mut client, &input).await,
                Job::Modify => modify(&mut client, &input).await,
                Job::List(by, rows) => {
                    let found = list(&mut client, by, rows).await;
                    assert_eq!(found, rows, "{}", job.name());
                }
            }
            times.push(start.elapsed());
        }
        times
    });
    let all = futures_util::future::join_all(each).await;
    all.into_iter().flatten().collect()
}

async fn create(client: &mut Compatible, number: usize) -> String {
    let new = new(number);
    let pairs = new.metadata.iter();
    let request = proto::CreateDeployment {
        template_id: template(number).to_string(),
        merge_metadata: pairs
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
        ..proto::CreateDeployment::default()
    };
    let created = client.create_deployment(request).await.expect("it answers");
    let created = created.into_inner();
    assert!(created.created, "{}", created.not_created_reason);
    created.deployment_id
}

async fn get(client: &mut Compatible, id: &str) {
    let request = proto::GetDeployment {
        deployment_id: id.to_owned(),
        preferred_package_format: String::new(),
    };
    client.get_deployment(request).await.expect("it is there");
}

async fn delete(client: &mut Compatible, id: &str) {
    let request = proto::DeploymentId {
        deployment_id: id.to_owned(),
    };
    let answer = client.delete_deployment(request).await.expect("it answers");
    let answer = answer.into_inner();
    assert!(answer.deleted, "{}", answer.not_deleted_reason);
}

async fn modify(client: &mut Compatible, id: &str) {
    let request = proto::StartDeploymentModification {
        deployment_id: id.to_owned(),
        preferred_package_format: Format::Yaml.as_str().to_owned(),
    };
    let started = client.start_deployment_modification(request).await;
    let started = started.expect("it answers").into_inner();
    assert!(started.started, "{}", started.not_started_reason);
    let own = format!(
        "\n---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: own\ndata:\n  of: \"{id}\"\n"
    );
    let request = proto::EndDeploymentModification {
        modification_token: started.modification_token,
        package_format: Format::Yaml.as_str().to_owned(),
        package: [&started.package[..], own.as_bytes()].concat().into(),
    };
    let ended = client.end_deployment_modification(request).await;
    let ended = ended.expect("it answers").into_inner();
    assert!(ended.modified, "{}", ended.not_modified_reason);
}

/// Lists rows in windows. Returns how many there were.
async fn list(client: &mut Compatible, by: By, rows: usize) -> usize {
    let one = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
    let mut select = proto::SelectDeployments::default();
    match by {
        By::Offset => {}
        By::TemplateId => select.template_id_patterns = vec!["nf/upf:v000".to_owned()],
        By::TemplatePattern => select.template_id_patterns = vec!["nf/upf:*".to_owned()],
        By::Metadata => select.metadata_patterns = one("half", "even"),
        By::MetadataPrefix => select.metadata_patterns = one("place", "even-*"),
    }
    let mut found = 0;
    for offset in (0..rows).step_by(WINDOW) {
        let window = proto::Window {
            offset: u32::try_from(offset).expect("small"),
            max_count: i32::try_from(WINDOW.min(rows - offset)).expect("small"),
        };
        let request = proto::ListDeployments {
            window: Some(window),
            select: Some(select.clone()),
        };
        let listed = client.list_deployments(request).await.expect("it answers");
        let mut listed = listed.into_inner();
        while listed.message().await.expect("it goes on").is_some() {
            found += 1;
        }
    }
    found
}
