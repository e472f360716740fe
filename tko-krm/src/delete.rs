//! Deleting objects and collections.

use crate::body::{dry_run, media_type, unknown_dry_run};
use crate::context::KrmContext;
use crate::failure::{KrmAnswer, KrmFailure, deleted};
use crate::list::{ListOptions, State, read as read_list};
use crate::names;
use crate::object;
use crate::read::{WHOLE, find};
use crate::reply::{self, Reply};
use crate::request::ApiRequest;
use crate::resource::{API_VERSION, ResourceType};
use crate::selector::ObjectSelector;
use crate::stored::StoredMetadata;
use crate::table;
use http::StatusCode;
use serde_json::Value;
use tko_core::encoding::{Dialect, Format, Limits, decode};
use tko_core::{EntityUpdate, Error, Record};

/// The finalizers of the garbage collector.
const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// Maximum number of attempts to write the time of the deletion while others change the object.
const ATTEMPTS: usize = 16;

/// Maximum number of objects of a collection that are read at once.
const PAGE: u64 = 500;

/// The media types of bodies with options.
pub(crate) const MEDIA_TYPES: [&str; 2] = ["application/json", "application/yaml"];

/// The versions of options that a body may state: those of Kubernetes, and that of this group.
const VERSIONS: [&str; 3] = ["v1", "meta.k8s.io/v1", API_VERSION];

/// The options of a deletion.
#[derive(Clone, Debug, Default)]
struct DeleteOptions {
    dry_run: bool,
    uid: Option<String>,
    version: Option<String>,
    finalizer: Option<&'static str>,
    warnings: Vec<String>,
}

impl DeleteOptions {
    async fn read(context: &KrmContext, request: &ApiRequest) -> KrmAnswer<Self> {
        context.compute(request, || Self::of(request)).await
    }

    /// Reads the options from the body, if there is one, and from the query.
    fn of(request: &ApiRequest) -> KrmAnswer<Self> {
        let body = body_of(request)?;
        typed(&body, "gracePeriodSeconds", "an integer", Value::as_i64)?;
        let mut options = Self {
            dry_run: dry_run(&request.query)?,
            ..Self::default()
        };
        for value in typed(&body, "dryRun", "a list of text", texts)?.unwrap_or_default() {
            match value {
                "All" => options.dry_run = true,
                other => return Err(unknown_dry_run(other)),
            }
        }
        if let Some(preconditions) = typed(&body, "preconditions", "a map", as_map)? {
            options.uid = text(preconditions, "uid")?.map(str::to_owned);
            options.version = text(preconditions, "resourceVersion")?.map(str::to_owned);
        }
        let query = &request.query;
        let policy = text(&body, "propagationPolicy")?.or(query.get("propagationPolicy"));
        let orphan = typed(&body, "orphanDependents", "a boolean", Value::as_bool)?;
        // As in Kubernetes, the query has this option only if there is no body.
        let orphan = orphan.or_else(|| {
            let is_given = body.is_null() && query.all("orphanDependents").next().is_some();
            is_given.then(|| query.is_true("orphanDependents"))
        });
        options.finalizer = match (policy, orphan) {
            (Some(_), Some(_)) => {
                return Err(KrmFailure::invalid_options(
                    "propagationPolicy",
                    "orphanDependents and propagationPolicy cannot be set together",
                ));
            }
            (Some("Foreground"), None) => Some(FOREGROUND),
            (Some("Orphan"), None) | (None, Some(true)) => Some(ORPHAN),
            (Some("Background") | None, _) => None,
            (Some(other), None) => {
                return Err(KrmFailure::invalid_options(
                    "propagationPolicy",
                    format!("unknown value {other:?}; expected Background, Foreground or Orphan"),
                ));
            }
        };
        if request.delegated.is_none() && options.finalizer.take().is_some() {
            options.warnings.push(
                "the propagation policy is Background: without a cluster in front of this server \
                 there is no garbage collector, so dependents stay"
                    .to_owned(),
            );
        }
        Ok(options)
    }

    /// The answer to the deletion, with its warnings.
    fn answer(&self, value: &Value) -> Reply {
        let mut reply = reply::json(StatusCode::OK, value);
        reply::warn(&mut reply, &self.warnings);
        reply
    }
}

