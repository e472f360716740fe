#!/usr/bin/env python3
"""How long each step of a single deployment takes at rest, for two programs in turns, on PostgreSQL.

    python3 .ci/at-rest.py BEFORE AFTER [ROUNDS [EACH]]

BEFORE and AFTER are programs `tko`, also of earlier versions. Each of the ROUNDS (5) starts both, one
after the other, on databases of their own, and deploys EACH (40) deployments, one by one. Needs grpcio
and grpcio-tools, and the programs of PostgreSQL.
"""

import importlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import grpc
import pages

PROTO = Path(__file__).resolve().parent.parent / "tko-grpc" / "proto"
STEPS = ("create", "until it is prepared", "approve", "until it is on its site")
WARM_UP = 5
PACKAGE = b"""
apiVersion: v1
kind: ConfigMap
metadata: {name: a}
data: {x: "1"}
---
apiVersion: deployment.nephio.org/v1alpha1
kind: Deployment
metadata: {name: deployment, annotations: {nephio.org/approve: Manual}}
"""


def compiled(folder):
    """The modules of tko.proto and of tko.v1alpha2."""
    files = ["tko.proto", *(f"tko/v1alpha2/{name}.proto" for name in ("model", "data", "error"))]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}"]
    subprocess.run([*command, f"--python_out={folder}", f"--grpc_python_out={folder}", *files], check=True)
    # Before the package of the same name, if that is installed.
    for package in ("tko", "tko/v1alpha2"):
        (Path(folder) / package / "__init__.py").touch()
    sys.path.insert(0, folder)
    names = ("tko_pb2", "tko_pb2_grpc", "tko.v1alpha2.data_pb2", "tko.v1alpha2.data_pb2_grpc", "tko.v1alpha2.model_pb2")
    return [importlib.import_module(name) for name in names]


def until(events, is_reached):
    for event in events:
        if event.WhichOneof("event") == "put" and is_reached(event.put.record.entity.deployment):
            return


def deploy(old, new, modules, number):
    """Deploys one and deletes it. Returns the time of each step, in ms."""
    pb, _, data, _, model = modules
    select = model.Select(kind=model.KIND_DEPLOYMENT)
    head = new.Head(data.HeadRequest()).revision
    events = new.Watch(data.WatchRequest(select=select, after=head))
    times = [time.perf_counter()]
    made = old.createDeployment(pb.CreateDeployment(templateId="t", siteId=f"s{number}"))
    assert made.created, made.notCreatedReason
    times.append(time.perf_counter())
    until(events, lambda deployment: deployment.prepared)
    times.append(time.perf_counter())
    assert new.Approve(data.ApproveRequest(select=model.Select(kind=model.KIND_DEPLOYMENT, ids=[made.deploymentId])))
    times.append(time.perf_counter())
    until(events, lambda deployment: deployment.HasField("placed"))
    times.append(time.perf_counter())
    events.cancel()
    # The next one begins when the site is done with this one.
    time.sleep(0.2)
    return [(after - before) * 1e3 for before, after in zip(times, times[1:])]


def measured(program, url, each, modules):
    """Times of each step of many deployments by one program."""
    pb, old_grpc, _, new_grpc, _ = modules
    port = pages.free_port()
    flags = ["up", "--backend", "postgresql", "--backend-connection", url, "--grpc-ip-stack", "ipv4"]
    with tempfile.TemporaryDirectory() as manifests:
        command = [program, *flags, "--grpc-port", str(port), "--manifests", manifests]
        # Early versions have no web port, and do not know its flag.
        environment = dict(os.environ, TKO_WEB_PORT="0")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        server = subprocess.Popen(command, env=environment, **quiet)
        try:
            channel = grpc.insecure_channel(f"127.0.0.1:{port}")
            grpc.channel_ready_future(channel).result(60)
            old, new = old_grpc.DataStub(channel), new_grpc.DataStub(channel)
            old.registerTemplate(pb.Template(templateId="t", packageFormat="yaml", package=PACKAGE))
            for number in range(each + WARM_UP):
                old.registerSite(pb.Site(siteId=f"s{number}"))
            time.sleep(2)
            every = [deploy(old, new, modules, number) for number in range(each + WARM_UP)]
            return every[WARM_UP:]
        finally:
            server.terminate()
            server.wait()


def main():
    programs = sys.argv[1:3]
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    each = int(sys.argv[4]) if len(sys.argv) > 4 else 40
    with tempfile.TemporaryDirectory() as folder:
        modules = compiled(folder)
        every = {program: [] for program in programs}
        for turn in range(rounds):
            for program in programs:
                # A server of its own for each: what one leaves does not slow the other.
                with tempfile.TemporaryDirectory() as place:
                    url, stop = pages.postgres(place)
                    try:
                        every[program] += measured(program, url, each, modules)
                    finally:
                        stop()
    for step, name in enumerate(STEPS):
        before, after = (statistics.median(times[step] for times in every[one]) for one in programs)
        print(f"{name:26} p50 {before:7.2f} ms -> {after:7.2f} ms  {after / before:5.2f}")


if __name__ == "__main__":
    main()
