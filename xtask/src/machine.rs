//! The machine that the tests are to run on: as an argument, so that the chores' own tests can have
//! one on which programs are missing.

use std::process::{Command, Stdio};

/// How many lines of a failed command's complaint are told.
const TOLD: usize = 5;

/// Runs programs.
pub(crate) trait Machine {
    /// What a program prints; `None`: it is not there, or it fails.
    fn ask(&self, program: &str, arguments: &[&str]) -> Option<String>;

    /// Runs a command that changes the machine. If it fails: what it complains of.
    fn act(&self, command: &[&str]) -> Result<(), String>;

    /// What is in a folder; nothing if there is no such folder.
    fn names(&self, folder: &str) -> Vec<String>;
}

/// This one.
pub(crate) struct Here;

impl Machine for Here {
    fn ask(&self, program: &str, arguments: &[&str]) -> Option<String> {
        let mut command = Command::new(program);
        let output = command.args(arguments).stdin(Stdio::null()).output().ok()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(said)
    }

    fn act(&self, command: &[&str]) -> Result<(), String> {
        let [program, arguments @ ..] = command else {
            return Ok(());
        };
        let mut running = Command::new(program);
        let output = running.args(arguments).stdin(Stdio::null()).output();
        let output = output.map_err(|error| format!("{program}: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = complaint.lines().collect();
        let last = lines[lines.len().saturating_sub(TOLD)..].join("\n");
        Err(format!("{}: {}\n{last}", command.join(" "), output.status))
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }
}

#[cfg(test)]
pub(crate) mod fake {
    //! A machine that has what it is told it has.

    use super::Machine;
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    #[derive(Default)]
    pub(crate) struct Fake {
        /// What commands print.
        says: RefCell<BTreeMap<String, String>>,
        names: BTreeMap<String, Vec<String>>,
        acts: RefCell<Vec<Act>>,
        did: RefCell<Vec<String>>,
    }

    /// A command that changes the machine.
    struct Act {
        ends: String,
        /// So often, and then no more.
        fails: usize,
        brings: Vec<(String, String)>,
    }

    impl Fake {
        /// With all that the tests need.
        pub(crate) fn complete() -> Self {
            Self::default()
                .with("python3 -c import ensurepip, venv", "")
                .with("git --version", "git version 2.39.5\n")
                .with("postgres --version", "postgres (PostgreSQL) 17.0\n")
        }

        pub(crate) fn with(self, command: &str, says: &str) -> Self {
            let mut all = self.says.borrow_mut();
            all.insert(command.to_owned(), says.to_owned());
            drop(all);
            self
        }

        pub(crate) fn without(self, command: &str) -> Self {
            let was = self.says.borrow_mut().remove(command);
            assert!(was.is_some(), "{command} was never there");
            self
        }

        pub(crate) fn with_names(mut self, folder: &str, names: &[&str]) -> Self {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            self.names.insert(folder.to_owned(), names);
            self
        }

        /// A command that ends so fails so often; then it brings these, as in [`with`](Self::with).
        pub(crate) fn acting(self, ends: &str, fails: usize, brings: &[(&str, &str)]) -> Self {
            let brings = brings
                .iter()
                .map(|(command, says)| ((*command).to_owned(), (*says).to_owned()))
                .collect();
            let mut acts = self.acts.borrow_mut();
            acts.push(Act {
                ends: ends.to_owned(),
                fails,
                brings,
            });
            drop(acts);
            self
        }

        /// What changed the machine, or failed to.
        pub(crate) fn did(&self) -> Vec<String> {
            self.did.borrow().clone()
        }
    }

    impl Machine for Fake {
        fn ask(&self, program: &str, arguments: &[&str]) -> Option<String> {
            let command = [&[program], arguments].concat().join(" ");
            self.says.borrow().get(&command).cloned()
        }

        fn act(&self, command: &[&str]) -> Result<(), String> {
            let command = command.join(" ");
            self.did.borrow_mut().push(command.clone());
            let mut acts = self.acts.borrow_mut();
            let Some(act) = acts.iter_mut().find(|act| command.ends_with(&act.ends)) else {
                return Ok(());
            };
            if act.fails > 0 {
                act.fails -= 1;
                return Err(format!("{command}: it does not want to"));
            }
            self.says.borrow_mut().extend(act.brings.iter().cloned());
            Ok(())
        }

        fn names(&self, folder: &str) -> Vec<String> {
            self.names.get(folder).cloned().unwrap_or_default()
        }
    }
}
