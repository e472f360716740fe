//! `tko validate`: checks packages as the data service would, without one.

use crate::console::Console;
use crate::services::data::SchemaArgs;
use crate::source;
use clap::Args;
use std::sync::Arc;
use tko_core::{Admission, Error, annotation};
use tko_validate::Validation;

/// Check packages, without a server
#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// What to check: as --url of other commands; - is standard input. Each by itself
    #[arg(required = true, value_name = "URL")]
    urls: Vec<String>,
    /// As a template or an unprepared deployment: something may be missing, but what is there must
    /// be right
    #[arg(long)]
    partial: bool,
    #[command(flatten)]
    schemas: SchemaArgs,
}

impl ValidateArgs {
    /// Prints every violation of every package.
    pub(crate) async fn run(self, console: &Console<'_>) -> anyhow::Result<()> {
        let validation = Validation::new(Arc::new(self.schemas.validator()?))
            .with_time(self.schemas.validator_timeout);
        let mut all = Vec::new();
        for url in &self.urls {
            let package = match url.as_str() {
                "-" => source::of_stdin()?,
                url => {
                    let what = format!("reading {url}");
                    console.during(&what, source::of_url(url)).await?
                }
            };
            let mut violations = annotation::check(&package);
            let judging = validation.admit(&package, !self.partial);
            violations.extend(console.during(&format!("checking {url}"), judging).await?);
            let verdict = match violations.len() {
                0 => "valid".to_owned(),
                1 => "1 violation".to_owned(),
                count => format!("{count} violations"),
            };
            console.done(&format!("{url}: {} resources, {verdict}", package.len()));
            all.extend(violations);
        }
        if all.is_empty() {
            Ok(())
        } else {
            Err(Error::invalid("package", all).into())
        }
    }
}
