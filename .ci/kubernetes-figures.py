#!/usr/bin/env python3
"""The Kubernetes API at many deployments: lists in pages, the memory of watches, and their delay.

    python3 .ci/kubernetes-figures.py TKO [COUNT [BACKEND...]]

TKO is the program, of the release profile; COUNT the number of deployments (100,000). The backends are
memory and sqlite. It fails if a list in pages of 500 has fewer than 20,000 objects a second, if 1,000
watches take 200 MiB, if a write reaches a watcher after more than 100 ms in one of a hundred cases, or
if applying what is there already makes a change.
"""

import http.client
import json
import os
import re
import selectors
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

WATCHES, WRITES, PAGE, BATCH = 1_000, 500, 500, 5_000
LEAST_RATE, MOST_MB, MOST_MS = 20_000, 200, 100
PATH = "/apis/tko.nephio.org/v1alpha1/deployments"


class Server:
    """`tko data start` with the Kubernetes API, and the JSON API to fill it."""

    def __init__(self, program, flags, folder):
        self.log = open(f"{folder}/log", "w+b")
        self.process = subprocess.Popen(
            [program, "data", "start", "--grpc-port", "0", "--web-ip-stack", "ipv4",
             "--web-port", "0", "--kubernetes", "--kubernetes-ip-stack", "ipv4",
             "--kubernetes-port", "0", *flags], stdout=self.log, stderr=self.log)
        self.kubernetes = self.address(r"serving the Kubernetes API.*?127\.0\.0\.1:(\d+)", folder)
        self.web = self.address(r"serving HTTP.*?127\.0\.0\.1:(\d+)", folder)

    def address(self, pattern, folder):
        for _ in range(600):
            found = re.search(pattern, Path(f"{folder}/log").read_text(errors="replace"))
            if found:
                return int(found[1])
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise SystemExit("it does not start:\n" + Path(f"{folder}/log").read_text()[-2000:])

    def memory(self):
        """Resident memory in MiB."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1_024
        return 0

    def processor(self):
        """Seconds of processor time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def call(port, method, path, body=None, content="application/json"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request(method, path, body, {"content-type": content, "accept": "*/*"})
    answer = connection.getresponse()
    data = answer.read()
    assert answer.status < 300, (method, path, answer.status, data[:300])
    connection.close()
    return data


def fill(server, count):
    package = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {level: info}\n"
    for path in ["templates/nf%2Fupf", "sites/lab"]:
        call(server.web, "PUT", f"/api/v1/{path}", package, "application/yaml")
    line = json.dumps({"templateId": "nf/upf", "siteId": "lab", "prepared": True, "approved": True})
    for _ in range(count // BATCH):
        call(server.web, "POST", "/api/v1/deployments", f"{line}\n" * BATCH, "application/x-ndjson")


def pages(server):
    """Lists everything in pages; returns the number of objects and the seconds."""
    connection = http.client.HTTPConnection("127.0.0.1", server.kubernetes, timeout=60)
    token, count, began = "", 0, time.perf_counter()
    while True:
        connection.request("GET", f"{PATH}?limit={PAGE}&continue={token}")
        data = connection.getresponse().read()
        count += data.count(b'"uid":')
        # Metadata come before the items, or after them.
        found = re.search(rb'"continue":"([^"]+)"', data[:500]) or re.search(
            rb'"continue":"([^"]+)"', data[-500:])
        if not found:
            return count, time.perf_counter() - began
        token = found[1].decode()


def version(server):
    return json.loads(call(server.kubernetes, "GET", f"{PATH}?limit=1"))["metadata"]["resourceVersion"]


def watch(server, at):
    one = socket.create_connection(("127.0.0.1", server.kubernetes))
    one.sendall(f"GET {PATH}?watch=1&allowWatchBookmarks=1&resourceVersion={at} HTTP/1.1\r\n"
                f"host: localhost\r\naccept: application/json\r\n\r\n".encode())
    assert b"200 OK" in one.recv(4_096)
    return one


class Reader(threading.Thread):
    """Reads watches; notes when the first of them has each number of a label."""

    def __init__(self, sockets):
        super().__init__(daemon=True)
        self.sockets, self.seen, self.events, self.done = sockets, {}, 0, False
        self.watched = sockets[0]

    def run(self):
        ready = selectors.DefaultSelector()
        for one in self.sockets:
            ready.register(one, selectors.EVENT_READ)
        rest = b""
        while not self.done:
            for key, _ in ready.select(0.2):
                data = key.fileobj.recv(1 << 20)
                now = time.perf_counter()
                self.events += data.count(b'"MODIFIED"')
                if key.fileobj is self.watched:
                    rest += data
                    for number in re.findall(rb'"number":"(\d+)"', rest):
                        self.seen.setdefault(int(number), now)
                    rest = rest[-32:]


def patch(server, name, number):
    body = json.dumps({"metadata": {"labels": {"number": str(number)}}})
    call(server.kubernetes, "PATCH", f"{PATH}/{name}", body, "application/merge-patch+json")


def delays(server, sockets, names, first, pause):
    """Writes, and returns how long each took to reach a watcher, from its start, in ms."""
    reader = Reader(sockets)
    reader.start()
    sent = {}
    for at in range(WRITES):
        number = first + at
        sent[number] = time.perf_counter()
        patch(server, names[at % len(names)], number)
        time.sleep(pause)
    until = time.monotonic() + 60
    while len(reader.seen) < WRITES and time.monotonic() < until:
        time.sleep(0.05)
    reader.done = True
    reader.join()
    assert len(reader.seen) == WRITES, f"{len(reader.seen)} of {WRITES} writes came"
    return sorted((reader.seen[number] - sent[number]) * 1_000 for number in sent), reader.events


def measure(name, program, flags, count, folder):
    server = Server(program, flags, folder)
    faults = []

    def bar(is_met, text):
        print(f"{name:7} {text}", flush=True)
        if not is_met:
            faults.append(f"{name}: {text}")

    try:
        began = time.monotonic()
        fill(server, count)
        print(f"{name:7} {count} deployments made in {time.monotonic() - began:.0f} s", flush=True)
        rates, used = [], server.processor()
        for _ in range(3):
            found, seconds = pages(server)
            assert found >= count, f"{found} of {count}"
            rates.append(found / seconds)
        used = 3 * count / (server.processor() - used)
        bar(max(rates) >= LEAST_RATE, f"lists of {count} in pages of {PAGE}, objects a second: "
            + ", ".join(f"{rate:,.0f}" for rate in rates)
            + f"; a second of the server's processor time lists {used:,.0f}")

        items = json.loads(call(server.kubernetes, "GET", f"{PATH}?limit=100"))["items"]
        names = [item["metadata"]["name"] for item in items]
        body = json.dumps({"apiVersion": "tko.nephio.org/v1alpha1", "kind": "Deployment",
                           "metadata": {"name": names[0], "labels": {"applied": "1"}}})
        apply = f"{PATH}/{names[0]}?fieldManager=figures"
        call(server.kubernetes, "PATCH", apply, body, "application/apply-patch+yaml")
        before = version(server)
        for _ in range(20):
            call(server.kubernetes, "PATCH", apply, body, "application/apply-patch+yaml")
        bar(version(server) == before, "applying the same 20 times makes no revision")

        at = version(server)
        one = watch(server, at)
        times, _ = delays(server, [one], names, 1_000, 0.02)
        p50, p99 = times[WRITES // 2], times[WRITES * 99 // 100]
        bar(p99 <= MOST_MS, f"a write reaches the only watcher: p50 {p50:.1f} ms, p99 {p99:.1f} ms")
        before = server.memory()
        sockets = [watch(server, version(server)) for _ in range(WATCHES)]
        idle = server.memory() - before
        # All of them read every change.
        times, events = delays(server, [one, *sockets], names, 10_000, 0.2)
        more = server.memory() - before
        p50, p99 = times[WRITES // 2], times[WRITES * 99 // 100]
        print(f"{name:7} with {WATCHES} watchers beside, which had {events:,} events: "
              f"p50 {p50:.1f} ms, p99 {p99:.1f} ms", flush=True)
        bar(max(idle, more) < MOST_MB,
            f"{WATCHES} watches: {idle:.0f} MiB idle, {more:.0f} MiB after {WRITES} changes")
    finally:
        server.process.kill()
        server.process.wait()
    return faults


def main():
    program = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
    faults = []
    for backend in sys.argv[3:] or ["memory", "sqlite"]:
        with tempfile.TemporaryDirectory() as folder:
            value = f"sqlite:{folder}/db" if backend == "sqlite" else backend
            faults += measure(backend, program, ["--backend", value], count, folder)
    if faults:
        raise SystemExit("\n".join(faults))


if __name__ == "__main__":
    main()
