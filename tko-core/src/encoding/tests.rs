//! Tests of the encodings: tables for each format, properties across all.
