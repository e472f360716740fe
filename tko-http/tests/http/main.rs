//! The server over real sockets.

mod access;
mod attention;
mod compatible;
mod dashboard;
mod deployments;
mod differences;
mod entities;
mod harness;
mod hostile;
mod lifecycle;
mod roles;
mod watches;
