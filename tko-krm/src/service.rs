//! [`KrmService`]: authenticates each request and passes it to its handler.

use crate::accept::{Representation, Serves};
use crate::context::KrmContext;
use crate::delegation::{DelegatedUser, Delegation, refuse_impersonation};
use crate::failure::{KrmAnswer, KrmFailure};
use crate::feed::WatchFeed;
use crate::health::DataHealth;
use crate::openapi::Documents;
use crate::query::Query;
use crate::reply::{self, Reply, tagged};
use crate::request::ApiRequest;
use crate::route::{HealthCheck, RouteTarget};
use crate::settings::{INTERFACE, KrmSettings};
use crate::{delete, discovery, list, object, read, watch, write};
use async_trait::async_trait;
use axum::body::Body;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use serde_json::Value;
use std::sync::Arc;
use tko_core::{Caller, Clock, ContentHash, DataApi, Error, Ids};
use tko_serve::{
    Authenticate, BudgetExhausted, Credentials, HeavyWork, Peer, RequestBytes, check_browser,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// The content type of aggregated discovery.
const AGGREGATED: HeaderValue = HeaderValue::from_static(
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
);

/// The header that identifies a request in logs.
const AUDIT_ID: &str = "audit-id";

/// How requests are authenticated and authorized.
pub(crate) enum Gate {
    /// Every authenticated caller; the data service knows the roles.
    Local {
        authentication: Arc<dyn Authenticate>,
        /// Whether the server is open to the network without TLS or authentication.
        is_open: bool,
    },
    /// The cluster authenticates and authorizes every request.
    Cluster(Arc<Delegation>),
}

/// Accepts a caller that is already authenticated.
struct KnownCaller(Caller);

#[async_trait]
impl Authenticate for KnownCaller {
    async fn authenticate(&self, _: &Credentials) -> tko_core::Result<Caller> {
        Ok(self.0.clone())
    }
}

/// Answers requests.
pub(crate) struct KrmService {
    data: Arc<dyn DataApi>,
    context: Arc<KrmContext>,
    gate: Gate,
    documents: Documents,
    in_flight: Semaphore,
    data_health: DataHealth,
}

impl KrmService {
    pub(crate) fn new(
        data: Arc<dyn DataApi>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        settings: KrmSettings,
        gate: Gate,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            in_flight: Semaphore::new(settings.max_requests.clamp(1, Semaphore::MAX_PERMITS)),
            context: Arc::new(KrmContext {
                clock,
                ids,
                feed: Arc::new(WatchFeed::new(
                    data.clone(),
                    settings.kept_changes,
                    settings.kept_bytes,
                )),
                streams: Arc::new(Semaphore::new(
                    settings.max_watches.clamp(1, Semaphore::MAX_PERMITS),
                )),
                settings,
                heavy_work: HeavyWork::default(),
                shutdown,
            }),
            data,
            gate,
            documents: Documents::new(),
            data_health: DataHealth::default(),
        }
    }

    /// Answers one request.
    pub(crate) async fn respond(self: &Arc<Self>, mut request: Request<Body>) -> Reply {
        let audit = self.audit_id(&mut request);
        let is_head = request.method() == Method::HEAD;
        let mut reply = match self.answer(request).await {
            Ok(reply) => reply,
            Err(failure) => reply::failure(&failure),
        };
        if let Some(audit) = audit {
            reply.headers_mut().insert(AUDIT_ID, audit);
        }
        if is_head {
            *reply.body_mut() = Body::empty();
        }
        reply
    }

    /// The id of the request in logs. Adds one to the request if the client sends none.
    fn audit_id(&self, request: &mut Request<Body>) -> Option<HeaderValue> {
        if let Some(sent) = request.headers().get(AUDIT_ID) {
            return Some(sent.clone());
        }
        let id = self.context.ids.next();
        let uuid = object::uuid(ContentHash::of(&id.as_str().into()));
        let made = HeaderValue::from_str(&uuid).ok()?;
        request.headers_mut().insert(AUDIT_ID, made.clone());
        Some(made)
    }

    async fn answer(self: &Arc<Self>, request: Request<Body>) -> KrmAnswer<Reply> {
        let (_bytes, request) = RequestBytes::of(request);
        let (mut head, body) = request.map(Body::new).into_parts();
        let target = RouteTarget::of(head.uri.path())?;
        let query = Query::of(&head.uri)?;
        if let RouteTarget::Health(endpoint, check) = &target {
            if let Some(peer) = head.extensions.get::<Peer>() {
                peer.note_request();
            }
            return self.health(*endpoint, check.as_deref(), &query).await;
        }
        let verb = target.verb(&head.method, &query)?;
        let peer = head.extensions.get::<Peer>();
        let (caller, delegated) = match &self.gate {
            Gate::Local {
                authentication,
                is_open,
            } => {
                let is_local = !*is_open && authentication.admits_anyone();
                check_browser(&head.method, &head.uri, &head.headers, is_local)
                    .map_err(|refusal| KrmFailure::foreign_page(&refusal))?;
                refuse_impersonation(&head.headers)?;
                // Checked before the authentication: an answer without a delay must not tell
                // whether the credentials are valid.
                if peer.is_some_and(Peer::has_too_many_refusals) {
                    return Err(KrmFailure::too_many_requests(
                        "this connection has too many refused requests; retry later",
                    ));
                }
                let caller = authenticate(&**authentication, &head.headers, peer).await?;
                (caller, None)
            }
            Gate::Cluster(delegation) => {
                let user = delegation.authenticate(&mut head.headers, peer).await?;
                let user = DelegatedUser::new(delegation.clone(), user, head.uri.path());
                user.authorize(&target, verb).await?;
                let known = KnownCaller(user.caller()?);
                // Records that the connection belongs to an authenticated caller.
                let caller = authenticate(&known, &head.headers, peer).await?;
                (caller, Some(user))
            }
        };
        let audit_id = head.headers.get(AUDIT_ID).and_then(|id| id.to_str().ok());
        tracing::debug!(%caller, verb, path = head.uri.path(), audit_id, "request");
        let body = match verb {
            "get" | "list" | "watch" => Bytes::new(),
            _ => self.read_body(body).await?,
        };
        let request = ApiRequest {
            headers: head.headers,
            query,
            body,
            data: self.data.clone().with_caller(caller.clone()),
            caller,
            delegated,
        };
        match (&target, verb) {
            (RouteTarget::Collection(resource), "watch") => {
                return watch::watch(self.context.clone(), resource, None, request).await;
            }
            (RouteTarget::Object(resource, name), "watch") => {
                return watch::watch(self.context.clone(), resource, Some(name), request).await;
            }
            _ => {}
        }
        let Ok(_permit) = self.in_flight.try_acquire() else {
            return Err(KrmFailure::too_many_requests(
                "the server handles too many requests; retry later",
            ));
        };
        let handling = self.dispatch(&target, verb, request);
        let answer = tokio::time::timeout(self.context.settings.timeout, handling).await;
        answer.unwrap_or_else(|_| Err(KrmFailure::unavailable("the request took too long; retry")))
    }

    /// Reads a body up to the limit.
    async fn read_body(&self, body: Body) -> KrmAnswer<Bytes> {
        let limit = self.context.settings.max_body;
        let reading = axum::body::to_bytes(body, limit);
        match tokio::time::timeout(self.context.settings.timeout, reading).await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) if is_too_long(&error) => Err(KrmFailure::too_large(limit)),
            Ok(Err(error)) if BudgetExhausted::caused(&error) => {
                Err(KrmFailure::too_many_requests(BudgetExhausted.to_string()))
            }
            Ok(Err(error)) => Err(KrmFailure::bad_request(format!(
                "cannot read the body: {error}"
            ))),
            Err(_) => Err(KrmFailure::bad_request("the body came too slowly")),
        }
    }

    async fn dispatch(
        self: &Arc<Self>,
        target: &RouteTarget,
        verb: &'static str,
        request: ApiRequest,
    ) -> KrmAnswer<Reply> {
        match (target, verb) {
            (RouteTarget::Index, _) => Ok(reply::json(StatusCode::OK, &index())),
            (RouteTarget::Version, _) => Ok(reply::json(StatusCode::OK, &discovery::version())),
            (RouteTarget::Core, _) => discovered(
                &request,
                discovery::aggregated_core,
                discovery::core_versions,
            ),
            (RouteTarget::Groups, _) => {
                discovered(&request, discovery::aggregated, discovery::groups)
            }
            (RouteTarget::Group, _) => Ok(reply::json(StatusCode::OK, &discovery::group())),
            (RouteTarget::Resources, _) => Ok(reply::json(StatusCode::OK, &discovery::resources())),
            (RouteTarget::OpenApiV2, _) => Ok(self.documents.v2(&request)),
            (RouteTarget::OpenApiV3Index, _) => Ok(self.documents.v3_index()),
            (RouteTarget::OpenApiV3, _) => Ok(self.documents.v3(&request)),
            (RouteTarget::Collection(resource), "list") => {
                list::list(&self.context, resource, request).await
            }
            (
                RouteTarget::Object(resource, name) | RouteTarget::Subresource(resource, name, _),
                "get",
            ) => read::get(&self.context, resource, name, &request).await,
            (RouteTarget::Collection(resource), "create") => {
                write::create(&self.context, resource, &request).await
            }
            (RouteTarget::Object(resource, name), "update") => {
                write::replace(&self.context, resource, name, None, &request).await
            }
            (RouteTarget::Object(resource, name), "patch") => {
                write::patch(&self.context, resource, name, None, &request).await
            }
            (RouteTarget::Subresource(resource, name, subresource), "update") => {
                write::replace(&self.context, resource, name, Some(subresource), &request).await
            }
            (RouteTarget::Subresource(resource, name, subresource), "patch") => {
                write::patch(&self.context, resource, name, Some(subresource), &request).await
            }
            (RouteTarget::Object(resource, name), "delete") => {
                delete::delete(&self.context, resource, name, &request).await
            }
            (RouteTarget::Collection(resource), "deletecollection") => {
                delete::delete_collection(&self.context, resource, &request).await
            }
            _ => Err(KrmFailure::method_not_allowed()),
        }
    }

    /// Answers a health check. Liveness has no dependency; readiness requires the data service.
    async fn health(
        &self,
        endpoint: HealthCheck,
        check: Option<&str>,
        query: &Query,
    ) -> KrmAnswer<Reply> {
        let mut checks = vec![("ping", Ok(()))];
        if endpoint == HealthCheck::Ready {
            let draining = self.context.shutdown.is_cancelled();
            checks.push((
                "shutdown",
                if draining {
                    Err("shutting down".to_owned())
                } else {
                    Ok(())
                },
            ));
            // Probes have no credentials, so the check runs on behalf of this process.
            let data = self.context.feed.data();
            let answer = self.data_health.check(data.feed_position()).await;
            checks.push(("data", answer.map_err(str::to_owned)));
        }
        if let Some(name) = check {
            checks.retain(|(one, _)| *one == name);
            if checks.is_empty() {
                return Err(KrmFailure::no_path());
            }
        }
        let failed = checks.iter().any(|(_, result)| result.is_err());
        if !failed && !query.is_true("verbose") {
            return Ok(reply::text(StatusCode::OK, "ok"));
        }
        let mut text: String = checks
            .iter()
            .map(|(name, result)| match result {
                Ok(()) => format!("[+]{name} ok\n"),
                Err(why) => format!("[-]{name} failed: {why}\n"),
            })
            .collect();
        text.push_str(if failed {
            "check failed"
        } else {
            "check passed"
        });
        text.push('\n');
        let status = if failed {
            StatusCode::INTERNAL_SERVER_ERROR
        } else {
            StatusCode::OK
        };
        Ok(reply::text(status, text))
    }
}

