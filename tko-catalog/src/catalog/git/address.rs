//! The addresses of repositories, and their credentials.

use crate::settings::CatalogSettings;
use tko_core::{Error, Result};

/// A URL that git may read, and whether it is on this machine.
///
/// # Errors
/// `BadArgument`: the scheme is not supported, the URL contains a password, or it is local and
/// local URLs are not allowed.
pub(super) fn checked(url: &str, settings: &CatalogSettings) -> Result<(String, bool)> {
    let bad = |why: &str| Err(Error::bad("url", why.to_owned()));
    if url.chars().any(char::is_control) {
        return bad("the URL has control characters");
    }
    if url.starts_with('/') || url.starts_with("file://") {
        let path = crate::catalog::directory::local_path(url, settings)?;
        return Ok((format!("file://{}", path.display()), true));
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        // user@host:path
        let is_ssh = url.split_once(':').is_some_and(|(host, path)| {
            let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '@');
            !host.is_empty()
                && !host.starts_with('-')
                && host.chars().all(fine)
                && !path.starts_with(':')
        });
        return if is_ssh {
            Ok((url.to_owned(), false))
        } else {
            bad("expected a URL with https, http, ssh or file, or user@host:path")
        };
    };
    let authority = rest.split('/').next().unwrap_or_default();
    if rest.starts_with('-') || authority.is_empty() {
        return bad("the URL has no host");
    }
    match (scheme, authority.split_once('@')) {
        ("https" | "http", Some(_)) => bad(
            "the URL has a user; write user and token as properties, the token as env:NAME, file:PATH \
             or secret:NAME",
        ),
        ("ssh", Some((user, _))) if user.contains(':') => bad("the URL has a password"),
        // A password with a slash looks like a port.
        ("https" | "http" | "ssh", _) if reqwest::Url::parse(url).is_err() => {
            bad("it is not a URL; check its host and port")
        }
        ("https" | "http" | "ssh", _) => Ok((url.to_owned(), false)),
        _ => bad("expected a URL with https, http, ssh or file, or user@host:path"),
    }
}

/// The header that authenticates, and the URL that it is for.
///
/// # Errors
/// `BadArgument`: the URL has no TLS and is not on this machine.
pub(super) fn authorization(
    url: &str,
    user: Option<&str>,
    token: &str,
) -> Result<(String, String)> {
    let Some((scheme, rest)) = url.split_once("://").filter(|(s, _)| s.starts_with("http")) else {
        return Err(Error::bad(
            "token",
            "a token is for http and https; ssh uses its keys",
        ));
    };
    let authority = rest.split('/').next().unwrap_or_default();
    crate::http::require_tls(url, "token")?;
    if token.chars().any(char::is_control) {
        return Err(Error::bad("token", "the token has control characters"));
    }
    let pair = format!("{}:{token}", user.unwrap_or("git"));
    let header = format!(
        "Authorization: Basic {}",
        crate::http::base64(pair.as_bytes())
    );
    Ok((header, format!("{scheme}://{authority}/")))
}

#[cfg(test)]
mod tests {
    use super::{authorization, checked};
    use crate::settings::CatalogSettings;

    #[test]
    fn no_url_is_an_option_a_program_or_a_secret() {
        let remote = CatalogSettings::default();
        let local = CatalogSettings::default().with_local(true);
        for fine in [
            "https://h/r.git",
            "http://h:1/r",
            "ssh://git@h/r",
            "git@h:r.git",
            "h:r",
        ] {
            assert!(checked(fine, &remote).is_ok(), "{fine}");
        }
        for bad in [
            "ext::sh -c id",
            "--upload-pack=id",
            "-oProxyCommand=id:x",
            "git://h/r",
            "ssh://-oProxyCommand=id/r",
            "https://u:p@h/r",
            "https://token@h/r",
            "ssh://u:p@h/r",
            "https:///r",
            "https://h/\nr",
            "ftp://h/r",
            "/here",
            "file:///here",
            "r",
        ] {
            assert!(checked(bad, &remote).is_err(), "{bad}");
        }
        assert_eq!(
            checked("/here", &local).expect("a path"),
            ("file:///here".into(), true)
        );
    }

    #[test]
    fn a_token_goes_to_its_host_by_tls() {
        let (header, place) = authorization("https://h:1/a/b", Some("u"), "t").expect("a header");
        assert_eq!(header, "Authorization: Basic dTp0");
        assert_eq!(place, "https://h:1/");
        assert!(authorization("http://h/a", None, "t").is_err());
        assert!(authorization("http://127.0.0.1:9/a", None, "t").is_ok());
        assert!(authorization("https://h/a", None, "t\nX: y").is_err());
    }
}
