//! Installs the programs that the tests need, with `apt-get`.

use crate::machine::Machine;
use crate::needs::{Need, missing};
use anyhow::{Result, bail};
use std::io::Write;

/// The folder and file with the settings that Debian's PostgreSQL packages read when installed.
const SETTINGS: (&str, &str) = ("/etc/postgresql-common", "createcluster.conf");

/// The file that keeps the service of Debian's OpenSSH package from starting. The test starts its
/// own server.
const NO_SSH: &str = "/etc/ssh/sshd_not_to_be_run";

const APT_GET: [&str; 3] = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"];
const INSTALL: [&str; 3] = ["install", "-y", "--no-install-recommends"];

/// Installs the programs that are missing, and prints to `out` what it does.
///
/// An optional program that cannot be installed is named. Returns such programs: their tests must be
/// skipped.
pub(crate) fn provide(machine: &dyn Machine, out: &mut dyn Write) -> Result<Vec<Need>> {
    let (optional, needs): (Vec<Need>, Vec<Need>) = missing(machine)
        .into_iter()
        .partition(|need| need.is_optional());
    install(machine, &needs, out)?;
    let mut absent = Vec::new();
    for need in optional {
        if let Err(error) = install(machine, &[need], out) {
            writeln!(out, "{error}\nskipping these tests")?;
            absent.push(need);
        }
    }
    Ok(absent)
}

/// Installs these programs.
fn install(machine: &dyn Machine, needs: &[Need], out: &mut dyn Write) -> Result<()> {
    if needs.is_empty() {
        return Ok(());
    }
    let rights = match rights(machine) {
        Ok(rights) => rights,
        Err(why) => bail!(by_hand(machine, needs, why)),
    };
    let act = |command: &[&[&str]]| machine.act(&[&[rights], command].concat().concat());
    let (folder, file) = SETTINGS;
    let is_configured = machine.names(folder).iter().any(|name| name == file);
    if needs.contains(&Need::Postgres) && !is_configured {
        writeln!(
            out,
            "writing {folder}/{file}, so that PostgreSQL's packages start no server"
        )?;
        // The tests start servers of their own. `set -C` keeps a file that was written meanwhile.
        let write = format!(
            "mkdir -p {folder} && set -C && echo 'create_main_cluster = false' > {folder}/{file}"
        );
        if let Err(error) = act(&[&["sh", "-c", &write]]) {
            bail!(by_hand(machine, needs, &error));
        }
    }
    if needs.contains(&Need::Ssh) && machine.names("/etc/ssh").is_empty() {
        writeln!(
            out,
            "writing {NO_SSH}, so that OpenSSH's package starts no server"
        )?;
        let write = format!("mkdir -p /etc/ssh && touch {NO_SSH}");
        if let Err(error) = act(&[&["sh", "-c", &write]]) {
            bail!(by_hand(machine, needs, &error));
        }
    }
    let packages: Vec<&str> = needs
        .iter()
        .flat_map(|need| need.packages(machine))
        .collect();
    let install = [&APT_GET, &INSTALL, &*packages];
    writeln!(out, "installing with apt-get: {}", packages.join(" "))?;
    if act(&install).is_err() {
        writeln!(out, "that failed; updating the package lists")?;
        // An update also fails if one of many sources is gone; the second attempt shows whether
        // that matters.
        let updated = act(&[&APT_GET, &["update"]]);
        writeln!(out, "installing with apt-get: {}", packages.join(" "))?;
        if let Err(error) = act(&install) {
            let why = updated.err().map_or_else(String::new, |why| why + "\n") + &error;
            bail!(by_hand(machine, needs, &why));
        }
    }
    let mut still = missing(machine);
    still.retain(|need| needs.contains(need));
    if !still.is_empty() {
        bail!(by_hand(
            machine,
            &still,
            "apt-get installed its packages, but these are still missing"
        ));
    }
    Ok(())
}

/// The words to put before a command so that it runs as root, or why that is impossible.
fn rights(machine: &dyn Machine) -> Result<&'static [&'static str], &'static str> {
    if machine.ask("apt-get", &["--version"]).is_none() {
        return Err("apt-get is missing");
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
    Err("apt-get needs root, or sudo without a password")
}

