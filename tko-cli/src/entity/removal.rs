//! Deletion: the plan, the confirmation, the progress, and the remaining work.

#[cfg(test)]
mod tests;

use crate::console::Console;
use crate::filter;
use clap::Args;
use std::io::{BufRead, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tko_core::{Bulk, DataApi, DeploymentId, Error, Key, Kind, List, Select, SiteId, Token, Want};

/// Maximum number of ids that a dry run or a confirmation shows.
const SHOWN: usize = 10;

/// The bound up to which entities are counted.
const BOUND: u64 = 10_000_000;

/// The time between two checks of the progress of a purge.
const LOOK: Duration = Duration::from_secs(1);

/// How long to wait for a deletion to finish before reporting that it continues.
const FINISHED: Duration = Duration::from_secs(3);

/// The number of checks between two lines of progress, if there is no terminal.
const LOOKS_PER_LINE: u32 = 10;

/// The flags of commands that delete.
#[derive(Debug, Default, Args)]
pub(crate) struct RemovalArgs {
    /// Print how many would be deleted, and the first ids; delete nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask for confirmation; required without a terminal to delete more than one, or
    /// anything that is placed on a site
    #[arg(short, long)]
    yes: bool,
}

/// The flags of `purge`.
#[derive(Debug, Args)]
pub(crate) struct PurgeArgs {
    #[command(flatten)]
    removal: RemovalArgs,
    /// Delete every one; required without a filter
    #[arg(long)]
    all: bool,
}

/// The entities that a command would delete.
struct RemovalPlan {
    what: String,
    count: u64,
    first: Vec<String>,
    /// Whether a scheduler has to remove something from a site.
    is_placed: bool,
}

impl RemovalPlan {
    /// Counts a selection.
    async fn of(data: &dyn DataApi, select: &Select) -> anyhow::Result<Self> {
        let count = data.count(select, BOUND, Want::ROW).await?.found;
        let mut list = List::new(select.clone()).limit(SHOWN);
        let (mut first, mut is_placed) = (Vec::new(), false);
        while first.len() < SHOWN {
            let page = data.list(&list).await?;
            is_placed |= page.items.iter().any(|r| r.entity.is_held());
            first.extend(page.items.iter().map(|r| id_of(&r.entity.key)));
            list.after = page.next;
            if list.after.is_none() {
                break;
            }
        }
        first.truncate(SHOWN);
        Ok(Self {
            what: format!("{}s", select.kind),
            count,
            first,
            is_placed,
        })
    }

    /// Prints the plan for a dry run, or asks for confirmation. Returns whether to continue.
    fn confirmed(&self, args: &RemovalArgs, console: &mut Console<'_>) -> anyhow::Result<bool> {
        if args.dry_run {
            writeln!(console.out, "would delete {} {}", self.count, self.what)?;
            for id in &self.first {
                writeln!(console.out, "  {id}")?;
            }
            if self.count > self.first.len() as u64 {
                let more = self.count - self.first.len() as u64;
                writeln!(console.out, "  and {more} more")?;
            }
            return Ok(false);
        }
        if args.yes || (self.count <= 1 && !self.is_placed) {
            return Ok(true);
        }
        let placed = if self.is_placed {
            ", some of them placed on sites"
        } else {
            ""
        };
        let summary = format!(
            "{} {}{placed}, such as {}",
            self.count,
            self.what,
            self.first.join(", ")
        );
        if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
            let why = format!(
                "this deletes {summary}; look at them with --dry-run, then confirm with --yes"
            );
            return Err(Error::bad("--yes", why).into());
        }
        let mut stderr = std::io::stderr();
        write!(stderr, "Delete {summary}? [y/N] ")?;
        stderr.flush()?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        let confirmed = matches!(answer.trim(), "y" | "Y" | "yes");
        if !confirmed {
            console.done("deleted nothing");
        }
        Ok(confirmed)
    }
}

/// Deletes one entity. The children of a deployment stay, and the command says so.
pub(super) async fn delete(
    data: &dyn DataApi,
    key: &Key,
    args: &RemovalArgs,
    console: &mut Console<'_>,
) -> anyhow::Result<()> {
    let plan = one(data, key).await?;
    if !plan.confirmed(args, console)? {
        return Ok(());
    }
    let children = match key {
        Key::Deployment(id) => data.count(&children(id), BOUND, Want::ROW).await?.found,
        _ => 0,
    };
    let message = || format!("deleting {key}");
    console.during(message, data.delete(key)).await?;
    if children > 0 {
        console.done(&format!(
            "its {children} children stay, without a parent; --cascade would have deleted them"
        ));
    }
    deleted(data, key, console).await
}

