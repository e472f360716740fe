//! The table: every method of every service, a request that reaches the API, and who may make it.

use prost::Message;
use tko_core::{CallerRole, Key, Kind, Token};
use tko_grpc::proto;
use tko_grpc::proto::v1alpha2 as wire;

use CallerRole::{Admin, Author, Operator, Viewer, Worker};
const READERS: &[CallerRole] = &[Viewer, Operator, Author, Worker, Admin];
const OPERATORS: &[CallerRole] = &[Operator, Admin];
const AUTHORS: &[CallerRole] = &[Author, Admin];
const WORKERS: &[CallerRole] = &[Worker, Admin];

/// One method: its path, a request that reaches the API, and the roles that may make it.
pub(super) struct Row {
    pub(super) path: String,
    pub(super) request: Vec<u8>,
    pub(super) roles: &'static [CallerRole],
}

pub(super) fn key(kind: Kind) -> wire::Key {
    let id = match kind {
        Kind::Plugin => "prepare|none",
        _ => "none",
    };
    let kind = match kind {
        Kind::Template => wire::Kind::Template,
        Kind::Site => wire::Kind::Site,
        Kind::Deployment => wire::Kind::Deployment,
        Kind::Plugin => wire::Kind::Plugin,
    };
    wire::Key {
        kind: kind.into(),
        id: id.to_owned(),
    }
}

pub(super) fn select(kind: Kind) -> wire::Select {
    wire::Select {
        kind: key(kind).kind,
        ..Default::default()
    }
}

pub(super) fn token() -> String {
    let key = Key::new(Kind::Deployment, "none").expect("an id");
    Token::new(key, "none").encode()
}

