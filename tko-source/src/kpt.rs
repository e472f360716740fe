//! Packages of kpt: turns information outside their resources into annotations.
//!
//! A Kptfile names other files of its package, and comments `# kpt-set:` name the setters of
//! fields. Both would be lost, because a package is a list of resources without files and comments.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tko_core::annotation::{FILE, SETTERS};
use tko_core::encoding;
use tko_core::{Dialect, Format, Limits, Package, Resource};

/// The name of the file that makes a folder a package of kpt.
pub(crate) const KPTFILE: &str = "Kptfile";
/// The beginning of a comment with a setter.
const SETTER: &str = "kpt-set:";

/// The folder that contains all packages of kpt among these files; `None` without a Kptfile. It is
/// empty, or ends with a slash.
pub(crate) fn root<'a>(names: impl Iterator<Item = &'a str>) -> Option<String> {
    let folders = names.filter_map(|name| {
        let folder = name.strip_suffix(KPTFILE)?;
        (folder.is_empty() || folder.ends_with(['/', '!'])).then_some(folder)
    });
    folders.map(str::to_owned).reduce(|mut root, folder| {
        while !folder.starts_with(&root) {
            root.pop();
            let end = root.rfind(['/', '!']).map_or(0, |end| end + 1);
            root.truncate(end);
        }
        root
    })
}

/// The path of a file below the root; `None` if it is elsewhere.
pub(crate) fn relative<'a>(root: &str, name: &'a str) -> Option<&'a str> {
    name.strip_prefix(root)
}

/// The resources of a file with annotations for its path, if it is given, and for setters.
pub(crate) fn annotated(package: &Package, bytes: &[u8], file: Option<&str>) -> Vec<Arc<Resource>> {
    let mut setters = setters(bytes);
    let resources = package.iter().enumerate();
    resources
        .map(|(at, resource)| {
            let mut resource = resource.clone();
            if let Some(file) = file {
                resource = Arc::new(resource.annotated(FILE, file));
            }
            if let Some(setters) = setters.remove(&at) {
                let text = serde_json::to_string(&setters).expect("a map of texts always encodes");
                resource = Arc::new(resource.annotated(SETTERS, &text));
            }
            resource
        })
        .collect()
}

/// The setters of the resources of a file, by their place in the file.
fn setters(bytes: &[u8]) -> BTreeMap<usize, BTreeMap<String, String>> {
    let mut setters: BTreeMap<usize, BTreeMap<String, String>> = BTreeMap::new();
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let comments = encoding::line_comments(text, SETTER, Dialect::People);
    if comments.is_empty() {
        return setters;
    }
    // By document and item, so that the time grows with the text only.
    let mut by_place: HashMap<(usize, Option<usize>), BTreeMap<String, String>> = HashMap::new();
    for comment in &comments {
        let pattern = comment.text.trim_start_matches(SETTER).trim();
        let mut add = |item, pointer: &str| {
            let own = by_place.entry((comment.document, item)).or_default();
            own.insert(pointer.to_owned(), pattern.to_owned());
        };
        add(None, &comment.pointer);
        if let Some((item, pointer)) = within_item(&comment.pointer) {
            add(Some(item), pointer);
        }
    }
    // Read again, because only this shows which document each resource came from.
    let limits = Limits::default();
    let decoded = encoding::decode_placed(bytes, Format::Yaml, Dialect::People, &limits);
    for (at, decoded) in decoded.unwrap_or_default().into_iter().enumerate() {
        let place = (decoded.at.document.unwrap_or(1), decoded.at.item);
        if let Some(own) = by_place.remove(&place) {
            setters.insert(at, own);
        }
    }
    setters
}

/// The item of a list that a pointer from the document leads into, from 1, and the pointer from
/// there.
fn within_item(pointer: &str) -> Option<(usize, &str)> {
    let rest = pointer
        .strip_prefix("/items")
        .unwrap_or(pointer)
        .strip_prefix('/')?;
    let end = rest.find('/')?;
    let item: usize = rest[..end].parse().ok()?;
    Some((item.checked_add(1)?, &rest[end..]))
}

#[cfg(test)]
mod tests {
    use super::{relative, root};
    use crate::{SourceFile, package_of};

    #[test]
    fn the_root_contains_every_kptfile() {
        let of = |names: &[&str]| root(names.iter().copied());
        assert_eq!(of(&["a/x.yaml"]), None);
        assert_eq!(of(&["a/NotAKptfile"]), None);
        assert_eq!(of(&["Kptfile", "sub/Kptfile"]).as_deref(), Some(""));
        assert_eq!(
            of(&["/p/a/Kptfile", "/p/a/b/Kptfile"]).as_deref(),
            Some("/p/a/")
        );
        assert_eq!(
            of(&["/p/a/Kptfile", "/p/b/Kptfile"]).as_deref(),
            Some("/p/")
        );
        assert_eq!(
            of(&["x.zip!p/Kptfile", "x.zip!q/Kptfile"]).as_deref(),
            Some("x.zip!")
        );
        assert_eq!(relative("/p/", "/p/a/x.yaml"), Some("a/x.yaml"));
        assert_eq!(relative("/p/a/", "/p/x.yaml"), None);
    }

    #[test]
    fn resources_of_kpt_packages_keep_their_files_and_setters() {
        let file = |name: &str, text: &str| SourceFile {
            name: name.to_owned(),
            bytes: text.as_bytes().to_vec(),
        };
        let package = package_of([
            file(
                "p/Kptfile",
                "apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata: {name: p}\n",
            ),
            file(
                "p/sub/two.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a # kpt-set: ${name}\n---\n\
                 apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  \
                 metadata: {name: b}\n  data:\n    x: '1' # kpt-set: ${x}\n\x20   \
                 on: q # kpt-set: ${h}\n",
            ),
        ]);
        let package = package.expect("a package");
        let annotations: Vec<_> = package
            .iter()
            .map(|resource| resource.value()["metadata"]["annotations"].clone())
            .collect();
        let path = "internal.config.kubernetes.io/path";
        let setters = "kpt.nephio.org/setters";
        assert_eq!(annotations[0][path], "Kptfile");
        assert_eq!(annotations[1][path], "sub/two.yaml");
        assert_eq!(annotations[1][setters], r#"{"/metadata/name":"${name}"}"#);
        // As in the package, where the key `on` is `true`.
        assert_eq!(
            annotations[2][setters],
            r#"{"/data/true":"${h}","/data/x":"${x}"}"#
        );
    }
}
