//! Every method of every service, and every role: which is permitted, and which is refused.

mod table;

use self::table::{Row, compatible, versioned};
use crate::serving::{Serving, from_template, package, template};
use crate::tls::settings;
use futures_util::TryStreamExt;
use http::uri::PathAndQuery;
use prost::Message;
use prost::bytes::{Buf, BufMut};
use prost_types::FileDescriptorSet;
use std::collections::BTreeSet;
use std::sync::Arc;
use tko_backend_memory::Memory;
use tko_conformance::{CountedIds, ManualClock, Strict};
use tko_core::role::PERMISSIONS;
use tko_core::{
    Bulk, Caller, CallerRole, ChangeRecord, ContentHash, DataApi, DeploymentId, EntityUpdate,
    Error, ErrorKind, Expect, Guarded, Key, Kind, List, Metadata, NewDeployment, NewPlugin,
    NewSite, NewTemplate, Package, PackageUpdate, Pattern, PluginId, PluginType, Record, Result,
    RoleGuard, Scope, Select, SharedLimits, SiteId, Store, TemplateId, Version, Want, Watch,
    WorkerApi,
};
use tko_grpc::proto::FILE_DESCRIPTOR_SET;
use tko_grpc::server::{Access, Authenticate, Credentials, ServerSettings};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Request, Status};

/// Names the caller after its token, which is also its role; `south` is an operator in the south,
/// `edge` a worker there.
struct ByRole;

#[tonic::async_trait]
impl Authenticate for ByRole {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Caller> {
        let token = credentials
            .bearer()
            .ok_or_else(|| Error::Unauthenticated("send a role".to_owned()))?;
        let caller = Caller::new(token)?;
        let pattern = |text| Pattern::id(text).map_err(|e| Error::bad("pattern", e.to_string()));
        match token {
            "nobody" => Ok(caller),
            "south" => caller.role_within("operator", Scope::new().site(pattern("south/**")?)),
            "edge" => caller.role_within("worker", Scope::new().site(pattern("south/**")?)),
            "ci" => caller.role_within("author", Scope::new().template(pattern("ci/**")?)),
            role => caller.role(role),
        }
    }
}

async fn serving() -> Serving {
    let backend = Memory::new(
        Arc::new(ManualClock::new()),
        tko_backend_memory::MemorySettings::default(),
    );
    let store = Store::new(
        Arc::new(backend),
        Arc::new(Strict),
        Arc::new(CountedIds::default()),
    );
    let guarded = Guarded::new(Arc::new(store), RoleGuard::new());
    let access = Access::new().authentication(Arc::new(ByRole));
    Serving::over(Arc::new(guarded), ServerSettings::default(), access).await
}

/// Sends and receives messages as bytes.
#[derive(Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining()).to_vec()))
    }
}

/// Makes a call, and reads its first response.
async fn call(serving: &Serving, row: &Row, role: &str) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(serving.channel());
    client.ready().await.expect("a connection");
    let mut request = Request::new(row.request.clone());
    let value = format!("Bearer {role}").parse().expect("ASCII");
    request.metadata_mut().insert("authorization", value);
    let path: PathAndQuery = row.path.parse().expect("a path");
    let answers = client.server_streaming(request, path, Raw).await?;
    let mut answers = answers.into_inner();
    answers.message().await.map(|_| ())
}

#[tokio::test]
async fn s10_every_method_of_every_service_has_its_roles() {
    let serving = serving().await;
    let rows: Vec<Row> = versioned().into_iter().chain(compatible()).collect();
    let described = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("descriptors");
    let services = described.file.iter().flat_map(|file| {
        let named = file.service.iter().map(|service| (file.package(), service));
        named.collect::<Vec<_>>()
    });
    let methods: BTreeSet<String> = services
        .flat_map(|(package, service)| {
            let name = service.name();
            let methods = service.method.iter();
            methods.map(move |method| format!("/{package}.{name}/{}", method.name()))
        })
        .collect();
    let covered: BTreeSet<String> = rows.iter().map(|row| row.path.clone()).collect();
    assert_eq!(covered, methods, "a method is missing in the table");

    for row in &rows {
        for role in CallerRole::ALL {
            let refusal = refusal(&serving, row, role.name()).await;
            let permitted = row.roles.contains(&role);
            assert_eq!(
                refusal.is_none(),
                permitted,
                "{} as {role}: {refusal:?}",
                row.path
            );
            if let Some(refusal) = refusal {
                let needed = row.roles[0].name();
                assert!(
                    refusal.contains(&format!("{role} via grpc may not"))
                        && refusal.contains(needed),
                    "{} as {role}: {refusal}",
                    row.path
                );
            }
        }
        let nobody = refusal(&serving, row, "nobody").await;
        let nobody = nobody.unwrap_or_else(|| panic!("{} as nobody", row.path));
        assert!(nobody.contains("has no role"), "{nobody}");
    }
}

