//! [`Delegation`]: authentication and authorization by the API server of a cluster.
//!
//! Behind the API server, requests come from its front proxy, which names their users. Direct
//! requests have a client certificate or a bearer token. The cluster then authorizes every request,
//! so that its RBAC decides.

mod cache;
mod cluster;
mod front_proxy;
mod user;

pub use cluster::{AccessReview, ClusterReviews, KubeReviews};
pub use front_proxy::FrontProxySettings;
pub use user::ClusterUser;

use crate::failure::{KrmAnswer, KrmFailure};
use crate::resource::{GROUP, VERSION};
use crate::route::RouteTarget;
use cache::Cache;
use front_proxy::FrontProxy;
use http::HeaderMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tko_core::caller::ADMIN;
use tko_core::{Caller, Clock, Result};
use tko_serve::{CertificateSubject, Credentials, Peer};

/// How long an answer of the cluster is kept.
const KEPT: Duration = Duration::from_secs(10);

/// Maximum number of answers that are kept of each sort.
const MOST: usize = 10_000;

/// The interval at which the settings of the front proxy are read again.
const INTERVAL: Duration = Duration::from_secs(10);

/// The group of administrators, who may do everything.
const MASTERS: &str = "system:masters";

/// A user of the cluster, whom the server asks for permissions while it handles a request.
pub(crate) struct DelegatedUser {
    delegation: Arc<Delegation>,
    user: Arc<ClusterUser>,
    /// The path of the request.
    path: String,
}

impl DelegatedUser {
    pub(crate) fn new(delegation: Arc<Delegation>, user: Arc<ClusterUser>, path: &str) -> Self {
        Self {
            delegation,
            user,
            path: path.to_owned(),
        }
    }

    /// Asks the cluster whether the user may use this verb.
    pub(crate) async fn authorize(
        &self,
        target: &RouteTarget,
        verb: &'static str,
    ) -> KrmAnswer<()> {
        let delegation = &self.delegation;
        delegation
            .authorize(&self.user, target, verb, &self.path)
            .await
    }

    /// The caller for the data service. The cluster authorizes the request.
    pub(crate) fn caller(&self) -> KrmAnswer<Caller> {
        Caller::new(&self.user.name)
            .and_then(|caller| caller.role(ADMIN))
            .and_then(|caller| caller.interface(crate::INTERFACE))
            .map_err(|error| KrmFailure::forbidden(error.to_string()))
    }
}

/// Authentication and authorization by a cluster.
pub(crate) struct Delegation {
    reviews: Arc<dyn ClusterReviews>,
    clock: Arc<dyn Clock>,
    front_proxy: Mutex<Option<Arc<FrontProxy>>>,
    tokens: Cache<String, Option<Arc<ClusterUser>>>,
    decisions: Cache<AccessReview, Option<String>>,
}

impl Delegation {
    pub(crate) fn new(reviews: Arc<dyn ClusterReviews>, clock: Arc<dyn Clock>) -> Self {
        Self {
            reviews,
            clock,
            front_proxy: Mutex::new(None),
            tokens: Cache::new(MOST, KEPT),
            decisions: Cache::new(MOST, KEPT),
        }
    }

    /// Reads the settings of the front proxy repeatedly. The first read must succeed.
    pub(crate) async fn start(self: &Arc<Self>) -> Result<impl Future<Output = ()> + use<>> {
        let settings = self.reviews.front_proxy().await?;
        self.set_front_proxy(&settings);
        let this = Arc::downgrade(self);
        Ok(async move {
            let mut known = settings;
            loop {
                tokio::time::sleep(INTERVAL).await;
                let Some(this) = this.upgrade() else { return };
                match this.reviews.front_proxy().await {
                    Ok(settings) if settings != known => {
                        tracing::info!("the settings of the front proxy changed");
                        this.set_front_proxy(&settings);
                        known = settings;
                    }
                    Ok(_) => {}
                    Err(error) => tracing::warn!(
                        error = error.chain(),
                        "cannot read the settings of the front proxy; keeping the old ones"
                    ),
                }
            }
        })
    }

    fn set_front_proxy(&self, settings: &FrontProxySettings) {
        let front_proxy = Arc::new(FrontProxy::new(settings));
        let mut present = self
            .front_proxy
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *present = Some(front_proxy);
    }

