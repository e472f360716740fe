//! The server and the client over real sockets on loopback.

mod breaking;
mod compatible;
mod endless;
mod lifecycle;
mod limits;
mod listening;
mod python;
mod remote;
mod serving;
mod statuses;
mod tls;
