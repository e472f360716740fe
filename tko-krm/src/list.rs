//! Listing objects.

mod streaming;

use crate::accept::{MetaVersion, Representation, Serves};
use crate::context::KrmContext;
use crate::continuation::Continuation;
use crate::failure::{KrmAnswer, KrmFailure};
use crate::object;
use crate::page::MAX_OBJECTS;
use crate::query::Query;
use crate::read::{ROW, WHOLE, include, reach, row};
use crate::reply::{self, Reply};
use crate::request::ApiRequest;
use crate::resource::ResourceType;
use crate::selector::ObjectSelector;
use crate::snapshot::StateReader;
use crate::table::{self, IncludeObject};
use http::StatusCode;
use serde_json::Value;
use std::sync::Arc;
use tko_core::{Cursor, Record, Revision};

/// Maximum number of rows of one answer with a limit.
const MAX_LIMIT: u64 = 5_000;

/// Maximum number of whole objects of one answer with a limit: the answer is in memory until its
/// client has read it.
const MAX_WHOLE: u64 = 500;

/// Number of rows that are read at once.
const CHUNK: usize = 500;

/// The state that a listing asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The current state.
    Current,
    /// The current state, after this resource version was reached.
    NotOlderThan(u64),
    /// The state at this resource version.
    Exact(u64),
}

impl State {
    /// The revision of the state, if it is certain.
    fn revision(self) -> Option<Revision> {
        match self {
            Self::Exact(version) => Some(object::revision(version)),
            Self::Current | Self::NotOlderThan(_) => None,
        }
    }
}

/// The options of a listing.
pub(crate) struct ListOptions {
    pub(crate) selector: ObjectSelector,
    pub(crate) limit: Option<u64>,
    pub(crate) after: Option<Cursor>,
    pub(crate) state: State,
}

impl ListOptions {
    pub(crate) fn of(resource: &'static ResourceType, query: &Query) -> KrmAnswer<Self> {
        let selector = ObjectSelector::of(resource.entity, query)?;
        let limit = query.number("limit")?.filter(|limit| *limit > 0);
        let version = query.resource_version()?;
        let matching = query.get("resourceVersionMatch");
        if query.get("sendInitialEvents").is_some() {
            return Err(KrmFailure::invalid_options(
                "sendInitialEvents",
                "is allowed for watches only",
            ));
        }
        if let Some(token) = query.get("continue") {
            if matching.is_some() {
                return Err(KrmFailure::invalid_options(
                    "resourceVersionMatch",
                    "is not allowed together with continue",
                ));
            }
            if version.is_some_and(|version| version > 0) {
                return Err(KrmFailure::bad_request(
                    "specifying resource version is not allowed when using continue",
                ));
            }
            let token = Continuation::parse(resource.entity, token)
                .ok_or_else(|| KrmFailure::bad_request("continue key is not valid"))?;
            return Ok(Self {
                selector,
                limit,
                after: Some(token.after),
                state: token.version.map_or(State::Current, State::Exact),
            });
        }
        let state = match (matching, version) {
            (None, None | Some(0)) | (Some("NotOlderThan"), Some(0)) => State::Current,
            (None, Some(version)) if limit.is_some() => State::Exact(version),
            (None | Some("NotOlderThan"), Some(version)) => State::NotOlderThan(version),
            (Some("Exact"), Some(version)) if version > 0 => State::Exact(version),
            (Some("Exact"), Some(_)) => {
                return Err(KrmFailure::invalid_options(
                    "resourceVersionMatch",
                    "Exact is not allowed for resource version 0",
                ));
            }
            (Some("Exact" | "NotOlderThan"), None) => {
                return Err(KrmFailure::invalid_options(
                    "resourceVersionMatch",
                    "requires a resourceVersion",
                ));
            }
            (Some(other), _) => {
                return Err(KrmFailure::invalid_options(
                    "resourceVersionMatch",
                    format!("unknown value {other:?}; expected Exact or NotOlderThan"),
                ));
            }
        };
        Ok(Self {
            selector,
            limit,
            after: None,
            state,
        })
    }
}

/// Some objects of a listing.
pub(crate) struct Listed {
    pub(crate) items: Vec<Record>,
    pub(crate) revision: Revision,
    pub(crate) next: Option<Cursor>,
}

/// The form in which a list shows its objects.
#[derive(Clone, Copy)]
struct ListedForm {
    representation: Representation,
    include: IncludeObject,
}

