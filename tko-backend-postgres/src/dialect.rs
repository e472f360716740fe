//! What only PostgreSQL has, and why it is used.
