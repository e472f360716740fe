//! A package: its resources, the differences from the template, and the search matches.

use super::html::Html;
use super::{diff, yaml};
use crate::query::ApiQuery;
use tko_core::{Identifier, Package, Result};

/// Maximum number of resources in the list of a page.
const MAX_RESOURCES: usize = 500;

/// How a page shows a package, according to its address.
#[derive(Clone, Debug, Default)]
pub(super) struct PackageQuery {
    /// The index of the resource that is shown.
    resource: Option<usize>,
    find: String,
    /// Whether to show the differences from the template.
    is_merge: bool,
}

impl PackageQuery {
    /// Takes the parameters `resource`, `find` and `view`.
    pub(super) fn take(query: &mut ApiQuery) -> Result<Self> {
        Ok(Self {
            resource: query.number("resource")?,
            find: query.text("find")?.unwrap_or_default(),
            is_merge: query.text("view")?.as_deref() == Some("merge"),
        })
    }

    /// Whether the template is needed.
    pub(super) fn needs_template(&self) -> bool {
        self.is_merge
    }

    fn href(&self, path: &str, resource: usize) -> String {
        let view = if self.is_merge { "&view=merge" } else { "" };
        let find = super::encoded(&self.find);
        format!("{path}?resource={resource}&find={find}{view}#package")
    }
}

/// A package on a page.
pub(super) struct PackageView {
    pub(super) tabs: Vec<Tab>,
    pub(super) resources: Vec<ResourceLink>,
    pub(super) find: String,
    pub(super) view: &'static str,
    pub(super) is_diff: bool,
    pub(super) content: Html,
}

/// One way to see a package.
pub(super) struct Tab {
    pub(super) href: String,
    pub(super) label: &'static str,
    pub(super) active: bool,
}

/// A resource in the list next to the content.
pub(super) struct ResourceLink {
    pub(super) href: String,
    pub(super) label: String,
    pub(super) note: String,
    pub(super) active: bool,
}

impl PackageView {
    /// Shows a package. `template`: the template's package, to compare with. `stuck`: the message
    /// of a condition; a resource that it names is shown first.
    pub(super) fn new(
        path: &str,
        api_path: String,
        package: &Package,
        query: &PackageQuery,
        template: Option<&Package>,
        has_template: bool,
        stuck: &str,
    ) -> Self {
        let texts: Vec<String> = package
            .iter()
            .take(MAX_RESOURCES)
            .map(|one| yaml::text(one.value()))
            .collect();
        let find = query.find.to_lowercase();
        let hits = |text: &str| {
            text.lines()
                .filter(|line| line.to_lowercase().contains(&find))
                .count()
        };
        let found: Vec<usize> = texts
            .iter()
            .map(|text| if find.is_empty() { 0 } else { hits(text) })
            .collect();
        let chosen = query
            .resource
            .filter(|at| *at < texts.len())
            .unwrap_or_else(|| {
                let by_find = found.iter().position(|count| *count > 0);
                let by_stuck = package.iter().take(MAX_RESOURCES).position(|resource| {
                    !stuck.is_empty() && stuck.contains(&named(resource.identifier()))
                });
                let by_merge = package.iter().take(MAX_RESOURCES).position(|resource| {
                    let base = template.and_then(|template| template.find(resource.identifier()));
                    query.is_merge && base.is_none_or(|base| base.hash() != resource.hash())
                });
                by_find.or(by_merge).or(by_stuck).unwrap_or(0)
            });
        let mut resources: Vec<ResourceLink> = package
            .iter()
            .zip(&found)
            .enumerate()
            .map(|(at, (resource, found))| {
                let base = template.and_then(|template| template.find(resource.identifier()));
                let note = match (query.is_merge, base) {
                    (true, None) => "added".to_owned(),
                    (true, Some(base)) if base.hash() != resource.hash() => "changed".to_owned(),
                    _ if *found > 0 => format!("{found} found"),
                    _ => String::new(),
                };
                ResourceLink {
                    href: query.href(path, at),
                    label: named(resource.identifier()),
                    note,
                    active: at == chosen,
                }
            })
            .collect();
        if package.len() > MAX_RESOURCES
            && let Some(last) = resources.last_mut()
        {
            last.note = format!("and {} more: download", package.len() - MAX_RESOURCES);
        }
        let text = texts.get(chosen).map(String::as_str).unwrap_or_default();
        let content = match template.filter(|_| query.is_merge) {
            Some(template) => {
                let base = package.resources().get(chosen);
                let base = base.and_then(|resource| template.find(resource.identifier()));
                let base = base
                    .map(|base| yaml::text(base.value()))
                    .unwrap_or_default();
                diff::diff(&base, text).0
            }
            None => yaml::shown(text, &query.find),
        };
        let mut tabs = Vec::new();
        if has_template {
            tabs.push(Tab {
                href: format!("{path}#package"),
                label: "as it is",
                active: !query.is_merge,
            });
            tabs.push(Tab {
                href: format!("{path}?view=merge#package"),
                label: "against its template",
                active: query.is_merge,
            });
        }
        tabs.push(Tab {
            href: api_path,
            label: "download",
            active: false,
        });
        Self {
            tabs,
            resources,
            find: query.find.clone(),
            view: if query.is_merge { "merge" } else { "" },
            is_diff: query.is_merge,
            content,
        }
    }
}

/// A resource as people name it: kind, namespace, name.
fn named(identifier: &Identifier) -> String {
    let (kind, name) = (&identifier.gvk.kind, &identifier.name);
    match &identifier.namespace {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}
