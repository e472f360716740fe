//! Catalogs: templates from outside.
//!
//! | file | contents |
//! |---|---|
//! | `adopt` | registers the templates of offers, and adopts those of catalogs that no longer exist |
//! | `descriptor` | the id and metadata that a package says itself |
//! | `entry` | the properties of a catalog |
//! | `layout` | which folders are packages, and which template id each has |
//! | `offer` | what a source offers, and the trait of executors |
//! | `place` | the file and line of a violation |
//! | `sync` | compares the offers with what is registered, and registers the difference |
//! | `directory`, `git`, `http`, `oci` | the executors |

mod adopt;
pub(crate) mod descriptor;
pub(crate) mod directory;
pub(crate) mod entry;
pub(crate) mod git;
mod http;
pub(crate) mod layout;
pub(crate) mod oci;
pub(crate) mod offer;
mod place;
pub(crate) mod sync;

use crate::executor::unknown_executor;
use crate::settings::CatalogSettings;
use entry::CatalogEntry;
pub use oci::oci_file;
use offer::CatalogSource;
use tko_core::Result;

/// The executors of catalogs.
pub const CATALOG_EXECUTORS: [&str; 4] = ["directory", "git", "http", "oci"];

/// The executor that reads a URL, if the URL alone determines it.
pub fn catalog_executor_of(url: &str) -> Option<&'static str> {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let path = path.trim_end_matches('/');
    let is_repository = path.strip_suffix(".git").is_some();
    match url.split_once("://") {
        Some(("oci", _)) => Some("oci"),
        Some(("ssh", _)) => Some("git"),
        Some(("https" | "http" | "file", _)) if is_repository => Some("git"),
        Some(("https" | "http", _)) => http::has_ending(path).then_some("http"),
        Some(("file", _)) => Some("directory"),
        Some(_) => None,
        None if url.starts_with('/') && is_repository => Some("git"),
        None if url.starts_with('/') => Some("directory"),
        // user@host:path
        None => url.contains(':').then_some("git"),
    }
}

/// Makes the source of a catalog.
///
/// # Errors
/// `BadArgument`: there is no such executor, or it cannot read this URL.
pub(crate) async fn source(
    entry: &CatalogEntry,
    settings: &CatalogSettings,
) -> Result<Box<dyn CatalogSource>> {
    Ok(match entry.executor.as_str() {
        "directory" => Box::new(directory::DirectoryCatalog::new(entry, settings)?),
        "git" => Box::new(git::GitCatalog::new(entry, settings).await?),
        "http" => Box::new(http::HttpCatalog::new(entry, settings).await?),
        "oci" => Box::new(oci::OciCatalog::new(entry, settings).await?),
        other => return Err(unknown_executor(other, "a catalog", &CATALOG_EXECUTORS)),
    })
}

#[cfg(test)]
mod tests {
    use super::catalog_executor_of;

    #[test]
    fn urls_say_their_executor() {
        for (url, executor) in [
            ("oci://h/nf/upf", Some("oci")),
            ("https://h/a/b.git", Some("git")),
            ("https://h/a/b.git/", Some("git")),
            ("ssh://git@h/a", Some("git")),
            ("git@h:a/b", Some("git")),
            ("file:///srv/a.git", Some("git")),
            ("/srv/a.git", Some("git")),
            ("https://h/a.tar.gz?x=1", Some("http")),
            ("https://h/a.yaml", Some("http")),
            ("/srv/packages", Some("directory")),
            ("file:///srv/packages", Some("directory")),
            ("https://h/a", None),
            ("ftp://h/a", None),
            ("packages", None),
        ] {
            assert_eq!(catalog_executor_of(url), executor, "{url}");
        }
    }
}