    fn front_proxy(&self) -> Option<Arc<FrontProxy>> {
        self.front_proxy
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Authenticates a request. Removes the headers of the front proxy.
    pub(crate) async fn authenticate(
        &self,
        headers: &mut HeaderMap,
        peer: Option<&Peer>,
    ) -> KrmAnswer<Arc<ClusterUser>> {
        let chain: Vec<&[u8]> = peer
            .map(|peer| peer.presented().collect())
            .unwrap_or_default();
        let now = self.clock.now();
        let front_proxy = self.front_proxy();
        let asserted = front_proxy.as_ref().and_then(|front_proxy| {
            let user = front_proxy.user(headers);
            front_proxy.strip(headers);
            front_proxy.trusts(&chain, now).then_some(user).flatten()
        });
        if let Some(user) = asserted {
            return Ok(Arc::new(user.authenticated()));
        }
        refuse_impersonation(headers)?;
        if let Some(front_proxy) = &front_proxy
            && front_proxy.knows_client(&chain, now)
            && let Some(subject) = chain.first().and_then(|leaf| CertificateSubject::of(leaf))
            && let Some(name) = subject.common_name()
        {
            let groups = subject.values("O").map(str::to_owned).collect();
            let user = ClusterUser::new(name, groups);
            return Ok(Arc::new(user.authenticated()));
        }
        let credentials = match headers.get(http::header::AUTHORIZATION) {
            Some(header) => Credentials::new(crate::INTERFACE)
                .with_authorization(header.to_str().unwrap_or_default()),
            None => return Ok(Arc::new(ClusterUser::anonymous())),
        };
        let Some(token) = credentials.bearer() else {
            return Err(KrmFailure::unauthorized());
        };
        // The token itself is not kept in memory after this request.
        let key = tko_core::ContentHash::of(&token.into()).to_string();
        if let Some(known) = self.tokens.get(&key, now) {
            return known.ok_or_else(KrmFailure::unauthorized);
        }
        let user = self.reviews.token(token).await.map_err(|error| {
            tracing::warn!(
                error = error.chain(),
                "the cluster cannot authenticate a token"
            );
            KrmFailure::unavailable("the cluster does not review tokens at present")
        })?;
        let user = user.map(|user| Arc::new(user.authenticated()));
        self.tokens.put(key, user.clone(), now);
        user.ok_or_else(KrmFailure::unauthorized)
    }

    /// Asks the cluster whether the user may make the request.
    async fn authorize(
        &self,
        user: &Arc<ClusterUser>,
        target: &RouteTarget,
        verb: &'static str,
        path: &str,
    ) -> KrmAnswer<()> {
        if user.groups.iter().any(|group| group == MASTERS) {
            return Ok(());
        }
        let (resource, name, subresource) = match target {
            RouteTarget::Collection(resource) => (Some(*resource), "", ""),
            RouteTarget::Object(resource, name) => (Some(*resource), name.as_str(), ""),
            RouteTarget::Subresource(resource, name, sub) => (Some(*resource), name.as_str(), *sub),
            _ => (None, "", ""),
        };
        let review = AccessReview {
            user: user.clone(),
            verb,
            resource: resource.map(|resource| resource.plural),
            name: name.to_owned(),
            subresource,
            path: path.to_owned(),
        };
        let now = self.clock.now();
        let refusal = if let Some(known) = self.decisions.get(&review, now) {
            known
        } else {
            let decision = self.reviews.access(&review).await.map_err(|error| {
                tracing::warn!(
                    error = error.chain(),
                    "the cluster cannot authorize a request"
                );
                KrmFailure::unavailable("the cluster does not review accesses at present")
            })?;
            self.decisions.put(review.clone(), decision.clone(), now);
            decision
        };
        let Some(why) = refusal else { return Ok(()) };
        let what = match resource {
            Some(resource) => {
                let sub = if subresource.is_empty() {
                    String::new()
                } else {
                    format!("/{subresource}")
                };
                let name = if name.is_empty() {
                    String::new()
                } else {
                    format!(" {name:?}")
                };
                format!(
                    "{}{sub}.{GROUP}{name} is forbidden: User {:?} cannot {verb} resource \
                     \"{}{sub}\" in API group {GROUP:?} at the cluster scope",
                    resource.plural, user.name, resource.plural
                )
            }
            None => format!(
                "forbidden: User {:?} cannot {verb} path {path:?}",
                user.name
            ),
        };
        let why = if why.is_empty() {
            String::new()
        } else {
            format!(": {why}")
        };
        let failure = KrmFailure::forbidden(format!("{what}{why}"));
        Err(match resource {
            Some(resource) => failure.about(resource, name),
            None => failure,
        })
    }
}

/// Refuses a direct request with headers of impersonation. If they were ignored, the request would
/// run with the rights of its caller.
pub(crate) fn refuse_impersonation(headers: &HeaderMap) -> KrmAnswer<()> {
    let mut names = headers.keys();
    if names.any(|name| name.as_str().starts_with("impersonate-")) {
        return Err(KrmFailure::forbidden(
            "impersonation is possible through the API server of a cluster only",
        ));
    }
    Ok(())
}

/// The version of the API in reviews.
pub(crate) const REVIEWED: (&str, &str) = (GROUP, VERSION);
