//! Accepted and refused packages, through the public interface only.

mod crds;
mod feed;
mod fixture;
mod hostile;
mod kinds;
mod partial;
mod registry;
mod server;
mod sources;
mod topology;
