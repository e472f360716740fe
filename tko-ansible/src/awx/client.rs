//! Requests to AWX: JSON within limits, and errors that say what to do.

use reqwest::{Client, Method, StatusCode, Url};
use rustls::crypto::{CryptoProvider, ring};
use serde_json::Value;
use std::time::Duration;
use tko_core::{Error, Result};

/// Maximum number of bytes of one answer.
const MOST_BYTES: usize = 32 << 20;

/// Maximum number of characters of an answer that a message quotes.
const MOST_QUOTED: usize = 500;

/// How to authenticate.
#[derive(Clone)]
pub(crate) enum Login {
    /// By an OAuth 2 token.
    Token(String),
    /// By name and password.
    Password(String, String),
    /// Without credentials.
    None,
}

/// Sends requests to one AWX.
#[derive(Clone)]
pub(crate) struct AwxClient {
    http: Client,
    host: Url,
    login: Login,
}

/// An HTTP client with time limits.
///
/// # Errors
/// `Internal`: it cannot be made.
pub(crate) fn http(timeout: Duration) -> Result<Client> {
    if CryptoProvider::get_default().is_none() {
        // Another thread may be faster; its provider works too.
        let _ = ring::default_provider().install_default();
    }
    Client::builder()
        .user_agent(concat!("tko-ansible/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(timeout)
        .timeout(timeout)
        .build()
        .map_err(|error| Error::internal("make an HTTP client", error))
}

impl AwxClient {
    /// A client of the AWX at a URL.
    ///
    /// # Errors
    /// `BadArgument`: as for [`check`](Self::check), or credentials would be sent without TLS to
    /// another machine.
    pub(crate) fn new(host: &str, login: Login, http: Client) -> Result<Self> {
        let host = Self::check(host)?;
        let local = matches!(host.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        if host.scheme() != "https" && !local && !matches!(login, Login::None) {
            let message = "credentials are not sent without TLS: write https://";
            return Err(Error::bad("_awx.host", message));
        }
        Ok(Self { http, host, login })
    }

    /// The URL of an AWX, with a slash at the end.
    ///
    /// # Errors
    /// `BadArgument`: it is not an http or https URL, or has credentials in it.
    pub(crate) fn check(host: &str) -> Result<Url> {
        let bad = |message: String| Error::bad("_awx.host", message);
        let mut url = Url::parse(host).map_err(|error| bad(format!("\"{host}\": {error}")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(bad(format!("\"{host}\" is not an http or https URL")));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("credentials do not belong into the URL".to_owned()));
        }
        if !url.path().ends_with('/') {
            let path = format!("{}/", url.path());
            url.set_path(&path);
        }
        Ok(url)
    }

    /// The URL of a page for people.
    pub(crate) fn page(&self, path: &str) -> String {
        format!("{}#/{path}", self.host)
    }

    /// The number of the one object with a name.
    ///
    /// # Errors
    /// `BadArgument`: none or several have the name. Also the errors of [`get`](Self::get).
    pub(crate) async fn one(&self, collection: &str, name: &str) -> Result<i64> {
        let answer = self
            .get(&format!("{collection}/"), &[("name", name)])
            .await?;
        let what = collection
            .trim_end_matches('s')
            .replace('_', " ")
            .replace("inventorie", "inventory");
        let results = answer["results"].as_array().map_or(&[][..], Vec::as_slice);
        match results {
            [one] => one["id"]
                .as_i64()
                .ok_or_else(|| self.odd(collection, "an object without an id")),
            [] => {
                let message =
                    format!("AWX has no {what} \"{name}\" that the plugin's login may see");
                Err(Error::bad("plugin", message))
            }
            _ => {
                let message =
                    format!("AWX has several of the {what} \"{name}\": rename all but one");
                Err(Error::bad("plugin", message))
            }
        }
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// - `Unavailable`: there was no answer, or the server failed.
    /// - `Unauthenticated`, `Forbidden`: the login is refused.
    /// - `BadArgument`: any other refusal.
    /// - `Internal`: the answer is not JSON, or too large.
    pub(crate) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value> {
        let answer = self.get_fitting(path, query).await?;
        answer.ok_or_else(|| self.too_large(path))
    }

    /// Reads JSON; `None` if the answer is too large.
    ///
    /// # Errors
    /// As [`get`](Self::get), except for that.
    pub(crate) async fn get_fitting(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Option<Value>> {
        let answer = self.send_fitting(Method::GET, path, query, None).await?;
        let Some((_, bytes)) = answer else {
            return Ok(None);
        };
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(self.odd(path, &error.to_string())),
        }
    }

    /// Reads text.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub(crate) async fn text(&self, path: &str, query: &[(&str, &str)]) -> Result<String> {
        let (_, bytes) = self.send(Method::GET, path, query, None).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Sends JSON; returns the status and the body of the answer, or null if that is not JSON.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<(StatusCode, Value)> {
        let (status, bytes) = self.send(Method::POST, path, &[], Some(body)).await?;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or_default()))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<(StatusCode, Vec<u8>)> {
        let answer = self.send_fitting(method, path, query, body).await?;
        answer.ok_or_else(|| self.too_large(path))
    }

    /// Sends a request; `None` if it succeeded, but the answer is too large.
    async fn send_fitting(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Option<(StatusCode, Vec<u8>)>> {
        let url = self.host.join(&format!("api/v2/{path}"));
        let url = url.map_err(|error| self.odd(path, &error.to_string()))?;
        let mut request = self.http.request(method, url).query(query);
        request = match &self.login {
            Login::Token(token) => request.bearer_auth(token),
            Login::Password(name, password) => request.basic_auth(name, Some(password)),
            Login::None => request,
        };
        if let Some(body) = body {
            let document = serde_json::to_vec(body)
                .map_err(|error| Error::internal("encode a request to AWX", error))?;
            request = request
                .header("content-type", "application/json")
                .body(document);
        }
        let failed = |error: reqwest::Error| {
            Error::unavailable(format!("ask AWX at {}", self.host), error.without_url())
        };
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status();
        let too_large = || {
            if status.is_success() {
                return Ok(None);
            }
            Err(self.too_large(path))
        };
        let announced = response.content_length().unwrap_or_default();
        if usize::try_from(announced).unwrap_or(usize::MAX) > MOST_BYTES {
            return too_large();
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if bytes.len() + chunk.len() > MOST_BYTES {
                return too_large();
            }
            bytes.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return Ok(Some((status, bytes)));
        }
        let said: String = String::from_utf8_lossy(&bytes)
            .chars()
            .take(MOST_QUOTED)
            .collect();
        let said = said.trim();
        let at = format!("AWX at {} answered {status} to {path}: {said}", self.host);
        Err(match status {
            StatusCode::UNAUTHORIZED => Error::Unauthenticated(format!(
                "{at}; check _awx.token, or _awx.username and _awx.password"
            )),
            StatusCode::FORBIDDEN => Error::Forbidden(format!(
                "{at}; give the login the role Execute of the job template"
            )),
            StatusCode::TOO_MANY_REQUESTS => Error::unavailable("ask AWX", at),
            status if status.is_server_error() => Error::unavailable("ask AWX", at),
            _ => Error::bad("plugin", at),
        })
    }

    fn too_large(&self, path: &str) -> Error {
        self.odd(path, &format!("an answer of more than {MOST_BYTES} bytes"))
    }

    /// The error for an answer that AWX does not normally give.
    pub(crate) fn odd(&self, path: &str, problem: &str) -> Error {
        let action = format!("understand the answer of AWX at {} to {path}", self.host);
        Error::internal(action, problem.to_owned())
    }
}
