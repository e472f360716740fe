"""Installs the Helm charts of a package: resources of the kind HelmChart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .. import _plugin
from .._tko import GVK, Package
from .._values import evaluate_expression

CHART = GVK("workload.nephio.org", "v1alpha1", "HelmChart")
#: The kind of charts, by the original's name.
chart_gvk = CHART


def execute(*args: str, kube_context: str | None = None) -> str:
    """Runs helm with arguments and returns its stdout; raises ExecuteError with its stderr if it fails."""
    env = {"HELM_NAMESPACE": "default"}
    if kube_context is not None:
        env["HELM_KUBECONTEXT"] = kube_context
    return _plugin.execute("helm", *args, env=env)


def get_current_deployments(kube_context: str | None = None) -> list[str]:
    """The names of the releases that are deployed, in all namespaces."""
    return execute("list", "--all-namespaces", "--deployed", "--short", kube_context=kube_context).split()


def iter_charts(package: Package) -> Iterator[dict[str, Any]]:
    """Iterates over the charts of a package."""
    return package.iter_all(CHART)


def arguments(chart: dict[str, Any], package: Package, kube_context: str | None = None) -> list[str]:
    """The command that installs or upgrades a chart. Expressions in its parameters see the package."""
    spec = chart["spec"]
    command = ["helm", "upgrade", chart["metadata"]["name"], spec["chart"], "--install"]
    for key, option in (("repository", "--repo"), ("version", "--version")):
        if spec.get(key):
            command.append(f"{option}={spec[key]}")
    command += [f"--namespace={spec.get('namespace') or 'default'}", "--create-namespace"]
    if kube_context is not None:
        command.append(f"--kube-context={kube_context}")
    for key, value in (spec.get("parameters") or {}).items():
        try:
            value = evaluate_expression(value, package)
        except ValueError as error:
            raise ValueError(f"chart {chart['metadata']['name']}, parameter {key}: {error}") from error
        command.append(f"--set-json={key}={json.dumps(value)}")
    return command


def install(chart: dict[str, Any], package: Package, kube_context: str | None = None) -> str:
    """Installs or upgrades a chart as a release named after the resource; returns what helm says."""
    return _plugin.execute(*arguments(chart, package, kube_context))


def uninstall(chart: dict[str, Any], kube_context: str | None = None) -> str:
    """Uninstalls the release of a chart, if it is there."""
    namespace = chart["spec"].get("namespace") or "default"
    command = ["helm", "uninstall", chart["metadata"]["name"], f"--namespace={namespace}", "--ignore-not-found"]
    if kube_context is not None:
        command.append(f"--kube-context={kube_context}")
    return _plugin.execute(*command)
