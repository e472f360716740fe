#!/usr/bin/env python3
"""A well-behaved preparer: marks its target prepared, adds an annotation, and keeps all else."""

import json
import sys

call = json.load(sys.stdin)
target = call["targetResourceIdentifier"]
for resource in call["deploymentPackage"]:
    if (resource["kind"], resource["metadata"]["name"]) == (target["kind"], target["name"]):
        annotations = resource["metadata"].setdefault("annotations", {})
        annotations["nephio.org/prepared"] = "true"
        annotations["example.org/deployment"] = call["deploymentId"]
json.dump({"prepared": True, "package": call["deploymentPackage"]}, sys.stdout)