/// The message of a refusal; `None` if the call was permitted, whatever its result.
async fn refusal(serving: &Serving, row: &Row, role: &str) -> Option<String> {
    // A batch answers each deployment by itself.
    if row.path.ends_with("/CreateDeployments") {
        let client = serving.client_with(settings(None, Some(role)));
        let created = client.create_deployments(vec![NewDeployment::new()]).await;
        return match created.into_iter().next()? {
            Err(Error::Forbidden(message)) => Some(message),
            _ => None,
        };
    }
    let status = call(serving, row, role).await.err()?;
    assert_ne!(
        status.code(),
        Code::Unauthenticated,
        "{}: {status}",
        row.path
    );
    (status.code() == Code::PermissionDenied).then(|| status.message().to_owned())
}

#[test]
fn the_table_names_every_call_once() {
    let mut seen = BTreeSet::new();
    for row in PERMISSIONS {
        assert!(
            row.roles.contains(&CallerRole::Admin),
            "{} without admin",
            row.call
        );
        let kinds: Vec<String> = row.kinds.iter().map(ToString::to_string).collect();
        assert!(seen.insert((row.call, kinds)), "{} twice", row.call);
    }
}

fn id<T: std::str::FromStr<Err = Error>>(text: &str) -> T {
    text.parse().expect("an id")
}

async fn forbidden<T: std::fmt::Debug>(call: impl Future<Output = Result<T>>) -> String {
    let error = call.await.expect_err("it is outside the scope");
    assert_eq!(error.kind(), ErrorKind::Forbidden, "{error}");
    error.to_string()
}

/// Registers sites with empty packages.
async fn register_sites(admin: &impl DataApi, sites: &[&str]) {
    for site in sites {
        let new = NewSite::new(id::<SiteId>(site), Package::default());
        admin.register_site(new).await.expect("all rights");
    }
}

/// Creates several deployments in one call. Returns the kind of the error of each.
async fn refusals(api: &impl DataApi, new: Vec<NewDeployment>) -> Vec<Option<ErrorKind>> {
    let created = api.create_deployments(new).await.into_iter();
    let refused = created.map(|created| created.err().map(|error| error.kind()));
    refused.collect()
}

#[tokio::test]
async fn a_restricted_role_covers_only_what_matches() {
    let serving = serving().await;
    let client = |role: &str| serving.client_with(settings(None, Some(role)));
    let (admin, south, ci) = (client("admin"), client("south"), client("ci"));
    register_sites(&admin, &["south/a", "north/a"]).await;
    admin
        .register_template(template("nf"))
        .await
        .expect("all rights");
    let at = |site: &str| from_template("nf").site(id::<SiteId>(site));
    let north = admin
        .create_deployment(at("north/a"))
        .await
        .expect("all rights");
    let own = admin.create_deployment(at("south/a")).await;
    let own = own.expect("all rights");
    let (north_key, own_key) = (Key::from(&north), Key::from(&own));

    let refused = forbidden(south.create_deployment(at("north/a"))).await;
    assert!(
        refused.contains("south via grpc") && refused.contains("site south/**"),
        "{refused}"
    );
    forbidden(south.create_deployment(from_template("nf"))).await;
    south
        .create_deployment(at("south/a"))
        .await
        .expect("covered");
    forbidden(south.get(&north_key, Want::ROW)).await;
    forbidden(south.delete(&north_key)).await;
    forbidden(south.delete_at(&north_key, Version(1))).await;
    forbidden(south.history(&north_key, None, 1)).await;
    forbidden(south.update(&north, Version(1), Package::default())).await;
    forbidden(south.start_modification(&north, std::time::Duration::from_secs(5))).await;
    let read = south.get(&own_key, Want::PACKAGE).await.expect("covered");

    // The package must not move the deployment out of the scope.
    let moved = tko_core::deployment_resource::asked(None, Some(&id("north/a")), false, false);
    let moved = Package::new(vec![moved.into()]).expect("one resource");
    forbidden(south.update(&own, read.entity.version, moved.clone())).await;
    let modification = south
        .start_modification(&own, std::time::Duration::from_secs(5))
        .await;
    let modification = modification.expect("covered");
    forbidden(south.end_modification(&modification.token, moved)).await;
    south
        .cancel_modification(&modification.token)
        .await
        .expect("covered");

    let deployments = Select::all(Kind::Deployment);
    let listed = south
        .list(&List::new(deployments.clone()))
        .await
        .expect("a page");
    assert_eq!(listed.items.len(), 2);
    let count = south
        .count(&deployments, 100, Want::ROW)
        .await
        .expect("a count");
    assert_eq!(count.found, 2);
    let purged = south.purge(&deployments).await.expect("covered");
    assert_eq!(purged, Bulk::new(2));
    assert!(admin.get(&north_key, Want::ROW).await.is_ok());
    let changes = south.changes(None);
    let changes: Vec<ChangeRecord> = changes.try_collect().await.expect("changes");
    assert!(changes.iter().all(|change| change.key != north_key) && changes.len() >= 4);
    let mut watch = south.watch(Watch::new(deployments, listed.revision));
    admin
        .create_deployment(at("north/a"))
        .await
        .expect("all rights");
    let seen = admin
        .create_deployment(at("south/a"))
        .await
        .expect("all rights");
    let mut next = async || {
        let event = futures_util::StreamExt::next(&mut watch).await;
        event.expect("no end").expect("an event")
    };
    loop {
        if let tko_core::Event::Put { record, .. } = next().await {
            assert_eq!(record.entity.key, Key::from(&seen));
            break;
        }
    }

    forbidden(ci.register_template(template("nf"))).await;
    let mut own = template("ci/nf");
    own.expect = Expect::Any;
    ci.register_template(own).await.expect("covered");
    forbidden(ci.delete(&Key::from(id::<TemplateId>("nf")))).await;
    let plugin = PluginId::new(PluginType::Prepare, "p").expect("an id");
    forbidden(ci.register_plugin(NewPlugin::new(plugin, "command"))).await;
}

