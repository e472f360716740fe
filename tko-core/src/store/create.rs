//! Creating deployments: one at a time, in batches, and as effects of a prepare step.
//!
//! The package of a new deployment is made in this order:
//!
//! 1. The template's package, or an empty one without a template.
//! 2. The package of the request is merged into it.
//! 3. The Deployment resource is overlaid with the facts that the request sets: template, site,
//!    prepared and approved.
//! 4. The result is split into the Deployment resource, which goes to the row, and the body.
//! 5. `restrict_child` applies if a preparer creates the deployment.
//! 6. The deployment is approved if it is prepared and its package says `approve: Auto`.
//! 7. The whole package is admitted. It must be complete if the deployment is prepared.
//!
//! The row takes its facts from the finished package. So the package can name a site or template
//! even if the request does not. A template that only the package names must exist, but is not
//! merged.
//!
//! # Idempotency
//!
//! A client may retry a creation whose reply was lost. With an idempotency key, two rules make that
//! safe. The backend drops a creation whose key is in use, and reports the deployment that has it.
//! If the id is already in use, the creation succeeds if that deployment has the same idempotency
//! key.
//!
//! All creations share one set of keys. So the keys that preparers use for children are reserved: a
//! client that could guess and take one would prevent the child.

use super::draft::{ChangeDraft, inheritable, metadata};
use super::register::body_of;
use super::{CHUNK, Store, TRIES, unknown_reference};
use crate::annotation::{self, APPROVE, APPROVED, Approve, PREPARED};
use crate::api::NewDeployment;
use crate::backend::Backend;
use crate::change::{Ack, Put, Require};
use crate::deployment_resource::{self, Split};
use crate::entity::{self, Condition, Deployment, Facts, Want};
use crate::error::{Error, Result};
use crate::id::{DeploymentId, Key};
use crate::limits;
use crate::merge::merge;
use crate::metadata::Metadata;
use crate::package::Package;
use crate::revision::Generation;
use std::collections::HashMap;

/// The kind of caller that creates a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Creator {
    /// A client, for a person.
    Client,
    /// A preparer, as an effect of a step. It cannot approve its child.
    Preparer,
}

impl<B: Backend + ?Sized> Store<B> {
    /// Creates one deployment and returns its id, or the id of the deployment that already has its
    /// idempotency key.
    ///
    /// The first attempt may use cached templates. A refusal that is based on one does not count:
    /// the next attempt reads the template from the backend. An attempt is also repeated if the
    /// template was registered again between the read and the commit.
    ///
    /// # Errors
    /// - `BadArgument`: as `draft_deployment`; the template, site or parent does not exist; or the
    ///   idempotency key is reserved.
    /// - `AlreadyExists`: the id is in use by a deployment without the same idempotency key.
    /// - `Conflict`: the template kept changing for all attempts.
    /// - As [`Backend::commit`].
    pub(super) async fn create(&self, mut new: NewDeployment) -> Result<DeploymentId> {
        check_idempotency_key(&new)?;
        // The id is chosen only once, so that every retry creates the same deployment.
        let id = new.id.get_or_insert_with(|| self.ids.next()).clone();
        let own = Key::from(&id);
        let template = new.template.as_ref().map(Key::from);
        for attempt in 0..TRIES {
            let mut draft = ChangeDraft::because("created");
            draft.may_remember = attempt == 0;
            let drafted = self.draft_deployment(&mut draft, &new, Creator::Client);
            match drafted.await {
                Err(_) if draft.remembered => continue,
                drafted => drafted?,
            };
            match self.commit(draft, Ack::Numbered).await {
                Ok(done) => {
                    let existing = done.existing.into_iter().next();
                    return Ok(existing.map_or(id, |(_, existing)| existing));
                }
                // The template was registered again meanwhile.
                Err(Error::Conflict(keys))
                    if template.as_ref().is_some_and(|t| keys.contains(t)) => {}
                Err(Error::AlreadyExists(key)) if key == own && new.idempotency_key.is_some() => {
                    // An earlier attempt may have succeeded although its reply was lost.
                    let found = self.find(&own, Want::ROW).await?;
                    let ours = found.is_some_and(|record| {
                        record
                            .entity
                            .deployment()
                            .is_some_and(|d| d.idempotency_key == new.idempotency_key)
                    });
                    return if ours {
                        Ok(id)
                    } else {
                        Err(Error::AlreadyExists(key))
                    };
                }
                Err(error) => return Err(unknown_reference(error, &own)),
            }
        }
        Err(Error::Conflict(template.into_iter().collect()))
    }

