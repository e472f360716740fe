#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub mod client;
pub mod proto;
#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
pub mod server;
pub mod status;

mod google;
// The client uses one direction of each conversion, the server the other.
#[cfg_attr(not(all(feature = "client", feature = "server")), allow(dead_code))]
mod wire;
