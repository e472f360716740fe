//! The preparer over the memory backend, in virtual time: nothing here sleeps.

mod faults;
mod faulty;
mod finish;
mod parts;
mod placement;
mod shutdown;
mod site;
mod tracking;
mod wake;
mod world;
