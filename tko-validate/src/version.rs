//! Kubernetes versions that select schemas.

use std::fmt;
use std::str::FromStr;
use tko_core::Error;

/// Versions whose schemas are built in, oldest first, one per line.
const BUILT_IN: &str = include_str!("../schemas/kubernetes.versions");

/// A Kubernetes version, parsed from `1.37`, `v1.37` or `v1.37.2`.
///
/// The default is the newest version whose schemas are built in. Older versions are smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KubernetesVersion {
    major: u32,
    minor: u32,
    patch: u32,
}

impl KubernetesVersion {
    /// Returns the versions whose schemas are built in, oldest first.
    pub fn built_in() -> Vec<Self> {
        BUILT_IN
            .lines()
            .map(|line| {
                line.parse()
                    .expect("the list that is built in is of versions")
            })
            .collect()
    }

    /// Returns the newest built-in version that is not newer than this one.
    ///
    /// # Errors
    /// [`Error::BadArgument`]: this version is older than all of them.
    pub fn nearest_built_in(self) -> Result<Self, Error> {
        let built_in = Self::built_in();
        let nearest = built_in
            .iter()
            .rev()
            .find(|version| (version.major, version.minor) <= (self.major, self.minor));
        nearest.copied().ok_or_else(|| {
            let oldest = built_in.first().map(Self::label).unwrap_or_default();
            Error::bad(
                "Kubernetes version",
                format!(
                    "no schemas for {} are built in; the oldest built-in version is {oldest}",
                    self.label()
                ),
            )
        })
    }

    /// Returns `MAJOR.MINOR`, the name of a built-in set of schemas.
    pub fn label(&self) -> String {
        format!("{}.{}", self.major, self.minor)
    }
}

impl Default for KubernetesVersion {
    fn default() -> Self {
        Self::built_in()
            .pop()
            .expect("at least one version is built in")
    }
}

/// Writes `1.37.2`.
impl fmt::Display for KubernetesVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl FromStr for KubernetesVersion {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || {
            Error::bad(
                "Kubernetes version",
                format!("{text:?} is not a Kubernetes version; write it like 1.37 or v1.37.2"),
            )
        };
        let mut numbers = text
            .strip_prefix('v')
            .unwrap_or(text)
            .split('.')
            .map(|part| part.parse::<u32>().map_err(|_| bad()));
        let mut next = || numbers.next().transpose();
        let major = next()?.ok_or_else(bad)?;
        let minor = next()?.ok_or_else(bad)?;
        let patch = next()?.unwrap_or_default();
        match next()? {
            None => Ok(Self {
                major,
                minor,
                patch,
            }),
            Some(_) => Err(bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::KubernetesVersion;

    fn version(text: &str) -> KubernetesVersion {
        text.parse().expect("a version")
    }

    #[test]
    fn versions_parse_in_every_common_spelling() {
        assert_eq!(version("1.37"), version("v1.37.0"));
        assert_eq!(version("v1.31.4").to_string(), "1.31.4");
        assert!(version("1.9") < version("1.10"));
        for bad in ["", "1", "one.two", "1.2.3.4", "1.-2", "v", "latest"] {
            assert!(bad.parse::<KubernetesVersion>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_version_without_schemas_uses_the_previous_one() {
        let newest = KubernetesVersion::default();
        assert_eq!(version("1.99").nearest_built_in().expect("found"), newest);
        assert_eq!(
            version("v1.30.7").nearest_built_in().expect("found"),
            version("1.30")
        );
        let error = version("1.16").nearest_built_in().expect_err("too old");
        assert!(error.to_string().contains("1.25"), "{error}");
    }
}