/// Deletes a deployment with its children, their children, and so on.
pub(super) async fn delete_cascade(
    data: &dyn DataApi,
    id: &DeploymentId,
    args: &RemovalArgs,
    console: &mut Console<'_>,
) -> anyhow::Result<()> {
    let key = Key::from(id);
    let mut plan = one(data, &key).await?;
    let parents = parents(data, id).await?;
    for parent in &parents {
        let of = RemovalPlan::of(data, &children(parent)).await?;
        plan.count += of.count;
        plan.is_placed |= of.is_placed;
        let left = SHOWN.saturating_sub(plan.first.len());
        plan.first.extend(of.first.into_iter().take(left));
    }
    "deployments".clone_into(&mut plan.what);
    if !plan.confirmed(args, console)? {
        return Ok(());
    }
    let start = Instant::now();
    let mut held = Vec::new();
    let deleted = delete_topologies(data, &parents, &mut held, console).await;
    for token in held {
        // After a failure. A modification that cannot be cancelled expires.
        let _ = data.cancel_modification(&token).await;
    }
    let mut done = deleted?;
    if parents.is_empty() {
        data.delete(&key).await?;
        done += 1;
    }
    console.done(&format!(
        "deleted {done} deployments{}",
        rate(done, start.elapsed())
    ));
    still_deleting(data, Kind::Deployment, console).await
}

/// Deletes topologies, each of which comes after its parent, with their children. Returns the number
/// of deleted deployments.
///
/// A topology whose children are gone would create them again, so all are under modification until
/// they are deleted themselves. The tokens of those that are left are in `held`.
async fn delete_topologies(
    data: &dyn DataApi,
    topologies: &[DeploymentId],
    held: &mut Vec<Token>,
    console: &Console<'_>,
) -> anyhow::Result<u64> {
    for id in topologies {
        held.push(data.start_modification(id, MODIFICATION).await?.token);
    }
    let mut done = 0;
    // The deepest first, so that every deployment is deleted after its children.
    for id in topologies.iter().rev() {
        done += delete_topology(data, id, held, console).await?;
    }
    Ok(done)
}

