//! The descriptors of templates, as `tko export` writes them.
//!
//! If the catalog has the property `descriptors`, a folder with a `template.json` is a package of its
//! own. Its descriptor is the only source of the template's id, and of the given metadata besides those
//! of the catalog.

use crate::export::layout::{MAX_DESCRIPTOR, TEMPLATE_DESCRIPTOR, TEMPLATES, parse};
use crate::provenance::CATALOG_PREFIX;
use std::collections::HashSet;
use tko_core::{Error, Key, Metadata, Result, TemplateId};

/// The id and the given metadata of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TemplateDescriptor {
    pub(crate) id: TemplateId,
    pub(crate) metadata: Metadata,
    /// The number of bytes of the file.
    pub(crate) size: usize,
}

impl TemplateDescriptor {
    /// Reads a descriptor by the rules of an import, except that the metadata of another catalog are
    /// left out: a catalog writes its own.
    ///
    /// # Errors
    /// `BadArgument`: names the file, and says what is wrong.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self> {
        if bytes.is_empty() {
            return Err(not_readable());
        }
        check_size(bytes.len() as u64)?;
        let read = parse(TEMPLATES, bytes).map_err(|error| wrong(error.chain().as_str()))?;
        let Key::Template(id) = read.key else {
            return Err(wrong("it is not the descriptor of a template"));
        };
        let mut metadata = read.metadata;
        metadata.retain(|key, _| !key.starts_with(CATALOG_PREFIX));
        Ok(Self {
            id,
            metadata,
            size: bytes.len(),
        })
    }

    /// Whether the id has a version, which never changes. An id without one moves, as an alias does.
    pub(crate) fn has_version(&self) -> bool {
        self.id.as_str().contains(':')
    }

    /// The digest of a package with this descriptor, whose files have the digest `files`.
    ///
    /// It covers the id and the metadata rather than the text, so that neither spaces nor
    /// the metadata of another catalog make another content.
    pub(crate) fn digest(&self, files: &str) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut add = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        add(files);
        add(self.id.as_str());
        for (key, value) in &self.metadata {
            add(key);
            add(value);
        }
        hasher.finalize().to_hex().to_string()
    }
}

/// Refuses a descriptor that is too large, if possible before it is read.
///
/// # Errors
/// `BadArgument`: names the file.
pub(crate) fn check_size(bytes: u64) -> Result<()> {
    if bytes > MAX_DESCRIPTOR {
        return Err(wrong(&format!("it has more than {MAX_DESCRIPTOR} bytes")));
    }
    Ok(())
}

/// The error about a descriptor that is a link, a device or a folder, or that has no content.
pub(crate) fn not_readable() -> Error {
    wrong("it is empty or not a regular file; replace it with a regular file")
}

fn wrong(why: &str) -> Error {
    Error::bad("package", format!("{TEMPLATE_DESCRIPTOR}: {why}"))
}

/// Whether a file is a descriptor, by its path.
pub(crate) fn is_descriptor(file: &str) -> bool {
    split(file).1 == TEMPLATE_DESCRIPTOR
}

/// The folders of a source that have a descriptor.
pub(crate) struct DescribedFolders<'a>(HashSet<&'a str>);

impl<'a> DescribedFolders<'a> {
    pub(crate) fn of(files: impl Iterator<Item = &'a str>) -> Self {
        let descriptors = files.filter(|file| is_descriptor(file));
        Self(descriptors.map(|file| split(file).0).collect())
    }

    /// The nearest folder with a descriptor above a file.
    pub(crate) fn above<'f>(&self, file: &'f str) -> Option<&'f str> {
        if self.0.is_empty() {
            return None;
        }
        ancestors(file).find(|folder| self.0.contains(folder))
    }

    /// All folders that have a described folder somewhere below them.
    pub(crate) fn parents(&self) -> impl Iterator<Item = &'a str> {
        let folders = self.0.iter().copied();
        folders.flat_map(ancestors)
    }
}

/// The folders above a path, the nearest first, up to the root.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |&path| {
        (!path.is_empty()).then(|| split(path).0)
    })
    .skip(1)
}

/// The folder and the name of a file.
fn split(file: &str) -> (&str, &str) {
    file.rsplit_once('/').unwrap_or(("", file))
}

#[cfg(test)]
mod tests {
    use super::{DescribedFolders, TemplateDescriptor};

    fn read(text: &str) -> TemplateDescriptor {
        TemplateDescriptor::read(text.as_bytes()).expect("a descriptor")
    }

    #[test]
    fn the_nearest_folder_with_a_descriptor_is_found() {
        let files = ["a/template.json", "a/b/c/template.json", "a/b/x.yaml"];
        let described = DescribedFolders::of(files.into_iter());
        for (file, folder) in [
            ("a/x.yaml", Some("a")),
            ("a/template.json", Some("a")),
            ("a/b/x.yaml", Some("a")),
            ("a/b/c/d/x.yaml", Some("a/b/c")),
            ("ab/x.yaml", None),
            ("x.yaml", None),
        ] {
            assert_eq!(described.above(file), folder, "{file}");
        }
        let mut parents: Vec<_> = described.parents().collect();
        parents.sort_unstable();
        assert_eq!(parents, ["", "", "a", "a/b"]);
        let root = DescribedFolders::of(["template.json"].into_iter());
        assert_eq!(root.above("a/x.yaml"), Some(""));
        assert_eq!(root.above("x.yaml"), Some(""));
    }

    #[test]
    fn a_digest_covers_the_id_and_the_metadata_and_nothing_else() {
        let one = read(r#"{"id": "shop", "metadata": {"a": "1", "b": "2"}}"#);
        let same = r#"{"metadata":{"b":"2","Catalog.gone":"true","a":"1"},"id":"shop"}"#;
        assert_eq!(read(same).digest("x"), one.digest("x"));
        assert_ne!(one.digest("x"), one.digest("y"));
        for other in [
            r#"{"id": "shop:v1", "metadata": {"a": "1", "b": "2"}}"#,
            r#"{"id": "shop", "metadata": {"a": "1", "b": "3"}}"#,
            r#"{"id": "shop", "metadata": {"a": "1"}}"#,
            r#"{"id": "shop"}"#,
        ] {
            assert_ne!(read(other).digest("x"), one.digest("x"), "{other}");
        }
    }

    #[test]
    fn a_damaged_descriptor_is_named() {
        let large = format!(r#"{{"id": "{}"}}"#, "a".repeat(1 << 20));
        for bad in [
            "",
            "{",
            r#"{"id": "a b"}"#,
            r#"{"id": "a", "metadata": {"nephio.org/x": "1"}}"#,
            &large,
        ] {
            let error = TemplateDescriptor::read(bad.as_bytes()).expect_err("damaged");
            assert!(error.to_string().contains("template.json: "), "{error}");
        }
    }
}
