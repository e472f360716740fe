//! Charts with the real helm and a running preparer: what charts do to deployments, and what faulty
//! ones cannot do.

mod faults;
mod install;
mod program;
mod render;
mod repository;
mod versions;
mod world;
