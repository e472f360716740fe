//! Follows catalogs of templates and inventories of sites in git, OCI registries, folders and web servers.
