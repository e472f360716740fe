//! Creating and updating objects.

mod approval;
mod patching;
mod preview;
mod store;

use crate::accept::Serves;
use crate::body::{self, WriteOptions, media_type};
use crate::context::KrmContext;
use crate::desired::{Desired, key_of};
use crate::failure::{KrmAnswer, KrmFailure, StatusCause};
use crate::managed::{self, Manager};
use crate::names;
use crate::object;
use crate::read::{WHOLE, find};
use crate::reply::{self, Reply};
use crate::request::ApiRequest;
use crate::resource::ResourceType;
use crate::route::RouteTarget;
use crate::schema::schema;
use crate::stored::StoredMetadata;
use crate::validation;
use http::StatusCode;
use patching::Transform;
use serde_json::Value;
use tko_core::Record;
use tko_core::encoding::Format;

/// Maximum number of attempts of a write without a resource version while others change the object.
const ATTEMPTS: usize = 16;

/// The media type of apply patches.
const APPLY: &str = "application/apply-patch+yaml";

/// The media types of patches of an object.
pub(crate) const PATCHES: [&str; 3] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    APPLY,
];

/// The media types of patches of a subresource. Its fields have no managers, which an apply patch
/// would need.
pub(crate) const SUBRESOURCE_PATCHES: [&str; 2] = [
    "application/json-patch+json",
    "application/merge-patch+json",
];

/// A write in progress: its object, and its options.
pub(crate) struct Write<'a> {
    pub(crate) context: &'a KrmContext,
    pub(crate) resource: &'static ResourceType,
    pub(crate) request: &'a ApiRequest,
    pub(crate) options: WriteOptions,
}

impl Write<'_> {
    /// The current time, in the format of managed fields and deletions.
    fn now(&self) -> String {
        object::time(self.context.clock.now())
    }

    /// Computes; see [`KrmContext::compute`].
    async fn compute<T>(&self, work: impl FnOnce() -> T) -> T {
        self.context.compute(self.request, work).await
    }

    fn invalid(&self, name: &str, causes: Vec<StatusCause>) -> Box<KrmFailure> {
        KrmFailure::invalid(self.resource, name, causes)
    }
}

fn write<'a>(
    context: &'a KrmContext,
    resource: &'static ResourceType,
    request: &'a ApiRequest,
) -> KrmAnswer<Write<'a>> {
    request.representation(Serves::Json)?;
    Ok(Write {
        context,
        resource,
        request,
        options: WriteOptions::of(request)?,
    })
}

/// Answers a POST to a collection.
pub(crate) async fn create(
    context: &KrmContext,
    resource: &'static ResourceType,
    request: &ApiRequest,
) -> KrmAnswer<Reply> {
    let write = write(context, resource, request)?;
    let new = write.compute(|| write.new_object()).await?;
    let stored = write.store_new(&new.name, &new.object, &new.managers).await;
    let stored = stored.map_err(|failure| {
        if new.is_generated {
            failure.with_other_name()
        } else {
            failure
        }
    })?;
    Ok(written(StatusCode::CREATED, &stored, &new.warnings))
}

/// Answers a PUT of an object or a subresource.
pub(crate) async fn replace(
    context: &KrmContext,
    resource: &'static ResourceType,
    name: &str,
    subresource: Option<&str>,
    request: &ApiRequest,
) -> KrmAnswer<Reply> {
    let write = write(context, resource, request)?;
    let validation = write.options.validation;
    let (object, warnings) = write.compute(|| body::object(request, validation)).await?;
    write
        .change(name, subresource, &Transform::Replace(object), warnings)
        .await
}

/// Answers a PATCH of an object or a subresource.
pub(crate) async fn patch(
    context: &KrmContext,
    resource: &'static ResourceType,
    name: &str,
    subresource: Option<&str>,
    request: &ApiRequest,
) -> KrmAnswer<Reply> {
    let write = write(context, resource, request)?;
    let media = media_type(request);
    let accepted: &[&str] = match subresource {
        Some(_) => &SUBRESOURCE_PATCHES,
        None => &PATCHES,
    };
    if !accepted.contains(&media.as_str()) {
        return Err(KrmFailure::unsupported_media_type(&accepted.join(", ")));
    }
    if write.options.force && media != APPLY {
        return Err(KrmFailure::invalid_options(
            "force",
            "is allowed for apply patches only",
        ));
    }
    if media == APPLY && !write.options.names_manager {
        return Err(KrmFailure::invalid_options(
            "fieldManager",
            "is required for apply patches",
        ));
    }
    let (transform, warnings) = write.compute(|| write.patch(&media)).await?;
    write.change(name, subresource, &transform, warnings).await
}

