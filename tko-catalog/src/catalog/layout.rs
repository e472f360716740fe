//! Determines which folders of a source are packages, and the template id of each.

use super::descriptor::{DescribedFolders, is_descriptor};
use super::entry::CatalogEntry;
use std::collections::{BTreeMap, HashSet};
use tko_core::{Error, Result, TemplateId};

/// How many hexadecimal digits of a content digest form a version.
const SHORT: usize = 12;

/// The pattern of template ids: text with `{path}`, `{name}`, `{version}` and `{catalog}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdTemplate(String);

impl IdTemplate {
    /// The default pattern.
    pub(crate) const DEFAULT: &'static str = "{path}:{version}";

    /// Reads a pattern.
    ///
    /// # Errors
    /// `BadArgument`: a placeholder is unknown, or both `{path}` and `{name}`, or `{version}`, are
    /// missing.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let bad = |why: String| Err(Error::bad("id", why));
        let mut rest = text;
        while let Some((_, after)) = rest.split_once('{') {
            let Some((name, after)) = after.split_once('}') else {
                return bad(format!("{text:?} has a brace that is not closed"));
            };
            if !["path", "name", "version", "catalog"].contains(&name) {
                return bad(format!(
                    "unknown placeholder {{{name}}}; expected {{path}}, {{name}}, {{version}} or \
                     {{catalog}}"
                ));
            }
            rest = after;
        }
        if !text.contains("{version}") {
            return bad(format!(
                "{text:?} has no {{version}}, so versions would replace each other"
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// The id of a package.
    ///
    /// # Errors
    /// `BadArgument`: the result has characters that ids do not have.
    pub(crate) fn id(&self, catalog: &str, path: &str, version: &str) -> Result<TemplateId> {
        let name = path.rsplit('/').next().unwrap_or(path);
        let mut id = String::new();
        let mut rest = self.0.as_str();
        // In one pass: a path that contains a placeholder is not expanded again.
        while let Some((before, after)) = rest.split_once('{') {
            let (placeholder, after) = after.split_once('}').unwrap_or((after, ""));
            id.push_str(before);
            id.push_str(match placeholder {
                "path" => path,
                "name" => name,
                "version" => version,
                _ => catalog,
            });
            rest = after;
        }
        id.push_str(rest);
        TemplateId::new(&id)
    }
}

/// The files of a package, by their positions in the source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PackageFiles {
    /// The descriptor, which is not one of the files.
    pub(crate) descriptor: Option<usize>,
    pub(crate) files: Vec<usize>,
    /// Whether a folder below has a descriptor, so that not all files below belong to this package.
    pub(crate) has_others_below: bool,
}

/// The packages among the files of a source, by folder.
///
/// Paths are relative to the root of the catalog, with `/`. A file below folders with a descriptor
/// belongs to the nearest of them. Other files, hidden ones too, belong to the topmost folder that is
/// a package.
pub(crate) fn packages<'a>(
    entry: &CatalogEntry,
    files: impl Iterator<Item = (usize, &'a str)> + Clone,
) -> BTreeMap<String, PackageFiles> {
    let described = DescribedFolders::of(files.clone().map(|(_, file)| file));
    // The configuration of other tools, such as `.gitlab-ci.yml`, makes no folder a package.
    let others = files
        .clone()
        .filter(|(_, file)| described.above(file).is_none() && !is_hidden(file));
    let kpt: HashSet<&str> = others
        .clone()
        .filter_map(|(_, file)| {
            let (folder, name) = file.rsplit_once('/').unwrap_or(("", file));
            (name == "Kptfile").then_some(folder)
        })
        .collect();
    let plain: HashSet<&str> = if entry.paths.is_empty() && kpt.is_empty() {
        others
            .map(|(_, file)| file.rsplit_once('/').map_or("", |(folder, _)| folder))
            .collect()
    } else {
        HashSet::new()
    };
    let is_package = |folder: &str| {
        if entry.paths.is_empty() {
            return kpt.contains(folder) || plain.contains(folder);
        }
        matches_paths(entry, folder)
    };
    let mut packages: BTreeMap<String, PackageFiles> = BTreeMap::new();
    for (at, file) in files {
        if let Some(folder) = described.above(file) {
            if is_chosen(entry, folder) {
                let package = packages.entry(folder.to_owned()).or_default();
                if is_descriptor(file) {
                    package.descriptor = Some(at);
                } else {
                    package.files.push(at);
                }
            }
            continue;
        }
        let ends = file.match_indices('/').map(|(end, _)| end);
        let mut folders = std::iter::once(0).chain(ends).map(|end| &file[..end]);
        if let Some(folder) = folders.find(|folder| is_package(folder)) {
            let package = packages.entry(folder.to_owned()).or_default();
            package.files.push(at);
        }
    }
    for parent in described.parents() {
        if let Some(package) = packages.get_mut(parent) {
            package.has_others_below = true;
        }
    }
    packages
}

/// Whether the name of a file, or of a folder above it, begins with `.`.
fn is_hidden(file: &str) -> bool {
    let mut names = file.split('/');
    names.any(|name| name.starts_with('.') && name != "." && name != "..")
}

/// Whether the patterns of the catalog, if it has any, match a folder that is a package by itself.
fn is_chosen(entry: &CatalogEntry, folder: &str) -> bool {
    entry.paths.is_empty() || matches_paths(entry, folder)
}

/// Whether a pattern of the catalog matches a folder.
fn matches_paths(entry: &CatalogEntry, folder: &str) -> bool {
    entry.paths.iter().any(|pattern| match folder {
        // Wildcards mean folders below the root.
        "" => pattern.as_str() == ".",
        folder => pattern.matches(folder),
    })
}

/// The folder of a package that the source names by its place, relative to the root of the catalog.
/// `None` if the root or the patterns of the catalog exclude it.
pub(crate) fn chosen_folder<'a>(entry: &CatalogEntry, place: &'a str) -> Option<&'a str> {
    let folder = if place == entry.root {
        ""
    } else {
        below(&entry.root, place)?
    };
    is_chosen(entry, folder).then_some(folder)
}