/// The body of a deletion, which has its options; null if it is empty.
fn body_of(request: &ApiRequest) -> KrmAnswer<Value> {
    if request.body.is_empty() {
        return Ok(Value::Null);
    }
    if !MEDIA_TYPES.contains(&media_type(request).as_str()) {
        return Err(KrmFailure::unsupported_media_type(&MEDIA_TYPES.join(", ")));
    }
    let limits = Limits::default();
    let decoded = decode(&request.body, Format::Yaml, Dialect::Programs, &limits);
    let decoded = decoded.map_err(|error| {
        let why = tko_core::error::chain(&error);
        KrmFailure::bad_request(format!("cannot read the options: {why}"))
    })?;
    if decoded.len() > 1 {
        return Err(KrmFailure::bad_request(
            "cannot read the options: there are several objects",
        ));
    }
    let body = decoded.into_iter().next().unwrap_or_default();
    check_type(&body)?;
    Ok(body)
}

/// Checks the kind and the version that a body states. Another object is a mistake: the client may
/// have meant another request.
fn check_type(body: &Value) -> KrmAnswer<()> {
    let kind = text(body, "kind")?.unwrap_or_default();
    let version = text(body, "apiVersion")?.unwrap_or_default();
    let is_kind = matches!(kind, "" | "DeleteOptions");
    if is_kind && (version.is_empty() || VERSIONS.contains(&version)) {
        return Ok(());
    }
    Err(KrmFailure::bad_request(format!(
        "cannot read the options: the body has the kind {kind:?} and the apiVersion {version:?}; \
         expected DeleteOptions of {}",
        VERSIONS.join(", ")
    )))
}

/// An option in the body; `None` if it is absent or null.
///
/// # Errors
/// 400 if `read` returns `None`, because the option has another type than `expected`. An ignored
/// option could delete what the client wants to keep.
fn typed<'b, T>(
    options: &'b Value,
    name: &str,
    expected: &str,
    read: impl FnOnce(&'b Value) -> Option<T>,
) -> KrmAnswer<Option<T>> {
    match options.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match read(value) {
            Some(option) => Ok(Some(option)),
            None => Err(KrmFailure::bad_request(format!(
                "cannot read the options: {name} is not {expected}"
            ))),
        },
    }
}

/// An option in the body that is text.
fn text<'b>(options: &'b Value, name: &str) -> KrmAnswer<Option<&'b str>> {
    typed(options, name, "text", Value::as_str)
}

/// The items of a list of text.
fn texts(value: &Value) -> Option<Vec<&str>> {
    value.as_array()?.iter().map(Value::as_str).collect()
}

/// The value, if it is a map.
fn as_map(value: &Value) -> Option<&Value> {
    value.is_object().then_some(value)
}

/// Answers a DELETE of an object.
pub(crate) async fn delete(
    context: &KrmContext,
    resource: &'static ResourceType,
    name: &str,
    request: &ApiRequest,
) -> KrmAnswer<Reply> {
    let options = DeleteOptions::read(context, request).await?;
    for _ in 0..ATTEMPTS {
        let live = find(&*request.data, resource, name, WHOLE).await?;
        match delete_once(context, resource, name, request, &options, &live).await {
            Err(failure) if failure.is_raced() => {}
            Err(failure) => return Err(failure),
            Ok(Some(object)) => return Ok(options.answer(&object)),
            Ok(None) => {
                let status = deleted(resource, name, &object::uid(&live.entity));
                return Ok(options.answer(&status));
            }
        }
    }
    Err(KrmFailure::conflict(resource, name, "it keeps changing"))
}

