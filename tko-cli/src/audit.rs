//! `tko audit` and `tko history`: who changed which entity, when, by which interface and verb.

use crate::connect::ConnectArgs;
use crate::console::Console;
use crate::output::{ListWriter, OutputFormat};
use clap::Args;
use futures_util::TryStreamExt;
use serde_json::{Value, json};
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tko_core::{ChangeRecord, DataApi, Error, Key, Kind, Pattern, Revision, Timestamp, Want, view};

/// Show who changed which entity, when and how
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// Filter by the name of the caller (* matches anything)
    #[arg(long, value_name = "PATTERN")]
    who: Option<String>,
    /// Filter by kind: template, site, deployment or plugin
    #[arg(long, value_name = "KIND")]
    kind: Option<Kind>,
    /// Filter by the id of the entity: * matches within a segment, ** also across / and :
    #[arg(long, value_name = "PATTERN")]
    id: Option<String>,
    /// Filter by the verb of the change, such as created, modified, approved or deleted
    #[arg(long, value_name = "PATTERN")]
    verb: Option<String>,
    /// Show changes since this time, such as 2026-11-28T16:00:00Z, or this long ago, such as 2h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Show changes until this time, in the same form as for --since
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    /// Show changes after this revision
    #[arg(long, value_name = "REVISION")]
    after: Option<u64>,
}

/// Show the changes of one entity, newest first
#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// Kind of the entity: template, site, deployment or plugin
    kind: Kind,
    /// Id of the entity
    id: String,
    /// Show at most this many changes
    #[arg(long, default_value_t = 100, value_name = "COUNT")]
    max_count: usize,
}

/// The filters of `tko audit`.
struct AuditFilter {
    who: Option<Pattern>,
    id: Option<Pattern>,
    verb: Option<Pattern>,
}

impl AuditArgs {
    /// Prints matching changes, oldest first.
    pub(crate) async fn run(self, console: &mut Console<'_>) -> anyhow::Result<()> {
        let value = |text: &Option<String>| text.as_deref().map(Pattern::value).transpose();
        let invalid =
            |error: tko_core::pattern::PatternError| Error::bad("pattern", error.to_string());
        let filter = AuditFilter {
            who: value(&self.who).map_err(invalid)?,
            verb: value(&self.verb).map_err(invalid)?,
            id: self
                .id
                .as_deref()
                .map(Pattern::id)
                .transpose()
                .map_err(invalid)?,
        };
        let client = self.connect.client().await?;
        let mut changes = client.changes(self.after.map(Revision));
        let mut lines = ChangeLines::new(console);
        while let Some(change) = changes.try_next().await? {
            let early = self.since.is_some_and(|since| change.at < since);
            let late = self.until.is_some_and(|until| change.at > until);
            let other = self.kind.is_some_and(|kind| change.key.kind() != kind);
            if !early && !late && !other && filter.matches(&change) {
                lines.write(&change)?;
            }
        }
        lines.end()
    }
}

impl AuditFilter {
    fn matches(&self, change: &ChangeRecord) -> bool {
        let cause = change.cause.as_ref();
        let fits = |pattern: &Option<Pattern>, text: Option<&str>| {
            let matches = |pattern: &Pattern| text.is_some_and(|text| pattern.matches(text));
            pattern.as_ref().is_none_or(matches)
        };
        fits(
            &self.who,
            cause.and_then(tko_core::Cause::caller).as_deref(),
        ) && fits(&self.verb, cause.map(tko_core::Cause::verb))
            && fits(&self.id, Some(change.key.id()))
    }
}

impl HistoryArgs {
    /// Prints the changes of an entity.
    pub(crate) async fn run(self, console: &mut Console<'_>) -> anyhow::Result<()> {
        let key = Key::new(self.kind, &self.id)?;
        let client = self.connect.client().await?;
        let changes = client.history(&key, None, self.max_count).await?;
        if changes.is_empty() && self.max_count > 0 {
            // Its changes may be older than what is kept; otherwise it never existed.
            client.get(&key, Want::ROW).await?;
        }
        let mut lines = ChangeLines::new(console);
        for change in changes {
            lines.write(&change)?;
        }
        lines.end()
    }
}

/// Prints changes: as JSON lines if the format is YAML or JSON, otherwise as a list.
enum ChangeLines<'a> {
    Json(&'a mut dyn Write),
    List(ListWriter<'a>),
}

impl<'a> ChangeLines<'a> {
    fn new(console: &'a mut Console<'_>) -> Self {
        match console.format {
            OutputFormat::Yaml | OutputFormat::Json => Self::Json(&mut *console.out),
            format => Self::List(ListWriter::new(format, &mut *console.out)),
        }
    }

    fn write(&mut self, change: &ChangeRecord) -> anyhow::Result<()> {
        let change = shown(change);
        match self {
            Self::Json(out) => writeln!(out, "{change}")?,
            Self::List(list) => list.item(change)?,
        }
        Ok(())
    }

    fn end(self) -> anyhow::Result<()> {
        match self {
            Self::Json(_) => Ok(()),
            Self::List(list) => list.end(),
        }
    }
}

fn shown(change: &ChangeRecord) -> Value {
    let cause = change.cause.as_ref();
    let effect = match (&change.before, &change.after) {
        (None, _) => "created",
        (Some(_), Some(_)) => "changed",
        (Some(_), None) => "removed",
    };
    json!({
        "time": view::rfc3339(change.at),
        "revision": change.revision.0,
        "kind": change.key.kind().to_string(),
        "id": change.key.id(),
        "effect": effect,
        "verb": cause.map(tko_core::Cause::verb),
        "caller": cause.and_then(tko_core::Cause::caller),
        "interface": cause.and_then(tko_core::Cause::interface),
    })
}

/// Parses a time by RFC 3339, or a duration before now.
#[allow(clippy::disallowed_methods)] // What a person means by "ago" is the time of day.
fn moment(text: &str) -> Result<Timestamp, String> {
    let at = match humantime::parse_rfc3339_weak(text) {
        Ok(at) => at,
        Err(_) => SystemTime::now()
            .checked_sub(humantime::parse_duration(text).map_err(|error| {
                format!("{error}; expected a time such as 2026-11-28T16:00:00Z, or 2h")
            })?)
            .unwrap_or(UNIX_EPOCH),
    };
    let passed = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Ok(Timestamp(
        i64::try_from(passed.as_micros()).unwrap_or(i64::MAX),
    ))
}
