//! The server and the client over real sockets on loopback.

mod breaking;
mod callers;
mod compatible;
mod endless;
mod hostile;
mod lifecycle;
mod limits;
mod python;
mod remote;
mod roles;
mod serving;
mod shared_value;
mod statuses;
mod streams;
mod tls;
mod waiting;
mod windows;
