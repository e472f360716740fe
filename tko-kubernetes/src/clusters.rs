//! [`Clusters`]: the clients of all clusters, by credentials.

use crate::client::ClusterClient;
use crate::drift::{DriftSink, SiteWatches, WatchLimits};
use crate::kubeconfig::{MAX_BYTES, connect, locate, of_file, of_secret};
use crate::limit::RequestLimit;
use crate::memory::SiteMemory;
use crate::metrics::ClusterCounters;
use crate::settings::KubernetesSettings;
use crate::target::{KubeconfigReference, SiteTarget};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::Config;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tko_core::system::SystemClock;
use tko_core::{Clock, Error, Result, Timestamp, error::chain};

/// Maximum number of sites whose clients are kept.
const MAX_SITES: usize = 4_096;

/// The name of the management cluster among the sites. No id of a site is empty.
const MANAGEMENT: &str = "";

/// The client of a site's cluster, and the state remembered for the site.
#[derive(Clone)]
pub(crate) struct SiteCluster {
    pub(crate) client: Arc<ClusterClient>,
    pub(crate) memory: Arc<SiteMemory>,
    pub(crate) watches: Arc<SiteWatches>,
    /// The hash of the credentials.
    credentials: [u8; 32],
    /// The time at which the certificate of an `exec` program expires.
    valid_until: Option<Timestamp>,
}

/// The credentials of a cluster, not connected yet.
struct ClusterCredentials {
    config: Config,
    hash: [u8; 32],
}

/// The clients of all clusters.
pub(crate) struct Clusters {
    settings: Arc<KubernetesSettings>,
    counters: Arc<ClusterCounters>,
    sites: Mutex<HashMap<String, SiteCluster>>,
    /// Maximum number of entries of `sites`, and of `infrastructure`.
    max_sites: usize,
    infrastructure: Mutex<HashMap<String, Arc<SiteMemory>>>,
    watches: Arc<WatchLimits>,
    /// Limits by the address of the cluster, which several sites may share.
    limits: Mutex<HashMap<String, Arc<RequestLimit>>>,
    clock: SystemClock,
}

impl Clusters {
    pub(crate) fn new(settings: Arc<KubernetesSettings>, counters: Arc<ClusterCounters>) -> Self {
        Self {
            settings,
            counters,
            sites: Mutex::default(),
            max_sites: MAX_SITES,
            infrastructure: Mutex::default(),
            watches: Arc::new(WatchLimits::new(None, 0)),
            limits: Mutex::default(),
            clock: SystemClock::new(),
        }
    }

    /// The clock by which the age of objects is judged.
    pub(crate) fn clock(&self) -> &SystemClock {
        &self.clock
    }

    /// Starts to watch the objects of sites, with at most this many watches.
    pub(crate) fn watch(&mut self, sink: DriftSink, streams: usize) {
        self.watches = Arc::new(WatchLimits::new(Some(sink), streams));
    }

    /// The cluster of a site. Its credentials are read again each time.
    ///
    /// # Errors
    /// - `BadArgument`: the kubeconfig is missing or not valid.
    /// - `Unavailable`: the kubeconfig cannot be read from the management cluster.
    pub(crate) async fn site(&self, site: &str, target: &SiteTarget) -> Result<SiteCluster> {
        let context = target.context.clone();
        let credentials = match &target.kubeconfig {
            KubeconfigReference::File(file) => {
                self.file(&locate(self.folder()?, file).await?, context)
                    .await?
            }
            KubeconfigReference::Secret {
                name,
                namespace,
                key,
            } => {
                let namespace = namespace.as_deref();
                self.secret(name, namespace, key, context).await?
            }
        };
        self.connected(site, credentials).await
    }

    /// The folder of kubeconfigs.
    ///
    /// # Errors
    /// `BadArgument`: there is none.
    pub(crate) fn folder(&self) -> Result<&Path> {
        self.settings.kubeconfigs.as_deref().ok_or_else(|| {
            Error::bad(
                "spec.kubeconfig.file",
                "this scheduler has no folder of kubeconfigs; start it with --kubeconfigs DIR",
            )
        })
    }

    /// The management cluster.
    ///
    /// # Errors
    /// `BadArgument`: there is none, or its kubeconfig is not valid.
    pub(crate) async fn management(&self) -> Result<SiteCluster> {
        let credentials = match &self.settings.management {
            Some(path) => self.file(path, None).await?,
            None if self.settings.in_cluster => {
                let config = Config::incluster()
                    .map_err(|error| Error::bad("the service account of the pod", chain(&error)))?;
                ClusterCredentials {
                    config,
                    hash: [0; 32],
                }
            }
            None => {
                return Err(Error::bad(
                    "site",
                    "it needs a management cluster, and this scheduler has none; start it with \
                     --management-kubeconfig FILE",
                ));
            }
        };
        self.connected(MANAGEMENT, credentials).await
    }

