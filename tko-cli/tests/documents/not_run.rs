//! Commands of documents that no test runs: a comment before their block, `<!-- not run: REASON -->`,
//! must say why.

use super::{Block, blocks, cluster, is_checked, root};
use std::fs;
use std::path::Path;

/// The mark before a block with commands that nothing runs.
const MARK: &str = "<!-- not run: ";

/// Programs whose commands are recognized in blocks of `text`, besides lines that begin with `$ `.
const PROGRAMS: [&str; 22] = [
    "ansible",
    "ansible-doc",
    "ansible-galaxy",
    "ansible-playbook",
    "bash",
    "cargo",
    "cd",
    "curl",
    "docker",
    "git",
    "go",
    "helm",
    "kpt",
    "kubectl",
    "npm",
    "pip",
    "podman",
    "psql",
    "python3",
    "sudo",
    "tko",
    "wat2wasm",
];

/// The last line with text before a block.
pub(super) fn mark_of<'a>(lines: &[&'a str], block: &Block) -> Option<&'a str> {
    let before = lines[..block.line - 2].iter().rev();
    before.map(|line| line.trim()).find(|line| !line.is_empty())
}

/// The reason in the comment before a block.
fn reason_of<'a>(lines: &[&'a str], block: &Block) -> Option<&'a str> {
    let reason = mark_of(lines, block)?.strip_prefix(MARK)?;
    reason.strip_suffix(" -->")
}

/// The commands in a block of `text`.
fn commands_of(block: &Block) -> Vec<&str> {
    let lines = block.lines.iter().map(String::as_str);
    lines.filter_map(command_of).collect()
}

/// The command in a line of text, if it has one.
fn command_of(line: &str) -> Option<&str> {
    if let Some(command) = line.strip_prefix("$ ") {
        return Some(command);
    }
    // Indented lines are output, or continue a command.
    let mut words = line.split(' ').skip_while(|word| is_assignment(word));
    let program = words.next()?;
    let is_script = Path::new(program).extension().is_some_and(|e| e == "sh");
    (PROGRAMS.contains(&program) || is_script).then_some(line)
}

/// Whether a word sets a variable for the command after it, such as `TKO=target/debug/tko`.
fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        !name.is_empty() && name.chars().all(is_name)
    })
}

/// Names the commands of a block of `text`, which must say why they are not run.
pub(super) fn report(name: &str, lines: &[&str], block: &Block) {
    let commands = commands_of(block);
    if commands.is_empty() {
        return;
    }
    let reason = reason_of(lines, block).unwrap_or_else(|| panic!("{}", missing(name, block)));
    for command in commands {
        println!("{name}:{}: not run ({reason}): {command}", block.line);
    }
}

fn missing(name: &str, block: &Block) -> String {
    format!(
        "{name}:{}: nothing runs these commands; make the block one that a test runs, or write \
         `{MARK}REASON -->` before it",
        block.line
    )
}

/// The documents of the repository, by their paths.
fn documents() -> Vec<String> {
    let mut documents = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the repository") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.expect("names are text");
            if path.is_dir() {
                if !["target", "node_modules"].contains(&name) && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|ending| ending == "md") {
                let path = path.strip_prefix(root()).expect("it is below");
                documents.push(path.display().to_string());
            }
        }
    }
    documents.sort();
    documents
}

#[test]
fn commands_that_nothing_runs_have_a_reason() {
    let mut wrong = Vec::new();
    let documents = documents();
    assert!(documents.len() > 40, "only {} documents", documents.len());
    for name in documents {
        let text = fs::read_to_string(root().join(&name)).expect("documents are text");
        let lines: Vec<&str> = text.lines().collect();
        for block in blocks(&text) {
            let has_commands = match block.language.as_str() {
                "text" => !commands_of(&block).is_empty(),
                "bash" => !cluster::PAGES.contains(&&*name),
                "sh" | "console" => !is_checked(&name),
                _ => false,
            };
            if has_commands && reason_of(&lines, &block).is_none() {
                wrong.push(missing(&name, &block));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn commands_are_recognized_in_text() {
    let found = |line| command_of(line).is_some();
    for line in [
        "tko up",
        "$ anything",
        "TKO=a/tko examples/run.sh",
        "GOOS=wasip1 go build .",
    ] {
        assert!(found(line), "{line}");
    }
    for line in ["tko-core", "  tko up", "added catalog core", "a=b go", ""] {
        assert!(!found(line), "{line}");
    }
}
