//! Kubernetes versions, as schemas are chosen by them.

use std::fmt;
use std::str::FromStr;
use tko_core::Error;

/// The versions whose schemas are built in, oldest first, one a line.
const BUILT_IN: &str = include_str!("../schemas/kubernetes.versions");

/// A Kubernetes version: `1.37`, `v1.37` and `v1.37.2` are read alike, the last with its patch.
///
/// The default is the newest one whose schemas are built in. Ordered from old to new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KubernetesVersion {
    major: u32,
    minor: u32,
    patch: u32,
}

impl KubernetesVersion {
    /// The versions whose schemas are built in, oldest first.
    pub fn built_in() -> Vec<Self> {
        BUILT_IN
            .lines()
            .map(|line| {
                line.parse()
                    .expect("the list that is built in is of versions")
            })
            .collect()
    }

    /// The newest built-in version that is not newer than this one.
    ///
    /// # Errors
    /// [`Error::BadArgument`]: this one is older than all of them.
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
                    "{} has no built-in schemas; the oldest that has them is {oldest}",
                    self.label()
                ),
            )
        })
    }

    /// `MAJOR.MINOR`, as the built-in schemas are named.
    pub(crate) fn label(&self) -> String {
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

/// `1.37.2`.
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
                format!("{text:?} is no version; write it like 1.37 or v1.37.2"),
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
    fn versions_are_read_in_every_common_spelling() {
        assert_eq!(version("1.37"), version("v1.37.0"));
        assert_eq!(version("v1.31.4").to_string(), "1.31.4");
        assert!(version("1.9") < version("1.10"));
        for bad in ["", "1", "one.two", "1.2.3.4", "1.-2", "v", "latest"] {
            assert!(bad.parse::<KubernetesVersion>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_version_without_schemas_of_its_own_takes_the_one_before() {
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
