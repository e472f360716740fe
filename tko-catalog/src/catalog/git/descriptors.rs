//! The descriptors of templates in a repository.

use super::contents::{GitContent, TreeFile};
use super::repository::GitRepository;
use crate::catalog::descriptor::{TemplateDescriptor, check_size, not_readable};
use crate::settings::CatalogSettings;
use std::collections::HashMap;
use tko_core::Result;

/// Descriptors that were read, by blob. They are kept for the next listing: most commits change few
/// of them.
#[derive(Default)]
pub(super) struct GitDescriptors {
    known: HashMap<String, TemplateDescriptor>,
    /// The bytes of these blobs.
    bytes: usize,
}

impl GitDescriptors {
    /// Reads a descriptor.
    ///
    /// # Errors
    /// `BadArgument`: the descriptor is not valid. Others: git failed.
    pub(super) async fn read(
        &mut self,
        file: &TreeFile,
        repository: &mut GitRepository,
        settings: &CatalogSettings,
    ) -> Result<TemplateDescriptor> {
        if file.is_link {
            return Err(not_readable());
        }
        check_size(file.size)?;
        if let Some(known) = self.known.get(&file.blob) {
            return Ok(known.clone());
        }
        let content = GitContent::Files(vec![file.clone()]);
        let files = repository.load(&content, settings).await?;
        let bytes = files.first().map_or(&[][..], |file| &file.bytes);
        let read = TemplateDescriptor::read(bytes)?;
        self.bytes += read.size;
        if self.bytes > settings.max_listing_bytes {
            self.known.clear();
            self.bytes = read.size;
        }
        self.known.insert(file.blob.clone(), read.clone());
        Ok(read)
    }
}
