#!/usr/bin/env python3
"""Prepares a Cell: writes its settings into the ConfigMap `settings`, and marks it as prepared.

    tko plugin register prepare cell "$PWD/cell.py" --trigger radio.plugin.nephio.org,v1alpha1,Cell

Needs no Python packages: the document on stdin is JSON, and TKO reads JSON from stdout as YAML.
"""

import json
import sys


def prepare(call):
    """Returns the answer to a call."""
    package = call["deploymentPackage"]
    target = call["targetResourceIdentifier"]
    found = {(resource["kind"], resource["metadata"]["name"]): resource for resource in package}
    cell, settings = found[(target["kind"], target["name"])], found.get(("ConfigMap", "settings"))
    if settings is None:
        return {"error": "it has no ConfigMap settings; add one"}
    for key, value in cell["spec"].items():
        settings.setdefault("data", {})[f"cell.{key}"] = str(value)
    cell["metadata"].setdefault("annotations", {})["nephio.org/prepared"] = "true"
    return {"prepared": True, "package": package}


if __name__ == "__main__":
    json.dump(prepare(json.load(sys.stdin)), sys.stdout)