/// The path of a file below the root of a catalog; `None` if it is not below the root.
pub(crate) fn below<'a>(root: &str, path: &'a str) -> Option<&'a str> {
    if root.is_empty() {
        return Some(path);
    }
    path.strip_prefix(root)?.strip_prefix('/')
}

/// Splits the name of a folder into path and version: `upf/v1` and `upf@v1` are version `v1` of
/// `upf`.
pub(crate) fn versioned(folder: &str) -> Option<(&str, &str)> {
    let (before, last) = folder.rsplit_once('/').unwrap_or(("", folder));
    if let Some((name, version)) = last.split_once('@') {
        let path = &folder[..folder.len() - version.len() - 1];
        return (!name.is_empty() && !version.is_empty()).then_some((path, version));
    }
    (is_version(last) && !before.is_empty()).then_some((before, last))
}

/// Whether a text looks like a version: `v1`, `1.2.3`, `v1.0.0-rc.1`.
pub(crate) fn is_version(text: &str) -> bool {
    let number = text.strip_prefix('v').unwrap_or(text);
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    number.starts_with(|c: char| c.is_ascii_digit())
        && number.chars().all(fine)
        && (text.starts_with('v') || number.contains('.'))
}

/// The version that is derived from a content digest.
pub(crate) fn short(digest: &str) -> &str {
    let hex = digest.rsplit_once(':').map_or(digest, |(_, hex)| hex);
    hex.get(..SHORT).unwrap_or(hex)
}

/// Refuses folders whose names could lead elsewhere when people write them into paths.
///
/// # Errors
/// `BadArgument`: a segment is empty, `.` or `..`.
pub(crate) fn check_path(path: &str) -> Result<()> {
    let fine = |segment: &str| !segment.is_empty() && segment != "." && segment != "..";
    if path.is_empty() || path.split('/').all(fine) {
        return Ok(());
    }
    Err(Error::bad(
        "path",
        format!("{path:?} has a segment that is empty, . or ..; rename the folder"),
    ))
}

#[cfg(test)]
mod tests {
    use super::{IdTemplate, check_path, is_version, packages, versioned};
    use crate::catalog::entry::CatalogEntry;
    use crate::settings::CatalogSettings;
    use std::sync::Arc;
    use tko_core::{Entity, Facts, Plugin, PluginId};

    /// The files of each package, the descriptor first.
    fn found(path: &str, files: &[&str]) -> Vec<String> {
        let id: PluginId = "catalog|core".parse().expect("an id");
        let plugin = Plugin::new("git").properties(
            [("url", "/here"), ("path", path)]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        );
        let entity = Entity::new(id, Facts::Plugin(Arc::new(plugin)));
        let entry = CatalogEntry::read(&entity, &CatalogSettings::default()).expect("an entry");
        let found = packages(&entry, files.iter().copied().enumerate());
        let shown = found.into_iter().map(|(folder, package)| {
            let members = package.descriptor.into_iter().chain(package.files);
            let members: Vec<&str> = members.map(|at| files[at]).collect();
            let below = if package.has_others_below { "+" } else { "" };
            format!("{folder}{below}: {}", members.join(" "))
        });
        shown.collect()
    }