    async fn file(&self, path: &Path, context: Option<String>) -> Result<ClusterCredentials> {
        let bytes = tokio::fs::read(path).await.map_err(|error| {
            Error::bad(
                "kubeconfig",
                format!("{} cannot be read: {error}", path.display()),
            )
        })?;
        let hash = hash_of(&bytes, context.as_deref());
        let config = of_file(path, context).await?;
        let hash = hash_with_certificates(hash, &config).await;
        Ok(ClusterCredentials { config, hash })
    }

    async fn secret(
        &self,
        name: &str,
        namespace: Option<&str>,
        key: &str,
        context: Option<String>,
    ) -> Result<ClusterCredentials> {
        let (text, full) = self.secret_text(name, namespace, key).await??;
        let hash = hash_of(text.as_bytes(), context.as_deref());
        let config = of_secret(&text, &full, context).await?;
        Ok(ClusterCredentials { config, hash })
    }

    /// The kubeconfig in a Secret of the management cluster, and the Secret's full name. The inner
    /// error says that there is no such Secret.
    ///
    /// # Errors
    /// - `BadArgument`: there is no management cluster, or the Secret has no kubeconfig.
    /// - `Unavailable`: the management cluster cannot be reached.
    pub(crate) async fn secret_text(
        &self,
        name: &str,
        namespace: Option<&str>,
        key: &str,
    ) -> Result<Result<(String, String)>> {
        let management = self.management().await?;
        let namespace = namespace.unwrap_or(&management.client.namespace);
        let full = format!("{namespace}/{name}");
        let path = format!("/api/v1/namespaces/{namespace}/secrets/{name}");
        let secret = management.client.get(&path).await.map_err(|failure| {
            let action = format!("read Secret {full} of the management cluster");
            Error::unavailable(action, failure.to_string())
        })?;
        let bad = |message: String| Error::bad("kubeconfig", message);
        let Some(secret) = secret else {
            return Ok(Err(bad(format!(
                "the management cluster has no Secret {full}; create it, or wait until the cluster \
                 is provisioned"
            ))));
        };
        let value = secret.get("data").and_then(|data| data.get(key)?.as_str());
        let value = value.ok_or_else(|| bad(format!("Secret {full} has no key {key:?}")))?;
        if value.len() > 2 * MAX_BYTES {
            return Err(bad(format!("Secret {full} is too large")));
        }
        let bytes = STANDARD.decode(value).ok();
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        let text = text.ok_or_else(|| bad(format!("Secret {full} is not text")))?;
        Ok(Ok((text, full)))
    }

    /// A client with these credentials, the same as before if they are.
    ///
    /// # Errors
    /// - `BadArgument`: the credentials are not valid.
    /// - `Unavailable`: the program for credentials takes longer than a request may.
    async fn connected(&self, site: &str, credentials: ClusterCredentials) -> Result<SiteCluster> {
        let ClusterCredentials { config, hash } = credentials;
        if let Some(known) = self.known(site, &hash) {
            return Ok(known);
        }
        let limit = self.limit(&config.cluster_url.to_string());
        let namespace = config.default_namespace.clone();
        let client = connect(config, self.settings.request_timeout).await?;
        let valid_until = client.valid_until().as_ref();
        let valid_until = valid_until.map(|until| Timestamp(until.as_microsecond()));
        let made = SiteCluster {
            client: Arc::new(ClusterClient::new(
                client,
                namespace,
                limit,
                self.settings.request_timeout,
                self.counters.clone(),
            )),
            memory: Arc::default(),
            watches: Arc::new(SiteWatches::new(self.watches.clone(), site)),
            credentials: hash,
            valid_until,
        };
        // Another call may have connected meanwhile, and its state is in use.
        if let Some(known) = self.known(site, &hash) {
            return Ok(known);
        }
        let mut sites = locked(&self.sites);
        make_room(&mut sites, site, self.max_sites);
        sites.insert(site.to_owned(), made.clone());
        Ok(made)
    }

    /// The cluster that is kept for a site, if its credentials are the same and have not expired.
    fn known(&self, site: &str, hash: &[u8; 32]) -> Option<SiteCluster> {
        let now = self.clock.now();
        let sites = locked(&self.sites);
        let known = sites.get(site).filter(|known| {
            let is_valid = known.valid_until.is_none_or(|until| now < until);
            is_valid && known.credentials == *hash
        });
        known.cloned()
    }

    fn limit(&self, url: &str) -> Arc<RequestLimit> {
        let mut limits = locked(&self.limits);
        // Drops limits that no client uses any more.
        limits.retain(|_, limit| Arc::strong_count(limit) > 1);
        let new = || {
            Arc::new(RequestLimit::new(
                self.settings.in_flight,
                self.settings.rate,
            ))
        };
        limits.entry(url.to_owned()).or_insert_with(new).clone()
    }

    /// The state remembered for the infrastructure of a site.
    pub(crate) fn infrastructure_memory(&self, site: &str) -> Arc<SiteMemory> {
        let mut all = locked(&self.infrastructure);
        make_room(&mut all, site, self.max_sites);
        all.entry(site.to_owned()).or_default().clone()
    }

    /// Forgets a site.
    pub(crate) fn forget(&self, site: &str) {
        locked(&self.sites).remove(site);
        locked(&self.infrastructure).remove(site);
    }
}

