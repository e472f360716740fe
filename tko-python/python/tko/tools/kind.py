"""Clusters of kind (Kubernetes in Docker), made from resources of its kind Cluster."""

from __future__ import annotations

import atexit
import functools
import json
import pathlib
import re
import shutil
import tempfile
from collections.abc import Mapping
from typing import Any

from .. import _plugin
from .._tko import GVK

#: The configuration of a cluster.
cluster_gvk = GVK("kind.x-k8s.io", "v1alpha4", "Cluster")


@functools.cache
def _folder() -> str:
    """The folder of the manifests of this process. It is private, and removed at the end of the process."""
    folder = tempfile.mkdtemp(prefix="tko-kind-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def execute(*args: str) -> str:
    """Runs kind with arguments and returns its stdout; raises ExecuteError with its stderr if it fails."""
    return _plugin.execute("kind", *args)


def get_cluster_name(cluster: Mapping[str, Any]) -> str:
    """The name of the cluster that a resource describes; `kind`, as kind itself has it, if it has none.

    >>> get_cluster_name({"kind": "Cluster", "name": "edge"})
    'edge'
    """
    return str(cluster.get("name") or "kind")


def get_kube_context(cluster_name: str) -> str:
    """The kubectl context of a cluster."""
    return f"kind-{cluster_name}"


def get_current_cluster_names() -> list[str]:
    """The names of the clusters that exist."""
    return execute("get", "clusters").split()


def get_cluster_path(cluster_name: str) -> pathlib.Path:
    """The file to which `write_cluster_manifest` writes; raises ValueError for a name that kind refuses."""
    # The name comes from a package, and must not lead out of the folder.
    if re.fullmatch(r"[a-z0-9.-]+", cluster_name) is None:
        raise ValueError(f"invalid name of a cluster {cluster_name!r}; use lower case letters, digits, dots and dashes")
    return pathlib.Path(_folder(), f"{cluster_name}.yaml")


def write_cluster_manifest(cluster: Mapping[str, Any]) -> None:
    """Writes the resource for `create_cluster`, without the metadata, which kind refuses."""
    manifest = {key: value for key, value in cluster.items() if key != "metadata"}
    # kind reads YAML, of which JSON is a part.
    get_cluster_path(get_cluster_name(cluster)).write_text(json.dumps(manifest, indent=2), "utf-8")


def create_cluster(cluster_name: str) -> None:
    """Creates a cluster, from its manifest if this process wrote one. A cluster that exists is an error."""
    _plugin.log(f"creating kind cluster: {cluster_name}")
    path = get_cluster_path(cluster_name)
    config = ("--config", str(path)) if path.exists() else ()
    execute("create", "cluster", "--name", cluster_name, *config)


def delete_cluster(cluster_name: str) -> None:
    """Deletes a cluster, if it exists."""
    execute("delete", "cluster", "--name", cluster_name)
