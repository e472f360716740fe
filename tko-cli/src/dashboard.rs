//! `tko dashboard`: the terminal dashboard.

use crate::connect::ConnectArgs;
use clap::Args;
use std::sync::Arc;
use tko_tui::{DashboardSettings, TimeZoneOffset};

/// The arguments of `tko dashboard`.
#[derive(Debug, Args)]
pub(crate) struct DashboardArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// Time zone to show times in: UTC, or an offset such as +02:00
    #[arg(
        long,
        default_value = "UTC",
        value_name = "ZONE",
        allow_hyphen_values = true
    )]
    timezone: String,
    /// Accepted for compatibility with the original TKO; changes are shown as they happen
    #[arg(long, value_name = "SECONDS")]
    interval: Option<String>,
}

impl DashboardArgs {
    /// Shows the dashboard until the user quits it.
    pub(crate) async fn run(&self) -> anyhow::Result<()> {
        let client = self.connect.client().await?;
        let mut server = Vec::new();
        let mut add = |name: &str, value: String| server.push((name.to_owned(), value));
        // The dashboard itself reports an unreachable server.
        if let Ok(about) = client.server().await {
            add("instance", about.name);
            add("description", about.description);
            add("server version", about.version);
            add("addresses", about.addresses.join(" "));
        }
        let zone = self.timezone.parse().unwrap_or_else(|_| {
            let unknown = format!("UTC; {:?} is not an offset such as +02:00", self.timezone);
            add("time zone", unknown);
            TimeZoneOffset::default()
        });
        let _ = &self.interval;
        let settings = DashboardSettings::new().zone(zone).server(server);
        tko_tui::run(Arc::new(client), settings).await?;
        Ok(())
    }
}
