//! Resolves a Placement within its package.

use super::super::merging::MergeReferences;
use super::super::selection::{self, exists, in_words};
use super::super::when::MergeConditions;
use super::super::{field, site};
use futures_util::future::try_join_all;
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use tko_core::annotation::{self, PREPARE, PREPARED};
use tko_core::select::MetadataPatterns;
use tko_core::{
    Answer, DataApi, Error, Key, Kind, Package, PrepareCall, Resource, Result, SiteId,
    Subscription, TemplateId,
};

/// A resolved Placement.
pub(super) struct PlacementPlan {
    /// Its `templates`, in order.
    pub(super) entries: Vec<PlacementEntry>,
    /// Whether the children of sites that leave the selection are deleted.
    pub(super) deletes: bool,
}

/// One entry of `templates`.
pub(super) struct PlacementEntry {
    template: TemplateChoice,
    /// The sites of its names, in order.
    pub(super) sites: Vec<PlacementSites>,
    /// Copies of the resources to merge into each child.
    pub(super) merge: Package,
}

/// How an entry chooses its template.
enum TemplateChoice {
    Id(TemplateId),
    First(MetadataPatterns),
}

/// The sites of one name.
pub(super) enum PlacementSites {
    /// The site of a `Site`.
    One(SiteId),
    /// The selection of a `Sites`.
    Many(MetadataPatterns),
}

/// The result of [`plan`].
pub(super) enum PlanResult {
    Ready(PlacementPlan),
    /// Other resources of the package must be prepared first; the text names them.
    Waits(String),
}

/// A template or site that is not registered.
pub(super) struct MissingEntity {
    /// The reason to wait, which names the entity or its selection.
    pub(super) reason: String,
    /// The event that the entity is registered.
    pub(super) subscription: Subscription,
}

impl MissingEntity {
    fn of(key: Key) -> Self {
        Self {
            reason: format!("waiting for {key}, which is not registered"),
            subscription: Subscription::Entity(key),
        }
    }
}

impl From<MissingEntity> for Answer {
    fn from(missing: MissingEntity) -> Self {
        Self::NotYet {
            reason: missing.reason,
            waits_for: vec![missing.subscription],
        }
    }
}

/// Resolves every name. Reports everything that it waits for at once.
///
/// # Errors
///
/// `BadArgument` if a name resolves to nothing, or to both a `Site` and a `Sites`.
pub(super) fn plan(
    call: &PrepareCall<'_>,
    placement: &Resource,
    conditions: &MergeConditions,
) -> Result<PlanResult> {
    let mut waits = Vec::new();
    let mut entries = Vec::new();
    let mut references = MergeReferences::new(call, conditions);
    let templates = field::list(field::spec(placement, "templates"), "spec.templates")?;
    for (index, entry) in templates.iter().enumerate() {
        let path = format!("spec.templates[{index}]");
        entries.push(read(&mut references, entry, &path, &mut waits)?);
    }
    if let Some(awaited) = references.awaited() {
        waits.push(format!("waiting until {awaited} is prepared"));
    }
    let on_leave = field::spec(placement, "onLeave");
    let on_leave = field::word(on_leave, "spec.onLeave", ["Keep", "Delete"])?;
    is_continuous(placement)?;
    if waits.is_empty() {
        return Ok(PlanResult::Ready(PlacementPlan {
            entries,
            deletes: on_leave == "Delete",
        }));
    }
    waits.dedup();
    Ok(PlanResult::Waits(waits.join("; ")))
}

/// Whether a Placement continues once it is prepared.
pub(super) fn is_continuous(placement: &Resource) -> Result<bool> {
    let track = field::spec(placement, "track");
    let track = field::word(track, "spec.track", ["Once", "Continuous"])?;
    Ok(track == "Continuous")
}

fn read(
    references: &mut MergeReferences<'_>,
    entry: &Value,
    path: &str,
    waits: &mut Vec<String>,
) -> Result<PlacementEntry> {
    let entry = field::map(entry, path)?;
    let at = format!("{path}.template");
    let name = field::text(field::of(entry, "template"), &at)?
        .ok_or_else(|| Error::bad(at.clone(), "is missing: the name of a Template resource"))?;
    let template = references.lookup.named("Template", name)?;
    let template = template.ok_or_else(|| nameless(at, "Template", name))?;
    let mut sites = Vec::new();
    let at = format!("{path}.sites");
    for (index, name) in field::list(field::of(entry, "sites"), &at)?
        .iter()
        .enumerate()
    {
        let at = format!("{at}[{index}]");
        let name = field::text(Some(name), &at)?
            .ok_or_else(|| Error::bad(at.clone(), "is empty: the name of a Site or Sites"))?;
        sites.extend(places(references, name, at, waits)?);
    }
    let at = format!("{path}.merge");
    let merge = references.copies(field::of(entry, "merge"), &at)?;
    Ok(PlacementEntry {
        template: choice(&template)?,
        sites,
        merge,
    })
}

fn choice(template: &Resource) -> Result<TemplateChoice> {
    let in_template = |error| within(template, error);
    let id =
        field::text(field::spec(template, "templateId"), "spec.templateId").map_err(in_template)?;
    if let Some(id) = id {
        return TemplateId::new(id)
            .map(TemplateChoice::Id)
            .map_err(in_template);
    }
    match selection::selection(template).map_err(in_template)? {
        Some(metadata) => Ok(TemplateChoice::First(metadata)),
        None => Err(in_template(Error::bad(
            "spec",
            "names no template; set templateId or select.metadata",
        ))),
    }
}

