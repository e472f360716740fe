//! HTTP requests within limits, with credentials over TLS only.

use crate::host_policy::{HostPolicy, PrivateHost};
use crate::settings::CatalogSettings;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, StatusCode, Url};
use rustls::crypto::{CryptoProvider, ring};
use std::time::Duration;
use tko_core::{Error, Result};
use tko_source::SourceLimits;
use tokio::time::{Instant, timeout};

/// Maximum number of attempts while the server asks to wait.
const TRIES: usize = 4;

/// Longest wait that a server may ask for.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// A client with the limits of the controller.
#[derive(Clone, Debug)]
pub(crate) struct HttpClient {
    client: Client,
    limits: SourceLimits,
    policy: HostPolicy,
}

/// The answer of a server.
#[derive(Debug)]
pub(crate) struct SourceReply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl HttpClient {
    pub(crate) fn new(settings: &CatalogSettings) -> Result<Self> {
        Self::with_ca(settings, None)
    }

    /// A client that also trusts certificates signed by this authority, in PEM.
    ///
    /// # Errors
    /// `BadArgument`: it is not a certificate.
    pub(crate) fn with_ca(settings: &CatalogSettings, ca: Option<&str>) -> Result<Self> {
        if CryptoProvider::get_default().is_none() {
            // Another thread may be faster; its provider works too.
            let _ = ring::default_provider().install_default();
        }
        let mut builder = Client::builder()
            .user_agent(concat!("tko-catalog/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(settings.source.stall_timeout)
            .read_timeout(settings.source.stall_timeout);
        if let Some(pem) = ca {
            let certificate = reqwest::Certificate::from_pem(pem.as_bytes())
                .map_err(|error| Error::bad("ca", format!("it is not a certificate: {error}")))?;
            builder = builder.add_root_certificate(certificate);
        }
        let policy = HostPolicy::new(settings);
        let client = policy
            .apply(builder)
            .build()
            .map_err(|error| Error::internal("make an HTTP client", error))?;
        Ok(Self {
            client,
            limits: settings.source.clone(),
            policy,
        })
    }

    /// Makes a request whose answer has at most `most` bytes. If the server asks to wait, waits and
    /// repeats the request. Answers with any status but 429 are returned.
    ///
    /// # Errors
    /// `Unavailable`: the server cannot be reached, is too slow, or keeps asking to wait.
    /// `BadArgument`: the answer is too large, or the host of the URL or of a redirect is not allowed.
    pub(crate) async fn request(
        &self,
        method: Method,
        url: &Url,
        headers: &[(HeaderName, String)],
        most: usize,
    ) -> Result<SourceReply> {
        self.policy.check(url)?;
        let shown = shown(url);
        let what = || format!("read {shown}");
        let failed = |error: reqwest::Error| match PrivateHost::in_chain(&error) {
            Some(private) => Error::from(private.clone()),
            // The error would show the query of the URL.
            None => Error::unavailable(what(), error.without_url()),
        };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let mut value = HeaderValue::from_str(value)
                .map_err(|_| Error::bad("token", "it has characters that no header has"))?;
            value.set_sensitive(true);
            map.insert(name.clone(), value);
        }
        for _ in 0..TRIES {
            let request = self
                .client
                .request(method.clone(), url.clone())
                .headers(map.clone());
            let mut response = request.send().await.map_err(failed)?;
            let (status, headers) = (response.status(), response.headers().clone());
            if status == StatusCode::TOO_MANY_REQUESTS {
                tokio::time::sleep(wait(&headers)).await;
                continue;
            }
            let mut bytes = Vec::new();
            let begun = Instant::now();
            loop {
                let time = self.limits.download_time(bytes.len() as u64);
                let chunk = timeout(time.saturating_sub(begun.elapsed()), response.chunk()).await;
                let chunk = chunk.map_err(|_| {
                    let rate = self.limits.min_rate;
                    let why = format!("the server sends less than {rate} bytes per second");
                    Error::unavailable(what(), why)
                })?;
                let Some(chunk) = chunk.map_err(failed)? else {
                    break;
                };
                bytes.extend_from_slice(&chunk);
                if bytes.len() > most {
                    let why = format!("{shown} answered more than {most} bytes");
                    return Err(Error::bad("url", why));
                }
            }
            return Ok(SourceReply {
                status,
                headers,
                bytes,
            });
        }
        Err(Error::unavailable(
            what(),
            "the server answered 429 Too Many Requests",
        ))
    }
}

impl SourceReply {
    /// The text of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Refuses every status but success.
    ///
    /// # Errors
    /// `Unauthenticated`, `Forbidden`, `Unavailable` or `BadArgument`, depending on the status.
    pub(crate) fn check(&self, url: &Url) -> Result<()> {
        let (status, url) = (self.status, shown(url));
        match status {
            status if status.is_success() => Ok(()),
            StatusCode::UNAUTHORIZED => Err(Error::Unauthenticated(format!(
                "{url} answered {status}; set the property token"
            ))),
            StatusCode::FORBIDDEN => Err(Error::Forbidden(format!(
                "{url} answered {status}; use credentials that may read it"
            ))),
            status if status.is_server_error() => {
                let why = format!("the server answered {status}");
                Err(Error::unavailable(format!("read {url}"), why))
            }
            status => Err(Error::bad(
                "url",
                format!("{url} answered {status}; check it"),
            )),
        }
    }
}

/// The time that a server asks to wait; one second if it does not say.
fn wait(headers: &HeaderMap) -> Duration {
    let seconds = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok());
    let seconds = seconds.and_then(|text| text.trim().parse().ok());
    seconds
        .map_or(Duration::from_secs(1), Duration::from_secs)
        .min(MAX_WAIT)
}