impl ListedForm {
    /// The item of an object.
    fn item(self, context: &KrmContext, record: &Record) -> Value {
        match self.representation {
            Representation::Object | Representation::Discovery => object::object(record),
            // Items have no kind, as in Kubernetes: clients compare them with the objects of a
            // watch, from which they remove the kind.
            Representation::Metadata(_) => {
                serde_json::json!({"metadata": object::metadata(record)})
            }
            Representation::Table(meta) => row(context, record, meta, self.include),
        }
    }
}

/// Answers a GET of a collection.
pub(crate) async fn list(
    context: &Arc<KrmContext>,
    resource: &'static ResourceType,
    request: ApiRequest,
) -> KrmAnswer<Reply> {
    let representation = request.representation(Serves::List)?;
    let options = ListOptions::of(resource, &request.query)?;
    let include = include(&request.query)?;
    let whole = match representation {
        Representation::Object | Representation::Discovery => true,
        Representation::Table(_) => include == IncludeObject::Object,
        Representation::Metadata(_) => false,
    };
    if let State::NotOlderThan(version) | State::Exact(version) = options.state {
        reach(&*request.data, version).await?;
    }
    let form = ListedForm {
        representation,
        include,
    };
    if options.limit.is_none() {
        let want = if whole { WHOLE } else { ROW };
        let place = (options.state.revision(), options.after);
        let selected = (options.selector, want);
        return streaming::all(context.clone(), resource, request, selected, form, place).await;
    }
    let listed = read(context, &request, &options, whole).await?;
    let version = object::resource_version(listed.revision);
    let next = listed.next.map(|after| {
        let version = Some(version);
        Continuation { version, after }.to_token()
    });
    let metadata = table::list_metadata(version, next.as_deref());
    let items = listed.items.iter().map(|record| form.item(context, record));
    let value = match representation {
        Representation::Object | Representation::Discovery => {
            let mut head = table::list_head(resource, metadata);
            head["items"] = items.collect();
            head
        }
        Representation::Metadata(meta) => partial_list(meta, &metadata.into(), &items.collect()),
        Representation::Table(meta) => {
            let mut table = table::table(meta, resource.entity, metadata.into(), true);
            table["rows"] = items.collect();
            table
        }
    };
    Ok(reply::json(StatusCode::OK, &value))
}

/// Adds a token to the error of an expired state. With it the list continues in the current state,
/// after the objects that the client has.
fn continued(failure: Box<KrmFailure>, after: Option<Cursor>) -> Box<KrmFailure> {
    match after {
        Some(after) if failure.code == 410 => {
            let version = None;
            let token = Continuation { version, after }.to_token();
            failure.with_metadata("continue", token.into())
        }
        _ => failure,
    }
}

fn partial_list(meta: MetaVersion, metadata: &Value, items: &Value) -> Value {
    serde_json::json!({
        "kind": "PartialObjectMetadataList",
        "apiVersion": meta.api_version(),
        "metadata": metadata,
        "items": items,
    })
}

/// Reads objects until the limit, or as many as one answer may have.
pub(crate) async fn read(
    context: &KrmContext,
    request: &ApiRequest,
    options: &ListOptions,
    whole: bool,
) -> KrmAnswer<Listed> {
    let (most, chunk) = if whole {
        (MAX_WHOLE, MAX_OBJECTS)
    } else {
        (MAX_LIMIT, CHUNK)
    };
    let limit = options.limit.map(|limit| limit.min(most));
    let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let reader = StateReader {
        data: &*request.data,
        feed: &context.feed,
        caller: &request.caller,
        selector: &options.selector,
        want: if whole { WHOLE } else { ROW },
    };
    let mut at = options.state.revision();
    let mut after = options.after.clone();
    let mut items = Vec::new();
    loop {
        let missing = limit.map_or(usize::MAX, |limit| limit.saturating_sub(items.len()));
        let page = match reader.page(at, after.clone(), missing.min(chunk)).await {
            Ok(page) => page,
            Err(failure) => return Err(continued(failure, options.after.clone())),
        };
        // All pages show the state of the first page.
        at = Some(page.revision);
        items.extend(page.items);
        let is_full = limit.is_some_and(|limit| items.len() >= limit);
        if page.next.is_none() || is_full {
            if page.next.is_some() {
                // The rest is read at this revision: keep the changes from here on.
                let started = context.feed.start().await;
                started.map_err(|error| KrmFailure::from_other(&error))?;
            }
            return Ok(Listed {
                items,
                revision: page.revision,
                next: page.next,
            });
        }
        after = page.next;
    }
}
