//! `tko deployment wait`: waits until a deployment is in a state.

use crate::console::Console;
use clap::Args;
use std::time::Duration;
use tko_core::{DataApi, DeploymentId, Entity, Error, Kind, List, Pattern, Select, Want};

/// The first and the longest pause between two checks; each pause is twice the previous one.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// The arguments of `deployment wait`.
#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// Id, as printed by create
    id: DeploymentId,
    /// State to wait for
    #[arg(
        long = "for",
        value_name = "STATE",
        value_enum,
        default_value = "prepared"
    )]
    state: AwaitedState,
    /// Longest time to wait
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "1m")]
    timeout: Duration,
}

/// A state that a deployment reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum AwaitedState {
    /// Its preparation is finished
    Prepared,
    /// It is approved
    Approved,
    /// A scheduler has placed it on its site, in its current version
    Placed,
    /// It is gone, also from its site
    Deleted,
}

impl AwaitedState {
    fn is_reached(self, entity: Option<&Entity>) -> bool {
        let deployment = entity.and_then(Entity::deployment);
        match self {
            Self::Deleted => entity.is_none(),
            Self::Prepared => deployment.is_some_and(|one| one.prepared),
            Self::Approved => deployment.is_some_and(|one| one.approved),
            Self::Placed => entity.is_some_and(Entity::is_scheduled),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Approved => "approved",
            Self::Placed => "placed",
            Self::Deleted => "deleted",
        }
    }
}

/// Waits, and prints nothing on standard output.
pub(super) async fn wait(
    data: &dyn DataApi,
    args: WaitArgs,
    console: &mut Console<'_>,
) -> anyhow::Result<()> {
    let WaitArgs { id, state, timeout } = args;
    let message = || format!("waiting until deployment {id} is {}", state.word());
    let waited = tokio::time::timeout(timeout, until(data, &id, state));
    match console.during(message, waited).await {
        Ok(reached) => reached?,
        Err(_) => anyhow::bail!(
            "deployment {id} is not {} after {}; tko deployment show {id} says why",
            state.word(),
            humantime::format_duration(timeout)
        ),
    }
    console.done(&format!("deployment {id} is {}", state.word()));
    Ok(())
}

async fn until(data: &dyn DataApi, id: &DeploymentId, state: AwaitedState) -> tko_core::Result<()> {
    // An entity that is being deleted is not found by its key.
    let mut select = Select::all(Kind::Deployment).deleting(true);
    select.ids.push(Pattern::literal(id.as_str()));
    let list = List::new(select).limit(1).want(Want::ROW);
    let (mut pause, longest) = PAUSES;
    loop {
        let page = data.list(&list).await?;
        let found = page.items.first().map(|record| &*record.entity);
        let is_going = found.is_none_or(|entity| entity.deleting);
        if is_going && state != AwaitedState::Deleted {
            return Err(Error::not_found(id));
        }
        if state.is_reached(found) {
            return Ok(());
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}
