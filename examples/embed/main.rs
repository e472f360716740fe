//! Placeholder until the parts have landed.
fn main() {}
