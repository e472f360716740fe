//! [`ClusterClient`]: requests to one cluster, within limits.

use crate::failure::RequestFailure;
use crate::kinds::KindCache;
use crate::limit::RequestLimit;
use crate::metrics::ClusterCounters;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use kube::client::Body;
use kube::core::Status;
use serde_json::{Value, json};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;
use tko_core::error::chain;

/// The field manager, and the name in the requests.
pub(crate) const MANAGER: &str = "tko";

/// Maximum size of an answer, in bytes.
const MAX_ANSWER: usize = 64 << 20;

/// Maximum number of attempts of a request for which the cluster is too busy.
const ATTEMPTS: u32 = 5;

/// The longest pause that a cluster may ask for before the second attempt.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// Number of objects in one page of a list.
const PAGE: usize = 500;

type ClusterAnswer<T> = std::result::Result<T, RequestFailure>;

/// Requests to one cluster.
pub(crate) struct ClusterClient {
    client: kube::Client,
    /// The default namespace of objects.
    pub(crate) namespace: String,
    pub(crate) kinds: KindCache,
    limit: Arc<RequestLimit>,
    timeout: Duration,
    counters: Arc<ClusterCounters>,
}

/// The result of a deletion.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Deletion {
    /// The object is gone.
    Gone,
    /// Finalizers keep the object for some time.
    Waits,
}

impl ClusterClient {
    pub(crate) fn new(
        client: kube::Client,
        namespace: String,
        limit: Arc<RequestLimit>,
        timeout: Duration,
        counters: Arc<ClusterCounters>,
    ) -> Self {
        Self {
            client,
            namespace,
            kinds: KindCache::default(),
            limit,
            timeout,
            counters,
        }
    }

    pub(crate) fn counters(&self) -> &ClusterCounters {
        &self.counters
    }

    /// Reads an object or a document of discovery; `None` if it does not exist.
    pub(crate) async fn get(&self, path: &str) -> ClusterAnswer<Option<Value>> {
        self.counters.read();
        match self.send(Method::GET, path, None, "").await {
            Ok(value) => Ok(Some(value)),
            Err(failure) if failure.code() == 404 => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Lists the objects with a label, in pages; at most `max` of them. Returns the version of the
    /// list as well.
    pub(crate) async fn list(
        &self,
        path: &str,
        selector: &str,
        max: usize,
    ) -> ClusterAnswer<(Vec<Value>, String)> {
        let mut all = Vec::new();
        let (mut next, mut version) = (String::new(), None);
        loop {
            self.counters.read();
            let query = format!(
                "{path}?labelSelector={}&limit={PAGE}&continue={}",
                escaped(selector),
                escaped(&next)
            );
            let mut page = self.send(Method::GET, &query, None, "").await?;
            let token = page.pointer("/metadata/continue").and_then(Value::as_str);
            token.unwrap_or_default().clone_into(&mut next);
            if version.is_none() {
                let of_page = page.pointer("/metadata/resourceVersion");
                version = of_page.and_then(Value::as_str).map(str::to_owned);
            }
            if let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) {
                all.extend(items);
            }
            if all.len() > max {
                let why = format!("{path} has more than {max} objects of this site");
                return Err(RequestFailure::Unreadable(why));
            }
            if next.is_empty() {
                return Ok((all, version.unwrap_or_default()));
            }
        }
    }

    /// Opens an answer that arrives in parts. Only its beginning has a time limit; the caller
    /// limits the rest.
    pub(crate) async fn open(&self, path: &str, accept: &str) -> ClusterAnswer<Body> {
        self.counters.watched();
        let request = Request::builder()
            .method(Method::GET)
            .uri(path)
            .header(http::header::ACCEPT, accept)
            // kube's decompression ends at the first event of a compressed watch.
            .header(http::header::ACCEPT_ENCODING, "identity")
            .body(Body::empty())
            .map_err(|error| RequestFailure::Unreadable(error.to_string()))?;
        let _turn = self.limit.turn().await;
        let opening = async {
            let answer = self.client.send(request).await;
            let answer = answer.map_err(|error| of_kube(&error))?;
            let status = answer.status();
            if status.is_success() {
                return Ok(answer.into_body());
            }
            let bytes = whole(answer.into_body()).await?;
            Err(refusal(status, bytes.as_ref()))
        };
        self.in_time(opening).await
    }

    /// Applies an object with server-side apply; returns its new state.
    pub(crate) async fn apply(
        &self,
        path: &str,
        body: &Value,
        force: bool,
    ) -> ClusterAnswer<Value> {
        self.counters.wrote();
        let query = format!("{path}?fieldManager={MANAGER}&force={force}");
        let kind = "application/apply-patch+yaml";
        self.send(Method::PATCH, &query, Some(body), kind).await
    }

    /// Changes an object by a merge patch.
    pub(crate) async fn merge(&self, path: &str, body: &Value) -> ClusterAnswer<Value> {
        self.counters.wrote();
        let query = format!("{path}?fieldManager={MANAGER}");
        let kind = "application/merge-patch+json";
        self.send(Method::PATCH, &query, Some(body), kind).await
    }

    /// Deletes the object with this UID, and what it owns. Another object with the same name is
    /// kept.
    pub(crate) async fn delete(&self, path: &str, uid: &str) -> ClusterAnswer<Deletion> {
        self.counters.wrote();
        let options = json!({
            "kind": "DeleteOptions", "apiVersion": "v1",
            "preconditions": {"uid": uid}, "propagationPolicy": "Background",
        });
        let sent = self.send(Method::DELETE, path, Some(&options), "application/json");
        match sent.await {
            // A `Status` means that it is gone; the object itself means that it still exists.
            Ok(value) if value["kind"] == "Status" => Ok(Deletion::Gone),
            Ok(value) => match value.pointer("/metadata/deletionTimestamp") {
                Some(_) => Ok(Deletion::Waits),
                None => Ok(Deletion::Gone),
            },
            Err(failure) if matches!(failure.code(), 404 | 409) => Ok(Deletion::Gone),
            Err(failure) => Err(failure),
        }
    }

    /// Sends a request, and repeats it if the cluster asks for that: all requests here can be
    /// repeated.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        content_type: &str,
    ) -> ClusterAnswer<Value> {
        let bytes = match body {
            Some(body) => serde_json::to_vec(body)
                .map_err(|error| RequestFailure::Unreadable(error.to_string()))?,
            None => Vec::new(),
        };
        let mut attempt = 1;
        loop {
            let answer = self.exchange(&method, path, bytes.clone(), content_type);
            let failure = match answer.await {
                Err(failure) if failure.is_busy() && attempt < ATTEMPTS => failure,
                answer => return answer,
            };
            tokio::time::sleep(failure.pause().min(MAX_PAUSE) * attempt).await;
            attempt += 1;
        }
    }

