//! The report at the end of the demo: what happened, where the files are, and what to try next.

use super::fleet::Expected;
use super::kinds::KindResult;
use super::observer::FleetTally;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, Table, TableComponent};
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tko_core::DeploymentId;

/// The measurements and results of one run.
pub(super) struct Run {
    pub(super) expected: Expected,
    pub(super) tally: FleetTally,
    pub(super) files: usize,
    pub(super) registered: Duration,
    pub(super) prepared: Duration,
    pub(super) took: Duration,
    pub(super) checked: Duration,
    pub(super) national: DeploymentId,
    pub(super) refused: (DeploymentId, String),
    pub(super) kinds: [KindResult; 3],
}

/// Writes the report.
pub(super) fn write(run: &Run, manifests: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    let Run {
        expected, tally, ..
    } = run;
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY);
    // Horizontal lines above and below the table, none between rows.
    for between in [
        TableComponent::HorizontalLines,
        TableComponent::MiddleIntersections,
        TableComponent::LeftBorderIntersections,
        TableComponent::RightBorderIntersections,
    ] {
        table.remove_style(between);
    }
    let seconds = run.took.as_secs_f64();
    #[allow(clippy::cast_precision_loss)] // Counts of a demo are far below 2^52.
    let rate = tally.prepared as f64 / run.prepared.as_secs_f64().max(f64::EPSILON);
    for (what, value) in [
        ("templates", super::nation::TEMPLATES.len().to_string()),
        ("sites", tally.sites.to_string()),
        (
            "  provisioned by the topology",
            tally.provisioned.to_string(),
        ),
        (
            "deployments, all from a single one",
            tally.deployments.to_string(),
        ),
        ("  prepared", tally.prepared.to_string()),
        ("  approved", tally.approved.to_string()),
        ("  placed on their sites", tally.placed.to_string()),
        (
            "  waiting for manual approval",
            expected.waiting.to_string(),
        ),
        ("  invalid on purpose, refused", tally.refused.to_string()),
        ("manifests on disk, all as expected", run.files.to_string()),
        (
            "time to register the sites",
            format!("{:.2} s", run.registered.as_secs_f64()),
        ),
        (
            "time until the last deployment is placed",
            format!("{seconds:.2} s"),
        ),
        ("deployments prepared per second", format!("{rate:.0}")),
        (
            "time to check the manifests",
            format!("{:.2} s", run.checked.as_secs_f64()),
        ),
    ] {
        table.add_row([what.to_owned(), value]);
    }
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    writeln!(out, "{table}")?;
    let (id, message) = &run.refused;
    writeln!(out)?;
    writeln!(
        out,
        "Deployment {id} is invalid on purpose. Its condition says why:"
    )?;
    writeln!(out, "  {message}")?;
    writeln!(out)?;
    writeln!(out, "Packages of other kinds, prepared likewise:")?;
    for KindResult { what, outcome } in &run.kinds {
        writeln!(out, "  {what}: {outcome}")?;
    }
    writeln!(out)?;
    writeln!(out, "Manifests of all sites: {}", manifests.display())?;
    writeln!(out, "Everything comes from deployment {}.", run.national)?;
    writeln!(out)?;
    writeln!(
        out,
        "Next: run the demo again with --serve, and in another terminal:"
    )?;
    for command in [
        "tko deployment list --template-id 'nf/amf:*' --prepared --approved=false -o table",
        "tko deployment approve --template-id 'nf/amf:*'",
        "tko site list --metadata Site.region=west -o table",
    ] {
        writeln!(out, "  {command}")?;
    }
    out.flush()?;
    Ok(())
}

/// Writes the address of the dashboard, which is available before anything happens.
pub(super) fn opening(addresses: &[SocketAddr], out: &mut dyn Write) -> anyhow::Result<()> {
    // The last one is the shortest to type.
    if let Some(address) = addresses.last() {
        writeln!(out, "Dashboard: http://{address}/")?;
        writeln!(out)?;
        out.flush()?;
    }
    Ok(())
}

/// Writes the addresses that the demo serves.
pub(super) fn serving(addresses: &[SocketAddr], out: &mut dyn Write) -> anyhow::Result<()> {
    let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    writeln!(out)?;
    writeln!(
        out,
        "Serving gRPC on {}; stop with Ctrl-C.",
        list.join(" and ")
    )?;
    out.flush()?;
    Ok(())
}
