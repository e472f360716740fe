#!/usr/bin/env python3
"""Validates across resources, which no schema can: that those of a network function fit together.

* The list of networks that a pod template requests from Multus is well formed.
* In complete validation, each network has a NetworkAttachmentDefinition in the workload's namespace,
* each ConfigMap that a pod template mounts or uses as environment exists,
* and so does the Service that a StatefulSet names.

Partial validation is for templates: missing resources may be merged in later.

    tko plugin register validate network-function "$PWD/validate_upf.py" \
        -g metadata.nephio.org,v1alpha1,NetworkFunction

The trigger is the package's metadata resource, not its StatefulSet: the schema validator skips kinds
that have their own validator, and must still check the StatefulSet.

Needs no Python packages: the document on stdin is JSON, and TKO reads JSON from stdout as YAML.
"""

import json
import sys


def resources(package, kind):
    """Returns the resources of a kind, in any group."""
    return [resource for resource in package if resource["kind"] == kind]


def names(package, kind, namespace):
    """Returns the names of the resources of a kind in a namespace."""
    found = (resource["metadata"] for resource in resources(package, kind))
    return {metadata["name"] for metadata in found if metadata.get("namespace") == namespace}


def networks(pod):
    """Returns the networks that a pod template requests, as JSON or as names with commas."""
    annotations = pod.get("metadata", {}).get("annotations") or {}
    wanted = annotations.get("k8s.v1.cni.cncf.io/networks", "").strip()
    if wanted.startswith("["):
        return [network["name"] for network in json.loads(wanted) if "namespace" not in network]
    return [name.partition("@")[0].strip() for name in wanted.split(",") if name and "/" not in name]


def config_maps(pod):
    """Returns the names of the ConfigMaps that a pod template requires."""
    spec = pod.get("spec", {})
    found = [volume["configMap"] for volume in spec.get("volumes", []) if "configMap" in volume]
    for container in spec.get("initContainers", []) + spec.get("containers", []):
        found += [source["configMapRef"] for source in container.get("envFrom", []) if "configMapRef" in source]
    return [reference["name"] for reference in found if "name" in reference and not reference.get("optional")]


def violations(package, complete):
    """Returns a message for each fault."""
    for workload in resources(package, "StatefulSet") + resources(package, "Deployment"):
        if workload["apiVersion"] != "apps/v1":
            continue
        namespace = workload["metadata"].get("namespace")
        label = f"{workload['kind']} {workload['metadata']['name']}"
        spec = workload.get("spec", {})
        pod = spec.get("template", {})
        wanted = networks(pod)
        if not complete:
            continue
        for name in wanted:
            if name not in names(package, "NetworkAttachmentDefinition", namespace):
                yield f"{label}: no NetworkAttachmentDefinition {name} in namespace {namespace}"
        for name in config_maps(pod):
            if name not in names(package, "ConfigMap", namespace):
                yield f"{label}: no ConfigMap {name} in namespace {namespace}"
        service = spec.get("serviceName")
        if service and service not in names(package, "Service", namespace):
            yield f"{label}: no Service {service} in namespace {namespace}"


def main():
    """Reads a call from stdin and writes the answer to stdout."""
    call = json.load(sys.stdin)
    try:
        found = list(violations(call["package"], call["complete"]))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        found = [f"cannot be checked: {type(error).__name__}: {error}"]
    json.dump({"error": "; ".join(found)}, sys.stdout)


if __name__ == "__main__":
    main()
