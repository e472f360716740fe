//! Makes every flag available as an environment variable: `TKO_GRPC_PORT`, or `TKO_grpc-port` as in
//! the original.

use clap::builder::BoolishValueParser;
use clap::{Arg, ArgAction, Command};

/// Adds an environment variable to every long flag of a command and its subcommands.
pub(crate) fn with_variables(command: Command) -> Command {
    let subcommands: Vec<String> = command
        .get_subcommands()
        .map(|sub| sub.get_name().to_owned())
        .collect();
    let mut command = command.mut_args(with_variable);
    for name in subcommands {
        command = command.mut_subcommand(name, with_variables);
    }
    command
}

fn with_variable(arg: Arg) -> Arg {
    let Some(long) = arg.get_long().map(str::to_owned) else {
        return arg;
    };
    let takes_part = !matches!(
        arg.get_action(),
        ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
    );
    if !takes_part {
        return arg;
    }
    let original = format!("TKO_{long}");
    let name = if std::env::var_os(&original).is_some() {
        original
    } else {
        format!("TKO_{}", long.to_uppercase().replace('-', "_"))
    };
    let arg = match arg.get_action() {
        // Takes 1 and yes as well as true.
        ArgAction::SetTrue => arg.value_parser(BoolishValueParser::new()),
        _ => arg,
    };
    arg.env(name).hide_env_values(true)
}

#[cfg(test)]
mod tests {
    use super::with_variables;
    use crate::cli::Cli;
    use clap::CommandFactory;

    #[test]
    fn every_long_flag_has_a_variable() {
        let command = with_variables(Cli::command());
        let template = command
            .find_subcommand("template")
            .and_then(|sub| sub.find_subcommand("list"))
            .expect("a command");
        let flag = template
            .get_arguments()
            .find(|arg| arg.get_long() == Some("max-count"))
            .expect("a flag");
        assert_eq!(
            flag.get_env().and_then(|name| name.to_str()),
            Some("TKO_MAX_COUNT")
        );
    }
}
