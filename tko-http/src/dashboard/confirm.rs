//! Approves and deletes one entity, the picked ones, or all that match. A bulk action asks for
//! confirmation first, with the number of entities. If that number has grown in the meantime, or
//! the question is old, it asks again.

use super::html::number;
use super::page::{PageResult, go_to, rendered};
use super::result::BulkResult;
use super::shell::{Notice, Shell};
use super::{deployment::deployment_id, encoded, path};
use crate::api::deployment::approve_one as approve_deployment;
use crate::api::{PathKey, Preview, awaiting_approval, collection, plural};
use crate::context::{ApiCaller, SharedContext};
use crate::problem::ProblemResponse;
use crate::query::ApiQuery;
use askama::Template;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use futures_util::StreamExt;
use std::pin::pin;
use std::sync::Arc;
use tko_core::api::MAX_SKIPPED;
use tko_core::view::FilterLine;
use tko_core::{Bulk, DataApi, Error, Key, Kind, List, Result, Select, Want};

/// Maximum number of entities that are picked one by one: the rows that a page keeps, and those of
/// the last page that it loads.
const MAX_PICKED: usize = 2_100;

/// Maximum number of entities of one action by state or reason, which are found by searching.
const MAX_SEARCHED: usize = 10_000;

/// The hint after a search that stopped at [`MAX_SEARCHED`].
pub(super) const MAY_BE_MORE: &str = "One action changes at most 10,000, so there may be more. \
                                      Repeat the action for the rest.";

/// The age in milliseconds from which a question is asked again. A browser without scripts sends
/// the form again when the page of the result is reloaded: other entities may match by then.
const MAX_QUESTION_MS: u64 = 5 * 60 * 1_000;

/// Number of entities of one action that are changed at the same time.
const AT_ONCE: usize = 16;

/// Maximum number of ids that the confirmation shows.
const SHOWN: usize = 10;

#[derive(Template)]
#[template(path = "confirm.html")]
struct ConfirmPage {
    shell: Shell,
    heading: String,
    question: String,
    first: Vec<String>,
    rest: u64,
    rest_text: String,
    count: u64,
    action: String,
    hidden: Vec<(&'static str, String)>,
    class: &'static str,
    verb: String,
    back: String,
}

/// A bulk action.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum BulkAction {
    Approve,
    Delete,
}

impl BulkAction {
    fn take(query: &mut ApiQuery) -> Result<Self> {
        match query.text("action")?.as_deref() {
            Some("approve") => Ok(Self::Approve),
            Some("delete") => Ok(Self::Delete),
            _ => Err(Error::bad("action", "expected approve or delete")),
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Delete => "delete",
        }
    }

    /// The word for what was done.
    pub(super) fn past(self) -> &'static str {
        match self {
            Self::Approve => "approved",
            Self::Delete => "deleted",
        }
    }
}

/// The entities of an action.
pub(super) struct BulkTarget {
    pub(super) kind: Kind,
    pub(super) action: BulkAction,
    picked: Vec<Key>,
    /// The filter as text.
    pub(super) q: String,
    filter: FilterLine,
}

/// Entities that are changed one by one.
struct BulkKeys {
    keys: Vec<Key>,
    /// Whether the search for them stopped before it had seen everything.
    may_be_more: bool,
}

impl BulkTarget {
    fn take(kind: Kind, query: &mut ApiQuery) -> Result<Self> {
        let action = BulkAction::take(query)?;
        if action == BulkAction::Approve && kind != Kind::Deployment {
            return Err(Error::bad("action", "only deployments can be approved"));
        }
        let ids = query.all("id");
        if ids.len() > MAX_PICKED {
            return Err(Error::bad(
                "id",
                format!("at most {MAX_PICKED} can be picked; use a filter"),
            ));
        }
        let q = query.text("q")?.unwrap_or_default();
        let filter = FilterLine::parse(kind, &q)?;
        if ids.is_empty() && filter.is_everything() {
            return Err(Error::bad(
                "filter",
                "nothing is selected, and there is no filter; select rows, or filter by --id '**' \
                 for all",
            ));
        }
        Ok(Self {
            kind,
            action,
            picked: ids
                .iter()
                .map(|id| Key::new(kind, id))
                .collect::<Result<_>>()?,
            filter,
            q,
        })
    }

    fn select(&self) -> Select {
        let select = self.filter.select.clone();
        match self.action {
            BulkAction::Approve => awaiting_approval(select),
            BulkAction::Delete => select,
        }
    }

