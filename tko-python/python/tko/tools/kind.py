"""Clusters of kind (Kubernetes in Docker)."""

from __future__ import annotations

from .._plugin import execute


def context(cluster: str) -> str:
    """The kubectl context of a cluster."""
    return f"kind-{cluster}"


def clusters() -> list[str]:
    """The names of the clusters."""
    return execute("kind", "get", "clusters").split()


def create(cluster: str) -> None:
    """Creates a cluster, unless it exists."""
    if cluster not in clusters():
        execute("kind", "create", "cluster", f"--name={cluster}")


def delete(cluster: str) -> None:
    """Deletes a cluster, if it exists."""
    execute("kind", "delete", "cluster", f"--name={cluster}")