/// Whether reading a body failed because it is longer than allowed.
fn is_too_long(error: &axum::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if cause.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        source = cause.source();
    }
    false
}

/// Authenticates a request.
async fn authenticate(
    authentication: &dyn Authenticate,
    headers: &HeaderMap,
    peer: Option<&Peer>,
) -> KrmAnswer<Caller> {
    let mut credentials = Credentials::new(INTERFACE);
    if let Some(header) = headers.get(AUTHORIZATION)
        && let Ok(header) = header.to_str()
    {
        credentials = credentials.with_authorization(header);
    }
    if let Some(peer) = peer {
        credentials = credentials.with_peer(peer.clone());
    }
    let authenticated = tko_serve::authenticate(authentication, &credentials).await;
    authenticated.map_err(|error| {
        tracing::debug!(?credentials, error = error.chain(), "refused a request");
        match error {
            Error::Forbidden(message) => KrmFailure::forbidden(message),
            Error::Unavailable { .. } => KrmFailure::unavailable(error.to_string()),
            _ => KrmFailure::unauthorized(),
        }
    })
}

/// The paths of the server, for people.
fn index() -> Value {
    serde_json::json!({"paths": [
        "/api",
        "/apis",
        "/apis/tko.nephio.org",
        "/apis/tko.nephio.org/v1alpha1",
        "/healthz",
        "/livez",
        "/openapi/v2",
        "/openapi/v3",
        "/openapi/v3/apis/tko.nephio.org/v1alpha1",
        "/readyz",
        "/version",
    ]})
}

/// Discovery in the form that the client asks for.
fn discovered(
    request: &ApiRequest,
    aggregated: fn() -> Value,
    plain: fn() -> Value,
) -> KrmAnswer<Reply> {
    if request.representation(Serves::Discovery)? != Representation::Discovery {
        return Ok(reply::json(StatusCode::OK, &plain()));
    }
    let document = aggregated();
    let tag = format!("\"{}\"", ContentHash::of(&document));
    Ok(tagged(request, &tag, |status| {
        let body = serde_json::to_vec(&document).unwrap_or_default();
        reply::bytes(status, AGGREGATED, body)
    }))
}