/// The sites of a name; `None` if the `Site` has no site yet; the `Site` is then added to `waits`.
fn places(
    references: &mut MergeReferences<'_>,
    name: &str,
    at: String,
    waits: &mut Vec<String>,
) -> Result<Option<PlacementSites>> {
    let one = references.lookup.named("Site", name)?;
    let many = references.lookup.named("Sites", name)?;
    match (one, many) {
        (Some(_), Some(_)) => Err(Error::bad(
            at,
            format!("{name:?} is the name of both a Site and a Sites; rename one of them"),
        )),
        (None, None) => Err(nameless(at, "Site or Sites", name)),
        (None, Some(sites)) => match selection::selection(&sites).map_err(|e| within(&sites, e))? {
            Some(metadata) => Ok(Some(PlacementSites::Many(metadata))),
            None => Err(within(
                &sites,
                Error::bad("spec.select.metadata", "is missing; it selects the sites"),
            )),
        },
        (Some(site), None) => {
            if references.is_unprepared(site.identifier()) {
                waits.push(format!("waiting for the site of {}", site.identifier()));
                return Ok(None);
            }
            match site::given(&site).map_err(|error| within(&site, error))? {
                Some(id) => Ok(Some(PlacementSites::One(id))),
                None => Err(within(&site, siteless(&site))),
            }
        }
    }
}

fn siteless(site: &Resource) -> Error {
    let why = match site.annotation(PREPARE) {
        Some(when) => format!("{PREPARE}: {when}"),
        None if annotation::is_true(site, PREPARED) => {
            format!("it is marked {PREPARED} already")
        }
        None => "it has no preparer".to_owned(),
    };
    Error::bad(
        "status.siteId",
        format!("is missing, and the resource is not prepared here ({why})"),
    )
}

fn nameless(at: String, kind: &str, name: &str) -> Error {
    Error::bad(at, format!("the package has no {kind} {name:?}"))
}

/// Names the resource in an error that concerns another resource than the target.
fn within(resource: &Resource, error: Error) -> Error {
    match error {
        Error::BadArgument {
            argument,
            message,
            violations,
        } => Error::BadArgument {
            argument: format!("{}: {argument}", resource.identifier()).into(),
            message,
            violations,
        },
        other => other,
    }
}

impl PlacementEntry {
    /// The template, if the entry names it rather than selecting one.
    pub(super) fn fixed_template(&self) -> Option<&TemplateId> {
        match &self.template {
            TemplateChoice::Id(id) => Some(id),
            TemplateChoice::First(_) => None,
        }
    }

    /// Looks up the template.
    pub(super) async fn template(
        &self,
        data: &dyn DataApi,
    ) -> Result<Result<TemplateId, MissingEntity>> {
        match &self.template {
            TemplateChoice::Id(id) => {
                let key = Key::from(id);
                if exists(data, &key).await? {
                    return Ok(Ok(id.clone()));
                }
                Ok(Err(MissingEntity::of(key)))
            }
            TemplateChoice::First(metadata) => {
                let first = selection::first(data, Kind::Template, metadata).await?;
                if let Some(Key::Template(id)) = first {
                    return Ok(Ok(id));
                }
                Ok(Err(MissingEntity {
                    reason: format!("no template matches {}", in_words(metadata)),
                    subscription: Subscription::Selection {
                        kind: Kind::Template,
                        metadata: metadata.clone(),
                        persistent: false,
                    },
                }))
            }
        }
    }
}

/// The sites of `Site` resources that were looked up.
///
/// A `Site` finds its site before a Placement is prepared, but the site can be deleted after that.
#[derive(Default)]
pub(super) struct NamedSites {
    /// Whether each is registered.
    known: HashMap<SiteId, bool>,
}

/// How many sites are looked up at the same time.
const AT_ONCE: usize = 16;

impl NamedSites {
    /// Looks up the sites of all `Site` resources of a plan. Returns the first by id that is not
    /// registered.
    pub(super) async fn first_missing(
        &mut self,
        data: &dyn DataApi,
        plan: &PlacementPlan,
    ) -> Result<Option<MissingEntity>> {
        let sites = plan.entries.iter().flat_map(|entry| &entry.sites);
        let named: BTreeSet<&SiteId> = sites
            .filter_map(|sites| match sites {
                PlacementSites::One(site) => Some(site),
                PlacementSites::Many(_) => None,
            })
            .collect();
        let named: Vec<&SiteId> = named.into_iter().collect();
        for sites in named.chunks(AT_ONCE) {
            let looked_up = sites.iter().map(|site| async move {
                let found = exists(data, &Key::from(*site)).await?;
                Ok::<_, Error>(((*site).clone(), found))
            });
            self.known.extend(try_join_all(looked_up).await?);
            for site in sites {
                if let Some(missing) = self.missing(data, site).await? {
                    return Ok(Some(missing));
                }
            }
        }
        Ok(None)
    }

    /// Looks up a site, unless this was done before. Returns it if it is not registered.
    pub(super) async fn missing(
        &mut self,
        data: &dyn DataApi,
        site: &SiteId,
    ) -> Result<Option<MissingEntity>> {
        let key = Key::from(site);
        let known = self.known.get(site).copied();
        let is_registered = if let Some(known) = known {
            known
        } else {
            let found = exists(data, &key).await?;
            self.known.insert(site.clone(), found);
            found
        };
        Ok((!is_registered).then(|| MissingEntity::of(key)))
    }
}
