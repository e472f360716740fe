//! Settings of a private server.

/// Settings of a private server.
#[derive(Debug, Clone)]
pub struct PostgresServerSettings {
    /// Whether commits survive a crash of the machine. Default: no, which is much faster. Commits
    /// survive every end of the server itself in any case.
    pub durable: bool,
    /// Memory for pages. Default: `128MB`.
    pub shared_buffers: String,
    /// The limit of connections. Default: 300.
    pub max_connections: u16,
    /// Whether the server also listens on loopback, with TLS. Default: no.
    pub loopback: Option<Loopback>,
    /// The size in bytes of a separate file system for the data, in memory, which can be
    /// [filled](crate::PostgresServer::fill). Default: none. Linux only, and not where namespaces
    /// are forbidden.
    pub disk: Option<u64>,
    /// Other configuration parameters, which override the ones above.
    pub options: Vec<(String, String)>,
}

/// Access over TCP: at `127.0.0.1`, with TLS if the client asks for it.
#[derive(Debug, Clone)]
pub struct Loopback {
    /// The port, which also names the socket.
    pub port: u16,
    /// The server's certificate, in PEM.
    pub certificate: String,
    /// The certificate's key, in PEM.
    pub key: String,
}

impl Default for PostgresServerSettings {
    fn default() -> Self {
        Self {
            durable: false,
            shared_buffers: "128MB".to_owned(),
            max_connections: 300,
            loopback: None,
            disk: None,
            options: Vec::new(),
        }
    }
}

impl PostgresServerSettings {
    /// Returns all parameters as `name=value`. The last value of a name wins.
    pub(crate) fn into_parameters(self) -> Vec<String> {
        let mut parameters = vec![
            format!("shared_buffers={}", self.shared_buffers),
            format!("max_connections={}", self.max_connections),
            "jit=off".to_owned(),
            "autovacuum=on".to_owned(),
            // In the folder and not in /dev/shm: a killed server leaves nothing there, and the
            // small /dev/shm of containers does not limit it.
            "dynamic_shared_memory_type=mmap".to_owned(),
        ];
        if !self.durable {
            // Commits still wait until their record is written, but only to the memory of the
            // kernel.
            parameters.push("fsync=off".to_owned());
            parameters.push("full_page_writes=off".to_owned());
        }
        for (name, value) in self.options {
            parameters.push(format!("{name}={value}"));
        }
        parameters
    }
}
