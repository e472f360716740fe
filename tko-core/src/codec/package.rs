//! Packages: the bodies of entities.

use super::fields::Fields;
use super::reader::{CodecFault, RowReader};
use super::writer::RowWriter;
use crate::package::Package;
use crate::resource::Resource;
use std::sync::Arc;

impl Fields for Package {
    const TYPE: u64 = 1;
    const NAME: &'static str = "package";
    const COUNT: usize = 1;

    fn write(&self, writer: &mut RowWriter) {
        writer.list(self.len());
        for resource in self {
            writer.value(resource.value());
        }
    }

    fn read(reader: &mut RowReader<'_>) -> Result<Self, CodecFault> {
        let broken = |error: crate::Error| CodecFault(error.to_string());
        let resources = reader.items(|reader| {
            let resource = Resource::stored(reader.value()?);
            resource.map(Arc::new).map_err(broken)
        })?;
        Self::new(resources).map_err(broken)
    }
}
