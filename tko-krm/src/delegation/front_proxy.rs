//! The front proxy: the API server of a cluster, which names the user of each request that it
//! forwards.

use super::ClusterUser;
use crate::query::decode;
use http::HeaderMap;
use tko_core::Timestamp;
use tko_serve::{CertificateSubject, ClientRoots};

/// Maximum number of groups, and of values of extra information, of one request.
const MAX_VALUES: usize = 1_000;

/// The settings of the front proxy, as the cluster publishes them in its ConfigMap
/// `kube-system/extension-apiserver-authentication`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrontProxySettings {
    /// The CA of the front proxy, in PEM; empty if there is none.
    pub proxy_ca: String,
    /// The common names that the front proxy may have; empty: any.
    pub allowed_names: Vec<String>,
    /// The headers with the user's name.
    pub user_headers: Vec<String>,
    /// The headers with the user's UID.
    pub uid_headers: Vec<String>,
    /// The headers with the user's groups.
    pub group_headers: Vec<String>,
    /// The prefixes of headers with additional information.
    pub extra_prefixes: Vec<String>,
    /// The CA of clients that connect directly, in PEM; empty if there is none.
    pub client_ca: String,
}

/// The settings, ready for use.
pub(super) struct FrontProxy {
    settings: FrontProxySettings,
    proxies: Option<ClientRoots>,
    clients: Option<ClientRoots>,
}

impl FrontProxy {
    pub(super) fn new(settings: &FrontProxySettings) -> Self {
        let roots = |what: &str, pem: &str| {
            if pem.trim().is_empty() {
                return None;
            }
            let parsed = ClientRoots::parse(pem.as_bytes());
            parsed
                .inspect_err(|error| tracing::warn!(%error, "ignoring the {what}"))
                .ok()
        };
        let mut settings = settings.clone();
        for headers in [
            &mut settings.user_headers,
            &mut settings.uid_headers,
            &mut settings.group_headers,
            &mut settings.extra_prefixes,
        ] {
            for header in headers {
                header.make_ascii_lowercase();
            }
        }
        Self {
            proxies: roots("CA of the front proxy", &settings.proxy_ca),
            clients: roots("CA of clients", &settings.client_ca),
            settings,
        }
    }

    /// Whether the certificate is that of the front proxy.
    pub(super) fn trusts(&self, chain: &[&[u8]], now: Timestamp) -> bool {
        let is_signed = self
            .proxies
            .as_ref()
            .is_some_and(|roots| roots.verifies(chain, now));
        if !is_signed {
            return false;
        }
        let allowed = &self.settings.allowed_names;
        if allowed.is_empty() {
            return true;
        }
        let subject = chain.first().and_then(|leaf| CertificateSubject::of(leaf));
        let name = subject.as_ref().and_then(CertificateSubject::common_name);
        name.is_some_and(|name| allowed.iter().any(|one| one == name))
    }

    /// Whether the certificate is that of a client of the cluster.
    pub(super) fn knows_client(&self, chain: &[&[u8]], now: Timestamp) -> bool {
        self.clients
            .as_ref()
            .is_some_and(|roots| roots.verifies(chain, now))
    }

    /// The user that the headers name. Does not check who sent them.
    pub(super) fn user(&self, headers: &HeaderMap) -> Option<ClusterUser> {
        let settings = &self.settings;
        let first = |names: &[String]| {
            let found = names
                .iter()
                .find_map(|name| headers.get(name)?.to_str().ok());
            found.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let name = first(&settings.user_headers)?;
        let groups = settings
            .group_headers
            .iter()
            .flat_map(|header| headers.get_all(header))
            .filter_map(|value| value.to_str().ok().map(str::to_owned))
            .take(MAX_VALUES);
        let mut user = ClusterUser::new(name, groups.collect());
        user.uid = first(&settings.uid_headers);
        for (header, value) in headers.iter().take(MAX_VALUES) {
            let header = header.as_str();
            let key = settings
                .extra_prefixes
                .iter()
                .find_map(|prefix| header.strip_prefix(prefix.as_str()));
            if let Some(key) = key
                && let Ok(value) = value.to_str()
            {
                // Keys are percent-encoded, because headers allow fewer characters.
                let key = decode(key, false).unwrap_or_else(|| key.to_owned());
                let key = key.to_lowercase();
                user.extra.entry(key).or_default().push(value.to_owned());
            }
        }
        Some(user)
    }

    /// Removes the headers, so that no other code trusts them.
    pub(super) fn strip(&self, headers: &mut HeaderMap) {
        let settings = &self.settings;
        for names in [
            &settings.user_headers,
            &settings.uid_headers,
            &settings.group_headers,
        ] {
            for name in names {
                headers.remove(name);
            }
        }
        let extra: Vec<_> = headers
            .keys()
            .filter(|name| {
                let name = name.as_str();
                let mut prefixes = settings.extra_prefixes.iter();
                prefixes.any(|prefix| name.starts_with(prefix.as_str()))
            })
            .cloned()
            .collect();
        for name in extra {
            headers.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FrontProxy, FrontProxySettings};
    use http::{HeaderMap, HeaderName, HeaderValue};

    #[test]
    fn headers_name_the_user_and_are_removed() {
        let front_proxy = FrontProxy::new(&FrontProxySettings {
            user_headers: vec!["X-Remote-User".to_owned()],
            uid_headers: vec!["X-Remote-Uid".to_owned()],
            group_headers: vec!["X-Remote-Group".to_owned()],
            extra_prefixes: vec!["X-Remote-Extra-".to_owned()],
            ..FrontProxySettings::default()
        });
        let mut headers = HeaderMap::new();
        assert!(front_proxy.user(&headers).is_none());
        for (name, value) in [
            ("X-Remote-User", "alice"),
            ("X-Remote-Uid", "u-1"),
            ("X-Remote-Group", "dev"),
            ("X-Remote-Group", "ops"),
            ("X-Remote-Extra-Example.org%2FScope", "a"),
            ("Accept", "*/*"),
        ] {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            headers.append(name, HeaderValue::from_static(value));
        }
        let user = front_proxy.user(&headers).expect("a user");
        assert_eq!(
            (user.name.as_str(), user.uid.as_deref()),
            ("alice", Some("u-1"))
        );
        assert_eq!(user.groups, ["dev", "ops"]);
        assert_eq!(user.extra["example.org/scope"], ["a"]);
        front_proxy.strip(&mut headers);
        let left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["accept"]);
    }
}
