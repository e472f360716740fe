//! The programs that the tests need besides a Rust toolchain, and whether they are installed.

use crate::machine::Machine;
use std::fmt;

/// The oldest major version of PostgreSQL that the tests accept.
const POSTGRES: u32 = 15;

/// The folder in which Debian's packages install PostgreSQL, one folder for each version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// A command that succeeds if there are a server and a client of OpenSSH. The server has no option
/// that only shows its version.
const SSH: &str = "test -x /usr/sbin/sshd && ssh -V";

/// The programs that drive the web dashboard, and the Debian package of each.
const BROWSER: [(&str, &str); 3] = [("chromium", "chromium"), ("node", "nodejs"), ("npm", "npm")];

/// A program that tests need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// With the modules `venv` and `ensurepip`.
    Python,
    Git,
    Postgres,
    /// A browser, and the program that drives it. The tests are skipped where they cannot be had.
    Browser,
    /// A server of SSH. Its test is skipped where it cannot be had.
    Ssh,
    /// A terminal without a screen, and a reader of JSON for scripts. Their tests are skipped where
    /// they cannot be had.
    Terminal,
}

impl Need {
    pub(crate) const ALL: [Self; 6] = [
        Self::Python,
        Self::Git,
        Self::Postgres,
        Self::Browser,
        Self::Ssh,
        Self::Terminal,
    ];

    /// Whether the other tests run without it.
    pub(crate) fn is_optional(self) -> bool {
        matches!(self, Self::Browser | Self::Ssh | Self::Terminal)
    }

    /// Its name in `TKO_TEST_WITHOUT`, which tells tests that it is absent.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Git => "git",
            Self::Postgres => "postgres",
            Self::Browser => "browser",
            Self::Ssh => "ssh",
            Self::Terminal => "terminal",
        }
    }

    /// The Debian packages that contain what the machine lacks of it.
    pub(crate) fn packages(self, machine: &dyn Machine) -> Vec<&'static str> {
        match self {
            Self::Python => vec!["python3", "python3-venv"],
            Self::Git => vec!["git"],
            Self::Postgres => vec!["postgresql"],
            // Debian's npm conflicts with a Node from elsewhere, which contains another npm.
            Self::Browser => BROWSER
                .into_iter()
                .filter(|(program, _)| machine.ask(program, &["--version"]).is_none())
                .map(|(_, package)| package)
                .collect(),
            Self::Ssh => vec!["openssh-server", "openssh-client"],
            Self::Terminal => vec!["tmux", "jq"],
        }
    }

    /// The tests that use it.
    pub(crate) fn tests(self) -> &'static str {
        match self {
            Self::Python => "the tests of plugins and of a Python client",
            Self::Git => {
                "the tests of Git repositories, both as sources of packages and for manifests"
            }
            Self::Postgres => "the tests of the PostgreSQL backend",
            Self::Browser => "the tests of the web dashboard",
            Self::Ssh => "the test of Git repositories over SSH",
            Self::Terminal => "the tests of the terminal dashboard and of plugins in sh",
        }
    }

    fn is_installed(self, machine: &dyn Machine) -> bool {
        match self {
            // Debian splits ensurepip from venv, which does not work without it.
            Self::Python => machine
                .ask("python3", &["-c", "import ensurepip, venv"])
                .is_some(),
            Self::Git => machine.ask("git", &["--version"]).is_some(),
            Self::Postgres => postgres(machine).is_some(),
            Self::Browser => self.packages(machine).is_empty(),
            Self::Ssh => machine.ask("sh", &["-c", SSH]).is_some(),
            Self::Terminal => [("tmux", "-V"), ("jq", "--version")]
                .iter()
                .all(|(program, version)| machine.ask(program, &[version]).is_some()),
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Python => f.write_str("Python 3 with the module venv"),
            Self::Git => f.write_str("git"),
            Self::Postgres => write!(f, "a PostgreSQL server, {POSTGRES} or newer"),
            Self::Browser => f.write_str("Chromium and Node"),
            Self::Ssh => f.write_str("a server of OpenSSH"),
            Self::Terminal => f.write_str("tmux and jq"),
        }
    }
}

/// The programs that are missing.
pub(crate) fn missing(machine: &dyn Machine) -> Vec<Need> {
    Need::ALL
        .into_iter()
        .filter(|need| !need.is_installed(machine))
        .collect()
}

