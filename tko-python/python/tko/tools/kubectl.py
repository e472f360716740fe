"""Applies packages with kubectl."""

from __future__ import annotations

from .. import _plugin
from .._tko import Package


def context(kube_context: str | None) -> tuple[str, ...]:
    """The arguments that choose a context."""
    return () if kube_context is None else (f"--context={kube_context}",)


def execute(*args: str, input: str | None = None, kube_context: str | None = None) -> str:
    """Runs kubectl with arguments and returns its stdout; raises ExecuteError with its stderr if it fails."""
    # The context comes first, because what follows `--` belongs to a program in a pod.
    return _plugin.execute("kubectl", *context(kube_context), *args, input=input)


def apply(package: Package, kube_context: str | None = None) -> str:
    """Applies the resources of a package; returns what kubectl says. An empty one needs no kubectl."""
    if len(package) == 0:
        return ""
    return execute("apply", "--filename=-", input=str(package), kube_context=kube_context)


def delete(package: Package, kube_context: str | None = None) -> str:
    """Deletes the resources of a package. Those that do not exist are ignored."""
    if len(package) == 0:
        return ""
    return execute("delete", "--ignore-not-found", "--filename=-", input=str(package), kube_context=kube_context)
