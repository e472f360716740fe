//! What a server can be asked to be.

/// What a server is to be like.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether commits survive a crash of the machine. Default: no, which is much faster; what was
    /// committed still survives every end of the server itself.
    pub durable: bool,
    /// Memory for pages, such as `128MB`, which is the default.
    pub shared_buffers: String,
    /// Most connections at once. Default: 300.
    pub max_connections: u16,
    /// Listens on loopback, too, with TLS. Default: no.
    pub loopback: Option<Loopback>,
    /// Bytes of a file system that is for the data alone and can be [filled](crate::Server::fill); it
    /// is in memory. Default: none. Linux only, and not where namespaces are forbidden.
    pub disk: Option<u64>,
    /// Other configuration parameters. They win over what is set here and above.
    pub options: Vec<(String, String)>,
}

/// How it is reached over TCP: at `127.0.0.1`, with TLS where the client asks for it.
#[derive(Debug, Clone)]
pub struct Loopback {
    /// The port, which also names the socket.
    pub port: u16,
    /// The server's certificate, in PEM.
    pub certificate: String,
    /// Its key, in PEM.
    pub key: String,
}

impl Default for Settings {
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

impl Settings {
    /// All of it as `name=value`; of the same name the last counts.
    pub(crate) fn into_parameters(self) -> Vec<String> {
        let mut parameters = vec![
            format!("shared_buffers={}", self.shared_buffers),
            format!("max_connections={}", self.max_connections),
            "jit=off".to_owned(),
            "autovacuum=on".to_owned(),
            // In the folder, not in /dev/shm: a killed server leaves nothing there, and a small
            // /dev/shm, as containers have it, is no limit.
            "dynamic_shared_memory_type=mmap".to_owned(),
        ];
        if !self.durable {
            // Commits still wait for their record to be written, as they do elsewhere; it just
            // stays in the memory of the kernel.
            parameters.push("fsync=off".to_owned());
            parameters.push("full_page_writes=off".to_owned());
        }
        for (name, value) in self.options {
            parameters.push(format!("{name}={value}"));
        }
        parameters
    }
}