/// A URL without its query and its user.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Neither fails for URLs with a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}

/// Parses a URL of a web server.
///
/// # Errors
/// `BadArgument`: it has another scheme, or a user.
pub(crate) fn web_url(text: &str) -> Result<Url> {
    let url = Url::parse(text)
        .map_err(|error| Error::bad("url", format!("{text:?} is not a URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(Error::bad("url", "expected an http or https URL"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        let why = "the URL has a user; write user and token as properties";
        return Err(Error::bad("url", why));
    }
    Ok(url)
}

/// The host of a URL, for which a secret must be.
pub(crate) fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default()
}

/// Refuses to send a secret without TLS, except within this machine.
///
/// # Errors
/// `BadArgument` for `property`.
pub(crate) fn require_tls(url: &str, property: &'static str) -> Result<()> {
    let url =
        Url::parse(url).map_err(|error| Error::bad("url", format!("it is not a URL: {error}")))?;
    if url.scheme() == "https" || is_loopback(&url) {
        return Ok(());
    }
    Err(Error::bad(
        property,
        "a secret is not sent without TLS; write https://",
    ))
}

/// Whether a URL is on this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse();
    host == "localhost" || address.is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// The URL of the next page in a `Link` header.
pub(crate) fn next_link(header: &str) -> Option<&str> {
    header.split(',').find_map(|link| {
        let (target, parameters) = link.trim().split_once('>')?;
        let is_next = parameters.split(';').any(|parameter| {
            let parameter = parameter.trim().replace(' ', "");
            parameter == "rel=\"next\"" || parameter == "rel=next"
        });
        is_next.then(|| target.trim_start_matches('<'))
    })
}

/// Base64 with padding, as HTTP authentication writes it.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let index = bits >> (18 - 6 * at) & 63;
            text.push(if at <= chunk.len() {
                char::from(ALPHABET[index as usize])
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{base64, next_link, require_tls, web_url};

    #[test]
    fn base64_is_that_of_the_standard() {
        for (text, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
    }

    #[test]
    fn the_next_page_is_found() {
        assert_eq!(next_link("</a?n=1>; rel=\"next\""), Some("/a?n=1"));
        assert_eq!(next_link("</z>; rel=\"last\", </b>; rel=next"), Some("/b"));
        for none in ["", "garbage", "</a>", "</a>; rel=\"prev\"", ">;"] {
            assert_eq!(next_link(none), None, "{none}");
        }
    }

    #[test]
    fn secrets_stay_on_tls_and_out_of_urls() {
        assert!(require_tls("https://h/", "token").is_ok());
        assert!(require_tls("http://[::1]:1/", "token").is_ok());
        assert!(require_tls("http://h/", "token").is_err());
        assert!(web_url("https://h/a?b").is_ok());
        for bad in [
            "file:///a",
            "https://u@h/",
            "https://u:p@h/",
            "h",
            "http://",
        ] {
            assert!(web_url(bad).is_err(), "{bad}");
        }
    }
}