/// The object of a creation.
struct NewObject {
    object: Value,
    name: String,
    is_generated: bool,
    managers: Vec<Manager>,
    warnings: Vec<String>,
}

impl Write<'_> {
    /// Reads the object of a creation, and checks it.
    fn new_object(&self) -> KrmAnswer<NewObject> {
        let validation = self.options.validation;
        let (mut object, mut warnings) = body::object(self.request, validation)?;
        warnings.extend(validation::check(self.resource, &mut object, validation)?);
        let (name, is_generated) = self.new_name(&mut object)?;
        let managers = managed::updated(
            &managed::empty(),
            &managed::trimmed(&object),
            schema(self.resource.entity),
            Vec::new(),
            &self.options.manager,
            &self.now(),
        );
        Ok(NewObject {
            object,
            name,
            is_generated,
            managers,
            warnings,
        })
    }

    /// Reads a patch of this media type, which is accepted.
    fn patch(&self, media: &str) -> KrmAnswer<(Transform, Vec<String>)> {
        let (body, validation) = (&self.request.body, self.options.validation);
        Ok(match media {
            "application/json-patch+json" => {
                let (patch, warnings) = body::json_patch(body, validation)?;
                (Transform::Json(patch), warnings)
            }
            "application/merge-patch+json" => {
                let (patch, warnings) = body::parse(body, Format::Json, validation)?;
                (Transform::Merge(patch), warnings)
            }
            // The only other one is an apply patch.
            _ => {
                let (config, warnings) = body::parse(body, Format::Yaml, validation)?;
                (Transform::Apply(config), warnings)
            }
        })
    }

    /// The name of a new object, and whether it was generated from `generateName`.
    fn new_name(&self, object: &mut Value) -> KrmAnswer<(String, bool)> {
        let text = |key: &str| {
            let value = object
                .get("metadata")
                .and_then(|metadata| metadata.get(key));
            value.and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        if !text("resourceVersion").is_empty() {
            return Err(KrmFailure::bad_request(
                "resourceVersion should not be set on objects to be created",
            ));
        }
        if !text("namespace").is_empty() {
            return Err(KrmFailure::bad_request(
                "the namespace should not be set: objects have no namespaces",
            ));
        }
        let (mut name, prefix) = (text("name"), text("generateName"));
        let is_generated = name.is_empty();
        if is_generated {
            if prefix.is_empty() {
                let cause =
                    StatusCause::invalid("metadata.name", "a name or generateName is required");
                return Err(self.invalid("", vec![cause]));
            }
            name = names::generated(&prefix, self.context.ids.next().as_str());
            object["metadata"]["name"] = name.as_str().into();
        }
        self.check_new_name(&name)?;
        Ok((name, is_generated))
    }

    /// Checks that a new object can have this name.
    fn check_new_name(&self, name: &str) -> KrmAnswer<()> {
        let length = names::check_length(name);
        let length = length.map_err(|why| StatusCause::invalid("metadata.name", why));
        let checked = length.and_then(|()| key_of(self.resource, name));
        checked.map_err(|cause| self.invalid(name, vec![cause]))?;
        Ok(())
    }

    /// Changes an object; retries while others change it concurrently.
    async fn change(
        &self,
        name: &str,
        subresource: Option<&str>,
        transform: &Transform,
        warnings: Vec<String>,
    ) -> KrmAnswer<Reply> {
        let mut conflict = None;
        for _ in 0..ATTEMPTS {
            let found = find(&*self.request.data, self.resource, name, WHOLE).await;
            let live = match found {
                Ok(live) => live,
                Err(failure) if failure.code == 404 && subresource.is_none() => {
                    let Transform::Apply(config) = transform else {
                        return Err(failure);
                    };
                    return self.apply_new(name, config, warnings).await;
                }
                Err(failure) => return Err(failure),
            };
            let mut warnings = warnings.clone();
            let outcome = match subresource {
                Some(_) => self.approve(name, &live, transform).await,
                None => {
                    self.change_once(name, &live, transform, &mut warnings)
                        .await
                }
            };
            match outcome {
                Err(failure) if failure.is_raced() => conflict = Some(failure),
                Err(failure) => return Err(failure),
                Ok(stored) => return Ok(written(StatusCode::OK, &stored, &warnings)),
            }
        }
        Err(conflict
            .unwrap_or_else(|| KrmFailure::conflict(self.resource, name, "it keeps changing")))
    }

    async fn change_once(
        &self,
        name: &str,
        live: &Record,
        transform: &Transform,
        warnings: &mut Vec<String>,
    ) -> KrmAnswer<Value> {
        let changed = self.compute(|| self.transformed(name, live, transform, warnings));
        let changed = changed.await?;
        let states_version = changed.states_version;
        let stored = self.store_change(name, live, changed).await;
        match stored {
            // The client has not seen a version, so the write may be repeated on the newer one.
            Err(failure) if failure.code == 409 && !states_version => Err(failure.raced()),
            stored => stored,
        }
    }

    /// Creates an object by apply.
    async fn apply_new(
        &self,
        name: &str,
        config: &Value,
        mut warnings: Vec<String>,
    ) -> KrmAnswer<Reply> {
        // The request was authorized as a patch; as in Kubernetes, its user must be allowed to
        // create, too.
        let target = RouteTarget::Object(self.resource, name.to_owned());
        self.request.authorize(&target, "create").await?;
        let new = self.compute(|| self.new_applied(name, config, &mut warnings));
        let (object, managers) = new.await?;
        let stored = self.store_new(name, &object, &managers).await?;
        Ok(written(StatusCode::CREATED, &stored, &warnings))
    }

    /// Checks the object of an apply that creates it. Returns it with its managers.
    fn new_applied(
        &self,
        name: &str,
        config: &Value,
        warnings: &mut Vec<String>,
    ) -> KrmAnswer<(Value, Vec<Manager>)> {
        let mut object = config.clone();
        let found = validation::check(self.resource, &mut object, self.options.validation)?;
        warnings.extend(found);
        Self::check_apply(name, &object)?;
        object["metadata"]["name"] = name.into();
        let uid = object["metadata"].get("uid").and_then(Value::as_str);
        if uid.is_some_and(|uid| !uid.is_empty()) {
            return Err(KrmFailure::conflict(
                self.resource,
                name,
                "the object does not exist, and a uid is given",
            ));
        }
        self.check_new_name(name)?;
        let applied = managed::apply(
            None,
            &managed::trimmed(&object),
            schema(self.resource.entity),
            &[],
            (&self.options.manager, true),
            &managed::FieldSet::default(),
            &self.now(),
        );
        let managers = applied.map(|applied| applied.managers).unwrap_or_default();
        Ok((object, managers))
    }

    /// Approves a deployment through its subresource; nothing else can be written through the
    /// subresource.
    async fn approve(&self, name: &str, live: &Record, transform: &Transform) -> KrmAnswer<Value> {
        let object = object::object(live);
        let mut asked = object.clone();
        match transform {
            Transform::Replace(new) => asked = new.clone(),
            // Apply patches of subresources are refused before.
            Transform::Merge(patch) | Transform::Apply(patch) => {
                crate::patch::merge(&mut asked, patch);
            }
            Transform::Json(patch) => crate::patch::json_patch(&mut asked, patch)
                .map_err(|error| self.unfit(name, &error))?,
        }
        self.check_preconditions(name, live, &asked)?;
        let approved = |object: &Value| {
            object
                .get("status")
                .and_then(|status| status.get("approved"))
                .and_then(Value::as_bool)
        };
        let refuse = |why: &str| {
            let cause = StatusCause::forbidden("status.approved", why);
            Err(self.invalid(name, vec![cause]))
        };
        match (approved(&object), approved(&asked)) {
            (Some(true), Some(false)) => refuse(
                "an approval cannot be withdrawn here; set the annotation nephio.org/approved of the \
                 Deployment resource in spec.package",
            ),
            (_, Some(true)) if live.entity.deployment().is_some_and(|d| !d.prepared) => {
                refuse("it is not prepared yet; wait for the condition Prepared")
            }
            (Some(false), Some(true)) if live.entity.deleting => {
                let why = "the object is being deleted, and TKO is removing it from its site";
                Err(KrmFailure::conflict(self.resource, name, why))
            }
            (Some(false), Some(true)) if !self.options.dry_run => {
                self.store_approval(name, live).await
            }
            (Some(false), Some(true)) => {
                let mut object = object;
                object["status"]["approved"] = true.into();
                Ok(object)
            }
            _ => Ok(object),
        }
    }

    /// The managers of an object.
    fn managers(live: &Record) -> Vec<Manager> {
        managed::parse(&StoredMetadata::of(&live.entity).managers)
    }
}

/// The response to a write, with warnings.
fn written(status: StatusCode, object: &Value, warnings: &[String]) -> Reply {
    let mut reply = reply::json(status, object);
    reply::warn(&mut reply, warnings);
    reply
}

/// Reads an object in order to store it.
fn desired(
    write: &Write<'_>,
    name: &str,
    key: Option<&tko_core::Key>,
    object: &Value,
) -> KrmAnswer<Desired> {
    Desired::parse(write.resource, key, object).map_err(|causes| write.invalid(name, causes))
}