    /// The path of the list in the navigation.
    pub(super) fn active(&self) -> &'static str {
        match self.kind {
            Kind::Deployment => "/deployments",
            Kind::Site => "/sites",
            Kind::Template => "/templates",
            Kind::Plugin => "/plugins",
        }
    }

    /// The number of entities concerned, and the first ids. `found`: what [`keys`](Self::keys)
    /// returned.
    async fn preview(&self, caller: &ApiCaller, found: Option<&BulkKeys>) -> Result<Preview> {
        let Some(found) = found else {
            return Preview::of(&*caller.api, &self.select()).await;
        };
        Ok(Preview {
            count: u64::try_from(found.keys.len()).unwrap_or(u64::MAX),
            more: found.may_be_more,
            first: found
                .keys
                .iter()
                .take(SHOWN)
                .map(|key| key.id().to_owned())
                .collect(),
        })
    }

    /// The entities that are changed one by one: those that were picked, or that a search finds.
    /// `None` if the API itself evaluates the filter.
    async fn keys(&self, context: &SharedContext, caller: &ApiCaller) -> Result<Option<BulkKeys>> {
        if !self.picked.is_empty() {
            return Ok(Some(BulkKeys {
                keys: self.picked.clone(),
                may_be_more: false,
            }));
        }
        if !self.filter.is_scanned() {
            return Ok(None);
        }
        self.searched(context, caller).await.map(Some)
    }

    /// The entities that a search finds, at most [`MAX_SEARCHED`].
    async fn searched(&self, context: &SharedContext, caller: &ApiCaller) -> Result<BulkKeys> {
        let mut keys = Vec::new();
        let mut list = List::new(self.select());
        loop {
            let page = crate::scan::page(context, caller, list.clone(), &self.filter).await?;
            keys.extend(page.items.iter().map(|record| record.entity.key.clone()));
            if page.next.is_none() || keys.len() >= MAX_SEARCHED {
                let may_be_more = page.next.is_some() || keys.len() > MAX_SEARCHED;
                keys.truncate(MAX_SEARCHED);
                return Ok(BulkKeys { keys, may_be_more });
            }
            list.after = page.next;
        }
    }

    /// Changes the entities. `found`: what [`keys`](Self::keys) returned before they were counted; a
    /// second search could find more than the user confirmed.
    async fn apply(&self, caller: &ApiCaller, found: Option<BulkKeys>) -> Result<BulkResult> {
        let api = &caller.api;
        let Some(found) = found else {
            let bulk = match self.action {
                BulkAction::Approve => api.approve(&self.select()).await?,
                BulkAction::Delete => api.purge(&self.select()).await?,
            };
            return Ok(BulkResult {
                is_cut: bulk.skipped.len() == MAX_SKIPPED,
                may_be_more: false,
                bulk,
            });
        };
        let changes = found.keys.into_iter().map(|key| async move {
            let done = self.change(api, &key).await;
            (key, done)
        });
        let mut changes = pin!(futures_util::stream::iter(changes).buffered(AT_ONCE));
        let mut bulk = Bulk::new(0);
        while let Some((key, done)) = changes.next().await {
            match done {
                Ok(()) => bulk.done += 1,
                Err(problem) => bulk.skipped.push((key, problem.detail().to_owned())),
            }
        }
        Ok(BulkResult {
            bulk,
            may_be_more: found.may_be_more,
            is_cut: false,
        })
    }

    /// Changes one entity.
    async fn change(&self, api: &Arc<dyn DataApi>, key: &Key) -> Result<(), ProblemResponse> {
        match (self.action, key) {
            (BulkAction::Approve, Key::Deployment(id)) => approve_deployment(api, id).await,
            _ => Ok(api.delete(key).await.or_else(gone)?),
        }
    }
}

/// Deleting an entity that was deleted meanwhile succeeds.
fn gone(error: Error) -> Result<()> {
    match error {
        Error::NotFound(_) => Ok(()),
        error => Err(error),
    }
}

/// The word for a number of entities of a kind.
pub(super) fn things(kind: Kind, count: u64) -> &'static str {
    if count == 1 {
        kind.as_str()
    } else {
        plural(kind)
    }
}

/// Asks for confirmation of a bulk action that a link names.
pub(super) async fn ask(
    name: Path<String>,
    State(context): State<SharedContext>,
    caller: ApiCaller,
    query: ApiQuery,
) -> PageResult {
    // The address of a question that was asked for by a form.
    if query.clone().end().is_ok() {
        return to_list(name).await;
    }
    asked(&context, &caller, &name, query).await
}

/// Asks for confirmation of a bulk action that a form names: an address has no room for many ids.
pub(super) async fn ask_form(
    Path(name): Path<String>,
    State(context): State<SharedContext>,
    caller: ApiCaller,
    body: Bytes,
) -> PageResult {
    asked(&context, &caller, &name, ApiQuery::from_form(&body)?).await
}

async fn asked(
    context: &SharedContext,
    caller: &ApiCaller,
    name: &str,
    mut query: ApiQuery,
) -> PageResult {
    let target = BulkTarget::take(collection(name)?, &mut query)?;
    query.end()?;
    let found = target.keys(context, caller).await?;
    let preview = target.preview(caller, found.as_ref()).await?;
    question(context, caller, &target, preview, None).await
}

/// Leads from the address of a form to the list, for example after a sign-in.
pub(super) async fn to_list(Path(name): Path<String>) -> PageResult {
    go_to(&format!("/{}", plural(collection(&name)?)))
}