/// The error for a user who has to install the programs.
fn by_hand(machine: &dyn Machine, needs: &[Need], why: &str) -> String {
    let mut lines = vec!["the tests need programs that this machine lacks:".to_owned()];
    lines.extend(needs.iter().map(|need| {
        let packages = need.packages(machine).join(" and ");
        format!("  {need}, for {}: install {packages}", need.tests())
    }));
    lines.push(format!("could not install them: {why}"));
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

    /// The lines it prints, and how it ends.
    fn provided(machine: &Fake) -> (Vec<String>, Result<(), String>) {
        let mut out = Vec::new();
        let ended = provide(machine, &mut out)
            .map(|_| ())
            .map_err(|error| error.to_string());
        let said = String::from_utf8(out).expect("text");
        (said.lines().map(str::to_owned).collect(), ended)
    }

    #[test]
    fn a_complete_machine_is_left_alone_without_output() {
        let machine = root();
        assert_eq!(provided(&machine), (Vec::new(), Ok(())));
        assert_eq!(machine.did(), Vec::<String>::new());
    }

    #[test]
    fn root_installs_only_missing_programs() {
        let machine = root().without(GIT.0).acting("git", 0, &[GIT]);
        let (said, ended) = provided(&machine);
        assert_eq!(ended, Ok(()));
        assert_eq!(said, ["installing with apt-get: git"]);
        assert_eq!(
            machine.did(),
            [format!("{APT} install -y --no-install-recommends git")]
        );
    }

    #[test]
    fn a_node_from_elsewhere_stays() {
        let browser = ("chromium --version", "Chromium 142.0\n");
        let machine = root().without(browser.0).acting(
            "install -y --no-install-recommends chromium",
            0,
            &[browser],
        );
        let (said, ended) = provided(&machine);
        assert_eq!(ended, Ok(()));
        assert_eq!(said, ["installing with apt-get: chromium"]);
    }

    #[test]
    fn other_users_install_with_sudo() {
        let machine = root()
            .without(GIT.0)
            .with("id -u", "1000\n")
            .with("sudo -n true", "")
            .acting("git", 0, &[GIT]);
        assert_eq!(provided(&machine).1, Ok(()));
        assert_eq!(
            machine.did(),
            [format!(
                "sudo -n {APT} install -y --no-install-recommends git"
            )]
        );
    }

    #[test]
    fn old_package_lists_are_updated_once() {
        let machine = root().without(GIT.0).acting("git", 1, &[GIT]);
        let (said, ended) = provided(&machine);
        assert_eq!(ended, Ok(()));
        assert_eq!(said.len(), 3, "{said:?}");
        let install = format!("{APT} install -y --no-install-recommends git");
        assert_eq!(
            machine.did(),
            [install.clone(), format!("{APT} update"), install]
        );
    }

    #[test]
    fn a_failed_installation_is_an_error_with_the_reason() {
        let machine = root().without(GIT.0).acting("git", 2, &[GIT]);
        let error = provided(&machine).1.expect_err("it fails");
        assert!(
            error.contains("git, for the tests of Git repositories"),
            "{error}"
        );
        assert!(error.contains("refused by the test"), "{error}");
        assert_eq!(machine.did().len(), 3);
    }

    #[test]
    fn postgresql_is_installed_without_a_running_server() {
        let machine = root().without(SERVER.0).acting("postgresql", 0, &[SERVER]);
        let (said, ended) = provided(&machine);
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
    fn openssh_is_installed_without_a_running_server_or_its_test_is_skipped() {
        let ssh = ("sh -c test -x /usr/sbin/sshd && ssh -V", "");
        let machine = root()
            .without(ssh.0)
            .acting("openssh-server openssh-client", 0, &[ssh]);
        assert_eq!(provided(&machine).1, Ok(()));
        let did = machine.did();
        assert!(
            did[0].contains("touch /etc/ssh/sshd_not_to_be_run"),
            "{did:?}"
        );
        assert!(did[1].ends_with("openssh-server openssh-client"), "{did:?}");
        let machine = root()
            .without(ssh.0)
            .acting("openssh-server openssh-client", 2, &[ssh]);
        let (said, ended) = provided(&machine);
        assert_eq!(ended, Ok(()));
        assert!(
            said.iter().any(|line| line == "skipping these tests"),
            "{said:?}"
        );
    }

    #[test]
    fn existing_settings_of_postgresql_stay() {
        let machine = root()
            .without(SERVER.0)
            .with_names("/etc/postgresql-common", &["createcluster.conf"])
            .acting("postgresql", 0, &[SERVER]);
        assert_eq!(provided(&machine).1, Ok(()));
        let did = machine.did();
        assert!(did.len() == 1 && did[0].contains("apt-get"), "{did:?}");
    }

    #[test]
    fn an_old_postgresql_is_an_error() {
        let machine = root().without(SERVER.0).acting(
            "postgresql",
            0,
            &[("postgres --version", "postgres (PostgreSQL) 14.1\n")],
        );
        let error = provided(&machine).1.expect_err("14 is not 15");
        assert!(
            error.contains("a PostgreSQL server, 15 or newer"),
            "{error}"
        );
    }

    #[test]
    fn without_rights_the_error_lists_programs_tests_and_packages() {
        let bare = Fake::default();
        let barred = Fake::default()
            .with("apt-get --version", "apt 2.6.1\n")
            .with("id -u", "1000\n");
        for (machine, why) in [(bare, "apt-get is missing"), (barred, "sudo")] {
            let (said, ended) = provided(&machine);
            let error = ended.expect_err("it has no rights");
            for part in [
                "Python 3 with the module venv, for the tests of plugins and of a Python client: install python3 and python3-venv",
                "git, for the tests of Git repositories, both as sources of packages and for manifests: install git",
                "a PostgreSQL server, 15 or newer, for the tests of the PostgreSQL backend: install postgresql",
                why,
            ] {
                assert!(error.contains(part), "{error}");
            }
            assert_eq!((said, machine.did()), (Vec::new(), Vec::new()));
        }
    }
}
