//! [`ClusterReviews`]: the reviews that a cluster makes, and [`KubeReviews`], which requests them.

use super::{ClusterUser, FrontProxySettings, REVIEWED};
use async_trait::async_trait;
use http::Request;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tko_core::{Error, Result};

/// Time limit of one request to the cluster.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request that a cluster is asked about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AccessReview {
    /// The user who makes the request.
    pub user: Arc<ClusterUser>,
    /// The verb, such as `list`.
    pub verb: &'static str,
    /// The resource type, such as `sites`; `None` for a path that is not a resource.
    pub resource: Option<&'static str>,
    /// The name of the object; empty for collections.
    pub name: String,
    /// The subresource; empty for objects.
    pub subresource: &'static str,
    /// The path of the request.
    pub path: String,
}

/// The questions that a server asks a cluster.
#[async_trait]
pub trait ClusterReviews: Send + Sync + 'static {
    /// Returns the user of a bearer token; `None` if the token is not valid.
    ///
    /// # Errors
    /// [`Unavailable`](Error::Unavailable): the cluster does not answer.
    async fn token(&self, token: &str) -> Result<Option<ClusterUser>>;

    /// Returns `None` if the request is allowed, otherwise the reason, which may be empty.
    ///
    /// # Errors
    /// [`Unavailable`](Error::Unavailable): the cluster does not answer.
    async fn access(&self, review: &AccessReview) -> Result<Option<String>>;

    /// Returns the settings of the front proxy.
    ///
    /// # Errors
    /// [`Unavailable`](Error::Unavailable): the cluster does not answer.
    async fn front_proxy(&self) -> Result<FrontProxySettings>;
}

/// Asks the API server of a cluster.
///
/// It needs the rights of the ClusterRole `system:auth-delegator`, and of the Role
/// `extension-apiserver-authentication-reader` in `kube-system`.
#[derive(Clone)]
pub struct KubeReviews {
    client: kube::Client,
}

impl KubeReviews {
    /// Sends requests with this client.
    pub fn new(client: kube::Client) -> Self {
        Self { client }
    }

    /// Asks the cluster of a kubeconfig file or, without one, of the environment: `KUBECONFIG`, or
    /// the cluster that this process runs in.
    ///
    /// # Errors
    /// [`BadArgument`](Error::BadArgument): there is no usable configuration.
    pub async fn connect(kubeconfig: Option<&std::path::Path>) -> Result<Self> {
        let bad = |error: String| Error::bad("kubeconfig", error);
        let config = match kubeconfig {
            Some(path) => {
                let file = kube::config::Kubeconfig::read_from(path)
                    .map_err(|error| bad(tko_core::error::chain(&error)))?;
                kube::Config::from_custom_kubeconfig(
                    file,
                    &kube::config::KubeConfigOptions::default(),
                )
                .await
                .map_err(|error| bad(tko_core::error::chain(&error)))?
            }
            None => kube::Config::infer()
                .await
                .map_err(|error| bad(tko_core::error::chain(&error)))?,
        };
        let client =
            kube::Client::try_from(config).map_err(|error| bad(tko_core::error::chain(&error)))?;
        Ok(Self::new(client))
    }

    async fn ask(
        &self,
        what: &'static str,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value> {
        let failed = |error: tko_core::BoxError| Error::unavailable(what, error);
        let bytes = match &body {
            Some(body) => serde_json::to_vec(body).map_err(|error| failed(error.into()))?,
            None => Vec::new(),
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .header("accept", "application/json")
            .body(bytes)
            .map_err(|error| failed(error.into()))?;
        let answered = tokio::time::timeout(PATIENCE, self.client.request::<Value>(request)).await;
        match answered {
            Ok(answer) => answer.map_err(|error| failed(error.into())),
            Err(elapsed) => Err(failed(elapsed.into())),
        }
    }
}

#[async_trait]
impl ClusterReviews for KubeReviews {
    async fn token(&self, token: &str) -> Result<Option<ClusterUser>> {
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token},
        });
        let path = "/apis/authentication.k8s.io/v1/tokenreviews";
        let answer = self
            .ask("review a token", "POST", path, Some(review))
            .await?;
        let status = &answer["status"];
        if status["authenticated"] != Value::Bool(true) {
            return Ok(None);
        }
        let user = &status["user"];
        let texts = |value: &Value| -> Vec<String> {
            let items = value.as_array().into_iter().flatten();
            items
                .filter_map(|item| item.as_str().map(str::to_owned))
                .collect()
        };
        let Some(name) = user["username"].as_str().filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        let mut found = ClusterUser::new(name, texts(&user["groups"]));
        found.uid = user["uid"].as_str().map(str::to_owned);
        let extra = user["extra"].as_object().into_iter().flatten();
        found.extra = extra
            .map(|(key, values)| (key.clone(), texts(values)))
            .collect();
        Ok(Some(found))
    }

    async fn access(&self, review: &AccessReview) -> Result<Option<String>> {
        let (group, version) = REVIEWED;
        let user = &review.user;
        let mut spec = json!({
            "user": user.name,
            "uid": user.uid.as_deref().unwrap_or_default(),
            "groups": user.groups,
            "extra": user.extra,
        });
        match review.resource {
            Some(resource) => {
                spec["resourceAttributes"] = json!({
                    "group": group,
                    "version": version,
                    "resource": resource,
                    "subresource": review.subresource,
                    "name": review.name,
                    "verb": review.verb,
                });
            }
            None => {
                spec["nonResourceAttributes"] = json!({"path": review.path, "verb": review.verb});
            }
        }
        let body = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": spec,
        });
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        let answer = self
            .ask("review an access", "POST", path, Some(body))
            .await?;
        let status = &answer["status"];
        if status["allowed"] == Value::Bool(true) && status["denied"] != Value::Bool(true) {
            return Ok(None);
        }
        Ok(Some(
            status["reason"].as_str().unwrap_or_default().to_owned(),
        ))
    }

    async fn front_proxy(&self) -> Result<FrontProxySettings> {
        let path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
        let map = self
            .ask("read the settings of the front proxy", "GET", path, None)
            .await?;
        let text = |key: &str| map["data"][key].as_str().unwrap_or_default().to_owned();
        let list =
            |key: &str| -> Vec<String> { serde_json::from_str(&text(key)).unwrap_or_default() };
        Ok(FrontProxySettings {
            proxy_ca: text("requestheader-client-ca-file"),
            allowed_names: list("requestheader-allowed-names"),
            user_headers: list("requestheader-username-headers"),
            uid_headers: list("requestheader-uid-headers"),
            group_headers: list("requestheader-group-headers"),
            extra_prefixes: list("requestheader-extra-headers-prefix"),
            client_ca: text("client-ca-file"),
        })
    }
}
