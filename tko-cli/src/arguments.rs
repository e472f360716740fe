//! Accepts command lines of scripts for the original TKO: global flags before the subcommand, and
//! flags for features that do not exist here.

use clap::{Arg, Command};
use std::ffi::OsString;

/// Flags of the original that have no effect here, with whether they take a value.
const WITHOUT_EFFECT: [(&str, bool); 11] = [
    ("colorize", true),
    ("z", true),
    ("pretty", false),
    ("p", false),
    ("strict", false),
    ("y", false),
    ("width", true),
    ("j", true),
    ("grpc", false),
    ("grpc-format", true),
    ("kubernetes", false),
];

/// Prefixes of flags of the original that have no effect in commands that do not know them.
const SUBJECTS: [&str; 3] = ["web", "log", "kubernetes"];

/// A command line that `clap` can parse.
pub(crate) struct CommandLine {
    pub(crate) arguments: Vec<OsString>,
    /// The flags that were left out.
    pub(crate) ignored: Vec<String>,
}

impl CommandLine {
    /// Moves flags that belong to a subcommand behind it, and leaves out flags of the original that
    /// have no effect. Unknown arguments stay, so that they are reported.
    pub(crate) fn new(arguments: impl IntoIterator<Item = OsString>, root: &Command) -> Self {
        let mut given = arguments.into_iter();
        let mut arguments: Vec<OsString> = given.next().into_iter().collect();
        let mut ignored = Vec::new();
        let mut moved = Vec::new();
        let mut path = vec![root];
        let mut behind = None;
        let mut may_descend = true;
        while let Some(argument) = given.next() {
            let command = path[path.len() - 1];
            let Some(text) = argument.to_str().map(str::to_owned) else {
                arguments.push(argument);
                continue;
            };
            if text == "--" {
                arguments.push(argument);
                arguments.extend(given.by_ref());
                break;
            }
            let Some(flag) = Flag::read(&text) else {
                let subcommand = command.find_subcommand(&text).filter(|_| may_descend);
                arguments.push(argument);
                if let Some(subcommand) = subcommand {
                    path.push(subcommand);
                    behind = Some(arguments.len());
                } else {
                    may_descend = false;
                }
                continue;
            };
            if let Some(known) = flag.of(&path) {
                arguments.push(argument);
                if flag.needs_value(known) {
                    arguments.extend(given.next());
                }
            } else if let Some(known) = flag.anywhere(root).filter(|_| path.len() == 1) {
                let mut group = vec![argument];
                if flag.needs_value(known) {
                    group.extend(given.next());
                }
                moved.push(group);
            } else if let Some(takes_value) = flag.without_effect() {
                ignored.push(flag.shown());
                if takes_value && !flag.has_value {
                    given.next();
                }
            } else {
                arguments.push(argument);
            }
        }
        let behind = behind.unwrap_or(arguments.len());
        let mut kept = Vec::new();
        for group in moved {
            // A flag that only other subcommands have has no effect on this one.
            let flag = group[0].to_str().and_then(Flag::read);
            let without_effect =
                flag.filter(|flag| flag.of(&path).is_none() && flag.without_effect().is_some());
            match without_effect {
                Some(flag) => ignored.push(flag.shown()),
                None => kept.extend(group),
            }
        }
        arguments.splice(behind..behind, kept);
        Self { arguments, ignored }
    }
}

/// A flag as it was given on the command line.
struct Flag<'a> {
    name: &'a str,
    is_long: bool,
    /// Whether the argument includes the value.
    has_value: bool,
}

impl<'a> Flag<'a> {
    /// The flag without its value.
    fn shown(&self) -> String {
        let dashes = if self.is_long { "--" } else { "-" };
        format!("{dashes}{}", self.name)
    }

    fn read(text: &'a str) -> Option<Self> {
        if let Some(long) = text.strip_prefix("--") {
            let (name, value) = long
                .split_once('=')
                .map_or((long, None), |(name, value)| (name, Some(value)));
            return Some(Self {
                name,
                is_long: true,
                has_value: value.is_some(),
            });
        }
        let short = text.strip_prefix('-').filter(|short| !short.is_empty())?;
        let end = short.chars().next().map_or(0, char::len_utf8);
        Some(Self {
            name: &short[..end],
            is_long: false,
            has_value: short.len() > end,
        })
    }

    fn names(&self, argument: &Arg) -> bool {
        if self.is_long {
            argument.get_long() == Some(self.name)
                || argument
                    .get_all_aliases()
                    .is_some_and(|all| all.contains(&self.name))
        } else {
            argument
                .get_short()
                .is_some_and(|short| self.name.starts_with(short))
        }
    }

