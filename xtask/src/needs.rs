//! What the tests need on a machine beside a Rust toolchain, and whether it is there.

use crate::machine::Machine;
use std::fmt;

/// The oldest PostgreSQL that will do.
const POSTGRES: u32 = 15;

/// Where Debian's packages put PostgreSQL, a folder each version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// Something that tests need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// With the module `venv`, and with what that puts into an environment.
    Python,
    Git,
    Postgres,
}

impl Need {
    pub(crate) const ALL: [Self; 3] = [Self::Python, Self::Git, Self::Postgres];

    /// The packages that bring it, by Debian's names.
    pub(crate) fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Python => &["python3", "python3-venv"],
            Self::Git => &["git"],
            Self::Postgres => &["postgresql"],
        }
    }

    /// What is tested with it.
    pub(crate) fn tests(self) -> &'static str {
        match self {
            Self::Python => "the tests of plugins and of a Python client",
            Self::Git => "the tests of git repositories, as sources of packages and for manifests",
            Self::Postgres => "the tests of the PostgreSQL backend",
        }
    }

    fn is_there(self, machine: &dyn Machine) -> bool {
        match self {
            // Debian has venv without ensurepip, which it does not work without.
            Self::Python => machine
                .ask("python3", &["-c", "import ensurepip, venv"])
                .is_some(),
            Self::Git => machine.ask("git", &["--version"]).is_some(),
            Self::Postgres => postgres(machine).is_some(),
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Python => f.write_str("Python 3 with the module venv"),
            Self::Git => f.write_str("git"),
            Self::Postgres => write!(f, "a PostgreSQL server, {POSTGRES} or newer"),
        }
    }
}

/// What is not there.
pub(crate) fn missing(machine: &dyn Machine) -> Vec<Need> {
    Need::ALL
        .into_iter()
        .filter(|need| !need.is_there(machine))
        .collect()
}

/// A server that will do: of `PATH`, of `pg_config`, or else the newest of Debian's.
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

/// Of `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, or of `… 19beta1`.
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
    use super::{Need, major, missing, postgres};
    use crate::machine::fake::Fake;

    #[test]
    fn nothing_is_missing_where_all_is_there() {
        assert_eq!(missing(&Fake::complete()), []);
    }

    #[test]
    fn each_thing_is_missed_by_itself() {
        let without = |command: &str| missing(&Fake::complete().without(command));
        assert_eq!(without("git --version"), [Need::Git]);
        assert_eq!(without("postgres --version"), [Need::Postgres]);
        // Python 3 alone will not do.
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
    fn a_server_is_taken_from_the_path_first() {
        let machine = Fake::default()
            .with("postgres --version", &server("15.1"))
            .with("pg_config --bindir", "/opt/16/bin\n")
            .with("/opt/16/bin/postgres --version", &server("16.1"));
        assert_eq!(postgres(&machine).as_deref(), Some("postgres"));
        let machine = machine.without("postgres --version");
        assert_eq!(postgres(&machine).as_deref(), Some("/opt/16/bin/postgres"));
    }

    #[test]
    fn of_those_that_packages_brought_the_newest_is_taken() {
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
        // Of version 100 there is only the client.
        assert_eq!(
            postgres(&machine).as_deref(),
            Some("/usr/lib/postgresql/17/bin/postgres")
        );
    }

    #[test]
    fn a_server_that_is_too_old_counts_as_none() {
        let machine = Fake::complete().with("postgres --version", &server("14.9"));
        assert_eq!(missing(&machine), [Need::Postgres]);
    }
}
