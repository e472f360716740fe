//! What to read of an entity.

/// The parts of a record to read in addition to the row, and how recent they must be.
///
/// ```
/// use tko_core::Want;
///
/// const WANT: Want = Want::ROW.with_package().with_work();
/// assert!(WANT.package && WANT.work && !WANT.deleting);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // Six independent options.
#[non_exhaustive]
pub struct Want {
    /// Whether to read the package.
    pub package: bool,
    /// Whether to read the revision of the last change. Costs a look-up for each entity.
    pub revision: bool,
    /// Whether to read the queued work.
    pub work: bool,
    /// Whether [`DataApi::get`](crate::DataApi::get) finds entities that are being deleted.
    pub deleting: bool,
    /// Whether listings, [`pages`](crate::Backend::pages) and counts may read a stale state, for
    /// example from a replica. All other calls read the latest state.
    ///
    /// A stale page is consistent: it is the whole state at its
    /// [`Page::revision`](crate::Page::revision). That may be older than the caller's own last
    /// write or read. A watch from that revision delivers the missing changes, or `Expired`; then
    /// list again without this option.
    ///
    /// Pages of one listing may come from different replicas, so a later page may show an *older*
    /// state. Watch from the lowest revision of all pages.
    ///
    /// Suitable for people and reports, not for workers: a worker that lists a stale state may miss
    /// the change that made its work due.
    pub allow_stale: bool,
    /// Whether a deployment with an [unapproved edit](crate::Entity::has_unapproved_edit) is read as its site
    /// keeps it. For schedulers.
    ///
    /// The record then shows the deployment as it was approved: the package, its generation, and
    /// the site where it is placed, on which it is [wanted](crate::Entity::wanted_on). A deployment that
    /// leaves its site because of such an edit has the package that is there. Selections are not
    /// affected. Only [`DataApi::get`](crate::DataApi::get) and listings do so, and only if they
    /// read packages; a [`Backend`](crate::Backend) ignores it.
    pub kept: bool,
}

impl Want {
    /// Reads the package as well.
    #[must_use]
    pub const fn with_package(mut self) -> Self {
        self.package = true;
        self
    }

    /// Reads the revision of the last change as well.
    #[must_use]
    pub const fn with_revision(mut self) -> Self {
        self.revision = true;
        self
    }

    /// Reads the queued work as well.
    #[must_use]
    pub const fn with_work(mut self) -> Self {
        self.work = true;
        self
    }

    /// Finds entities that are being deleted as well.
    #[must_use]
    pub const fn with_deleting(mut self) -> Self {
        self.deleting = true;
        self
    }

    /// Reads deployments as their sites keep them.
    #[must_use]
    pub const fn with_kept(mut self) -> Self {
        self.kept = true;
        self
    }

    /// Allows a stale read.
    #[must_use]
    pub const fn with_stale(mut self) -> Self {
        self.allow_stale = true;
        self
    }

    /// Only the row.
    pub const ROW: Self = Self {
        package: false,
        revision: false,
        work: false,
        deleting: false,
        allow_stale: false,
        kept: false,
    };
    /// The row and the package.
    pub const PACKAGE: Self = Self {
        package: true,
        ..Self::ROW
    };
}
