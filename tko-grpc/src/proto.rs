//! The protocol as generated from `proto/`: messages, clients and servers.
//!
//! The service in this module is for existing clients; [`v1alpha2`] has everything else. Clients are
//! generated with the feature `client`, servers with the feature `server`.
#![allow(
    missing_docs,
    nonstandard_style,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    rustdoc::all
)]

tonic::include_proto!("tko");

/// The second generation of services, which is versioned.
///
/// A [`Record`](v1alpha2::Record) keeps its entity as bytes: decode an [`Entity`](v1alpha2::Entity)
/// from them, or use the client of this crate, which does that.
pub mod v1alpha2 {
    tonic::include_proto!("tko.v1alpha2");
}

/// The protocol as an encoded `google.protobuf.FileDescriptorSet`, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tko.bin"));
