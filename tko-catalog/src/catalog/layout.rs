//! Determines which folders of a source are packages, and the template id of each.

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

/// The packages among the files of a source: the folder of each, and the positions of its files.
///
/// Paths are relative to the root of the catalog, with `/`. A folder within a package belongs to it.
pub(crate) fn packages<'a>(
    entry: &CatalogEntry,
    files: impl Iterator<Item = (usize, &'a str)> + Clone,
) -> BTreeMap<String, Vec<usize>> {
    let kpt: HashSet<&str> = files
        .clone()
        .filter_map(|(_, file)| {
            let (folder, name) = file.rsplit_once('/').unwrap_or(("", file));
            (name == "Kptfile").then_some(folder)
        })
        .collect();
    let plain: HashSet<&str> = if entry.paths.is_empty() && kpt.is_empty() {
        let folders = files.clone();
        folders
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
    let mut packages: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, file) in files {
        let ends = file.match_indices('/').map(|(end, _)| end);
        let mut folders = std::iter::once(0).chain(ends).map(|end| &file[..end]);
        if let Some(folder) = folders.find(|folder| is_package(folder)) {
            packages.entry(folder.to_owned()).or_default().push(at);
        }
    }
    packages
}

/// Whether a pattern of the catalog matches a folder.
fn matches_paths(entry: &CatalogEntry, folder: &str) -> bool {
    entry.paths.iter().any(|pattern| match folder {
        // Wildcards mean folders below the root.
        "" => pattern.as_str() == ".",
        folder => pattern.matches(folder),
    })
}

/// The folder of a package that the source names by its place, relative to the root of the catalog;
/// `None` if the root or the patterns of the catalog exclude it.
pub(crate) fn chosen_folder<'a>(entry: &CatalogEntry, place: &'a str) -> Option<&'a str> {
    let folder = if place == entry.root {
        ""
    } else {
        below(&entry.root, place)?
    };
    (entry.paths.is_empty() || matches_paths(entry, folder)).then_some(folder)
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
    use super::{IdTemplate, check_path, is_version, versioned};

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
