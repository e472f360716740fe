//! `tko validate`: checks packages by the rules of the data service, without a server.
//!
//! Documents are read, checked and reported one by one: memory holds the largest document, and what
//! the chosen output needs to remember of the others.

mod checker;
mod documents;
mod files;
mod report;

use crate::console::{Console, to_stderr};
use crate::output::OutputFormat;
use crate::services::data::SchemaArgs;
use crate::services::time;
use checker::{KindFilter, PackageChecker};
use clap::Args;
use regex::Regex;
use report::ValidationReport;
use std::time::Duration;
use tko_core::Error;

/// Check packages without a server
#[allow(clippy::struct_excessive_bools)] // The fields are the flags.
#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// Packages to check, each on its own: a file, a directory (.yaml, .yml and .json), an archive,
    /// a repository, a URL, or - for standard input
    #[arg(required = true, value_name = "URL")]
    urls: Vec<String>,
    /// Check like a template or an unprepared deployment: required properties may be missing
    #[arg(long)]
    partial: bool,
    /// Print a summary of all packages
    #[arg(long)]
    summary: bool,
    /// Do not check these kinds: Kind or group/version/Kind, separated by commas
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    skip: Vec<KindFilter>,
    /// Refuse these kinds: Kind or group/version/Kind, separated by commas
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    reject: Vec<KindFilter>,
    /// Ignore files whose path matches this regular expression; may be repeated
    #[arg(long, value_name = "REGEX")]
    ignore_filename_pattern: Vec<Regex>,
    /// Stop at the first resource that is not valid
    #[arg(long)]
    exit_on_error: bool,
    /// Time limit of all downloads of schemas together
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "1m")]
    schema_timeout: Duration,
    /// Accepted for compatibility with kubeconform; validation is always strict
    #[arg(long, hide = true)]
    strict: bool,
    /// Accepted for compatibility with kubeconform; kinds without a schema are accepted by default
    #[arg(long, hide = true)]
    ignore_missing_schemas: bool,
    #[command(flatten)]
    schemas: SchemaArgs,
}

impl ValidateArgs {
    /// Checks every package and reports what is found; fails if anything is not valid.
    pub(crate) async fn run(self, console: &mut Console<'_>) -> anyhow::Result<()> {
        let validator = self.schemas.validator_within(Some(self.schema_timeout))?;
        let format = match console.format {
            // The default of the other commands.
            OutputFormat::Yaml => OutputFormat::Text,
            format => format,
        };
        let quiet = console.quiet;
        let report = ValidationReport::new(format, self.summary, &mut *console.out)?;
        let mut checker = PackageChecker {
            validator,
            complete: !self.partial,
            time: self.schemas.validator_timeout,
            skip: self.skip,
            reject: self.reject,
            ignored: self.ignore_filename_pattern,
            stops: self.exit_on_error,
            report,
        };
        for url in &self.urls {
            let before = checker.report.totals().clone();
            checker.url(url, quiet).await?;
            if !quiet {
                let since = checker.report.totals().since(&before);
                to_stderr(format_args!("{url}: {since}"));
            }
            if checker.is_over() {
                break;
            }
        }
        let totals = checker.report.finish()?;
        console.out.flush()?;
        match (totals.violations, totals.errors) {
            (0, 0) => Ok(()),
            (0, _) if totals.is_unavailable => Err(Error::unavailable(
                "validate",
                format!("{} resources could not be checked", totals.errors),
            )
            .into()),
            (violations, errors) => {
                let mut counts = Vec::new();
                if violations > 0 {
                    counts.push(format!("{violations} {}", plural("violation", violations)));
                }
                if errors > 0 {
                    counts.push(format!("{errors} {}", plural("error", errors)));
                }
                Err(Error::bad("package", counts.join(", ")).into())
            }
        }
    }
}

/// Returns the noun in singular or plural.
fn plural(noun: &str, count: u64) -> String {
    format!("{noun}{}", if count == 1 { "" } else { "s" })
}
