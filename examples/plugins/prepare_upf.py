#!/usr/bin/env python3
"""Prepares a NetworkAttachmentDefinition: copies the region's address range and gateway into its IPAM.

They are in the package's ConfigMap `region-parameters`: for network `n3`, under `N3_SUBNET` and
`N3_GATEWAY`. While the ConfigMap or the subnet is missing, the resource stays unprepared.

    tko plugin register prepare upf-networks "$PWD/prepare_upf.py" \
        -g k8s.cni.cncf.io,v1,NetworkAttachmentDefinition

Needs no Python packages: the document on stdin is JSON, and TKO reads JSON from stdout as YAML.
"""

import ipaddress
import json
import sys


def group(resource):
    """Returns the API group of a resource; empty for the core group."""
    return resource["apiVersion"].rpartition("/")[0]


def find_target(package, target):
    """Returns the resource to prepare."""
    for resource in package:
        version = resource["apiVersion"].rpartition("/")[2]
        name = (resource["metadata"].get("namespace"), resource["metadata"]["name"])
        found = (group(resource), version, resource["kind"], *name)
        wanted = (target["group"], target["version"], target["kind"], target.get("namespace"), target["name"])
        if found == wanted:
            return resource
    raise LookupError(f"{target['kind']} {target['name']} is not in the package")


def find_parameters(package, namespace):
    """Returns the data of the region's ConfigMap in the network's namespace, or None."""
    for resource in package:
        metadata = resource["metadata"]
        if (group(resource), resource["kind"], metadata["name"]) == ("", "ConfigMap", "region-parameters"):
            if metadata.get("namespace") == namespace:
                return resource.get("data") or {}
    return None


def prepare(call):
    """Returns the answer to a call."""
    package = call["deploymentPackage"]
    network = find_target(package, call["targetResourceIdentifier"])
    metadata = network["metadata"]
    name = metadata["name"].upper()
    parameters = find_parameters(package, metadata.get("namespace"))
    if parameters is None or f"{name}_SUBNET" not in parameters:
        print(f"waiting for {name}_SUBNET in ConfigMap region-parameters", file=sys.stderr)
        return {"prepared": False}

    subnet = ipaddress.ip_network(parameters[f"{name}_SUBNET"])
    config = json.loads(network["spec"]["config"])
    ipam = config.setdefault("ipam", {"type": "whereabouts"})
    ipam["range"] = str(subnet)
    ipam.pop("gateway", None)
    if gateway := parameters.get(f"{name}_GATEWAY"):
        if ipaddress.ip_address(gateway) not in subnet:
            return {"error": f"{name}_GATEWAY {gateway} is not in {name}_SUBNET {subnet}"}
        ipam["gateway"] = gateway
    network["spec"]["config"] = json.dumps(config, separators=(",", ":"))
    metadata["annotations"] = (metadata.get("annotations") or {}) | {"nephio.org/prepared": "true"}
    return {"prepared": True, "package": package}


def main():
    """Reads a call from stdin and writes the answer to stdout."""
    call = json.load(sys.stdin)
    try:
        answer = prepare(call)
    except (LookupError, TypeError, ValueError) as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