    async fn exchange(
        &self,
        method: &Method,
        path: &str,
        bytes: Vec<u8>,
        content_type: &str,
    ) -> ClusterAnswer<Value> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::ACCEPT, "application/json");
        if !content_type.is_empty() {
            request = request.header(http::header::CONTENT_TYPE, content_type);
        }
        let request = request
            .body(Body::from(bytes))
            .map_err(|error| RequestFailure::Unreadable(error.to_string()))?;
        let _turn = self.limit.turn().await;
        let exchange = async {
            let answer = self.client.send(request).await;
            let answer = answer.map_err(|error| of_kube(&error))?;
            let status = answer.status();
            let bytes = whole(answer.into_body()).await?;
            understood(status, bytes.as_ref())
        };
        self.in_time(exchange).await
    }

    /// Limits an exchange to the time limit of one request.
    async fn in_time<T>(
        &self,
        exchange: impl Future<Output = ClusterAnswer<T>>,
    ) -> ClusterAnswer<T> {
        match tokio::time::timeout(self.timeout, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(RequestFailure::Unreachable(format!(
                "no answer within {:?}",
                self.timeout
            ))),
        }
    }
}

/// Reads a body to its end, within the maximum size of an answer.
async fn whole(body: Body) -> ClusterAnswer<impl AsRef<[u8]>> {
    let body = Limited::new(body, MAX_ANSWER).collect().await;
    let body = body.map_err(|error| RequestFailure::Unreachable(error.to_string()))?;
    Ok(body.to_bytes())
}

/// The failure of an exchange without an answer of the API server.
fn of_kube(error: &kube::Error) -> RequestFailure {
    match error {
        kube::Error::Api(status) => RequestFailure::Refused(status.clone()),
        error => RequestFailure::Unreachable(chain(error)),
    }
}

fn understood(status: StatusCode, bytes: &[u8]) -> ClusterAnswer<Value> {
    if status.is_success() {
        return serde_json::from_slice(bytes)
            .map_err(|error| RequestFailure::Unreadable(error.to_string()));
    }
    Err(refusal(status, bytes))
}

fn refusal(status: StatusCode, bytes: &[u8]) -> RequestFailure {
    let said = serde_json::from_slice::<Status>(bytes).ok();
    let mut refusal = said.unwrap_or_else(|| {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(1_000)]);
        Status::failure(&text, "")
    });
    refusal.code = status.as_u16();
    RequestFailure::Refused(Box::new(refusal))
}

/// Escapes a value of a query.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{escaped, understood};
    use http::StatusCode;

    #[test]
    fn queries_are_escaped() {
        assert_eq!(escaped("a=b&c d/é"), "a%3Db%26c%20d%2F%C3%A9");
    }

    #[test]
    fn an_answer_that_is_no_status_is_shown() {
        let failure = understood(StatusCode::BAD_GATEWAY, b"<html>bad gateway</html>");
        let said = failure.expect_err("a refusal").to_string();
        assert!(
            said.contains("502") && said.contains("bad gateway"),
            "{said}"
        );
        let failure = understood(StatusCode::OK, b"<html>");
        assert!(
            failure
                .expect_err("no JSON")
                .to_string()
                .contains("not valid")
        );
    }
}
