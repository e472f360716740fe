//! [`check_browser`]: refuses requests that a page of another origin makes a browser send.

use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, Method, StatusCode, Uri};
use std::fmt;
use std::net::IpAddr;

/// The header by which a browser says how the origins of page and request relate.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The reason for which [`check_browser`] refuses a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BrowserRefusal {
    /// A page of another origin sends a request that can change something.
    CrossOrigin,
    /// The request is for this host, and a server that admits every caller answers only as
    /// `localhost` or by its address.
    Misdirected(String),
}

impl BrowserRefusal {
    /// The status code of the answer: 403 or 421.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::CrossOrigin => StatusCode::FORBIDDEN,
            Self::Misdirected(_) => StatusCode::MISDIRECTED_REQUEST,
        }
    }
}

impl fmt::Display for BrowserRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CrossOrigin => {
                f.write_str("a page of another origin may not change anything here")
            }
            Self::Misdirected(host) => write!(
                f,
                "this server is for its own machine and does not answer to the host {host:?}; use \
                 localhost, or configure TLS and authentication"
            ),
        }
    }
}

impl std::error::Error for BrowserRefusal {}

/// Checks that no page of another origin makes a browser send a request. Call it before the request
/// is authenticated: a browser adds client certificates and cookies by itself.
///
/// - A request that can change something must come from a page of the server itself, or from a
///   program. Programs send neither `Origin` nor `Sec-Fetch-Site`; browsers send one of them.
/// - If `is_local`, the host of the request must be an address or `localhost`. Set it for a server
///   that admits every caller and is not open to the network. A web page can reach such a server
///   under its own host name (DNS rebinding), and would be of the same origin.
///
/// # Errors
/// One of these is not true.
pub fn check_browser(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    is_local: bool,
) -> Result<(), BrowserRefusal> {
    let host = host_of(uri, headers);
    if is_local {
        check_host(host)?;
    }
    if method.is_safe() {
        return Ok(());
    }
    check_origin(host, headers)
}

/// The host that a request is for, with its port; empty if it is malformed.
fn host_of<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    // HTTP/2 has the host in the URI.
    let authority = uri.authority().map(Authority::as_str);
    authority.or_else(|| {
        let host = headers.get(HOST)?;
        Some(host.to_str().unwrap_or_default())
    })
}

/// Refuses host names that can be those of a web page.
fn check_host(host: Option<&str>) -> Result<(), BrowserRefusal> {
    let Some(host) = host else {
        return Ok(());
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_matches(['[', ']']).to_ascii_lowercase();
    let is_local = name == "localhost" || name.ends_with(".localhost");
    if is_local || name.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    Err(BrowserRefusal::Misdirected(host.to_owned()))
}

/// Refuses requests of pages of other origins.
fn check_origin(host: Option<&str>, headers: &HeaderMap) -> Result<(), BrowserRefusal> {
    let is_own = if let Some(site) = headers.get(SEC_FETCH_SITE) {
        matches!(site.as_bytes(), b"same-origin" | b"none")
    } else if let Some(origin) = headers.get(ORIGIN) {
        let origin = origin.to_str().unwrap_or_default();
        let of_origin = origin.split_once("://").map(|(_, host)| host);
        of_origin.is_some_and(|of_origin| !of_origin.is_empty() && host == Some(of_origin))
    } else {
        // Not a browser: browsers send one of the two with every request that can change anything.
        true
    };
    if is_own {
        Ok(())
    } else {
        Err(BrowserRefusal::CrossOrigin)
    }
}

#[cfg(test)]
mod tests {
    use super::{BrowserRefusal, check_browser};
    use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                let value = HeaderValue::from_str(value).expect("a value");
                (HeaderName::from_static(name), value)
            })
            .collect()
    }

    #[test]
    fn only_this_origin_and_programs_may_write() {
        let host = ("host", "localhost:50051");
        for (more, allowed) in [
            (vec![], true),
            (vec![("sec-fetch-site", "same-origin")], true),
            (vec![("sec-fetch-site", "cross-site")], false),
            (vec![("sec-fetch-site", "same-site")], false),
            (vec![("origin", "http://localhost:50051")], true),
            (vec![("origin", "http://evil.example")], false),
            (vec![("origin", "http://")], false),
            (vec![("origin", "null")], false),
            (
                vec![
                    ("sec-fetch-site", "cross-site"),
                    ("origin", "http://localhost:50051"),
                ],
                false,
            ),
        ] {
            let headers = headers(&[&[host], &more[..]].concat());
            let http1 = Uri::from_static("/a");
            let checked = check_browser(&Method::POST, &http1, &headers, false);
            assert_eq!(checked.is_ok(), allowed, "{more:?}");
            let read = check_browser(&Method::GET, &http1, &headers, false);
            assert!(read.is_ok(), "{more:?}");
            // HTTP/2 has no header for the host.
            let mut headers = headers;
            headers.remove("host");
            let http2 = Uri::from_static("http://localhost:50051/a");
            let checked = check_browser(&Method::POST, &http2, &headers, false);
            assert_eq!(checked.is_ok(), allowed, "{more:?} in HTTP/2");
        }
    }

    #[test]
    fn a_server_of_one_machine_does_not_answer_to_other_host_names() {
        for (host, allowed) in [
            ("localhost", true),
            ("LOCALHOST:50051", true),
            ("tko.localhost:50051", true),
            ("127.0.0.1:50051", true),
            ("[::1]:50051", true),
            ("evil.example", false),
            ("evil.example:50051", false),
            ("localhost.evil.example", false),
            ("", false),
        ] {
            let headers = headers(&[("host", host)]);
            let uri = Uri::from_static("/a");
            let checked = check_browser(&Method::GET, &uri, &headers, true);
            assert_eq!(checked.is_ok(), allowed, "{host}");
            let remote = check_browser(&Method::GET, &uri, &headers, false);
            assert_eq!(remote, Ok(()), "{host}");
        }
        let uri = Uri::from_static("http://evil.example:50051/a");
        let checked = check_browser(&Method::GET, &uri, &HeaderMap::new(), true);
        let refusal = BrowserRefusal::Misdirected("evil.example:50051".to_owned());
        assert_eq!(checked, Err(refusal), "in HTTP/2");
    }
}
