//! The protocol, as generated from `proto/`: messages, clients and servers.
//!
//! [`DataApi`](data_server::Data) of this module is the service for existing clients; [`v1alpha2`]
//! has what it lacks.
#![allow(
    missing_docs,
    nonstandard_style,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    rustdoc::all
)]

tonic::include_proto!("tko");

/// The second, versioned services.
///
/// The entity of a [`Record`](v1alpha2::Record) is left as bytes: decode an
/// [`Entity`](v1alpha2::Entity) from them, if you do not take the [client](crate::client) instead.
pub mod v1alpha2 {
    tonic::include_proto!("tko.v1alpha2");
}

/// All of it as a `google.protobuf.FileDescriptorSet`, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tko.bin"));
