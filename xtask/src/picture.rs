//! `cargo xtask picture`: a picture of `tko demo` for the README, drawn from a real run.

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder that the picture shows as the output of the demo, which is its default.
const FOLDER: &str = "tko-demo";

/// The command that the picture shows; the first words of the README say the same.
const COMMAND: &str = "cargo run --release --bin tko -- demo";

/// Longer lines are wrapped.
const COLUMNS: usize = 96;

/// Width of a character and height of a line, in pixels, for a font of 13 pixels.
const CELL: (usize, usize) = (8, 18);

/// Space around the text, in pixels.
const MARGIN: usize = 16;

/// Run the demo and draw its output as docs/demo.svg
#[derive(Args)]
pub(crate) struct PictureArgs {
    /// Run this program; `cargo build --bin tko` builds the default
    #[arg(long, value_name = "FILE", default_value = "target/debug/tko")]
    program: PathBuf,
    /// Write the picture to this file
    #[arg(long, value_name = "FILE", default_value = "docs/demo.svg")]
    output: PathBuf,
    /// Write nothing; fail if the file shows anything but numbers, ids and times differently
    #[arg(long)]
    check: bool,
}

impl PictureArgs {
    /// Prints to `out` what the demo printed and what became of the picture.
    pub(crate) fn run(&self, out: &mut impl Write) -> Result<()> {
        let printed = demo(&self.program)?;
        writeln!(out, "{printed}")?;
        let file = self.output.display();
        if !self.check {
            let svg = draw(&printed);
            fs::write(&self.output, svg).with_context(|| format!("could not write {file}"))?;
            writeln!(out, "wrote {file}")?;
            return Ok(());
        }
        let there = fs::read_to_string(&self.output);
        let there = there.with_context(|| format!("could not read {file}"))?;
        let (shown, expected) = (shape(&text_of(&there)), shape(&lines(&printed).join("\n")));
        let difference = shown
            .iter()
            .zip(&expected)
            .position(|(one, other)| one != other);
        if let Some(at) = difference {
            bail!(
                "{file} is out of date: it shows \"{}\" where the demo prints \"{}\"; \
                 run `cargo xtask picture`",
                around(&shown, at),
                around(&expected, at),
            );
        }
        ensure!(
            shown.len() == expected.len(),
            "{file} is out of date: the demo prints more or less than it shows; \
             run `cargo xtask picture`"
        );
        writeln!(out, "{file} is up to date")?;
        Ok(())
    }
}

/// The output of the demo, with its default folder in place of a temporary one.
fn demo(program: &Path) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let files = folder.path().join(FOLDER);
    let output = Command::new(program)
        .arg("demo")
        .arg("--out")
        .arg(&files)
        // Without helm, which not every machine has, the demo prints the same everywhere.
        .env("PATH", "")
        .output()
        .with_context(|| {
            let program = program.display();
            format!("could not run {program}; build it with `cargo build --bin tko`")
        })?;
    ensure!(
        output.status.success(),
        "the demo failed with {}:\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    let printed = String::from_utf8(output.stdout).context("the demo printed no text")?;
    let files = files.display().to_string();
    Ok(printed.replace(&files, FOLDER).trim_end().to_owned())
}

/// The lines of the picture: the command, and what it prints, wrapped.
fn lines(printed: &str) -> Vec<String> {
    let mut all = vec![format!("$ {COMMAND}")];
    for line in printed.lines() {
        let mut rest = line.trim_end();
        let indent = rest.len() - rest.trim_start().len();
        while let Some((end, _)) = rest.char_indices().nth(COLUMNS) {
            let cut = rest[..end].rfind(' ').filter(|cut| *cut > indent);
            let (first, second) = rest.split_at(cut.unwrap_or(end));
            all.push(first.to_owned());
            rest = second.trim_start();
        }
        all.push(rest.to_owned());
    }
    all
}

fn draw(printed: &str) -> String {
    let lines = lines(printed);
    let columns = lines.iter().map(|line| line.chars().count()).max();
    let width = columns.unwrap_or_default() * CELL.0 + 2 * MARGIN;
    let height = lines.len() * CELL.1 + 2 * MARGIN;
    let head = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\">\n\
         <title>The output of {COMMAND}</title>\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#16202c\"/>\n\
         <g font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" \
         font-size=\"13\" fill=\"#d7e0ea\" style=\"white-space: pre\">\n"
    );
    let shown = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| !line.is_empty());
    let text = shown.map(|(index, line)| {
        let (x, y) = (MARGIN, MARGIN + CELL.1 * index + 13);
        let length = line.chars().count() * CELL.0;
        let colour = match line.strip_prefix("$ ") {
            Some(_) => " fill=\"#7fd1a0\"",
            None => "",
        };
        let text = escaped(line);
        format!("<text x=\"{x}\" y=\"{y}\" textLength=\"{length}\"{colour}>{text}</text>\n")
    });
    head + &text.collect::<String>() + "</g>\n</svg>\n"
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;");
    text.replace('<', "&lt;").replace('>', "&gt;")
}