    /// Creates many deployments in chunks, one after another. Returns one result for each, in
    /// order.
    ///
    /// A failure in one chunk does not undo the others. Missing ids are chosen before the first
    /// attempt, so that a chunk that is repeated one by one creates the same deployments.
    pub(super) async fn create_all(&self, new: Vec<NewDeployment>) -> Vec<Result<DeploymentId>> {
        let mut results = Vec::with_capacity(new.len());
        let mut new = new.into_iter().peekable();
        while new.peek().is_some() {
            let mut chunk: Vec<NewDeployment> = new.by_ref().take(CHUNK).collect();
            for one in &mut chunk {
                one.id.get_or_insert_with(|| self.ids.next());
            }
            results.append(&mut self.create_chunk(chunk).await);
        }
        results
    }

    /// Creates a chunk in one set; if that is refused, one deployment at a time.
    ///
    /// A deployment that is refused while it is drafted is left out of the set and gets its own
    /// error. If a cached template was used, the chunk is first drafted again without the cache. If
    /// the commit fails, for whatever reason, each drafted deployment is created alone and gets its
    /// own result.
    ///
    /// If the reply to the commit was lost, a deployment without an idempotency key is then
    /// reported as `AlreadyExists`.
    async fn create_chunk(&self, chunk: Vec<NewDeployment>) -> Vec<Result<DeploymentId>> {
        let (mut draft, mut results) = self.draft_chunk(&chunk, true).await;
        if draft.remembered && results.iter().any(Result::is_err) {
            (draft, results) = self.draft_chunk(&chunk, false).await;
        }
        let Ok(done) = self.commit(draft, Ack::Numbered).await else {
            // The error of the whole set does not apply to each deployment.
            let mut again = Vec::with_capacity(chunk.len());
            for (one, drafted) in chunk.into_iter().zip(results) {
                again.push(match drafted {
                    Ok(_) => self.create(one).await,
                    Err(error) => Err(error),
                });
            }
            return again;
        };
        let mut existing: HashMap<Key, DeploymentId> = done.existing.into_iter().collect();
        results
            .into_iter()
            .map(|result| result.map(|id| existing.remove(&Key::from(&id)).unwrap_or(id)))
            .collect()
    }

    /// Drafts a chunk. Returns the draft, and the result for each deployment.
    ///
    /// All templates of the chunk are read in one call; `may_remember` permits cached ones. If they
    /// cannot be read, every result is `Unavailable` and the draft has no changes.
    async fn draft_chunk(
        &self,
        chunk: &[NewDeployment],
        may_remember: bool,
    ) -> (ChangeDraft, Vec<Result<DeploymentId>>) {
        let mut draft = ChangeDraft::because("created");
        draft.may_remember = may_remember;
        let templates = chunk.iter().filter_map(|new| new.template.as_ref());
        let templates = templates.map(Key::from).collect();
        if let Err(error) = self.read_templates(&mut draft, templates).await {
            let why = error.chain();
            let unread = |_| {
                Err(Error::unavailable(
                    "read the templates of a batch",
                    why.clone(),
                ))
            };
            return (draft, chunk.iter().map(unread).collect());
        }
        let mut results = Vec::with_capacity(chunk.len());
        for one in chunk {
            results.push(match check_idempotency_key(one) {
                Ok(()) => {
                    let drafted = self.draft_deployment(&mut draft, one, Creator::Client);
                    drafted.await
                }
                Err(refusal) => Err(refusal),
            });
        }
        (draft, results)
    }