#[tokio::test]
async fn a_restricted_role_creates_no_children_of_others() {
    let serving = serving().await;
    let client = |role: &str| serving.client_with(settings(None, Some(role)));
    let (admin, south) = (client("admin"), client("south"));
    register_sites(&admin, &["south/a", "north/a"]).await;
    let at = |site: &str| NewDeployment::new().site(id::<SiteId>(site));
    let north = admin.create_deployment(at("north/a")).await;
    let north = north.expect("all rights");
    let own = south.create_deployment(at("south/a")).await;
    let own = own.expect("covered");

    let child_of = |parent: &DeploymentId| at("south/a").parent(parent.clone());
    forbidden(south.create_deployment(child_of(&north))).await;
    let created = south.create_deployment(child_of(&own)).await;
    created.expect("both are covered");
    let refused = refusals(&south, vec![child_of(&north), child_of(&own)]).await;
    assert_eq!(refused, [Some(ErrorKind::Forbidden), None]);
    let missing = south.create_deployment(child_of(&id("none"))).await;
    let missing = missing.expect_err("it does not exist");
    assert_eq!(missing.kind(), ErrorKind::BadArgument, "{missing}");
    let created = admin.create_deployment(child_of(&north)).await;
    created.expect("all rights");

    // Not even with the idempotency key of a child that does not exist yet.
    let key = format!("{north}|0|north/a|\"\"|p");
    for client in [&south, &admin] {
        let taken = client.create_deployment(at("south/a").idempotency_key(key.as_str()));
        let refused = taken.await.expect_err("the key is reserved");
        assert_eq!(refused.kind(), ErrorKind::BadArgument, "{refused}");
    }
}

#[tokio::test]
async fn a_role_restricted_by_site_adds_no_topologies() {
    let serving = serving().await;
    let client = |role: &str| serving.client_with(settings(None, Some(role)));
    let (admin, south) = (client("admin"), client("south"));
    register_sites(&admin, &["south/a"]).await;
    let placement = |on_leave: &str| {
        let yaml =
            "apiVersion: topology.nephio.org/v1alpha1\nkind: Placement\nmetadata: {name: p}\n";
        package(&format!(
            "{yaml}spec: {{templates: [], onLeave: {on_leave}}}\n"
        ))
    };
    let own = || NewDeployment::new().site(id::<SiteId>("south/a"));
    let with = || own().merge(placement("Keep"));
    let refused = forbidden(south.create_deployment(with())).await;
    assert!(refused.contains("Placement p"), "{refused}");
    let refused = refusals(&south, vec![with(), own()]).await;
    assert_eq!(refused, [Some(ErrorKind::Forbidden), None]);
    let created = client("operator").create_deployment(with()).await;
    created.expect("not restricted");

    // An author wrote it into the template.
    let topology = NewTemplate::new(id::<TemplateId>("topology"), placement("Keep"));
    admin.register_template(topology).await.expect("all rights");
    let from_template = own().template(id::<TemplateId>("topology"));
    let created = south
        .create_deployment(from_template)
        .await
        .expect("covered");
    let key = Key::from(&created);
    let read = south.get(&key, Want::PACKAGE).await.expect("covered");
    let (whole, version) = (read.package.expect("a package"), read.entity.version);
    let config = package("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: more}\n");
    let more = whole.with(config.resources()[0].clone());
    let version = south.update(&created, version, more).await;
    let version = version.expect("the topology is the same");

    let changed = whole.with(placement("Delete").resources()[0].clone());
    forbidden(south.update(&created, version, changed.clone())).await;
    let merge = PackageUpdate::Merge {
        package: placement("Delete"),
        site: Some(id("south/a")),
    };
    for package in [PackageUpdate::Replace(changed.clone()), merge] {
        let update = EntityUpdate::new(&key, version).package(package);
        forbidden(south.update_entity(update)).await;
    }
    let ttl = std::time::Duration::from_secs(5);
    let started = south.start_modification(&created, ttl).await;
    let token = started.expect("covered").token;
    forbidden(south.end_modification(&token, changed.clone())).await;
    south.cancel_modification(&token).await.expect("covered");
    let updated = admin.update(&created, version, changed).await;
    updated.expect("all rights");
}