/// The text that a picture of [`draw`] shows.
fn text_of(svg: &str) -> String {
    let text = |line: &str| {
        let (_, rest) = line.strip_prefix("<text ")?.split_once('>')?;
        Some(rest.strip_suffix("</text>")?.to_owned())
    };
    let lines: Vec<String> = svg.lines().filter_map(text).collect();
    let text = lines.join("\n").replace("&lt;", "<").replace("&gt;", ">");
    text.replace("&amp;", "&")
}

/// The words of a text, with everything that differs from run to run made the same.
fn shape(text: &str) -> Vec<String> {
    let word = |word: &str| {
        let core = word.trim_matches(|c: char| ",.:;()".contains(c));
        let is_id = core.len() == 20 && core.chars().all(|c| c.is_ascii_alphanumeric());
        if is_id {
            return word.replace(core, "ID");
        }
        match core {
            "ms" | "µs" | "s" => return word.replace(core, "TIME"),
            _ if core.starts_with('─') => return "─".to_owned(),
            _ => {}
        }
        let is_number = core.starts_with(|c: char| c.is_ascii_digit());
        let digits = |c: char| c.is_ascii_digit() || ".,".contains(c);
        if is_number && core.chars().all(digits) {
            return word.replace(core, "N");
        }
        word.to_owned()
    };
    text.split_whitespace().map(word).collect()
}

/// A few words from a position on.
fn around(words: &[String], at: usize) -> String {
    words[at..words.len().min(at + 6)].join(" ")
}

#[cfg(test)]
mod tests {
    use super::{COLUMNS, PictureArgs, draw, lines, shape, text_of};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    const OUTPUT: &str = "───────\n sites <all>  200\n took  1.25 s\n──────\n\n\
        The deployment 06h2627dm8lo7g7hc9bg & its files:";

    #[test]
    fn a_picture_holds_the_text() {
        let text = text_of(&draw(OUTPUT));
        assert!(text.starts_with("$ cargo run "), "{text}");
        assert!(text.contains("\n sites <all>  200\n"), "{text}");
        assert!(
            text.ends_with("06h2627dm8lo7g7hc9bg & its files:"),
            "{text}"
        );
    }

    #[test]
    fn long_lines_are_wrapped_between_words() {
        let words = "word ".repeat(60);
        let lines = lines(&words);
        assert!(lines.len() > 3, "{lines:?}");
        for line in &lines[1..] {
            assert!(line.chars().count() <= COLUMNS, "{line}");
            assert!(line.split(' ').all(|word| word == "word"), "{line}");
        }
    }

    #[test]
    fn numbers_ids_times_and_widths_are_of_no_account() {
        let other = "─────────\n sites <all>  1,200\n took  980 ms\n───\n\n\
            The deployment 06h2627dgl0vmgn1ic4b & its files:";
        assert_eq!(shape(OUTPUT), shape(other));
        assert_ne!(shape(OUTPUT), shape(&OUTPUT.replace("sites", "places")));
        assert_ne!(shape(OUTPUT), shape(&OUTPUT.replace("200", "none")));
    }

    /// Stands in for `tko`: prints this text.
    fn program(folder: &Path, text: &str) -> PictureArgs {
        let program = folder.join("program");
        // There is no PATH.
        let print = "while IFS= read -r line; do printf '%s\\n' \"$line\"; done";
        fs::write(
            &program,
            format!("#!/bin/sh\n{print} <<'END'\n{text}\nEND\n"),
        )
        .expect("written");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("executable");
        PictureArgs {
            program,
            output: folder.join("demo.svg"),
            check: false,
        }
    }

    #[test]
    fn a_picture_of_other_output_is_out_of_date() {
        let folder = tempfile::tempdir().expect("a folder");
        let out = &mut Vec::new();
        let check = |text: &str| PictureArgs {
            check: true,
            ..program(folder.path(), text)
        };
        assert!(check(OUTPUT).run(out).is_err(), "there is no picture yet");
        program(folder.path(), OUTPUT).run(out).expect("drawn");
        check(OUTPUT).run(out).expect("up to date");
        check(&OUTPUT.replace("200", "300"))
            .run(out)
            .expect("the same shape");
        let changed = check(&OUTPUT.replace("sites", "places")).run(out);
        let error = changed.expect_err("it changed").to_string();
        assert!(error.contains("\"sites <all> N"), "{error}");
        let longer = check(&format!("{OUTPUT}\nmore")).run(out);
        assert!(longer.is_err(), "it prints more");
    }
}
