//! What a Placement asks for, resolved within its package.

use super::super::merging::{Merging, names, referred};
use super::super::selection::{self, exists, in_words};
use super::super::{field, named, site};
use serde_json::Value;
use tko_core::annotation::{self, PREPARE, PREPARED};
use tko_core::select::MetadataPatterns;
use tko_core::{
    Answer, DataApi, Error, Key, Kind, Package, PrepareCall, Resource, Result, SiteId,
    Subscription, TemplateId,
};

/// A Placement.
pub(super) struct Plan {
    /// In order.
    pub(super) entries: Vec<Entry>,
    /// Children of sites that cease to match are deleted.
    pub(super) deletes: bool,
}

/// One of its `templates`.
pub(super) struct Entry {
    chosen: Chosen,
    /// By name, in order.
    pub(super) sites: Vec<Places>,
    /// Copies, to be merged into each child.
    pub(super) merge: Package,
}

enum Chosen {
    Id(TemplateId),
    First(MetadataPatterns),
}

/// What a name among `sites` stands for.
pub(super) enum Places {
    /// A Site that has its site.
    One(SiteId),
    /// Sites.
    Many(MetadataPatterns),
}

pub(super) enum Planned {
    Ready(Plan),
    /// Something of this package is to be prepared first.
    Waits(String),
}

/// A template that is not there yet.
pub(super) struct Missing {
    reason: String,
    interest: Subscription,
}

impl From<Missing> for Answer {
    fn from(missing: Missing) -> Self {
        Self::NotYet {
            reason: missing.reason,
            waits_for: vec![missing.interest],
        }
    }
}

/// Resolves every name. All that is waited for is said at once; a name that resolves to nothing,
/// or to both a Site and a Sites, is an error.
pub(super) fn plan(call: &PrepareCall<'_>, placement: &Resource) -> Result<Planned> {
    let mut waits = Vec::new();
    let mut entries = Vec::new();
    let templates = field::list(field::spec(placement, "templates"), "spec.templates")?;
    for (index, entry) in templates.iter().enumerate() {
        let path = format!("spec.templates[{index}]");
        entries.push(read(call, entry, &path, &mut waits)?);
    }
    let on_leave = field::spec(placement, "onLeave");
    let on_leave = field::word(on_leave, "spec.onLeave", ["Keep", "Delete"])?;
    is_continuous(placement)?;
    if waits.is_empty() {
        return Ok(Planned::Ready(Plan {
            entries,
            deletes: on_leave == "Delete",
        }));
    }
    waits.dedup();
    Ok(Planned::Waits(waits.join("; ")))
}

/// Whether it goes on once it is prepared.
pub(super) fn is_continuous(placement: &Resource) -> Result<bool> {
    let track = field::spec(placement, "track");
    let track = field::word(track, "spec.track", ["Once", "Continuous"])?;
    Ok(track == "Continuous")
}

fn read(
    call: &PrepareCall<'_>,
    entry: &Value,
    path: &str,
    waits: &mut Vec<String>,
) -> Result<Entry> {
    let entry = field::map(entry, path)?;
    let at = format!("{path}.template");
    let name = field::text(field::of(entry, "template"), &at)?
        .ok_or_else(|| Error::bad(at.clone(), "is missing: the name of a Template resource"))?;
    let template =
        named(call.package, "Template", name)?.ok_or_else(|| nameless(at, "Template", name))?;
    let mut sites = Vec::new();
    let at = format!("{path}.sites");
    for (index, name) in field::list(field::of(entry, "sites"), &at)?
        .iter()
        .enumerate()
    {
        let at = format!("{at}[{index}]");
        let name = field::text(Some(name), &at)?
            .ok_or_else(|| Error::bad(at.clone(), "is empty: the name of a Site or Sites"))?;
        sites.extend(places(call, name, at, waits)?);
    }
    let at = format!("{path}.merge");
    let Merging { package, pending } = referred(call, field::of(entry, "merge"), &at)?;
    if !pending.is_empty() {
        waits.push(format!("waits until {} is prepared", names(&pending)));
    }
    Ok(Entry {
        chosen: chosen(template)?,
        sites,
        merge: package,
    })
}

fn chosen(template: &Resource) -> Result<Chosen> {
    let in_template = |error| within(template, error);
    let id =
        field::text(field::spec(template, "templateId"), "spec.templateId").map_err(in_template)?;
    if let Some(id) = id {
        return TemplateId::new(id).map(Chosen::Id).map_err(in_template);
    }
    match selection::selection(template).map_err(in_template)? {
        Some(metadata) => Ok(Chosen::First(metadata)),
        None => Err(in_template(Error::bad(
            "spec",
            "names no template; give templateId or select.metadata",
        ))),
    }
}

/// `None`: it has no site yet, which `waits` then says.
fn places(
    call: &PrepareCall<'_>,
    name: &str,
    at: String,
    waits: &mut Vec<String>,
) -> Result<Option<Places>> {
    let one = named(call.package, "Site", name)?;
    let many = named(call.package, "Sites", name)?;
    match (one, many) {
        (Some(_), Some(_)) => Err(Error::bad(
            at,
            format!("{name:?} is the name of both a Site and a Sites; rename one of them"),
        )),
        (None, None) => Err(nameless(at, "Site or Sites", name)),
        (None, Some(sites)) => match selection::selection(sites).map_err(|e| within(sites, e))? {
            Some(metadata) => Ok(Some(Places::Many(metadata))),
            None => Err(within(
                sites,
                Error::bad("spec.select.metadata", "is missing: it says which sites"),
            )),
        },
        (Some(site), None) => {
            if call.pending.contains(site.identifier()) {
                waits.push(format!("{} has no site yet", site.identifier()));
                return Ok(None);
            }
            match site::given(site).map_err(|error| within(site, error))? {
                Some(id) => Ok(Some(Places::One(id))),
                None => Err(within(site, siteless(site))),
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
        None => "nothing prepares it".to_owned(),
    };
    Error::bad(
        "status.siteId",
        format!("is missing, and it is not prepared here ({why})"),
    )
}

fn nameless(at: String, kind: &str, name: &str) -> Error {
    Error::bad(at, format!("there is no {kind} {name:?} in this package"))
}

/// The error of another resource than the one that is prepared.
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

impl Entry {
    /// The template as it is now.
    pub(super) async fn template(&self, data: &dyn DataApi) -> Result<Result<TemplateId, Missing>> {
        match &self.chosen {
            Chosen::Id(id) => {
                let key = Key::from(id);
                if exists(data, &key).await? {
                    return Ok(Ok(id.clone()));
                }
                Ok(Err(Missing {
                    reason: format!("{key} is not registered"),
                    interest: Subscription::Entity(key),
                }))
            }
            Chosen::First(metadata) => {
                let first = selection::first(data, Kind::Template, metadata).await?;
                if let Some(Key::Template(id)) = first {
                    return Ok(Ok(id));
                }
                Ok(Err(Missing {
                    reason: format!("no template matches {}", in_words(metadata)),
                    interest: Subscription::Selection {
                        kind: Kind::Template,
                        metadata: metadata.clone(),
                        persistent: false,
                    },
                }))
            }
        }
    }
}
