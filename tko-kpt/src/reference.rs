//! How functions are named: images, programs, WebAssembly modules and native functions.

use crate::native::NativeFunction;
use std::fmt;
use std::str::FromStr;
use tko_core::{Error, Result};

/// A function as a pipeline or plugin names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FunctionReference {
    /// A native function, with a version of the catalog's function that it follows: `native:NAME`
    /// or `native:NAME:VERSION`.
    Native {
        /// The name in the catalog.
        name: String,
        /// The version; `None` is the newest.
        version: Option<FunctionVersion>,
    },
    /// A program: `exec:PATH`.
    Exec(String),
    /// A WebAssembly module or component: `wasm:PATH`.
    Wasm(String),
    /// A container image.
    Image(String),
}

/// A version of a function of the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FunctionVersion {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
    /// The third number. The image `v0.4` means the newest `v0.4.N`, so this is then the highest
    /// number.
    pub patch: u32,
}

impl FunctionVersion {
    /// The version with these numbers.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self {
            major,
            minor,
            patch,
        }
    }

    /// Reads `v1`, `v1.2` or `v1.2.3`, with or without `v`.
    fn parse(tag: &str) -> Option<Self> {
        let mut numbers = tag.strip_prefix('v').unwrap_or(tag).split('.');
        let mut next = || numbers.next().map(str::parse::<u32>);
        let (major, minor, patch) = (next()?, next(), next());
        Some(Self {
            major: major.ok()?,
            minor: minor.unwrap_or(Ok(u32::MAX)).ok()?,
            patch: patch.unwrap_or(Ok(u32::MAX)).ok()?,
        })
    }
}

/// Where the images of the catalog are published.
const CATALOGS: [&str; 3] = [
    "gcr.io/kpt-fn/",
    "gcr.io/kpt-functions/",
    "ghcr.io/kptdev/krm-functions-catalog/",
];

/// The registry and path of images without one, as in kpt.
const DEFAULT_CATALOG: &str = "gcr.io/kpt-fn/";

impl FunctionReference {
    /// The native function that does the same as this image; `None` if there is none, or if a
    /// digest pins the image.
    pub fn as_native(&self) -> Option<Self> {
        let Self::Image(image) = self else {
            return None;
        };
        let rest = CATALOGS
            .iter()
            .find_map(|catalog| image.strip_prefix(catalog));
        let rest = match rest {
            Some(rest) => rest,
            None if !image.contains('/') => image,
            None => return None,
        };
        if rest.contains('@') {
            return None;
        }
        let (name, tag) = rest.split_once(':').unwrap_or((rest, "latest"));
        if !NativeFunction::NAMES.contains(&name) {
            return None;
        }
        let version = match tag {
            "latest" | "unstable" => None,
            tag => Some(FunctionVersion::parse(tag)?),
        };
        Some(Self::Native {
            name: name.to_owned(),
            version,
        })
    }

    /// The name of an image, with registry and path and without a tag. `None` if it is not an
    /// image, or if a digest pins it.
    pub fn image_name(&self) -> Option<String> {
        let Self::Image(image) = self else {
            return None;
        };
        if image.contains('@') {
            return None;
        }
        let full = Self::full_image(image);
        let last = full.rfind('/').map_or(0, |slash| slash + 1);
        let end = full[last..].find(':').map_or(full.len(), |at| last + at);
        Some(full[..end].to_owned())
    }

    /// The image as a container runtime needs it: with registry and path.
    pub fn full_image(image: &str) -> String {
        if image.contains('/') {
            image.to_owned()
        } else {
            format!("{DEFAULT_CATALOG}{image}")
        }
    }
}