/// A suitable server: from `PATH`, from `pg_config`, or else the newest of Debian's.
fn postgres(machine: &dyn Machine) -> Option<String> {
    let mut servers = vec!["postgres".to_owned()];
    if let Some(folder) = machine.ask("pg_config", &["--bindir"]) {
        servers.push(format!("{}/postgres", folder.trim()));
    }
    let mut versions: Vec<u32> = machine
        .names(VERSIONS)
        .iter()
        .filter_map(|name| name.parse().ok())
        .collect();
    versions.sort_unstable_by(|one, two| two.cmp(one));
    servers.extend(
        versions
            .iter()
            .map(|version| format!("{VERSIONS}/{version}/bin/postgres")),
    );
    servers.into_iter().find(|server| {
        machine
            .ask(server, &["--version"])
            .and_then(|said| major(&said))
            .is_some_and(|major| major >= POSTGRES)
    })
}

/// The major version in `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` or `… 19beta1`.
fn major(said: &str) -> Option<u32> {
    let (_, version) = said.split_once("(PostgreSQL)")?;
    let version = version.trim_start();
    let end = version
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(version.len());
    version[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Need, SSH, major, missing, postgres};
    use crate::machine::fake::Fake;

    #[test]
    fn nothing_is_missing_on_a_complete_machine() {
        assert_eq!(missing(&Fake::complete()), []);
    }

    #[test]
    fn each_program_is_looked_for() {
        let without = |command: &str| missing(&Fake::complete().without(command));
        assert_eq!(without("git --version"), [Need::Git]);
        assert_eq!(without("postgres --version"), [Need::Postgres]);
        assert_eq!(without("chromium --version"), [Need::Browser]);
        assert_eq!(without("npm --version"), [Need::Browser]);
        assert_eq!(without(&format!("sh -c {SSH}")), [Need::Ssh]);
        assert_eq!(without("tmux -V"), [Need::Terminal]);
        assert_eq!(without("jq --version"), [Need::Terminal]);
        // Python 3 without these modules is not enough.
        let venv = Fake::complete().without("python3 -c import ensurepip, venv");
        assert_eq!(missing(&venv.with("python3 --version", "")), [Need::Python]);
        assert_eq!(missing(&Fake::default()), Need::ALL);
    }

    #[test]
    fn versions_are_read() {
        let debian = "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n";
        assert_eq!(major(debian), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 19beta1\n"), Some(19));
        assert_eq!(major("postgres (PostgreSQL) 9.6.24\n"), Some(9));
        assert_eq!(major("postgres (PostgreSQL) 16"), Some(16));
        assert_eq!(major("postgres (EnterpriseDB) 16.1"), None);
        assert_eq!(major("postgres (PostgreSQL) devel"), None);
    }

    fn server(version: &str) -> String {
        format!("postgres (PostgreSQL) {version}\n")
    }

    #[test]
    fn a_server_in_the_path_comes_first() {
        let machine = Fake::default()
            .with("postgres --version", &server("15.1"))
            .with("pg_config --bindir", "/opt/16/bin\n")
            .with("/opt/16/bin/postgres --version", &server("16.1"));
        assert_eq!(postgres(&machine).as_deref(), Some("postgres"));
        let machine = machine.without("postgres --version");
        assert_eq!(postgres(&machine).as_deref(), Some("/opt/16/bin/postgres"));
    }

    #[test]
    fn the_newest_packaged_server_is_chosen() {
        let machine = Fake::default()
            .with("postgres --version", &server("14.9"))
            .with_names("/usr/lib/postgresql", &["9", "15", "notes", "100", "17"])
            .with(
                "/usr/lib/postgresql/9/bin/postgres --version",
                &server("9.6"),
            )
            .with(
                "/usr/lib/postgresql/15/bin/postgres --version",
                &server("15.2"),
            )
            .with(
                "/usr/lib/postgresql/17/bin/postgres --version",
                &server("17.2"),
            );
        // Version 100 has only the client installed.
        assert_eq!(
            postgres(&machine).as_deref(),
            Some("/usr/lib/postgresql/17/bin/postgres")
        );
    }

    #[test]
    fn an_old_server_counts_as_missing() {
        let machine = Fake::complete().with("postgres --version", &server("14.9"));
        assert_eq!(missing(&machine), [Need::Postgres]);
    }
}
