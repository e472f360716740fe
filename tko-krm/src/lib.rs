//! Serves TKO as an aggregated Kubernetes API.
