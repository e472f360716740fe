//! The settings of the controller, and its limits for hostile input.

use std::path::PathBuf;
use std::time::Duration;
use tko_source::{HostList, SecretFolder, SourceLimits};

/// The settings of a [`CatalogController`](crate::CatalogController).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CatalogSettings {
    /// How many catalogs and inventories sync at the same time. Default: 4.
    pub concurrency: usize,
    /// Longest time for one sync. Default: 10 min.
    pub timeout: Duration,
    /// Interval between syncs of an entry that does not set its own. Default: 5 min.
    pub interval: Duration,
    /// Shortest interval that an entry may set. Default: 1 s.
    pub min_interval: Duration,
    /// Maximum number of templates of one catalog. Default: 100,000.
    pub max_templates: usize,
    /// Maximum number of sites of one inventory. Default: 1,000,000.
    pub max_sites: usize,
    /// Maximum number of bytes of a listing that a server, a file or a program returns. The program
    /// of an inventory `command` prints at most 64 MiB in any case. The files of all sites of a folder
    /// or repository together have the same limit, and so have the descriptors of a catalog. Default:
    /// 256 MiB.
    pub max_listing_bytes: usize,
    /// Limits for each package, and for the archive that it is in.
    pub source: SourceLimits,
    /// Maximum number of bytes of the copy of one git repository. Default: 4 GiB.
    pub max_repository_bytes: u64,
    /// Folder for copies of git repositories; `None` chooses a temporary one for the process.
    pub cache: Option<PathBuf>,
    /// Folder with secrets, one per file, that properties name as `secret:NAME`. Unless
    /// [`local`](Self::local) is set, tokens and keys need a list of hosts there.
    pub secrets: SecretFolder,
    /// Whether entries may read files and environment variables of this machine, run programs, reach
    /// hosts with private addresses, and send tokens to any host. Everyone who may register plugins
    /// can then do so through entries. Default: false.
    pub local: bool,
    /// Hosts with private addresses, such as loopback, that entries may reach although
    /// [`local`](Self::local) is not set. Default: none.
    pub private_hosts: HostList,
}

impl CatalogSettings {
    /// Sets [`concurrency`](Self::concurrency); at least 1.
    #[must_use]
    pub fn with_concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency.max(1);
        self
    }

    /// Sets [`timeout`](Self::timeout).
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets [`interval`](Self::interval).
    #[must_use]
    pub fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sets [`max_templates`](Self::max_templates).
    #[must_use]
    pub fn with_max_templates(mut self, max_templates: usize) -> Self {
        self.max_templates = max_templates;
        self
    }

    /// Sets [`max_sites`](Self::max_sites).
    #[must_use]
    pub fn with_max_sites(mut self, max_sites: usize) -> Self {
        self.max_sites = max_sites;
        self
    }

    /// Sets [`max_listing_bytes`](Self::max_listing_bytes).
    #[must_use]
    pub fn with_max_listing_bytes(mut self, max_listing_bytes: usize) -> Self {
        self.max_listing_bytes = max_listing_bytes;
        self
    }

    /// Sets [`source`](Self::source).
    #[must_use]
    pub fn with_source(mut self, source: SourceLimits) -> Self {
        self.source = source;
        self
    }

    /// Sets [`max_repository_bytes`](Self::max_repository_bytes).
    #[must_use]
    pub fn with_max_repository_bytes(mut self, max_repository_bytes: u64) -> Self {
        self.max_repository_bytes = max_repository_bytes;
        self
    }

    /// Sets [`cache`](Self::cache).
    #[must_use]
    pub fn with_cache(mut self, cache: Option<PathBuf>) -> Self {
        self.cache = cache;
        self
    }

    /// Sets [`secrets`](Self::secrets).
    #[must_use]
    pub fn with_secrets(mut self, secrets: SecretFolder) -> Self {
        self.secrets = secrets;
        self
    }

    /// Sets [`local`](Self::local).
    #[must_use]
    pub fn with_local(mut self, local: bool) -> Self {
        self.local = local;
        self
    }

    /// Sets [`private_hosts`](Self::private_hosts).
    #[must_use]
    pub fn with_private_hosts(mut self, private_hosts: HostList) -> Self {
        self.private_hosts = private_hosts;
        self
    }
}

impl Default for CatalogSettings {
    fn default() -> Self {
        Self {
            concurrency: 4,
            timeout: Duration::from_mins(10),
            interval: Duration::from_mins(5),
            min_interval: Duration::from_secs(1),
            max_templates: 100_000,
            max_sites: 1_000_000,
            max_listing_bytes: 256 << 20,
            source: SourceLimits::default()
                .with_max_bytes(32 << 20)
                .with_max_files(100_000)
                .with_timeout(Duration::from_mins(2)),
            max_repository_bytes: 4 << 30,
            cache: None,
            secrets: SecretFolder::default(),
            local: false,
            private_hosts: HostList::default(),
        }
    }
}
