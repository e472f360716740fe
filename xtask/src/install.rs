//! Installs what the tests need and the machine has not, by `apt-get`.

use crate::machine::Machine;
use crate::needs::{Need, missing};
use anyhow::{Result, bail};
use std::io::Write;

/// Where Debian's packages of PostgreSQL are told what to do when they are installed.
const SETTINGS: (&str, &str) = ("/etc/postgresql-common", "createcluster.conf");

const APT_GET: [&str; 3] = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"];
const INSTALL: [&str; 3] = ["install", "-y", "--no-install-recommends"];

/// Sees to it that all the tests' needs are there; says on `out` what it does for that.
pub(crate) fn provide(machine: &dyn Machine, out: &mut dyn Write) -> Result<()> {
    let needs = missing(machine);
    if needs.is_empty() {
        return Ok(());
    }
    let rights = match rights(machine) {
        Ok(rights) => rights,
        Err(why) => bail!(by_hand(&needs, why)),
    };
    let act = |command: &[&[&str]]| machine.act(&[&[rights], command].concat().concat());
    let (folder, file) = SETTINGS;
    let told = machine.names(folder).iter().any(|name| name == file);
    if needs.contains(&Need::Postgres) && !told {
        writeln!(
            out,
            "writing {folder}/{file}: PostgreSQL's packages are to start no server"
        )?;
        // The tests start servers of their own. What someone wrote there meanwhile stays.
        let write = format!(
            "mkdir -p {folder} && set -C && echo 'create_main_cluster = false' > {folder}/{file}"
        );
        if let Err(error) = act(&[&["sh", "-c", &write]]) {
            bail!(by_hand(&needs, &error));
        }
    }
    let packages: Vec<&str> = needs
        .iter()
        .flat_map(|need| need.packages())
        .copied()
        .collect();
    let install = [&APT_GET, &INSTALL, &*packages];
    writeln!(out, "installing by apt-get: {}", packages.join(" "))?;
    if act(&install).is_err() {
        writeln!(out, "that failed; updating apt-get's lists of packages")?;
        // It also fails where one of many sources is gone; whether that matters shows next.
        let updated = act(&[&APT_GET, &["update"]]);
        writeln!(out, "installing by apt-get: {}", packages.join(" "))?;
        if let Err(error) = act(&install) {
            let why = updated.err().map_or_else(String::new, |why| why + "\n") + &error;
            bail!(by_hand(&needs, &why));
        }
    }
    let still = missing(machine);
    if !still.is_empty() {
        bail!(by_hand(
            &still,
            "what apt-get installed is not enough, or not found"
        ));
    }
    Ok(())
}

/// What makes a command one of the machine's administrator; or why there is no such thing.
fn rights(machine: &dyn Machine) -> Result<&'static [&'static str], &'static str> {
    if machine.ask("apt-get", &["--version"]).is_none() {
        return Err("there is no apt-get");
    }
    if machine
        .ask("id", &["-u"])
        .is_some_and(|id| id.trim() == "0")
    {
        return Ok(&[]);
    }
    if machine.ask("sudo", &["-n", "true"]).is_some() {
        return Ok(&["sudo", "-n"]);
    }
    Err("apt-get needs root, or sudo that asks for no password")
}