/// Deletes a topology after its children. Its modification is the last one in `held`.
async fn delete_topology(
    data: &dyn DataApi,
    id: &DeploymentId,
    held: &mut Vec<Token>,
    console: &Console<'_>,
) -> anyhow::Result<u64> {
    let (key, select) = (Key::from(id), children(id));
    let mut done = 0;
    for _ in 0..TRIES {
        let total = data.count(&select, BOUND, Want::ROW).await?.found;
        let bulk = purge_shown(data, &select, total, console).await?;
        done += bulk.done;
        super::report_skipped(&bulk)?;
        let version = data.get(&key, Want::ROW).await?.entity.version;
        let released = match held.pop() {
            Some(token) => data.cancel_modification(&token).await,
            None => Ok(()),
        };
        let deleted = match released {
            Ok(()) => data.delete_at(&key, version).await,
            Err(error) => Err(error),
        };
        match deleted {
            Ok(()) => return Ok(done + 1),
            // It was prepared after the modification, and may have children again.
            Err(Error::Conflict(_) | Error::ClaimExpired(_)) => {
                held.push(data.start_modification(id, MODIFICATION).await?.token);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Conflict(vec![key]).into())
}

/// The duration of the modifications that prevent topologies from creating children again.
const MODIFICATION: Duration = Duration::from_mins(10);

/// The number of attempts to delete a topology that is prepared meanwhile.
const TRIES: usize = 10;

/// Deletes everything that matches.
pub(super) async fn purge(
    data: &dyn DataApi,
    select: &Select,
    args: &PurgeArgs,
    console: &mut Console<'_>,
) -> anyhow::Result<()> {
    filter::require_choice(select, args.all)?;
    let plan = RemovalPlan::of(data, select).await?;
    if !plan.confirmed(&args.removal, console)? {
        return Ok(());
    }
    let start = Instant::now();
    let bulk = purge_shown(data, select, plan.count, console).await?;
    let rate = rate(bulk.done, start.elapsed());
    console.done(&format!("deleted {} {}s{rate}", bulk.done, select.kind));
    if matches!(select.kind, Kind::Deployment | Kind::Site) {
        still_deleting(data, select.kind, console).await?;
    }
    super::report_skipped(&bulk)
}

/// Deletes a selection, and shows the progress and the rate.
async fn purge_shown(
    data: &dyn DataApi,
    select: &Select,
    total: u64,
    console: &Console<'_>,
) -> tko_core::Result<Bulk> {
    let start = Instant::now();
    let done = AtomicU64::new(0);
    let message = || {
        let done = done.load(Ordering::Relaxed);
        let rate = rate(done, start.elapsed());
        format!("deleting {}s: {done} of {total}{rate}", select.kind)
    };
    let look = async {
        let mut looks = 0_u32;
        loop {
            tokio::time::sleep(LOOK).await;
            if let Ok(count) = data.count(select, BOUND, Want::ROW).await {
                done.store(total.saturating_sub(count.found), Ordering::Relaxed);
            }
            looks += 1;
            if looks.is_multiple_of(LOOKS_PER_LINE) && !std::io::stderr().is_terminal() {
                console.done(&message());
            }
        }
    };
    let work = async {
        tokio::select! {
            bulk = data.purge(select) => bulk,
            never = look => never,
        }
    };
    console.during(message, work).await
}

/// The rate of a long operation, as `, 1200 a second`; nothing for a short one.
fn rate(done: u64, elapsed: Duration) -> String {
    if elapsed < LOOK || done == 0 {
        return String::new();
    }
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    format!(", {} a second", done.saturating_mul(1_000) / millis.max(1))
}

/// Prints the result of a deletion. Most deletions finish within the wait.
async fn deleted(data: &dyn DataApi, key: &Key, console: &Console<'_>) -> anyhow::Result<()> {
    let end = Instant::now() + FINISHED;
    let mut found = data.get(key, Want::ROW.with_deleting()).await;
    while found.is_ok() && Instant::now() < end {
        tokio::time::sleep(FINISHED / 20).await;
        found = data.get(key, Want::ROW.with_deleting()).await;
    }
    match found {
        Ok(record) if record.entity.deleting => {
            let site = record.entity.deployment().and_then(|d| d.placed.as_ref());
            let waits = match site {
                Some((site, _)) => format!("waits until the scheduler has removed it from {site}"),
                None => "waits until nothing refers to it, or its scheduler is done".to_owned(),
            };
            console.done(&format!(
                "deleting {key}: {waits}; see tko {} show",
                key.kind()
            ));
        }
        Ok(_) | Err(Error::NotFound(_)) => console.done(&format!("deleted {key}")),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Says how many entities still wait for a scheduler.
async fn still_deleting(
    data: &dyn DataApi,
    kind: Kind,
    console: &Console<'_>,
) -> anyhow::Result<()> {
    let visible = Select::all(kind);
    let mut all = visible.clone();
    all.deleting = true;
    let end = Instant::now() + FINISHED;
    let waiting = loop {
        let all = data.count(&all, BOUND, Want::ROW).await?.found;
        let visible = data.count(&visible, BOUND, Want::ROW).await?.found;
        let waiting = all.saturating_sub(visible);
        if waiting == 0 || Instant::now() >= end {
            break waiting;
        }
        tokio::time::sleep(FINISHED / 20).await;
    };
    if waiting > 0 {
        console.done(&format!(
            "{waiting} wait until schedulers have removed them; see tko {kind} list --state deleting"
        ));
    }
    Ok(())
}

/// The plan for one entity.
async fn one(data: &dyn DataApi, key: &Key) -> anyhow::Result<RemovalPlan> {
    let record = data.get(key, Want::ROW).await?;
    let is_placed = match key {
        Key::Site(id) => record.entity.is_held() && has_deployments(data, id).await?,
        _ => record.entity.is_held(),
    };
    Ok(RemovalPlan {
        what: key.kind().to_string(),
        count: 1,
        first: vec![id_of(key)],
        is_placed,
    })
}

async fn has_deployments(data: &dyn DataApi, site: &SiteId) -> tko_core::Result<bool> {
    let mut select = Select::all(Kind::Deployment);
    select.concerning = Some(site.clone());
    Ok(data.count(&select, 1, Want::ROW).await?.found > 0)
}

fn children(id: &DeploymentId) -> Select {
    Select::all(Kind::Deployment).parent(id.clone())
}

/// The deployment and its descendants that have children, each after its parent.
async fn parents(data: &dyn DataApi, id: &DeploymentId) -> anyhow::Result<Vec<DeploymentId>> {
    let mut found = Vec::new();
    let mut open = vec![id.clone()];
    while let Some(id) = open.pop() {
        let mut list = List::new(children(&id));
        let mut has_children = false;
        loop {
            let page = data.list(&list).await?;
            has_children |= !page.items.is_empty();
            for child in page.items {
                // Only a topology has children; the package of one is not read for each child.
                if let Some(id) = child.entity.key.deployment() {
                    let any = data.count(&children(id), 1, Want::ROW).await?.found > 0;
                    open.extend(any.then(|| id.clone()));
                }
            }
            list.after = page.next;
            if list.after.is_none() {
                break;
            }
        }
        if has_children {
            found.push(id);
        }
    }
    Ok(found)
}

fn id_of(key: &Key) -> String {
    key.id().to_owned()
}
