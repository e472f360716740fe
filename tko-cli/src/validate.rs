//! `tko validate`: checks packages by the rules of the data service, without a server.

use crate::console::Console;
use crate::services::data::SchemaArgs;
use crate::source::{package, package_from_stdin};
use clap::Args;
use std::sync::Arc;
use tko_core::{Admission, Error, annotation};
use tko_validate::Validation;

/// Check packages without a server
#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// Packages to check, each by itself: like --url of other commands; - is standard input
    #[arg(required = true, value_name = "URL")]
    urls: Vec<String>,
    /// Check like a template or an unprepared deployment: required properties may be missing
    #[arg(long)]
    partial: bool,
    #[command(flatten)]
    schemas: SchemaArgs,
}

impl ValidateArgs {
    /// Checks every package, and fails with the violations of all of them.
    pub(crate) async fn run(self, console: &Console<'_>) -> anyhow::Result<()> {
        let validation = Validation::new(Arc::new(self.schemas.validator()?))
            .with_time(self.schemas.validator_timeout);
        let mut all = Vec::new();
        for url in &self.urls {
            let package = match url.as_str() {
                "-" => package_from_stdin()?,
                url => package(url, console).await?,
            };
            let mut violations = annotation::check(&package);
            let check = validation.admit(&package, !self.partial);
            let message = || format!("checking {url}");
            violations.extend(console.during(message, check).await?);
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
