#!/usr/bin/env python3
"""Writes a line to stderr, waits until the file that is its argument exists, and prepares its target."""

import json
import os
import sys
import time

call = json.load(sys.stdin)
print("at work", file=sys.stderr, flush=True)
# Killing the preparer does not kill its children.
parent, end = os.getppid(), time.monotonic() + 60
while not os.path.exists(sys.argv[1]):
    if os.getppid() != parent or time.monotonic() > end:
        sys.exit(1)
    time.sleep(0.02)
target = call["targetResourceIdentifier"]
for resource in call["deploymentPackage"]:
    if (resource["kind"], resource["metadata"]["name"]) == (target["kind"], target["name"]):
        annotations = resource["metadata"].setdefault("annotations", {})
        annotations["nephio.org/prepared"] = "true"
json.dump({"prepared": True, "package": call["deploymentPackage"]}, sys.stdout)