/// For whoever has to do it.
fn by_hand(needs: &[Need], why: &str) -> String {
    let mut lines = vec!["this machine has not all that the tests need:".to_owned()];
    lines.extend(needs.iter().map(|need| {
        let packages = need.packages().join(" and ");
        format!("  {need}, for {}: install {packages}", need.tests())
    }));
    lines.push(format!("and it could not be installed from here: {why}"));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::provide;
    use crate::machine::fake::Fake;

    const APT: &str = "env DEBIAN_FRONTEND=noninteractive apt-get";
    const SERVER: (&str, &str) = ("postgres --version", "postgres (PostgreSQL) 15.1\n");
    const GIT: (&str, &str) = ("git --version", "git version 2.39.5\n");

    fn root() -> Fake {
        Fake::complete()
            .with("apt-get --version", "apt 2.6.1\n")
            .with("id -u", "0\n")
    }

    /// What it says, line by line, and whether it ends well.
    fn tried(machine: &Fake) -> (Vec<String>, Result<(), String>) {
        let mut out = Vec::new();
        let ended = provide(machine, &mut out).map_err(|error| error.to_string());
        let said = String::from_utf8(out).expect("text");
        (said.lines().map(str::to_owned).collect(), ended)
    }

    #[test]
    fn where_all_is_there_nothing_is_done_or_said() {
        let machine = root();
        assert_eq!(tried(&machine), (Vec::new(), Ok(())));
        assert_eq!(machine.did(), Vec::<String>::new());
    }

    #[test]
    fn root_installs_what_is_missing_and_nothing_else() {
        let machine = root().without(GIT.0).acting("git", 0, &[GIT]);
        let (said, ended) = tried(&machine);
        assert_eq!(ended, Ok(()));
        assert_eq!(said, ["installing by apt-get: git"]);
        assert_eq!(
            machine.did(),
            [format!("{APT} install -y --no-install-recommends git")]
        );
    }

    #[test]
    fn others_install_by_sudo() {
        let machine = root()
            .without(GIT.0)
            .with("id -u", "1000\n")
            .with("sudo -n true", "")
            .acting("git", 0, &[GIT]);
        assert_eq!(tried(&machine).1, Ok(()));
        assert_eq!(
            machine.did(),
            [format!(
                "sudo -n {APT} install -y --no-install-recommends git"
            )]
        );
    }

    #[test]
    fn old_lists_of_packages_are_updated_once() {
        let machine = root().without(GIT.0).acting("git", 1, &[GIT]);
        let (said, ended) = tried(&machine);
        assert_eq!(ended, Ok(()));
        assert_eq!(said.len(), 3, "{said:?}");
        let install = format!("{APT} install -y --no-install-recommends git");
        assert_eq!(
            machine.did(),
            [install.clone(), format!("{APT} update"), install]
        );
    }

    #[test]
    fn what_cannot_be_installed_is_told_with_the_reason() {
        let machine = root().without(GIT.0).acting("git", 2, &[GIT]);
        let error = tried(&machine).1.expect_err("it fails");
        assert!(
            error.contains("git, for the tests of git repositories"),
            "{error}"
        );
        assert!(error.contains("it does not want to"), "{error}");
        assert_eq!(machine.did().len(), 3);
    }

    #[test]
    fn postgresql_is_installed_without_a_server_that_runs() {
        let machine = root().without(SERVER.0).acting("postgresql", 0, &[SERVER]);
        let (said, ended) = tried(&machine);
        assert_eq!(ended, Ok(()));
        assert_eq!(said.len(), 2, "{said:?}");
        let [settings, install] = &machine.did()[..] else {
            panic!("{:?}", machine.did());
        };
        assert!(settings.starts_with("sh -c"), "{settings}");
        assert!(
            settings.contains("create_main_cluster = false"),
            "{settings}"
        );
        assert!(install.ends_with(" postgresql"), "{install}");
    }

    #[test]
    fn settings_of_postgresql_that_are_there_stay() {
        let machine = root()
            .without(SERVER.0)
            .with_names("/etc/postgresql-common", &["createcluster.conf"])
            .acting("postgresql", 0, &[SERVER]);
        assert_eq!(tried(&machine).1, Ok(()));
        let did = machine.did();
        assert!(did.len() == 1 && did[0].contains("apt-get"), "{did:?}");
    }

    #[test]
    fn a_postgresql_that_is_too_old_is_no_success() {
        let machine = root().without(SERVER.0).acting(
            "postgresql",
            0,
            &[("postgres --version", "postgres (PostgreSQL) 14.1\n")],
        );
        let error = tried(&machine).1.expect_err("14 is not 15");
        assert!(
            error.contains("a PostgreSQL server, 15 or newer"),
            "{error}"
        );
    }

    #[test]
    fn who_may_not_install_is_told_what_for_which_tests_and_from_which_packages() {
        let bare = Fake::default();
        let barred = Fake::default()
            .with("apt-get --version", "apt 2.6.1\n")
            .with("id -u", "1000\n");
        for (machine, why) in [(bare, "there is no apt-get"), (barred, "sudo")] {
            let (said, ended) = tried(&machine);
            let error = ended.expect_err("it cannot");
            for part in [
                "Python 3 with the module venv, for the tests of plugins and of a Python client: install python3 and python3-venv",
                "git, for the tests of git repositories, as sources of packages and for manifests: install git",
                "a PostgreSQL server, 15 or newer, for the tests of the PostgreSQL backend: install postgresql",
                why,
            ] {
                assert!(error.contains(part), "{error}");
            }
            assert_eq!((said, machine.did()), (Vec::new(), Vec::new()));
        }
    }
}
