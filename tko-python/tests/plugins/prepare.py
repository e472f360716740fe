#!/usr/bin/env python3
"""Prepares a Port: a VLAN from the pool of its package."""

import os
import sys
import time

import tko

POOL = tko.GVK("", "v1", "ConfigMap")


def prepare():
    port = tko.get_target_resource()
    pool = tko.get_output_package().get_first(POOL)
    if pool is None:
        tko.log("waiting for the pool")
        return False
    behaviour = port.get("spec", {}).get("behaviour")
    if behaviour == "raise":
        raise ValueError("no VLAN left")
    if behaviour == "print":
        print("this is not an answer")
    if behaviour == "crash":
        print("about to crash")
        os._exit(3)
    if behaviour == "hang":
        time.sleep(600)
    if behaviour == "set":
        port["spec"]["value"] = {1, 2}
    if behaviour == "client":
        with tko.Client() as client:
            port["spec"]["seen"] = client.get_deployment(tko.get_deployment_id()).deployment_id
    if behaviour == "exit":
        sys.exit("gave up")
    port["spec"]["vlan"] = int(pool["data"]["first"])
    tko.log(f"{tko.get_deployment_id()}: {os.getpid()}")
    tko.set_prepared(port)
    return True


tko.prepare(prepare)