impl FromStr for FunctionReference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = |message: &str| Error::bad("function", format!("{text:?} {message}"));
        if text.trim().is_empty() || text.chars().any(char::is_control) {
            return Err(bad(
                "is not a function; expected an image, exec:PATH, wasm:PATH or native:NAME",
            ));
        }
        if let Some(path) = text.strip_prefix("exec:") {
            let path = path.trim();
            return match path {
                "" => Err(bad("names no program; expected exec:PATH")),
                path => Ok(Self::Exec(path.to_owned())),
            };
        }
        if let Some(place) = text.strip_prefix("wasm:") {
            return match place {
                "" => Err(bad("names no module; expected wasm:PATH")),
                place => Ok(Self::Wasm(place.to_owned())),
            };
        }
        if let Some(rest) = text.strip_prefix("native:") {
            let (name, tag) = rest.split_once(':').unwrap_or((rest, "latest"));
            if !NativeFunction::NAMES.contains(&name) {
                let known = NativeFunction::NAMES.join(", ");
                return Err(bad(&format!(
                    "is not a native function; known here: {known}"
                )));
            }
            let version = match tag {
                "latest" => None,
                tag => Some(
                    FunctionVersion::parse(tag)
                        .ok_or_else(|| bad("has no valid version; expected one such as v0.4.1"))?,
                ),
            };
            return Ok(Self::Native {
                name: name.to_owned(),
                version,
            });
        }
        if text.starts_with('-') || text.contains(char::is_whitespace) {
            return Err(bad("is not the name of an image"));
        }
        Ok(Self::Image(text.to_owned()))
    }
}

impl fmt::Display for FunctionReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Native { name, version } => {
                write!(f, "native:{name}")?;
                match version {
                    Some(version) => write!(f, ":{version}"),
                    None => Ok(()),
                }
            }
            Self::Exec(path) => write!(f, "exec:{path}"),
            Self::Wasm(place) => write!(f, "wasm:{place}"),
            Self::Image(image) => f.write_str(image),
        }
    }
}

/// Formats the version as `v0.4.1`, or `v0.4` for the newest of that series.
impl fmt::Display for FunctionVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.major)?;
        for number in [self.minor, self.patch] {
            if number != u32::MAX {
                write!(f, ".{number}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{FunctionReference, FunctionVersion};

    fn native(text: &str) -> Option<String> {
        let reference: FunctionReference = text.parse().expect("a reference");
        reference.as_native().map(|native| native.to_string())
    }

    #[test]
    fn images_of_the_catalog_have_native_functions() {
        for (image, expected) in [
            (
                "gcr.io/kpt-fn/set-namespace:v0.4.1",
                "native:set-namespace:v0.4.1",
            ),
            ("gcr.io/kpt-fn/set-labels:v0.1", "native:set-labels:v0.1"),
            (
                "ghcr.io/kptdev/krm-functions-catalog/set-namespace:v0.4.5",
                "native:set-namespace:v0.4.5",
            ),
            ("set-namespace:unstable", "native:set-namespace"),
            ("set-namespace", "native:set-namespace"),
        ] {
            assert_eq!(native(image).as_deref(), Some(expected), "{image}");
        }
        for image in [
            "docker.io/nephio/nad-fn:latest",
            "gcr.io/kpt-fn/set-namespace@sha256:0123",
            "gcr.io/kpt-fn/kubeval:v0.3",
            "gcr.io/other/set-namespace:v0.4.1",
            "gcr.io/kpt-fn/set-namespace:mine",
        ] {
            assert_eq!(native(image), None, "{image}");
        }
    }

    #[test]
    fn the_name_of_an_image_has_no_tag() {
        for (image, expected) in [
            ("starlark:v0.4.3", Some("gcr.io/kpt-fn/starlark")),
            ("starlark", Some("gcr.io/kpt-fn/starlark")),
            ("localhost:5000/a/b:v1", Some("localhost:5000/a/b")),
            ("localhost:5000/a/b", Some("localhost:5000/a/b")),
            ("a/b@sha256:0123", None),
            ("exec:/a", None),
        ] {
            let reference: FunctionReference = image.parse().expect("a reference");
            assert_eq!(reference.image_name().as_deref(), expected, "{image}");
        }
    }

    #[test]
    fn a_short_version_is_the_newest_of_its_series() {
        let version = FunctionVersion::parse("v0.4").expect("a version");
        assert!(version > FunctionVersion::new(0, 4, 5));
        assert!(version < FunctionVersion::new(0, 5, 0));
        assert_eq!(version.to_string(), "v0.4");
    }

    #[test]
    fn references_without_a_function_are_refused() {
        for text in [
            "",
            " ",
            "exec:",
            "wasm:",
            "native:nothing",
            "--privileged",
            "a b",
            "a\nb",
        ] {
            assert!(text.parse::<FunctionReference>().is_err(), "{text:?}");
        }
    }
}
