//! The hosts that a controller may reach. One with restricted plugins reaches no private address
//! unless its operator allows the host: people who register entries could otherwise read servers of
//! the operator's network.

use crate::settings::CatalogSettings;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{ClientBuilder, Url};
use std::error::Error as StdError;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use tko_core::{BoxError, Error};
use tko_source::HostList;

/// The hosts that a controller may reach.
#[derive(Clone, Debug)]
pub(crate) struct HostPolicy {
    /// The hosts that may have private addresses; `None` for all.
    private: Option<Arc<HostList>>,
}

/// A host with a private address that the operator does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PrivateHost(String);

impl fmt::Display for PrivateHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = &self.0;
        write!(
            f,
            "{host:?} has a private address, and this controller has restricted plugins; its \
             operator can allow the host with --catalog-private-host"
        )
    }
}

impl StdError for PrivateHost {}

impl PrivateHost {
    /// The error among the causes of another one.
    pub(crate) fn in_chain<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(found) = error.downcast_ref::<Self>() {
                return Some(found);
            }
            cause = error.source();
        }
        None
    }
}

impl From<PrivateHost> for Error {
    fn from(private: PrivateHost) -> Self {
        Self::bad("url", private.to_string())
    }
}

impl HostPolicy {
    pub(crate) fn new(settings: &CatalogSettings) -> Self {
        Self {
            private: (!settings.local).then(|| Arc::new(settings.private_hosts.clone())),
        }
    }

    /// Whether hosts must have public addresses, except for those that the operator allows.
    pub(crate) fn is_restricted(&self) -> bool {
        self.private.is_some()
    }

    /// Whether a host must have a public address.
    pub(crate) fn is_limited(&self, host: &str) -> bool {
        let private = self.private.as_ref();
        private.is_some_and(|allowed| !allowed.contains(host))
    }

    /// Checks the host of a URL if it is an address. The addresses of a name are checked when it is
    /// resolved.
    ///
    /// # Errors
    /// It is a private address.
    pub(crate) fn check(&self, url: &Url) -> Result<(), PrivateHost> {
        let host = crate::http::host(url);
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        if address.is_ok_and(is_private) && self.is_limited(host) {
            return Err(PrivateHost(host.to_owned()));
        }
        Ok(())
    }

    /// The addresses of a host.
    ///
    /// # Errors
    /// It cannot be resolved, or has a private address: [`PrivateHost`].
    pub(crate) async fn addresses(
        &self,
        host: &str,
        port: u16,
    ) -> Result<Vec<SocketAddr>, BoxError> {
        let bare = host.trim_matches(['[', ']']);
        let found: Vec<SocketAddr> = tokio::net::lookup_host((bare, port)).await?.collect();
        if self.is_limited(host) && found.iter().any(|address| is_private(address.ip())) {
            return Err(PrivateHost(host.to_owned()).into());
        }
        Ok(found)
    }

    /// Applies the policy to the connections and redirects of a client. The first URL of a request
    /// must be [checked](Self::check), too.
    pub(crate) fn apply(&self, client: ClientBuilder) -> ClientBuilder {
        if !self.is_restricted() {
            return client;
        }
        let policy = self.clone();
        let redirects = Policy::custom(move |attempt| match policy.check(attempt.url()) {
            Ok(()) => Policy::default().redirect(attempt),
            Err(private) => attempt.error(private),
        });
        // The addresses that are checked are those that the client connects to.
        let resolver = PolicyResolver(self.clone());
        client.redirect(redirects).dns_resolver(resolver)
    }
}

/// Resolves the names that a policy allows.
struct PolicyResolver(HostPolicy);

impl Resolve for PolicyResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.0.clone();
        Box::pin(async move {
            let found = policy.addresses(name.as_str(), 0).await;
            found.map(|found| Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is not one of the public internet.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_private_v4(address),
        IpAddr::V6(address) => is_private_v6(address),
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        // Shared by carriers.
        || a == 100 && b & 0xc0 == 64
        // Assigned by IETF protocols.
        || (a, b, c) == (192, 0, 0)
        // Benchmarks.
        || a == 198 && b & 0xfe == 18
        // Reserved, and the broadcast address.
        || a >= 240
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let [first, second, _, _, _, _, high, low] = segments;
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_private_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        // Mapped, compatible and translated addresses of IPv4, `::` and `::1` among them, and those
        // of NAT64.
        [0, 0, 0, 0, 0, 0 | 0xffff, _, _]
        | [0, 0, 0, 0, 0xffff, 0, _, _]
        | [0x64, 0xff9b, 0, 0, 0, 0, _, _] => embedded(high, low),
        // NAT64 within a network.
        [0x64, 0xff9b, ..] => true,
        // 6to4.
        [0x2002, begin, end, ..] => embedded(begin, end),
        _ => {
            // Unique local, link-local and site-local, multicast, Teredo, documentation.
            first & 0xfe00 == 0xfc00
                || first & 0xff80 == 0xfe80
                || first & 0xff00 == 0xff00
                || (first, second) == (0x2001, 0)
                || (first, second) == (0x2001, 0xdb8)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{HostPolicy, PrivateHost, is_private};
    use crate::settings::CatalogSettings;
    use reqwest::Url;
    use std::net::IpAddr;
    use tko_source::HostList;

    #[test]
    fn private_addresses_are_known() {
        for text in [
            "127.0.0.1",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "192.0.0.1",
            "198.19.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:0:10.0.0.5",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:a00:1::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
        ] {
            let address: IpAddr = text.parse().expect(text);
            assert!(is_private(address), "{text}");
        }
        for text in [
            "1.1.1.1",
            "100.128.0.1",
            "172.32.0.1",
            "198.20.0.1",
            "2606:4700::1111",
            "::ffff:1.1.1.1",
            "::ffff:0:1.1.1.1",
            "64:ff9b::101:101",
        ] {
            let address: IpAddr = text.parse().expect(text);
            assert!(!is_private(address), "{text}");
        }
    }

    #[tokio::test]
    async fn private_hosts_need_a_permission() {
        let url = |text: &str| Url::parse(text).expect("a URL");
        let restricted = HostPolicy::new(&CatalogSettings::default());
        for text in [
            "http://127.0.0.1/a",
            "http://[::1]:1/",
            "http://2130706433/",
            "http://127.1/",
        ] {
            assert!(restricted.check(&url(text)).is_err(), "{text}");
        }
        let error = restricted.addresses("localhost", 1).await;
        let error = error.expect_err("loopback");
        assert!(PrivateHost::in_chain(&*error).is_some(), "{error}");
        let hosts = HostList::new(["localhost", "127.0.0.1"]).expect("hosts");
        let settings = CatalogSettings::default().with_private_hosts(hosts);
        let allowing = HostPolicy::new(&settings);
        assert!(allowing.check(&url("http://127.0.0.1/a")).is_ok());
        assert!(allowing.check(&url("http://127.0.0.2/a")).is_err());
        assert!(allowing.addresses("localhost", 1).await.is_ok());
        let open = HostPolicy::new(&CatalogSettings::default().with_local(true));
        assert!(open.check(&url("http://127.0.0.1/a")).is_ok());
        assert!(open.addresses("localhost", 1).await.is_ok());
    }
}
