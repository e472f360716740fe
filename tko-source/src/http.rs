//! Sources on web servers.

use crate::budget::ReadBudget;
use crate::credentials::SourceCredentials;
use reqwest::{Client, StatusCode, Url};
use rustls::crypto::{CryptoProvider, ring};
use tko_core::{Error, Result};
use tokio::time::{Instant, timeout};

/// Reads all that a URL answers.
pub(crate) async fn download(
    url: &str,
    credentials: Option<&SourceCredentials>,
    budget: &mut ReadBudget,
) -> Result<Vec<u8>> {
    let url = Url::parse(url).map_err(|error| budget.error(format_args!("{error}")))?;
    let token = credentials
        .filter(|credentials| url.host_str() == Some(&credentials.host))
        .filter(|_| url.username().is_empty() && url.password().is_none());
    if token.is_some() && url.scheme() != "https" && !is_loopback(&url) {
        return Err(budget
            .error("a token is not sent without TLS; write https://, or unset TKO_SOURCE_TOKEN"));
    }
    let mut request = client(budget)?.get(url);
    if let Some(credentials) = token {
        // reqwest removes it when the server redirects to another host.
        request = request.bearer_auth(&credentials.token);
    }
    let source = budget.source().to_owned();
    // The error would show the URL's query.
    let failed = |error: reqwest::Error| {
        Error::unavailable(format!("download {source}"), error.without_url())
    };
    let mut response = request.send().await.map_err(failed)?;
    check(response.status(), budget)?;
    let mut bytes = Vec::new();
    let begun = Instant::now();
    loop {
        let time = budget.limits.download_time(bytes.len() as u64);
        let chunk = timeout(time.saturating_sub(begun.elapsed()), response.chunk()).await;
        let chunk = chunk.map_err(|_| {
            let rate = budget.limits.min_rate;
            let why = format!("the server sends less than {rate} bytes per second");
            Error::unavailable(format!("download {source}"), why)
        })?;
        let Some(chunk) = chunk.map_err(failed)? else {
            break;
        };
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > budget.limits.max_bytes {
            return Err(budget.too_large("the file"));
        }
        budget.count(chunk.len());
    }
    Ok(bytes)
}

fn client(budget: &ReadBudget) -> Result<Client> {
    if CryptoProvider::get_default().is_none() {
        // Another thread may be faster; its provider works too.
        let _ = ring::default_provider().install_default();
    }
    Client::builder()
        .user_agent(concat!("tko-source/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(budget.limits.stall_timeout)
        .read_timeout(budget.limits.stall_timeout)
        .build()
        .map_err(|error| Error::internal("make an HTTP client", error))
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse();
    host == "localhost" || address.is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// Refuses every answer except success.
fn check(status: StatusCode, budget: &ReadBudget) -> Result<()> {
    let source = budget.source();
    match status {
        status if status.is_success() => Ok(()),
        StatusCode::UNAUTHORIZED => Err(Error::Unauthenticated(format!(
            "{source}: the server answered {status}; set TKO_SOURCE_HOST and TKO_SOURCE_TOKEN"
        ))),
        StatusCode::FORBIDDEN => Err(Error::Forbidden(format!(
            "{source}: the server answered {status}; use credentials that may read it"
        ))),
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            let why = format!("the server answered {status}");
            Err(Error::unavailable(format!("download {source}"), why))
        }
        status => Err(budget.error(format_args!("the server answered {status}; check the URL"))),
    }
}
