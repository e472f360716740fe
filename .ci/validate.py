"""Measures tko validate: 100,000 resources in one file against 10,000, in alternating rounds.

Fails if the larger file takes more than 11 times as long, or more than 200 MB of memory.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time

ROUNDS = 3
DEPLOYMENT = """apiVersion: apps/v1
kind: Deployment
metadata: {{name: web-{n}, labels: {{app: web-{n}}}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: web-{n}}}}}
  template:
    metadata: {{labels: {{app: web-{n}}}}}
    spec:
      containers:
      - {{name: web, image: nginx, ports: [{{containerPort: 80}}], resources: {{limits: {{memory: 1Gi}}}}}}
---
"""


def measure(program, path):
    """Returns the seconds and the most megabytes of one run."""
    start = time.monotonic()
    child = subprocess.Popen([program, "validate", "-q", path])
    _, status, usage = os.wait4(child.pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"{path} is not valid")
    return time.monotonic() - start, usage.ru_maxrss / 1000


def main():
    program = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        figures = {}
        for count in (10_000, 100_000):
            path = os.path.join(folder, f"{count}.yaml")
            with open(path, "w", encoding="utf-8") as file:
                for n in range(count):
                    file.write(DEPLOYMENT.format(n=n, replicas=n % 5))
            figures[path] = []
        for _ in range(ROUNDS):
            for path, runs in figures.items():
                runs.append(measure(program, path))
        (small, large) = (
            (statistics.median(run[0] for run in runs), max(run[1] for run in runs))
            for runs in figures.values()
        )
        ratio = large[0] / small[0]
        print(f"10,000: {small[0]:.2f} s, {small[1]:.0f} MB")
        print(f"100,000: {large[0]:.2f} s, {large[1]:.0f} MB")
        print(f"ratio: {ratio:.1f}")
        if ratio > 11 or large[1] > 200:
            sys.exit("expected at most 11 times the time, and 200 MB")


main()
