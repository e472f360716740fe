//! Files of YAML as one package.

use crate::kpt;
use std::collections::HashMap;
use std::sync::Arc;
use tko_core::{Dialect, Error, Format, Identifier, Limits, Package, Result};

/// One file of a source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceFile {
    /// The name that errors show: a path, or the place within an archive.
    pub name: String,
    /// The content, as it was read: not yet decoded.
    pub bytes: Vec<u8>,
}

/// The files of a source, and the links and devices in place of files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceListing {
    /// The regular files, in the order in which they make up a package.
    pub files: Vec<SourceFile>,
    /// The names of links and devices that have the name of a YAML file, in their order. They are
    /// not read.
    pub irregular: Vec<String>,
}

/// Makes one package from YAML files, with their resources in order.
///
/// # Errors
/// [`Error::BadArgument`]: a file does not decode, or a resource is in two files. The message names
/// the file.
pub fn package_of(files: impl IntoIterator<Item = SourceFile>) -> Result<Package> {
    let files: Vec<SourceFile> = files.into_iter().collect();
    let root = kpt::root(files.iter().map(|file| &*file.name));
    let mut resources = Vec::new();
    let mut found_in: HashMap<Identifier, Arc<str>> = HashMap::new();
    for file in files {
        let (name, file_bytes): (Arc<str>, _) = (file.name.into(), file.bytes);
        let package = Package::decode(
            &file_bytes,
            Format::Yaml,
            Dialect::People,
            &Limits::default(),
        )
        .map_err(|error| in_file(&name, error))?;
        for resource in &package {
            let identifier = resource.identifier();
            if let Some(other) = found_in.insert(identifier.clone(), name.clone()) {
                let why = format!(
                    "{identifier} is in {other} and in {name}; remove or rename one of them"
                );
                return Err(Error::bad("package", why));
            }
        }
        let file = root.as_ref().and_then(|root| kpt::relative(root, &name));
        resources.extend(kpt::annotated(&package, &file_bytes, file));
    }
    Package::new(resources)
}

/// The same error, naming the file.
fn in_file(name: &str, error: Error) -> Error {
    match error {
        Error::BadArgument {
            argument,
            message,
            violations,
        } => Error::BadArgument {
            argument,
            message: format!("{name}: {message}"),
            violations,
        },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::{SourceFile, package_of};

    fn file(name: &str, yaml: &str) -> SourceFile {
        SourceFile {
            name: name.to_owned(),
            bytes: yaml.as_bytes().to_vec(),
        }
    }

    const A: &str = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}";
    const B: &str = "{apiVersion: v1, kind: ConfigMap, metadata: {name: b}}";

    #[test]
    fn resources_come_in_the_order_of_the_files() {
        let package = package_of([file("2", B), file("1", A)]).expect("two resources");
        let names: Vec<_> = package.iter().map(|r| r.identifier().to_string()).collect();
        assert_eq!(names.len(), 2);
        assert!(
            names[0].contains('b') && names[1].contains('a'),
            "{names:?}"
        );
    }

    #[test]
    fn a_resource_in_two_files_names_both() {
        let error = package_of([file("one", A), file("two", A)]).expect_err("twice");
        let text = error.to_string();
        assert!(text.contains("in one and in two"), "{text}");
    }

    #[test]
    fn a_file_that_does_not_decode_is_named() {
        let error = package_of([file("one", A), file("two", "a: [")]).expect_err("torn");
        let text = error.to_string();
        assert!(text.contains("two: ") && text.contains("line"), "{text}");
    }
}
