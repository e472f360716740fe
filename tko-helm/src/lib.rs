//! Helm charts in TKO: values with expressions, rendering, installation.
