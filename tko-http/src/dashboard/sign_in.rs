//! Signs in by token, and signs out. The token is kept in a cookie that scripts cannot read and
//! that other sites cannot make the browser send.

use super::assets::STYLE;
use super::page::{PageResult, go_to, rendered};
use crate::access::{TOKEN_COOKIE, authenticate, limit_refusals};
use crate::context::SharedContext;
use crate::query::ApiQuery;
use askama::Template;
use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect};
use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderValue, SET_COOKIE};
use tko_core::Error;
use tko_serve::Peer;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    instance: String,
    next: String,
    refused: Option<String>,
    style: &'static str,
}

/// Where to go after signing in: only a path of this server is accepted.
fn checked(next: Option<String>) -> String {
    // Browsers remove tabs and line breaks from a URL: a tab between two slashes hides a host.
    let is_hostile = |c: char| c == '\\' || c.is_control();
    let is_local = |next: &String| {
        next.starts_with('/') && !next.starts_with("//") && !next.contains(is_hostile)
    };
    next.filter(is_local).unwrap_or_else(|| "/".to_owned())
}

pub(super) async fn page(State(context): State<SharedContext>, mut query: ApiQuery) -> PageResult {
    let next = checked(query.text("next")?);
    shown(&context, next, None)
}

fn shown(context: &SharedContext, next: String, refused: Option<String>) -> PageResult {
    rendered(&SignInPage {
        instance: context.settings.name.clone(),
        next,
        refused,
        style: &STYLE.url,
    })
}

/// Checks the token and sets the cookie.
pub(super) async fn sign_in(
    State(context): State<SharedContext>,
    peer: Option<Extension<Peer>>,
    body: Bytes,
) -> PageResult {
    let mut form = ApiQuery::from_form(&body)?;
    let next = checked(form.text("next")?);
    let token = form.text("token")?.unwrap_or_default();
    let token = token.trim();
    let is_token =
        |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b';' | b',' | b'"' | b'\\');
    if token.is_empty() || token.len() > 4_096 || !token.bytes().all(is_token) {
        return shown(&context, next, Some("This is not a token.".to_owned()));
    }
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(&format!("Bearer {token}")) {
        headers.insert(AUTHORIZATION, value);
    }
    // Without its certificate, because only the token is checked here.
    let peer = peer.map(|Extension(peer)| peer.with_certificates([]));
    limit_refusals(peer.as_ref())?;
    match authenticate(&context, &headers, peer.as_ref()).await {
        Ok(_) => {
            let secure = if context.tls { "; Secure" } else { "" };
            let cookie =
                format!("{TOKEN_COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict{secure}");
            let cookie = HeaderValue::from_str(&cookie)
                .map_err(|error| Error::internal("set the cookie", error))?;
            let mut response = Redirect::to(&next).into_response();
            response.headers_mut().insert(SET_COOKIE, cookie);
            Ok(response)
        }
        Err(Error::Unauthenticated(_)) => shown(
            &context,
            next,
            Some("This token is not known here.".to_owned()),
        ),
        Err(error) => Err(error.into()),
    }
}

/// Removes the cookie.
pub(super) async fn sign_out() -> PageResult {
    let mut response = go_to("/sign-in")?;
    let cookie = format!("{TOKEN_COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::checked;

    #[test]
    fn nobody_is_sent_to_another_site() {
        for next in [
            "//evil.example",
            "https://evil.example",
            "/\\evil.example",
            "/a\r\nb",
            "/\t/evil.example",
            "/\n/evil.example",
            "/\0/evil.example",
            "/\u{85}/evil.example",
            "",
        ] {
            assert_eq!(checked(Some(next.to_owned())), "/", "{next:?}");
        }
        assert_eq!(checked(Some("/sites?q=a".to_owned())), "/sites?q=a");
    }
}
