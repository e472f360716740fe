#!/usr/bin/env python3
"""Compares the client of this package with plain grpcio on the same server, in turns in one run.

target/python/venv/bin/pip install grpcio grpcio-tools
target/python/venv/bin/python tko-python/bench.py [DEPLOYMENTS]
"""

import importlib
import pathlib
import subprocess
import sys
import tempfile
import time

import grpc

import tko

PROTO = pathlib.Path(__file__).resolve().parent.parent / "tko-grpc" / "proto"
ROUNDS = 3
GETS = 500


def compiled(folder):
    """The modules that grpcio-tools makes of tko.proto."""
    subprocess.run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            f"-I{PROTO}",
            f"--python_out={folder}",
            f"--grpc_python_out={folder}",
            "tko.proto",
        ],
        check=True,
    )
    sys.path.insert(0, folder)
    # Beside the package of the same name.
    sys.modules.pop("tko_pb2", None)
    return importlib.import_module("tko_pb2"), importlib.import_module("tko_pb2_grpc")


def measured(work, *arguments):
    """The time of a call, and its result."""
    started = time.perf_counter()
    result = work(*arguments)
    return time.perf_counter() - started, result


def main():
    """Lists all deployments, and gets some of them."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    bare = time.perf_counter() - started
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import tko"], check=True)
    print(f"import of tko          {(time.perf_counter() - started - bare) * 1000:8.1f} ms")
    store = tko.Store()
    ids = [store.create_deployment(merge_metadata={"region": "south"}) for _ in range(count)]
    with tempfile.TemporaryDirectory() as folder, store.serve() as server:
        messages, services = compiled(folder)
        stub = services.DataStub(grpc.insecure_channel(server.address))
        client = tko.Client(server.address)

        def ours():
            return sum(1 for deployment in client.list_deployments() if deployment.deployment_id)

        def theirs():
            return sum(1 for deployment in stub.listDeployments(messages.ListDeployments()) if deployment.deploymentId)

        def ours_get():
            for id in ids[:GETS]:
                client.get_deployment(id)

        def theirs_get():
            for id in ids[:GETS]:
                stub.getDeployment(messages.GetDeployment(deploymentId=id))

        for name, mine, other, each in [("listing", ours, theirs, count), ("gets", ours_get, theirs_get, GETS)]:
            mine(), other()
            times = [(measured(mine)[0], measured(other)[0]) for _ in range(ROUNDS)]
            best, plain = min(t[0] for t in times), min(t[1] for t in times)
            print(f"{name:8} tko {each / best:10.0f}/s   grpcio {each / plain:10.0f}/s   ratio {plain / best:.2f}")


if __name__ == "__main__":
    main()
