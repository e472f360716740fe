//! The limit for the bytes of a listing that are in memory together.

use crate::settings::CatalogSettings;
use tko_core::{Error, Result};
use tko_source::SourceFile;

/// The bytes that a listing may still have: it is in memory as a whole. One blob of a git repository
/// can be the file of many sites.
pub(crate) struct ListingBudget {
    left: usize,
    most: usize,
    /// The bytes that are counted, for errors.
    content: &'static str,
    remedy: &'static str,
}

impl ListingBudget {
    /// The budget for the files of all sites of an inventory.
    pub(crate) fn of_sites(settings: &CatalogSettings) -> Self {
        Self::new(settings, "the files of all sites", "split the inventory")
    }

    /// The budget for the descriptors of all templates of a catalog.
    pub(crate) fn of_templates(settings: &CatalogSettings) -> Self {
        Self::new(
            settings,
            "the descriptors of all templates",
            "name a part of the catalog with root or path",
        )
    }

    fn new(settings: &CatalogSettings, content: &'static str, remedy: &'static str) -> Self {
        let most = settings.max_listing_bytes;
        Self {
            left: most,
            most,
            content,
            remedy,
        }
    }

    /// Counts files.
    ///
    /// # Errors
    /// `BadArgument`: the listing has too many bytes.
    pub(crate) fn charge_files(&mut self, files: &[SourceFile]) -> Result<()> {
        self.charge(files.iter().map(|file| file.bytes.len()).sum())
    }

    /// Counts bytes.
    ///
    /// # Errors
    /// `BadArgument`: the listing has too many bytes.
    pub(crate) fn charge(&mut self, bytes: usize) -> Result<()> {
        let Some(left) = self.left.checked_sub(bytes) else {
            let why = format!(
                "{} have more than {} bytes together; {}",
                self.content, self.most, self.remedy
            );
            return Err(Error::bad("url", why));
        };
        self.left = left;
        Ok(())
    }
}
