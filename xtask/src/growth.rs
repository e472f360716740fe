//! `cargo xtask growth`: shows the results of the last benchmarks as tables and fails if a cost
//! grows with the number of entities that must not.

use anyhow::{Context, bail};
use clap::Args;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The largest ratio allowed between the costs at the largest and the smallest size.
const MOST: f64 = 1.5;

/// The jobs whose growth is limited; others are only shown.
const LIMITED: [&str; 7] = [
    "create",
    "first page",
    "page in the middle",
    "page by metadata, one in four",
    "page by metadata, one alone",
    "page by metadata, none",
    "claim and hand back",
];

/// Show the results of the last benchmarks; fail if a cost grows that must not
#[derive(Args)]
pub(crate) struct GrowthArgs {
    /// Read the results from this folder
    #[arg(long, default_value = "target/criterion", value_name = "DIR")]
    figures: PathBuf,
}

/// The median of each benchmark in nanoseconds, as criterion wrote it.
type Figures = BTreeMap<String, f64>;

impl GrowthArgs {
    pub(crate) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let mut figures = Figures::new();
        collect(&self.figures, &mut figures)?;
        if figures.is_empty() {
            bail!(
                "no results in {}; run the benchmarks `packages`, `store` and `placement` first",
                self.figures.display()
            );
        }
        plain(&figures, out)?;
        let grown = by_size(&figures, out)?;
        let (create, decode) = (
            figures.get("template/create a deployment"),
            figures.get("template/decode its package"),
        );
        if let (Some(create), Some(decode)) = (create, decode) {
            writeln!(
                out,
                "\nCreating a deployment takes {:.2} of the time to decode its template's package.",
                create / decode
            )?;
            if create >= decode {
                bail!("creating a deployment must take less time than decoding its template");
            }
        }
        if grown.is_empty() {
            return Ok(());
        }
        bail!("these costs grew by more than {MOST}: {}", grown.join(", "))
    }
}

fn collect(dir: &Path, figures: &mut Figures) -> anyhow::Result<()> {
    let entries = fs::read_dir(dir).with_context(|| format!("could not list {}", dir.display()))?;
    for entry in entries {
        let path = entry?.path();
        if !path.is_dir() {
            continue;
        }
        if path.ends_with("new") {
            let read = |name: &str| -> anyhow::Result<Value> {
                let file = path.join(name);
                let text = fs::read(&file)
                    .with_context(|| format!("could not read {}", file.display()))?;
                Ok(serde_json::from_slice(&text)?)
            };
            let id = read("benchmark.json")?;
            let estimates = read("estimates.json")?;
            let name = id["full_id"]
                .as_str()
                .context("a benchmark without a name")?;
            let median = estimates["median"]["point_estimate"]
                .as_f64()
                .with_context(|| format!("{name} has no median"))?;
            figures.insert(name.to_owned(), median);
        } else {
            collect(&path, figures)?;
        }
    }
    Ok(())
}

fn plain(figures: &Figures, out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(out, "| benchmark | median |\n|---|--:|")?;
    for (name, nanoseconds) in figures {
        if !name.starts_with("store/") {
            writeln!(out, "| {name} | {} |", time(*nanoseconds))?;
        }
    }
    Ok(())
}

/// Prints the table by size and returns the jobs that grew too much.
fn by_size(figures: &Figures, out: &mut dyn Write) -> anyhow::Result<Vec<String>> {
    let mut sizes = BTreeSet::new();
    let mut table: BTreeMap<&str, BTreeMap<u64, f64>> = BTreeMap::new();
    for (name, nanoseconds) in figures {
        let parts = name
            .strip_prefix("store/")
            .and_then(|rest| rest.split_once('/'));
        if let Some((size, what)) = parts {
            let size = size
                .parse()
                .with_context(|| format!("{name} has no size"))?;
            sizes.insert(size);
            table.entry(what).or_default().insert(size, *nanoseconds);
        }
    }
    let (Some(least), Some(most)) = (sizes.first(), sizes.last()) else {
        return Ok(Vec::new());
    };
    write!(out, "\n| number of deployments |")?;
    for size in &sizes {
        write!(out, " {size} |")?;
    }
    writeln!(out, " growth |\n|---|{}--:|", "--:|".repeat(sizes.len()))?;
    let mut grown = Vec::new();
    for (what, row) in &table {
        write!(out, "| {what} |")?;
        for size in &sizes {
            let cell = row.get(size).map(|n| time(*n)).unwrap_or_default();
            write!(out, " {cell} |")?;
        }
        match (row.get(least), row.get(most)) {
            (Some(small), Some(large)) => {
                let growth = large / small;
                writeln!(out, " {growth:.2} |")?;
                if growth > MOST && LIMITED.contains(what) {
                    grown.push(format!("{what} ({growth:.2})"));
                }
            }
            _ => writeln!(out, " |")?,
        }
    }
    Ok(grown)
}

fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        n if n < 1e3 => format!("{n:.0} ns"),
        n if n < 1e6 => format!("{:.1} µs", n / 1e3),
        n if n < 1e9 => format!("{:.1} ms", n / 1e6),
        n => format!("{:.2} s", n / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::GrowthArgs;
    use std::fs;

    fn figures(folder: &std::path::Path, all: &[(&str, f64)]) {
        for (number, (name, nanoseconds)) in all.iter().enumerate() {
            let dir = folder.join(number.to_string()).join("new");
            fs::create_dir_all(&dir).expect("a folder");
            let id = serde_json::json!({"full_id": name});
            let estimates = serde_json::json!({"median": {"point_estimate": nanoseconds}});
            fs::write(dir.join("benchmark.json"), id.to_string()).expect("a file");
            fs::write(dir.join("estimates.json"), estimates.to_string()).expect("a file");
        }
    }

    fn run(all: &[(&str, f64)]) -> (anyhow::Result<()>, String) {
        let folder = tempfile::tempdir().expect("a folder");
        figures(folder.path(), all);
        let arguments = GrowthArgs {
            figures: folder.path().to_owned(),
        };
        let mut out = Vec::new();
        let result = arguments.run(&mut out);
        (result, String::from_utf8(out).expect("text"))
    }

    #[test]
    fn a_limited_cost_that_grows_is_an_error() {
        let (result, table) = run(&[
            ("store/10000/create", 100.0),
            ("store/1000000/create", 160.0),
            ("store/10000/page by template", 100.0),
            ("store/1000000/page by template", 900.0),
        ]);
        let told = result.expect_err("it grew").to_string();
        assert!(told.contains("create (1.60)"), "{told}");
        assert!(!told.contains("template"), "{told}");
        assert!(
            table.contains("| create | 100 ns | 160 ns | 1.60 |"),
            "{table}"
        );
    }

    #[test]
    fn creation_must_cost_less_than_decoding() {
        let of = |create: f64| {
            run(&[
                ("template/create a deployment", create),
                ("template/decode its package", 1_000.0),
            ])
            .0
        };
        assert!(of(999.0).is_ok());
        assert!(of(1_001.0).is_err());
    }

    #[test]
    fn missing_results_are_an_error() {
        assert!(run(&[]).0.is_err());
    }
}
