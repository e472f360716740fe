//! A server of ssh: `sshd` of OpenSSH, one process a connection, on a socket of the test.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where Debian has it.
const PROGRAM: &str = "/usr/sbin/sshd";

/// A server that accepts one key, until the test ends.
pub(crate) struct Sshd {
    folder: tempfile::TempDir,
    address: SocketAddr,
}

impl Sshd {
    /// Starts a server; `None` if the program is not installed, as `cargo xtask test` found.
    pub(crate) fn start() -> Option<Self> {
        let program = Path::new(PROGRAM);
        if !program.exists() {
            let without = std::env::var("TKO_TEST_WITHOUT").unwrap_or_default();
            assert!(
                without.split(',').any(|name| name == "ssh"),
                "{PROGRAM} is not installed; TKO_TEST_WITHOUT=ssh skips its test"
            );
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["host", "user"] {
            let path = folder.path().join(name);
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(&path)
                .status();
            assert!(made.is_ok_and(|status| status.success()), "a key");
        }
        // The program insists on it if it runs as root.
        let _ = fs::create_dir_all("/run/sshd");
        let file = |name: &str| folder.path().join(name).display().to_string();
        let configuration = format!(
            "HostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPidFile none\n",
            file("host"),
            file("user.pub"),
        );
        let path = folder.path().join("sshd_config");
        fs::write(&path, configuration).expect("a file");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || accept(&listener, &path));
        Some(Self { folder, address })
    }

    /// The private key that the server accepts.
    pub(crate) fn key(&self) -> String {
        fs::read_to_string(self.folder.path().join("user")).expect("a key")
    }

    /// The key of the server, as a line of `known_hosts`.
    pub(crate) fn known_hosts(&self) -> String {
        let key = fs::read_to_string(self.folder.path().join("host.pub")).expect("a key");
        format!("[127.0.0.1]:{} {key}", self.address.port())
    }

    /// The URL of a folder of this machine.
    pub(crate) fn url(&self, path: &Path) -> String {
        let user = Command::new("id").arg("-un").output().expect("a name");
        let user = String::from_utf8(user.stdout).expect("text");
        format!("ssh://{}@{}{}", user.trim(), self.address, path.display())
    }
}

/// Starts a process for each connection. The thread ends with the process of the tests.
fn accept(listener: &TcpListener, configuration: &PathBuf) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else { return };
        let Ok(other) = stream.try_clone() else {
            return;
        };
        let child = Command::new(PROGRAM)
            .args(["-i", "-e", "-f"])
            .arg(configuration)
            .stdin(Stdio::from(OwnedFd::from(stream)))
            .stdout(Stdio::from(OwnedFd::from(other)))
            .stderr(Stdio::null())
            .spawn();
        if let Ok(mut child) = child {
            std::thread::spawn(move || child.wait());
        }
    }
}
