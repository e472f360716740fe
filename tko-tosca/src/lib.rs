//! Reads and checks topologies in TOSCA 1.3 and 2.0.