    #[test]
    fn a_folder_with_a_descriptor_is_a_package_of_its_own() {
        let files = [
            "shop/package.yaml",
            "shop/template.json",
            "shop/sub/a.yaml",
            "shop/web@v1/package.yaml",
            "shop/web@v1/template.json",
            "plain/a.yaml",
            "plain/sub/b.yaml",
            "plain/sub/own/c.yaml",
            "plain/sub/own/template.json",
            "alone/template.json",
        ];
        let shop = "shop+: shop/template.json shop/package.yaml shop/sub/a.yaml";
        let web = "shop/web@v1: shop/web@v1/template.json shop/web@v1/package.yaml";
        let own = "plain/sub/own: plain/sub/own/template.json plain/sub/own/c.yaml";
        let plain = "plain+: plain/a.yaml plain/sub/b.yaml";
        let alone = "alone: alone/template.json";
        assert_eq!(found("", &files), [alone, plain, own, shop, web]);
        // Patterns select these folders as they select others.
        assert_eq!(found("shop/**,plain", &files), [plain, web]);
        // A Kptfile of such a package does not say how the others are found.
        let mut more = files.to_vec();
        more.push("shop/sub/Kptfile");
        let shop = format!("{shop} shop/sub/Kptfile");
        assert_eq!(found("", &more), [alone, plain, own, &shop, web]);
        assert_eq!(
            found("", &["x.yaml", "template.json"]),
            [": template.json x.yaml"]
        );
        let without = ["a/x.yaml", "a/b/y.yaml"];
        assert_eq!(found("", &without), ["a: a/x.yaml a/b/y.yaml"]);
    }

    #[test]
    fn hidden_files_make_no_package_and_belong_to_theirs() {
        let files = [
            ".gitlab-ci.yml",
            ".github/workflows/ci.yaml",
            ".cache/a/Kptfile",
            "pk/a/.hidden.yaml",
            "pk/a/.more/b.yaml",
            "pk/a/x.yaml",
            "pk/b/x.yaml",
        ];
        let a = "pk/a: pk/a/.hidden.yaml pk/a/.more/b.yaml pk/a/x.yaml";
        let b = "pk/b: pk/b/x.yaml";
        assert_eq!(found("", &files), [a, b]);
        // Patterns say what the packages are. So does a file of the root that is not hidden.
        let workflows = ".github/workflows: .github/workflows/ci.yaml";
        assert_eq!(found(".github/*,pk/b", &files), [workflows, b]);
        let all = ["x.yaml", ".gitlab-ci.yml", ".github/ci.yaml"];
        let root = ": x.yaml .gitlab-ci.yml .github/ci.yaml";
        assert_eq!(found("", &all), [root]);
        // These names lead elsewhere, so they are a problem.
        assert_eq!(found("", &["../a/x.yaml"]), ["../a: ../a/x.yaml"]);
    }

    #[test]
    fn ids_are_made_of_their_parts_in_one_pass() {
        let id = |text: &str, path: &str| {
            let made = IdTemplate::parse(text).expect("a pattern");
            made.id("core", path, "v1").map(|id| id.to_string())
        };
        assert_eq!(
            id("{path}:{version}", "nf/upf").expect("an id"),
            "nf/upf:v1"
        );
        let all = id("{catalog}/{name}:{version}", "nf/upf");
        assert_eq!(all.expect("an id"), "core/upf:v1");
        for path in ["a b", "{version}", "ä", "a\u{0}b"] {
            assert!(id("{path}:{version}", path).is_err(), "{path:?}");
        }
        for bad in ["{path}", "{path:{version}", "{no}:{version}", ""] {
            assert!(IdTemplate::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn versions_are_known_by_their_form() {
        for (folder, found) in [
            ("nf/upf/v1", Some(("nf/upf", "v1"))),
            ("nf/upf@v1", Some(("nf/upf", "v1"))),
            ("upf@a:b", Some(("upf", "a:b"))),
            ("upf/1.2.3", Some(("upf", "1.2.3"))),
            ("upf/5g", None),
            ("v1", None),
            ("upf/@v1", None),
            ("upf/vendor", None),
        ] {
            assert_eq!(versioned(folder), found, "{folder}");
        }
        assert!(is_version("v1.0.0-rc.1") && !is_version("version") && !is_version("5"));
    }

    #[test]
    fn segments_that_lead_elsewhere_are_refused() {
        assert!(check_path("").is_ok() && check_path("a/b").is_ok());
        for path in ["..", "a/../b", "a//b", "/a", "a/", "a/."] {
            assert!(check_path(path).is_err(), "{path}");
        }
    }
}
