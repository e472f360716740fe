//! The addresses of repositories, and their credentials.

use crate::settings::CatalogSettings;
use std::net::Ipv6Addr;
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

/// The host of a remote repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GitHost {
    /// The name or address, which every program reads in the same way.
    pub(super) name: String,
    pub(super) port: u16,
    /// Whether git reads it by http or https, not by SSH.
    pub(super) is_web: bool,
}

impl GitHost {
    /// The host of a URL that is [`checked`]. `None` if the URL is local, or if programs could read
    /// its host in different ways.
    pub(super) fn of(url: &str) -> Option<Self> {
        let (scheme, authority) = match url.split_once("://") {
            Some((scheme, rest)) => (scheme, rest.split('/').next()?),
            // USER@HOST:PATH has no port.
            None => ("ssh", url.split_once(':')?.0),
        };
        let default_port = match scheme {
            "https" => 443,
            "http" => 80,
            "ssh" => 22,
            _ => return None,
        };
        let place = authority
            .rsplit_once('@')
            .map_or(authority, |(_, place)| place);
        let (name, port) = match place.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, port.parse().ok()?),
            _ => (place, default_port),
        };
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let is_name = !name.is_empty() && !name.ends_with('.') && name.chars().all(fine);
        let bare = name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'));
        let is_address = bare.is_some_and(|bare| bare.parse::<Ipv6Addr>().is_ok());
        (is_name || is_address).then(|| Self {
            name: name.to_ascii_lowercase(),
            port,
            is_web: scheme != "ssh",
        })
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
    use super::{GitHost, authorization, checked};
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
    fn the_host_of_a_url_is_known() {
        for (url, name, port, is_web) in [
            (
                "https://Git.Example.com/a/b.git",
                "git.example.com",
                443,
                true,
            ),
            ("http://h:8080/r", "h", 8080, true),
            ("https://[::1]/r", "[::1]", 443, true),
            ("https://[::1]:8443/r", "[::1]", 8443, true),
            ("ssh://git@h:2222/r", "h", 2222, false),
            ("ssh://h/r", "h", 22, false),
            ("git@h.example:a/b.git", "h.example", 22, false),
        ] {
            let name = name.to_owned();
            let host = GitHost { name, port, is_web };
            assert_eq!(GitHost::of(url), Some(host), "{url}");
        }
        for url in [
            "file:///here",
            "https://h\\.attacker/r",
            "https://h?.attacker/r",
            "https://h#.attacker/r",
            "https://h%2e/r",
            "https://h./r",
            "https://h:/r",
            "ssh://git@h%2f.attacker/r",
        ] {
            assert_eq!(GitHost::of(url), None, "{url}");
        }
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