/// The site of a deployment at a change, before and after it.
fn sites_of(change: &ChangeRecord) -> (Option<String>, Option<String>) {
    let site = |record: &Option<Record>| {
        let deployment = record.as_ref()?.entity.deployment()?;
        deployment.site.as_ref().map(ToString::to_string)
    };
    (site(&change.before), site(&change.after))
}

#[tokio::test]
async fn a_restricted_role_sees_exactly_the_covered_part_of_a_history() {
    const EDITS: usize = 120;
    let serving = serving().await;
    let client = |role: &str| serving.client_with(settings(None, Some(role)));
    let (admin, south) = (client("admin"), client("south"));
    register_sites(&admin, &["south/a", "north/a"]).await;
    let new = NewDeployment::new().site(id::<SiteId>("north/a"));
    let moving = admin.create_deployment(new).await.expect("all rights");
    let key = Key::from(&moving);
    let change = async |site: Option<&str>, number: usize| {
        let read = admin.get(&key, Want::ROW).await.expect("all rights");
        let package = site.map(|site| {
            let named = tko_core::deployment_resource::asked(None, Some(&id(site)), false, false);
            let package = Package::new(vec![named.into()]).expect("one resource");
            PackageUpdate::Replace(package)
        });
        let update = EntityUpdate::new(key.clone(), read.entity.version)
            .metadata(Metadata::from_iter([("n", number.to_string())]))
            .package(package);
        admin.update_entity(update).await.expect("all rights");
    };
    // It enters, leaves for a while, and returns.
    change(Some("south/a"), 0).await;
    for number in 1..=EDITS {
        change(None, number).await;
    }
    change(Some("north/a"), 0).await;
    for number in 1..=EDITS {
        change(None, number).await;
    }
    change(Some("south/a"), 0).await;

    let history = south.history(&key, None, 1_000).await.expect("covered");
    // Both entries, and the edits between.
    assert_eq!(history.len(), EDITS + 2);
    let covered = Some("south/a".to_owned());
    for change in &history {
        let (before, after) = sites_of(change);
        assert_eq!(after, covered);
        assert!(before.is_none() || before == covered, "{before:?}");
    }
    assert!(history[0].before.is_none() && history[1].before.is_some());
    let part = south.history(&key, Some(history[0].revision), 100).await;
    let part: Vec<_> = part.expect("covered").iter().map(|c| c.revision).collect();
    let expected: Vec<_> = history[1..=100].iter().map(|c| c.revision).collect();
    assert_eq!(part, expected);
    let changes: Vec<ChangeRecord> = south.changes(None).try_collect().await.expect("changes");
    let changes = changes.iter().filter(|change| change.key == key);
    let changes: Vec<_> = changes.map(sites_of).collect();
    assert_eq!(changes.len(), EDITS + 2);
    for (before, after) in changes {
        assert_eq!(after, covered);
        assert!(before.is_none() || before == covered, "{before:?}");
    }

    // Nothing of an entity that has left, not even its past.
    change(Some("north/a"), 0).await;
    let past = Some(history[1].revision);
    forbidden(south.history(&key, None, 10)).await;
    forbidden(south.history(&key, past, 10)).await;
    admin.delete(&key).await.expect("all rights");
    forbidden(south.history(&key, past, 10)).await;
}

#[tokio::test]
async fn a_restricted_worker_shares_no_values() {
    let serving = serving().await;
    let client = |role: &str| serving.client_with(settings(None, Some(role)));
    let (key, limits) = (ContentHash([1; 32]), SharedLimits::new());
    let edge = client("edge");
    forbidden(edge.put_shared(key, b"false", limits)).await;
    forbidden(edge.get_shared(key, limits.age)).await;
    let found = client("worker").get_shared(key, limits.age).await;
    assert_eq!(found.expect("all rights"), None);
}
