//! Flags, variables, help, completions and logs: common to every command.

use crate::harness::{Server, tko};
use std::fmt::Write as _;
use std::fs;

#[tokio::test]
async fn flags_come_from_variables_in_both_spellings_and_the_command_line_wins() {
    let server = Server::data().await;
    let port = server.port.to_string();
    for variable in ["TKO_GRPC_PORT", "TKO_grpc-port"] {
        let list = tko("template list").env(variable, &port);
        let list = list
            .env("TKO_GRPC_IP_STACK", "ipv4")
            .env("TKO_FORMAT", "json");
        assert_eq!(list.good().await.json(), serde_json::json!([]));
    }
    let list = server.tko("template list --format yaml");
    let list = list
        .env("TKO_GRPC_PORT", "1")
        .env("TKO_FORMAT", "json")
        .good()
        .await;
    assert_eq!(list.text(), "[]\n");
    let wrong = tko("template list")
        .env("TKO_GRPC_PORT", "high")
        .bad(2)
        .await;
    assert!(
        wrong.contains("--grpc-port") && wrong.contains("high"),
        "{wrong}"
    );
    for yes in ["1", "true", "yes"] {
        let register = server.tko("template register quiet").env("TKO_QUIET", yes);
        assert_eq!(register.good().await.stderr, "");
    }
    let register = server
        .tko("template register quiet")
        .env("TKO_QUIET", "false");
    assert_eq!(register.good().await.stderr, "registered template quiet\n");
}

#[tokio::test]
async fn flags_may_stand_before_between_and_after_subcommands() {
    let server = Server::data().await;
    let (flags, list) = (server.flags(), "[]\n");
    for command in [
        format!("template list {flags} --format json"),
        format!("template {flags} --format json list"),
        format!("--format json template {flags} list"),
        format!("-o json template list {flags}"),
        format!("{flags} -o json template list"),
        format!("-z true {flags} template list -ojson -p --width 80"),
    ] {
        assert_eq!(tko(&command).good().await.text(), list, "{command}");
    }
}

#[tokio::test]
async fn wrong_commands_are_bad_arguments() {
    for (command, named) in [
        ("tempalte list", "tempalte"),
        ("template", "Usage"),
        ("template list --max-count many", "many"),
        ("template list -o jsonish", "jsonish"),
        ("template list --metadata nonsense", "nonsense"),
        ("template list --metadata a=b,a=c --grpc-port 1", "twice"),
        ("template list --grpc-ip-stack ipv5", "ipv5"),
        ("plugin list --trigger nonsense", "nonsense"),
        ("plugin list --type sideways", "sideways"),
        ("deployment list --prepared=banana", "banana"),
        ("deployment create t --approved", "--prepared"),
        ("deployment mod end token", "--url"),
        ("template register it --url x --stdin", "--stdin"),
        ("data start --grpc-key file", "--grpc-certificate"),
        ("data start --metrics 9464", "--metrics"),
        ("preparer start --lease 1ms", "at least 1s"),
        ("preparer start --preparer-timeout soon", "soon"),
        ("demo --sites 3", "12"),
        ("kube from a-00", "a-00"),
    ] {
        let error = tko(command).bad(2).await;
        assert!(error.contains(named), "{command}: {error}");
    }
}

#[tokio::test]
async fn ids_and_kubernetes_names_are_converted() {
    let name = tko("kube to demo/hello-world:v1.0.0").good().await;
    assert_eq!(name.text(), "demo-002fhello-002dworld-003av1.0.0\n");
    let id = tko("kube from demo-002fhello-002dworld-003av1.0.0")
        .good()
        .await;
    assert_eq!(id.text(), "demo/hello-world:v1.0.0\n");
}

#[tokio::test]
async fn completions_exist_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = tko(&format!("completion {shell}")).good().await;
        for word in ["deployment", "grpc-port", "scheduler"] {
            assert!(script.text().contains(word), "{shell}: no {word}");
        }
        assert!(script.stderr.is_empty(), "{script}");
    }
    tko("completion tcsh").bad(2).await;
}

/// The subcommands in a help text.
fn subcommands(help: &str) -> Vec<String> {
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    list.take_while(|line| !line.is_empty())
        // Deeper lines continue the help text above.
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// The long flags in a help text, in order.
fn flags(help: &str) -> Vec<&str> {
    help.lines()
        .map(str::trim_start)
        .filter(|line| line.starts_with('-'))
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with("--")))
        .map(|flag| flag.trim_end_matches(['.', '[', '=']))
        .collect()
}

/// Scripts rely on these names. A change of this snapshot breaks them.
#[tokio::test]
async fn every_command_has_a_help_and_the_flags_that_scripts_know() {
    let everywhere = tko("version -h").good().await;
    let everywhere = flags(everywhere.text());
    let mut left = vec![String::new()];
    let mut interface = String::new();
    while let Some(command) = left.pop() {
        let help = tko(&command).arg("--help").good().await;
        assert!(help.text().contains("Usage: tko"), "{help}");
        assert!(help.stderr.is_empty(), "{help}");
        let own = flags(help.text())
            .into_iter()
            .filter(|flag| !everywhere.contains(flag));
        let own = own.collect::<Vec<_>>().join(" ");
        writeln!(interface, "tko{command} {own}").expect("into memory");
        let below = subcommands(help.text());
        left.extend(below.iter().rev().map(|name| format!("{command} {name}")));
    }
    let everywhere = everywhere.join(" ");
    insta::assert_snapshot!(format!("everywhere: {everywhere}\n{interface}"));
}

#[tokio::test]
async fn the_version_is_printed_by_every_spelling() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(tko("version").good().await.line(), version);
    assert_eq!(
        tko("--version").good().await.line(),
        format!("tko {version}")
    );
    let of_part = tko("data start -V").good().await;
    assert!(of_part.line().ends_with(version), "{of_part}");
}

#[tokio::test]
async fn logs_go_to_a_file_and_quiet_commands_print_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tko.log");
    let server = Server::data().await;
    let flags = server.flags();
    let list = tko(&format!(
        "preparer start {flags} --grpc-port 1 -vv --log-format json --log"
    ));
    // The port is given twice.
    list.arg(&file).bad(2).await;
    let list = server
        .tko("template list -vvv --log-format json --log")
        .arg(&file);
    assert!(list.good().await.stderr.is_empty());
    let log = fs::read_to_string(&file).expect("the file exists");
    assert!(!log.is_empty());
    for line in log.lines() {
        let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert!(
            event["timestamp"].is_string() && event["level"].is_string(),
            "{line}"
        );
    }
    let human = server.tko("template list -vvv").good().await;
    assert!(
        human.stderr.contains("DEBUG") && !human.stderr.contains('\u{1b}'),
        "{human}"
    );
    let unwritable = server
        .tko("template list --log /nowhere/at/all.log")
        .bad(1)
        .await;
    assert!(unwritable.contains("/nowhere/at/all.log"), "{unwritable}");
}

#[tokio::test]
async fn a_closed_pipe_is_no_failure() {
    let server = Server::data().await;
    for number in 0..3 {
        let register = format!("site register s/{number}");
        server.tko(&register).good().await;
    }
    let mut list = server.tko("site list").into_command();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let ended = list.stdout(writer).output().await.expect("the command ran");
    assert!(
        ended.status.success(),
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
}