/// Deletes an object; returns it if it still exists because of finalizers or a scheduler.
async fn delete_once(
    context: &KrmContext,
    resource: &'static ResourceType,
    name: &str,
    request: &ApiRequest,
    options: &DeleteOptions,
    live: &Record,
) -> KrmAnswer<Option<Value>> {
    let entity = &live.entity;
    let uid = object::uid(entity);
    let version = object::resource_version(live.revision.unwrap_or_default()).to_string();
    for (what, wanted, found) in [
        ("UID", &options.uid, &uid),
        ("ResourceVersion", &options.version, &version),
    ] {
        if let Some(wanted) = wanted
            && wanted != found
        {
            let why = format!(
                "Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}"
            );
            return Err(KrmFailure::conflict(resource, name, why));
        }
    }
    if entity.deleting {
        return Ok(Some(object::object(live)));
    }
    let mut stored = StoredMetadata::of(entity);
    if request.delegated.is_none() {
        // Without a cluster nothing removes them, and the object would stay for ever.
        stored
            .finalizers
            .retain(|one| one != FOREGROUND && one != ORPHAN);
    }
    if let Some(finalizer) = options.finalizer
        && stored.deletion.is_none()
        && !stored.finalizers.iter().any(|one| one == finalizer)
    {
        stored.finalizers.push(finalizer.to_owned());
    }
    if stored.finalizers.is_empty() {
        if !options.dry_run {
            // At the version that was checked: others may have added a finalizer since then.
            let done = request.data.delete_at(&entity.key, entity.version).await;
            done.map_err(|error| failed(&error, resource, name))?;
        }
        return Ok(None);
    }
    // Finalizers keep the object: only the time of the deletion is set.
    if stored.deletion.is_none() {
        stored.deletion = Some(object::time(context.clock.now()));
        if options.dry_run {
            let mut object = object::object(live);
            object["metadata"]["deletionTimestamp"] = stored.deletion.into();
            object["metadata"]["finalizers"] = stored.finalizers.into();
            return Ok(Some(object));
        }
        let mut given = entity.given.clone();
        stored.write_into(&mut given);
        let update = EntityUpdate::new(&entity.key, entity.version).metadata(given);
        let done = request.data.update_entity(update).await;
        done.map_err(|error| failed(&error, resource, name))?;
    }
    let read = request.data.get(&entity.key, WHOLE).await;
    match read {
        Ok(record) => Ok(Some(object::object(&record))),
        Err(Error::NotFound(_)) => Ok(None),
        Err(error) => Err(KrmFailure::from_error(&error, resource, name)),
    }
}

/// The failure of a write at the version that was read.
fn failed(error: &Error, resource: &'static ResourceType, name: &str) -> Box<KrmFailure> {
    let failure = KrmFailure::from_error(error, resource, name);
    match error {
        Error::Conflict(_) => failure.raced(),
        _ => failure,
    }
}

/// Deletes an object of a collection, and returns it; `None` if it is gone, or is no longer selected.
async fn delete_selected(
    context: &KrmContext,
    resource: &'static ResourceType,
    request: &ApiRequest,
    options: &DeleteOptions,
    selector: &ObjectSelector,
    mut live: Record,
) -> KrmAnswer<Option<Record>> {
    let name = names::name_of(&live.entity.key, &live.entity.given);
    for _ in 0..ATTEMPTS {
        let done = delete_once(context, resource, &name, request, options, &live).await;
        match done {
            Err(failure) if failure.code == 404 => return Ok(None),
            Err(failure) if failure.is_raced() => {}
            Err(failure) => return Err(failure),
            Ok(_) => return Ok(Some(live)),
        }
        let read = request.data.get(&live.entity.key, WHOLE).await;
        match read {
            Ok(changed) if selector.matches(&changed) => live = changed,
            Ok(_) | Err(Error::NotFound(_)) => return Ok(None),
            Err(error) => return Err(KrmFailure::from_error(&error, resource, &name)),
        }
    }
    Err(KrmFailure::conflict(resource, &name, "it keeps changing"))
}

/// Answers a DELETE of a collection: deletes the selected objects one by one.
pub(crate) async fn delete_collection(
    context: &KrmContext,
    resource: &'static ResourceType,
    request: &ApiRequest,
) -> KrmAnswer<Reply> {
    let options = DeleteOptions::read(context, request).await?;
    let mut list = ListOptions::of(resource, &request.query)?;
    list.state = State::Current;
    let limit = list.limit;
    let mut items = Vec::new();
    loop {
        let missing = limit.map_or(PAGE, |limit| limit.saturating_sub(items.len() as u64));
        list.limit = Some(missing.min(PAGE));
        let listed = read_list(context, request, &list, true).await?;
        for record in listed.items {
            let selector = &list.selector;
            let deleted =
                delete_selected(context, resource, request, &options, selector, record).await?;
            items.extend(deleted.as_ref().map(object::object));
        }
        list.after = listed.next;
        let is_full = limit.is_some_and(|limit| items.len() as u64 >= limit);
        if list.after.is_none() || is_full {
            break;
        }
    }
    let position = request.data.feed_position().await;
    let position = position.map_err(|error| KrmFailure::from_other(&error))?;
    let version = object::resource_version(position.revision);
    let mut head = table::list_head(resource, table::list_metadata(version, None));
    head["items"] = items.into();
    Ok(options.answer(&head))
}
