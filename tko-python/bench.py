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
WHEELS = pathlib.Path(sys.prefix).parent / "wheels"
ROUNDS = 5
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


def measured_import():
    """The least time of `import tko` in a new process, in turns with one that imports nothing."""
    times = {"pass": [], "import tko": []}
    for _ in range(10):
        for code, each in times.items():
            each.append(measured(subprocess.run, [sys.executable, "-c", code])[0])
    return min(times["import tko"]) - min(times["pass"])


def main():
    """Lists all deployments, and gets some of them. Fails if a bar is missed."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    milliseconds = measured_import() * 1000
    missed = [] if milliseconds < 100 else ["import of tko: less than 100 ms"]
    print(f"import of tko          {milliseconds:8.1f} ms")
    for wheel in WHEELS.glob("tko-*.whl"):
        megabytes = wheel.stat().st_size / 1e6
        missed += [] if megabytes < 25 else ["wheel: less than 25 MB"]
        print(f"wheel                  {megabytes:8.1f} MB")
    store = tko.Store()
    ids = []
    for start in range(0, count, 1000):
        new = [{"merge_metadata": {"region": "south"}}] * min(1000, count - start)
        ids += store.create_deployments(new)
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

        works = [("listing", ours, theirs, count, 5.0), ("gets", ours_get, theirs_get, GETS, 1.5)]
        for name, mine, other, each, bar in works:
            mine(), other()
            times = [(measured(mine)[0], measured(other)[0]) for _ in range(ROUNDS)]
            best, plain = min(t[0] for t in times), min(t[1] for t in times)
            ratio = plain / best
            missed += [] if ratio >= bar else [f"{name}: at least {bar} times as many"]
            print(f"{name:8} tko {each / best:10.0f}/s   grpcio {each / plain:10.0f}/s   ratio {ratio:.2f}")
    if missed:
        sys.exit(f"missed: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
