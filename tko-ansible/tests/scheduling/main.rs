//! The executor `ansible` against a server that answers as the AWX API reference says, and with the
//! real ansible-runner.

mod awx;
mod awx_server;
mod runner;
mod world;