async fn question(
    context: &SharedContext,
    caller: &ApiCaller,
    target: &BulkTarget,
    preview: Preview,
    notice: Option<Notice>,
) -> PageResult {
    let (verb, name) = (target.action.as_str(), plural(target.kind));
    let count = preview.count;
    // A search that stopped is limited to what it found; the API changes everything that matches.
    let is_limited = preview.more && target.filter.is_scanned();
    let at_least = if preview.more && !is_limited {
        "At least "
    } else {
        ""
    };
    let things = things(target.kind, count);
    let title = format!("{}{} {things}", verb[..1].to_uppercase(), &verb[1..]);
    let mut shell = Shell::new(context, caller, title.clone(), target.active(), "none").await?;
    shell.notice = notice;
    let mut question = match (count, target.action) {
        (0, BulkAction::Approve) => "Nothing here waits for approval.".to_owned(),
        (0, BulkAction::Delete) => "Nothing matches.".to_owned(),
        (1, BulkAction::Delete) => {
            "It is removed from where it runs, then deleted. This cannot be undone.".to_owned()
        }
        (_, BulkAction::Delete) => format!(
            "{at_least}{} {things} are removed from where they run, then deleted. This cannot be undone.",
            number(count)
        ),
        (1, BulkAction::Approve) => "It will be placed on its site.".to_owned(),
        (_, BulkAction::Approve) => {
            let except = if target.picked.is_empty() {
                ""
            } else {
                ", except those that are not prepared"
            };
            format!(
                "{at_least}{} {things} will be placed on their sites{except}.",
                number(count)
            )
        }
    };
    if is_limited {
        question.push(' ');
        question.push_str(MAY_BE_MORE);
    }
    let mut hidden = vec![
        ("action", verb.to_owned()),
        ("q", target.q.clone()),
        ("count", count.to_string()),
        ("asked", shell.now_ms.to_string()),
    ];
    hidden.extend(target.picked.iter().map(|key| ("id", key.id().to_owned())));
    let rest = count.saturating_sub(u64::try_from(preview.first.len()).unwrap_or(0));
    let back = match &target.picked[..] {
        [one] => path(one),
        _ => format!("/{name}?q={}", encoded(&target.q)),
    };
    rendered(&ConfirmPage {
        heading: format!("{title}?"),
        shell,
        question,
        rest,
        rest_text: number(rest),
        first: preview.first,
        count,
        action: format!("/apply/{name}"),
        hidden,
        class: if target.action == BulkAction::Delete {
            "danger"
        } else {
            "primary"
        },
        verb: format!(
            "{}{} {} {things}",
            verb[..1].to_uppercase(),
            &verb[1..],
            number(count)
        ),
        back,
    })
}

/// Performs a confirmed bulk action. The field `asked` of the form has the time of the question, in
/// milliseconds since 1970; without it, the question counts as old.
pub(super) async fn apply(
    Path(name): Path<String>,
    State(context): State<SharedContext>,
    caller: ApiCaller,
    body: Bytes,
) -> PageResult {
    let kind = collection(&name)?;
    let mut query = ApiQuery::from_form(&body)?;
    let target = BulkTarget::take(kind, &mut query)?;
    let confirmed = query.number::<u64>("count")?.unwrap_or(0);
    let asked = query.parsed::<i64>("asked", "a time in milliseconds")?;
    query.end()?;
    let found = target.keys(&context, &caller).await?;
    let preview = target.preview(&caller, found.as_ref()).await?;
    let now_ms = caller.api.feed_position().await?.now.0 / 1_000;
    let is_old = now_ms.abs_diff(asked.unwrap_or(0)) > MAX_QUESTION_MS;
    if is_old || preview.count > confirmed {
        let text = if is_old {
            "The confirmation is more than 5 minutes old, so nothing was changed. Confirm again."
                .to_owned()
        } else {
            format!("Meanwhile there are {}.", number(preview.count))
        };
        let notice = Some(Notice { text, bad: true });
        return question(&context, &caller, &target, preview, notice).await;
    }
    let result = if let [key] = &target.picked[..] {
        // The page of its error says more than the number of entities that were skipped.
        target.change(&caller.api, key).await?;
        BulkResult {
            bulk: Bulk::new(1),
            may_be_more: false,
            is_cut: false,
        }
    } else {
        target.apply(&caller, found).await?
    };
    super::result::page(&context, &caller, &target, &result).await
}

/// Approves the deployment of a page. If the page showed the change of an edit, only that generation
/// is approved.
pub(super) async fn approve_one(
    PathKey(key): PathKey,
    caller: ApiCaller,
    mut query: ApiQuery,
) -> PageResult {
    let back = path(&key);
    let seen: Option<u64> = query.number("generation")?;
    query.end()?;
    if let Some(seen) = seen {
        let entity = caller.api.get(&key, Want::ROW).await?.entity;
        let is_approved = entity.deployment().is_some_and(|facts| facts.approved);
        if entity.generation.0 != seen && !is_approved {
            let detail = format!("{key} was edited again meanwhile; look at the change again");
            let problem = ProblemResponse::new(StatusCode::CONFLICT, "conflict", detail);
            return Err(problem.into());
        }
    }
    approve_deployment(&caller.api, &deployment_id(key)?).await?;
    go_to(&back)
}