/// Drops an arbitrary other site if one more would be too many. Its remembered state costs a few
/// reads, but its drift is not noticed until its next call. So the others keep theirs. The oldest
/// site would be the wrong one: resyncs call all sites in turn, so it is the next to be called.
fn make_room<T>(sites: &mut HashMap<String, T>, site: &str, max: usize) {
    if sites.len() < max || sites.contains_key(site) {
        return;
    }
    let other = sites.keys().find(|id| *id != MANAGEMENT).cloned();
    if let Some(other) = other {
        sites.remove(&other);
    }
}

fn hash_of(text: &[u8], context: Option<&str>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(text);
    hasher.update([0]);
    hasher.update(context.unwrap_or_default());
    hasher.finalize().into()
}

/// Adds the certificates and keys that a kubeconfig names as files. A client reads them only once;
/// it reads a file with a token again by itself.
async fn hash_with_certificates(hash: [u8; 32], config: &Config) -> [u8; 32] {
    let mut hasher = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hasher.update(bytes.len().to_be_bytes());
        hasher.update(bytes);
    };
    add(&hash);
    for authority in config.root_cert.iter().flatten() {
        add(authority);
    }
    let user = &config.auth_info;
    for path in [&user.client_certificate, &user.client_key] {
        let bytes = match path {
            // The client reports a file that cannot be read.
            Some(path) => tokio::fs::read(path).await.unwrap_or_default(),
            None => Vec::new(),
        };
        add(&bytes);
    }
    hasher.finalize().into()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{ClusterCredentials, Clusters, MANAGEMENT, SiteCluster, locked};
    use crate::settings::KubernetesSettings;
    use kube::Config;
    use std::sync::Arc;
    use tko_core::Timestamp;
    use tko_kubernetes_server::Authority;

    const KUBECONFIG: &str = "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts:\n- name: a\n  context: {cluster: a, user: a}\nclusters:\n- name: a\n  cluster: {server: 'https://127.0.0.1:1', certificate-authority: ca.crt}\nusers:\n- name: a\n  user: {client-certificate: edge.crt, client-key: edge.key}\n";

    async fn connected(clusters: &Clusters, site: &str) -> SiteCluster {
        let url = "https://127.0.0.1:1".parse().expect("a URL");
        let mut config = Config::new(url);
        // This machine may trust no authority.
        config.root_cert = Some(Vec::new());
        let hash = [0; 32];
        let credentials = ClusterCredentials { config, hash };
        let made = clusters.connected(site, credentials).await;
        made.unwrap_or_else(|error| panic!("{}", error.chain()))
    }

    #[tokio::test]
    async fn one_site_too_many_drops_the_watches_of_one_other_alone() {
        // Another test of this process may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let settings = Arc::new(KubernetesSettings::default());
        let mut clusters = Clusters::new(settings, Arc::default());
        clusters.max_sites = 4;
        let mut made = Vec::new();
        for site in [MANAGEMENT, "a", "b", "c"] {
            made.push(connected(&clusters, site).await);
        }
        connected(&clusters, "d").await;
        let sites = locked(&clusters.sites);
        assert_eq!(sites.len(), 4);
        assert!(sites.contains_key("d") && sites.contains_key(MANAGEMENT));
        let is_kept = |old: &&SiteCluster| {
            let mut new = sites.values();
            new.any(|new| Arc::ptr_eq(&new.watches, &old.watches))
        };
        assert_eq!(made.iter().filter(is_kept).count(), 3);
    }

    #[tokio::test]
    async fn renewed_certificates_are_used_by_the_next_call() {
        // Another test of this process may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).expect("a file");
        };
        let authority = Authority::new("test-ca");
        let renew = || {
            let issued = authority.client("edge", &[]);
            write("edge.crt", &issued.certificate);
            write("edge.key", &issued.key);
        };
        write("edge.yaml", KUBECONFIG);
        write("ca.crt", &authority.pem());
        renew();
        let clusters = Clusters::new(Arc::new(KubernetesSettings::default()), Arc::default());
        let path = folder.path().join("edge.yaml");
        let call = async || {
            let credentials = clusters.file(&path, None).await;
            let credentials = credentials.unwrap_or_else(|error| panic!("{}", error.chain()));
            let cluster = clusters.connected("edge", credentials).await;
            cluster
                .unwrap_or_else(|error| panic!("{}", error.chain()))
                .client
        };
        let first = call().await;
        assert!(Arc::ptr_eq(&first, &call().await), "nothing changed");
        renew();
        let second = call().await;
        assert!(!Arc::ptr_eq(&first, &second), "a new client certificate");
        write("ca.crt", &Authority::new("another-ca").pem());
        let third = call().await;
        assert!(!Arc::ptr_eq(&second, &third), "another authority");
        assert!(Arc::ptr_eq(&third, &call().await), "nothing changed");
        if let Some(kept) = locked(&clusters.sites).get_mut("edge") {
            kept.valid_until = Some(Timestamp(1));
        }
        let fourth = call().await;
        assert!(!Arc::ptr_eq(&third, &fourth), "the credentials expired");
    }
}