    /// Adds the put of a new deployment, and returns its id; adds no put if it is refused.
    ///
    /// Adds these preconditions: the id is free; the template has not changed since it was read;
    /// the parent and the site exist. The precondition on the template may remain in the draft when
    /// the deployment is refused.
    ///
    /// The deployment inherits the template's metadata, apart from reserved keys and those of the
    /// template's provenance, and records the template's version as its `origin`.
    ///
    /// No preparer finishes a deployment that is created as prepared, so its policy of approval
    /// applies here: `Auto` approves it. `Manual` and `Default` wait for a person: the setting that
    /// `Default` refers to belongs to the preparers.
    ///
    /// # Errors
    /// - `BadArgument`: the template does not exist, the packages cannot be merged, or the package
    ///   is not admitted. Also if the Deployment resource is malformed, or is approved but not
    ///   prepared.
    /// - Any error of reading the template, or of the admission.
    pub(super) async fn draft_deployment(
        &self,
        draft: &mut ChangeDraft,
        new: &NewDeployment,
        creator: Creator,
    ) -> Result<DeploymentId> {
        let (mut base, mut inherited, mut origin) = (Package::default(), Metadata::default(), None);
        if let Some(id) = &new.template {
            let template = self.template(draft, id).await?;
            base = body_of(&template);
            inherited = inheritable(&template.entity);
            origin = Some(template.entity.version);
        }
        let asked = deployment_resource::asked(
            new.template.as_ref(),
            new.site.as_ref(),
            new.prepared,
            new.approved,
        );
        let mut package = deployment_resource::merged(&merge(&base, &new.merge)?, &asked)?;
        let mut split = deployment_resource::split(&package)?;
        let is_restricted = creator == Creator::Preparer && restrict_child(&mut split, &base)?;
        let is_automatic = split.prepared
            && !split.approved
            && annotation::approve(&split.resource.skeleton) == Approve::Auto;
        split.approved |= is_automatic;
        if is_restricted || is_automatic {
            package = deployment_resource::join(
                &split.resource,
                split.prepared,
                split.approved,
                &split.body,
            );
        }
        if split.approved && !split.prepared {
            return Err(Error::bad(
                APPROVED,
                "a deployment cannot be approved while it is not prepared",
            ));
        }
        self.admit(&package, split.prepared).await?;
        let id = new.id.clone().unwrap_or_else(|| self.ids.next());
        let deployment = Deployment {
            parent: new.parent.clone(),
            template: split.resource.template.clone(),
            origin,
            site: split.resource.site.clone(),
            prepared: split.prepared,
            approved: split.approved,
            placed: None,
            idempotency_key: new.idempotency_key.clone(),
            resource: split.resource,
        };
        if deployment.template != new.template {
            draft.set.require.extend(
                deployment
                    .template
                    .as_ref()
                    .map(|id| Require::Exists(id.into())),
            );
        }
        let parent = deployment.parent.as_ref().map(Key::from);
        let site = deployment.site.as_ref().map(Key::from);
        for key in parent.into_iter().chain(site) {
            draft.refer(key);
        }
        draft.require(Require::Absent(Key::from(&id)));
        let put = Put {
            key: Key::from(&id),
            metadata: metadata(&inherited, &package, &new.metadata)?,
            inherited,
            given: new.metadata.clone(),
            facts: Facts::Deployment(Box::new(deployment)),
            deleting: false,
            beside_modification: false,
            conditions: is_automatic.then(automatic_approval).into_iter().collect(),
            body: Some(split.body),
        };
        limits::check(&put)?;
        draft.put(None, put);
        Ok(id)
    }
}

/// Applies the rules for a child, which a preparer creates from a template with this package; it is
/// empty without a template. Returns whether they changed the Deployment resource.
///
/// - The child is not approved.
/// - It is prepared only if its template is marked as prepared.
/// - If the template says `approve: Manual`, so does the child.
///
/// # Errors
/// `BadArgument`: the template has several Deployment resources.
fn restrict_child(child: &mut Split, template: &Package) -> Result<bool> {
    let own = deployment_resource::place(template)?.map(|at| &template.resources()[at]);
    let asked = (child.prepared, child.approved);
    child.prepared &= own.is_some_and(|own| annotation::is_true(own, PREPARED));
    child.approved = false;
    let skeleton = &child.resource.skeleton;
    let manual = own.filter(|own| {
        annotation::approve(own) == Approve::Manual
            && annotation::approve(skeleton) != Approve::Manual
    });
    if let Some(own) = manual {
        child.resource.skeleton = annotation::restored(skeleton, own, APPROVE);
    }
    Ok(manual.is_some() || asked != (child.prepared, child.approved))
}

/// The condition of a deployment that its policy approves at the creation.
fn automatic_approval() -> Condition {
    let message = "approved at its creation, because its package says nephio.org/approve: Auto";
    Condition::new(entity::APPROVED, true, "Automatic", message, Generation(1))
}

/// Refuses an idempotency key that only the steps of preparers may use: a deployment's id, `|`, and
/// anything.
fn check_idempotency_key(new: &NewDeployment) -> Result<()> {
    let key = new.idempotency_key.as_deref().unwrap_or_default();
    match key.split_once('|') {
        Some((parent, _)) if DeploymentId::new(parent).is_ok() => Err(Error::bad(
            "idempotency key",
            format!(
                "{key:?} begins with an id and \"|\", which is reserved for the children that preparers \
                 create; choose another key"
            ),
        )),
        _ => Ok(()),
    }
}