    /// Finds the flag in the current command, or among the global ones of those above it.
    fn of<'c>(&self, path: &[&'c Command]) -> Option<&'c Arg> {
        let (last, above) = path.split_last()?;
        let global = above.iter().flat_map(|command| command.get_arguments());
        let global = global.filter(|argument| argument.is_global_set());
        last.get_arguments()
            .chain(global)
            .find(|argument| self.names(argument))
    }

    /// Finds the flag in any subcommand. Short flags mean different things in different commands.
    fn anywhere<'c>(&self, command: &'c Command) -> Option<&'c Arg> {
        if !self.is_long {
            return None;
        }
        command.get_subcommands().find_map(|subcommand| {
            let own = subcommand
                .get_arguments()
                .find(|argument| self.names(argument));
            own.or_else(|| self.anywhere(subcommand))
        })
    }

    fn needs_value(&self, argument: &Arg) -> bool {
        let is_optional = argument
            .get_num_args()
            .is_some_and(|range| range.min_values() == 0);
        argument.get_action().takes_values() && !is_optional && !self.has_value
    }

    /// Returns whether a flag without effect takes a value; `None` for other flags.
    fn without_effect(&self) -> Option<bool> {
        const VALUES: [&str; 7] = [
            "-ip-stack",
            "-address",
            "-port",
            "-timeout",
            "-format",
            "-file",
            "-level",
        ];
        let known = WITHOUT_EFFECT
            .iter()
            .find(|(name, _)| *name == self.name && (name.len() == 1) != self.is_long);
        if let Some((_, takes_value)) = known {
            return Some(*takes_value);
        }
        let is_of_subject = self.is_long
            && SUBJECTS.iter().any(|subject| {
                let rest = self.name.strip_prefix(subject);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
            });
        is_of_subject.then(|| VALUES.iter().any(|end| self.name.ends_with(end)))
    }
}

#[cfg(test)]
mod tests {
    use super::CommandLine;
    use crate::cli::Cli;
    use clap::CommandFactory;

    fn parsed(line: &str) -> (String, Vec<String>) {
        let line = CommandLine::new(line.split(' ').map(Into::into), &Cli::command());
        let arguments: Vec<_> = line
            .arguments
            .iter()
            .map(|one| one.to_string_lossy())
            .collect();
        (arguments.join(" "), line.ignored)
    }

    #[test]
    fn flags_before_a_subcommand_move_behind_it() {
        for (given, expected) in [
            ("tko --grpc-port 1 about", "tko about --grpc-port 1"),
            (
                "tko --grpc-port=1 template list --id x",
                "tko template list --grpc-port=1 --id x",
            ),
            (
                "tko -o json --grpc-address h -q template list",
                "tko -o json -q template list --grpc-address h",
            ),
            (
                "tko --grpc-port 1 data start",
                "tko data start --grpc-port 1",
            ),
            ("tko --grpc-port 1", "tko --grpc-port 1"),
            ("tko template get about", "tko template get about"),
            ("tko --nonsense about", "tko --nonsense about"),
            (
                "tko plugin register prepare x -- --web",
                "tko plugin register prepare x -- --web",
            ),
        ] {
            assert_eq!(parsed(given), (expected.to_owned(), Vec::new()), "{given}");
        }
    }

    #[test]
    fn flags_of_the_original_without_effect_are_left_out() {
        for (given, expected, ignored) in [
            ("tko -z true template list", "tko template list", vec!["-z"]),
            (
                "tko template list -zforce -p",
                "tko template list",
                vec!["-z", "-p"],
            ),
            (
                "tko --width 80 --grpc-format yaml about",
                "tko about",
                vec!["--width", "--grpc-format"],
            ),
            (
                "tko about --pretty=false --strict",
                "tko about",
                vec!["--pretty", "--strict"],
            ),
            (
                "tko --web --web-port 1 about",
                "tko about",
                vec!["--web", "--web-port"],
            ),
            (
                "tko --log-address x about --kubernetes",
                "tko about",
                vec!["--log-address", "--kubernetes"],
            ),
        ] {
            let ignored = ignored.into_iter().map(str::to_owned).collect();
            assert_eq!(parsed(given), (expected.to_owned(), ignored), "{given}");
        }
        // Where such a flag exists it is kept.
        assert!(parsed("tko validate --strict -").1.is_empty());
        assert!(parsed("tko --log-format json about").1.is_empty());
    }
}
