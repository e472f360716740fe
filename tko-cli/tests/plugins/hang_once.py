#!/usr/bin/env python3
"""Prepares its target. Hangs on the first call of each deployment for the network n4.

It hangs until it is killed or its parent dies. It marks the call with a file in the folder that is
its argument.
"""

import json
import os
import sys
import time

call = json.load(sys.stdin)
target = call["targetResourceIdentifier"]
if target["name"] == "n4":
    try:
        mark = os.path.join(sys.argv[1], call["deploymentId"])
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        pass
    else:
        # Killing the preparer does not kill its children.
        parent, end = os.getppid(), time.monotonic() + 20
        while os.getppid() == parent and time.monotonic() < end:
            time.sleep(0.05)
        sys.exit(1)
for resource in call["deploymentPackage"]:
    if (resource["kind"], resource["metadata"]["name"]) == (target["kind"], target["name"]):
        annotations = resource["metadata"].setdefault("annotations", {})
        annotations["nephio.org/prepared"] = "true"
json.dump({"prepared": True, "package": call["deploymentPackage"]}, sys.stdout)
