//! Applies what sites ask for to Kubernetes clusters, and runs plugins in pods.
