//! The contents that rows refer to: skeletons and bodies.

use crate::body::Bodies;
use crate::database::Database;
use crate::skeletons::Skeletons;
use std::sync::Arc;

/// Reads and writes contents, and caches them.
pub(crate) struct Content {
    pub(crate) skeletons: Skeletons,
    pub(crate) bodies: Bodies,
}

impl Content {
    pub(crate) fn new(database: &Arc<Database>) -> Self {
        Self {
            skeletons: Skeletons::new(database.clone()),
            bodies: Bodies::new(database.clone()),
        }
    }
}
