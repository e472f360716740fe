//! Parses paths and URLs of packages.

use crate::archive::ArchiveFormat;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use tko_core::{Error, Result};

/// A parsed path or URL of a package.
///
/// `Display` leaves out passwords and queries of URLs.
#[derive(Clone, PartialEq, Eq)]
pub struct Source {
    text: String,
    pub(crate) location: Location,
}

/// The location of a source.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Location {
    /// A file, or all files of a folder.
    Place(SourcePlace),
    /// The files below `path` of an archive.
    Archive {
        format: ArchiveFormat,
        place: SourcePlace,
        path: String,
    },
    /// The files below `path` of a repository, at a branch or tag.
    Git {
        url: String,
        revision: Option<String>,
        path: String,
    },
}

/// The location of a file or archive.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum SourcePlace {
    Local(PathBuf),
    Http(String),
}

impl Source {
    /// Whether reading the source may use the network.
    pub fn is_remote(&self) -> bool {
        match &self.location {
            Location::Place(place) | Location::Archive { place, .. } => {
                matches!(place, SourcePlace::Http(_))
            }
            Location::Git { .. } => true,
        }
    }

    /// The path of a local file or folder; `None` for all other sources.
    pub fn local_path(&self) -> Option<&Path> {
        match &self.location {
            Location::Place(SourcePlace::Local(path)) => Some(path),
            _ => None,
        }
    }

    /// Whether the source is one place, rather than a part of an archive or repository.
    pub fn is_place(&self) -> bool {
        matches!(self.location, Location::Place(_))
    }
}

/// Parses the forms that the crate's documentation lists.
///
/// # Errors
/// [`Error::BadArgument`]: the text is empty, or names no location.
impl FromStr for Source {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let location = if let Some(rest) = text.strip_prefix("git:") {
            let (repository, path) = rest.split_once('!').unwrap_or((rest, ""));
            let (url, revision) = match repository.rsplit_once('#') {
                Some((url, revision)) => (url, Some(revision.to_owned())),
                None => (repository, None),
            };
            named(text, url)?;
            Location::Git {
                url: url.to_owned(),
                revision,
                path: path.to_owned(),
            }
        } else if let Some((format, rest)) = archive(text) {
            let (place, path) = rest.split_once('!').unwrap_or((rest, ""));
            named(text, place)?;
            Location::Archive {
                format,
                place: SourcePlace::new(place),
                path: path.to_owned(),
            }
        } else {
            named(text, text.strip_prefix("file://").unwrap_or(text))?;
            Location::Place(SourcePlace::new(text))
        };
        Ok(Self {
            text: text.to_owned(),
            location,
        })
    }
}

fn archive(text: &str) -> Option<(ArchiveFormat, &str)> {
    let zip = text
        .strip_prefix("zip:")
        .map(|rest| (ArchiveFormat::Zip, rest));
    zip.or_else(|| {
        text.strip_prefix("tar:")
            .map(|rest| (ArchiveFormat::Tar, rest))
    })
}

fn named(text: &str, place: &str) -> Result<()> {
    if place.is_empty() {
        let why = format!("{text:?} names no place; expected a path or a URL");
        return Err(Error::bad("source", why));
    }
    Ok(())
}

impl SourcePlace {
    fn new(text: &str) -> Self {
        if text.starts_with("http://") || text.starts_with("https://") {
            Self::Http(text.to_owned())
        } else {
            Self::Local(text.strip_prefix("file://").unwrap_or(text).into())
        }
    }

    /// The path or URL whose suffix names the format of the archive.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Local(path) => path.to_string_lossy().into_owned(),
            Self::Http(url) => url.split(['?', '#']).next().unwrap_or_default().to_owned(),
        }
    }
}

impl fmt::Display for SourcePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => path.display().fmt(f),
            Self::Http(url) => f.write_str(&without_secrets(url)),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_secrets(&self.text))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({self})")
    }
}

/// The user and password of a URL, as written.
pub(crate) fn user_information(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#', '!']).next()?;
    authority.rsplit_once('@').map(|(user, _)| user)
}

/// Masks passwords and queries of a URL. A user without a password may be a token and is masked,
/// too, except for SSH.
pub(crate) fn without_secrets(text: &str) -> String {
    let Some((scheme, _)) = text.split_once("://") else {
        return text.to_owned();
    };
    let mut shown = text.to_owned();
    if let Some(user) = user_information(text) {
        let masked = match user.split_once(':') {
            Some((name, _)) => format!("{name}:***"),
            None if scheme.ends_with("ssh") => user.to_owned(),
            None => "***".to_owned(),
        };
        shown = shown.replacen(&format!("{user}@"), &format!("{masked}@"), 1);
    }
    if let Some((before, query)) = shown.split_once('?') {
        // The part of an archive comes after the query, and is not a secret.
        let part = query.find('!').map_or("", |at| &query[at..]);
        shown = format!("{before}?***{part}");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::Source;

    fn parsed(text: &str) -> Source {
        text.parse().expect("a source")
    }

    #[test]
    fn secrets_are_not_shown() {
        for (text, shown) in [
            ("/a/b.yaml", "/a/b.yaml"),
            ("https://h/p.zip?sig=1", "https://h/p.zip?***"),
            ("zip:https://h/p?sig=1!a/b", "zip:https://h/p?***!a/b"),
            ("https://u:secret@h:1/p", "https://u:***@h:1/p"),
            ("git:https://token@h/r#v1!p", "git:https://***@h/r#v1!p"),
            ("git:ssh://git@h/r", "git:ssh://git@h/r"),
            ("git:git@h:r", "git:git@h:r"),
        ] {
            assert_eq!(parsed(text).to_string(), shown);
            assert_eq!(format!("{:?}", parsed(text)), format!("Source({shown})"));
        }
    }

    #[test]
    fn a_source_without_a_place_is_refused() {
        for text in ["", "git:", "git:#v1!a", "zip:", "tar:!a", "file://"] {
            assert!(text.parse::<Source>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_uses_the_network_is_known() {
        for text in ["http://h/a", "zip:https://h/a!b", "git:/here"] {
            assert!(parsed(text).is_remote(), "{text}");
        }
        for text in ["/a", "a.zip", "tar:file:///a!b"] {
            assert!(!parsed(text).is_remote(), "{text}");
        }
    }
}
