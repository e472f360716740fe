//! The machine that the tests run on, as a trait, so that the tests of `xtask` can use a fake one
//! that lacks programs.

use std::process::{Command, Stdio};

/// Number of lines of a failed command's error output that are shown.
const SHOWN_LINES: usize = 5;

/// Runs programs.
pub(crate) trait Machine {
    /// Returns what a program prints; `None` if it is missing or fails.
    fn ask(&self, program: &str, arguments: &[&str]) -> Option<String>;

    /// Runs a command that changes the machine; if it fails, returns the end of its error output.
    fn act(&self, command: &[&str]) -> Result<(), String>;

    /// Lists the names in a folder; empty if there is no such folder.
    fn names(&self, folder: &str) -> Vec<String>;
}

/// The machine that this program runs on.
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
        let last = lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n");
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
    //! A fake machine with exactly the programs that a test gives it.

    use super::Machine;
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    #[derive(Default)]
    pub(crate) struct Fake {
        /// The output of each command.
        says: RefCell<BTreeMap<String, String>>,
        names: BTreeMap<String, Vec<String>>,
        acts: RefCell<Vec<Act>>,
        did: RefCell<Vec<String>>,
    }

    /// A command that changes the machine.
    struct Act {
        ends: String,
        /// The number of failures before it succeeds.
        fails: usize,
        brings: Vec<(String, String)>,
    }

    impl Fake {
        /// A machine with everything that the tests need.
        pub(crate) fn complete() -> Self {
            Self::default()
                .with("python3 -c import ensurepip, venv", "")
                .with("git --version", "git version 2.39.5\n")
                .with("postgres --version", "postgres (PostgreSQL) 17.0\n")
                .with("chromium --version", "Chromium 142.0\n")
                .with("node --version", "v20.19.2\n")
                .with("npm --version", "9.2.0\n")
                .with("sh -c test -x /usr/sbin/sshd && ssh -V", "")
                .with("tmux -V", "tmux 3.3a\n")
                .with("jq --version", "jq-1.6\n")
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

        /// A command whose last words are `ends`: it fails `fails` times, then it adds these
        /// commands.
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

        /// The commands that changed the machine, or tried to.
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
                return Err(format!("{command}: refused by the test"));
            }
            self.says.borrow_mut().extend(act.brings.iter().cloned());
            Ok(())
        }

        fn names(&self, folder: &str) -> Vec<String> {
            self.names.get(folder).cloned().unwrap_or_default()
        }
    }
}