/// All methods of `tko.v1alpha2.Data` and `Controller`.
pub(super) fn versioned() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut row = |service: &str, method: &str, request: Vec<u8>, roles| {
        let path = format!("/tko.v1alpha2.{service}/{method}");
        rows.push(Row {
            path,
            request,
            roles,
        });
    };
    let kinds = [
        (Kind::Template, AUTHORS),
        (Kind::Site, AUTHORS),
        (Kind::Plugin, AUTHORS),
        (Kind::Deployment, OPERATORS),
    ];
    let new = wire::NewDeployment::default;
    let empty = wire::Package::default;
    row("Data", "About", vec![], READERS);
    let request = wire::RegisterTemplateRequest {
        template: Some(wire::NewTemplate {
            id: "t".to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    row("Data", "RegisterTemplate", request.encode_to_vec(), AUTHORS);
    let request = wire::RegisterSiteRequest {
        site: Some(wire::NewSite {
            id: "s".to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    row("Data", "RegisterSite", request.encode_to_vec(), AUTHORS);
    let request = wire::RegisterPluginRequest {
        plugin: Some(wire::NewPlugin {
            r#type: wire::PluginType::Prepare.into(),
            name: "p".to_owned(),
            executor: "command".to_owned(),
            ..Default::default()
        }),
    };
    row("Data", "RegisterPlugin", request.encode_to_vec(), AUTHORS);
    let request = wire::CreateDeploymentRequest {
        deployment: Some(new()),
        ..Default::default()
    };
    row(
        "Data",
        "CreateDeployment",
        request.encode_to_vec(),
        OPERATORS,
    );
    let request = wire::CreateDeploymentsRequest {
        deployments: vec![new()],
        ..Default::default()
    };
    row(
        "Data",
        "CreateDeployments",
        request.encode_to_vec(),
        OPERATORS,
    );
    for (kind, owners) in kinds {
        let (key, select) = (Some(key(kind)), Some(select(kind)));
        let request = wire::GetRequest {
            key: key.clone(),
            ..Default::default()
        };
        row("Data", "Get", request.encode_to_vec(), READERS);
        let request = wire::ListRequest {
            select: select.clone(),
            ..Default::default()
        };
        row("Data", "List", request.encode_to_vec(), READERS);
        let request = wire::CountRequest {
            select: select.clone(),
            ..Default::default()
        };
        row("Data", "Count", request.encode_to_vec(), READERS);
        let request = wire::DeleteRequest {
            key: key.clone(),
            ..Default::default()
        };
        row("Data", "Delete", request.encode_to_vec(), owners);
        let request = wire::PurgeRequest {
            select: select.clone(),
            all: true,
        };
        row("Data", "Purge", request.encode_to_vec(), owners);
        let request = wire::HistoryRequest {
            key,
            ..Default::default()
        };
        row("Data", "History", request.encode_to_vec(), READERS);
        let request = wire::WatchRequest {
            select,
            after: u64::MAX,
            ..Default::default()
        };
        row("Data", "Watch", request.encode_to_vec(), READERS);
    }
    let request = wire::ApproveRequest {
        select: Some(select(Kind::Deployment)),
        all: true,
    };
    row("Data", "Approve", request.encode_to_vec(), OPERATORS);
    let request = wire::UpdateRequest {
        deployment: "none".to_owned(),
        package: Some(empty()),
        ..Default::default()
    };
    row("Data", "Update", request.encode_to_vec(), OPERATORS);
    for kind in Kind::ALL {
        let request = wire::UpdateEntityRequest {
            key: Some(key(kind)),
            ..Default::default()
        };
        let roles = if kind == Kind::Deployment {
            OPERATORS
        } else {
            AUTHORS
        };
        row("Data", "UpdateEntity", request.encode_to_vec(), roles);
    }
    let request = wire::StartModificationRequest {
        deployment: "none".to_owned(),
        ..Default::default()
    };
    row(
        "Data",
        "StartModification",
        request.encode_to_vec(),
        OPERATORS,
    );
    let request = wire::EndModificationRequest {
        token: token(),
        package: Some(empty()),
    };
    row(
        "Data",
        "EndModification",
        request.encode_to_vec(),
        OPERATORS,
    );
    let request = wire::CancelModificationRequest { token: token() };
    row(
        "Data",
        "CancelModification",
        request.encode_to_vec(),
        OPERATORS,
    );
    for (kind, roles) in [
        (Kind::Deployment, OPERATORS),
        (Kind::Site, OPERATORS),
        (Kind::Template, AUTHORS),
    ] {
        let request = wire::RetryRequest {
            key: Some(key(kind)),
        };
        row("Data", "Retry", request.encode_to_vec(), roles);
    }
    row("Data", "Head", vec![], READERS);
    row("Data", "Changes", vec![], READERS);

    let minute = Some(prost_types::Duration {
        seconds: 60,
        nanos: 0,
    });
    let request = wire::ClaimRequest {
        stage: wire::Stage::Prepare.into(),
        worker: "w".to_owned(),
        lease: minute,
        wait: Some(prost_types::Duration::default()),
        ..Default::default()
    };
    row("Controller", "Claim", request.encode_to_vec(), WORKERS);
    let request = wire::RenewRequest {
        tokens: vec![token()],
        ttl: minute,
    };
    row("Controller", "Renew", request.encode_to_vec(), WORKERS);
    row("Controller", "Settle", vec![], WORKERS);
    row("Controller", "Wake", vec![], WORKERS);
    let request = wire::CommitPreparedRequest {
        token: token(),
        deployment: "none".to_owned(),
        ..Default::default()
    };
    row(
        "Controller",
        "CommitPrepared",
        request.encode_to_vec(),
        WORKERS,
    );
    let request = wire::CommitPlacedRequest {
        token: token(),
        ..Default::default()
    };
    row(
        "Controller",
        "CommitPlaced",
        request.encode_to_vec(),
        WORKERS,
    );
    row("Controller", "CommitSteps", vec![], WORKERS);
    row("Controller", "ListPages", vec![], WORKERS);
    let list = wire::ListRequest {
        select: Some(select(Kind::Template)),
        ..Default::default()
    };
    let request = wire::ListPagesRequest { lists: vec![list] };
    row("Controller", "ListPages", request.encode_to_vec(), WORKERS);
    let request = wire::ReportRequest {
        key: Some(key(Kind::Site)),
        ..Default::default()
    };
    row("Controller", "Report", request.encode_to_vec(), WORKERS);
    let request = wire::PutSharedRequest {
        key: vec![0; 32].into(),
        value: vec![1].into(),
        max_values: 1,
        max_bytes: 1,
        max_age: minute,
    };
    row("Controller", "PutShared", request.encode_to_vec(), WORKERS);
    let request = wire::GetSharedRequest {
        key: vec![0; 32].into(),
        max_age: minute,
    };
    row("Controller", "GetShared", request.encode_to_vec(), WORKERS);
    rows
}

/// All methods of `tko.Data`.
pub(super) fn compatible() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut row = |method: &str, request: Vec<u8>, roles| {
        let path = format!("/tko.Data/{method}");
        rows.push(Row {
            path,
            request,
            roles,
        });
    };
    let text = |text: &str| text.to_owned();
    row("about", vec![], READERS);
    let request = proto::Template {
        template_id: text("t"),
        ..Default::default()
    };
    row("registerTemplate", request.encode_to_vec(), AUTHORS);
    let id = proto::TemplateId {
        template_id: text("none"),
    };
    row("deleteTemplate", id.encode_to_vec(), AUTHORS);
    let request = proto::GetTemplate {
        template_id: text("none"),
        ..Default::default()
    };
    row("getTemplate", request.encode_to_vec(), READERS);
    row("listTemplates", vec![], READERS);
    row("purgeTemplates", vec![], AUTHORS);
    let request = proto::Site {
        site_id: text("s"),
        ..Default::default()
    };
    row("registerSite", request.encode_to_vec(), AUTHORS);
    let id = proto::SiteId {
        site_id: text("none"),
    };
    row("deleteSite", id.encode_to_vec(), AUTHORS);
    let request = proto::GetSite {
        site_id: text("none"),
        ..Default::default()
    };
    row("getSite", request.encode_to_vec(), READERS);
    row("listSites", vec![], READERS);
    row("purgeSites", vec![], AUTHORS);
    row("createDeployment", vec![], OPERATORS);
    let id = proto::DeploymentId {
        deployment_id: text("none"),
    };
    row("deleteDeployment", id.encode_to_vec(), OPERATORS);
    let request = proto::GetDeployment {
        deployment_id: text("none"),
        ..Default::default()
    };
    row("getDeployment", request.encode_to_vec(), READERS);
    row("listDeployments", vec![], READERS);
    row("purgeDeployments", vec![], OPERATORS);
    let request = proto::StartDeploymentModification {
        deployment_id: text("none"),
        ..Default::default()
    };
    row(
        "startDeploymentModification",
        request.encode_to_vec(),
        OPERATORS,
    );
    let request = proto::EndDeploymentModification {
        modification_token: token(),
        ..Default::default()
    };
    row(
        "endDeploymentModification",
        request.encode_to_vec(),
        OPERATORS,
    );
    let request = proto::CancelDeploymentModification {
        modification_token: token(),
    };
    row(
        "cancelDeploymentModification",
        request.encode_to_vec(),
        OPERATORS,
    );
    let request = proto::Plugin {
        r#type: text("prepare"),
        name: text("p"),
        executor: text("command"),
        ..Default::default()
    };
    row("registerPlugin", request.encode_to_vec(), AUTHORS);
    let id = proto::PluginId {
        r#type: text("prepare"),
        name: text("none"),
    };
    row("deletePlugin", id.encode_to_vec(), AUTHORS);
    row("getPlugin", id.encode_to_vec(), READERS);
    row("listPlugins", vec![], READERS);
    row("purgePlugins", vec![], AUTHORS);
    rows
}
