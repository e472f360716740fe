"""Pages and JSON at many deployments, on each backend: time, size, and the cost of watching browsers.

    python3 .ci/pages.py TKO [COUNT [BACKEND...]]

TKO is the program, COUNT the number of deployments (100,000). The backends are memory, sqlite and
postgres; a private PostgreSQL server is started where its programs are installed. With Node, Chromium
and the packages of the browser tests, the memory of two open pages is measured, too.
"""

import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUESTS = 40
BROWSERS = 200
BATCH = 5_000
MOST_MS, MOST_KB, MOST_MB = 200, 300, 100


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def postgres(folder):
    """Starts a private server; returns its URL and how to stop it."""
    tool = shutil.which("pg_ctl") or max(
        (str(one) for one in Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")), default=None
    )
    if tool is None:
        return None, None
    bin_folder = Path(tool).parent
    user = [] if os.getuid() else ["runuser", "-u", "postgres", "--"]
    data = Path(folder) / "data"
    os.chmod(folder, 0o755)
    data.mkdir()
    if user:
        shutil.chown(data, "postgres")
    port = free_port()
    quiet = {"check": True, "stdout": subprocess.DEVNULL}
    subprocess.run([*user, bin_folder / "initdb", "-D", data, "-A", "trust", "-U", "tko"], **quiet)
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={data}"
    control = [*user, tool, "-D", data, "-l", data / "log", "-w"]
    subprocess.run([*control, "-o", options, "start"], **quiet)
    stop = lambda: subprocess.run([*control, "-m", "immediate", "stop"], **quiet)
    return f"postgres://tko@127.0.0.1:{port}/postgres", stop


def call(url, data=None, headers=None, method=None):
    request = urllib.request.Request(url, data, {"accept": "*/*", **(headers or {})}, method=method)
    with urllib.request.urlopen(request, timeout=120) as answer:
        return answer.read()


def create(url, count):
    lines = "".join(
        json.dumps({"templateId": "nf/upf", "siteId": "lab", "prepared": at % 10 > 0, "approved": at % 10 > 1})
        + "\n"
        for at in range(count)
    )
    answer = call(f"{url}/api/v1/deployments", lines.encode(), {"content-type": "application/x-ndjson"})
    assert b'"title"' not in answer, answer[:300]


def memory(process):
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1_024
    return 0


def watch(port):
    one = socket.create_connection(("127.0.0.1", port))
    one.sendall(b"GET /events?scope=all HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n")
    assert b"200" in one.recv(64)
    return one


def measure(name, program, flags, count):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    arguments = ["data", "start", "--grpc-port", "0", "--web-ip-stack", "ipv4", "--web-port", str(port)]
    log = tempfile.TemporaryFile()
    process = subprocess.Popen([program, *arguments, *flags], stdout=log, stderr=log)
    faults = []
    try:
        for _ in range(600):
            try:
                call(f"{url}/api/v1/about")
                break
            except OSError:
                time.sleep(0.1)
        package = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {level: info}\n"
        for path in ["templates/nf%2Fupf", "sites/lab"]:
            call(f"{url}/api/v1/{path}", package, {"content-type": "application/yaml"}, "PUT")
        began = time.time()
        for _ in range(count // BATCH):
            create(url, BATCH)
        print(f"{name}: {count} deployments created in {time.time() - began:.0f} s")
        while not json.loads(call(f"{url}/api/v1/summary"))["complete"]:
            time.sleep(0.2)
        first = json.loads(call(f"{url}/api/v1/deployments?limit=1"))["items"][0]["deploymentId"]
        encoded = urllib.parse.quote
        for path in [
            "/", "/deployments", "/sites", "/templates", "/plugins", "/activity",
            *(f"/deployments?q={encoded('--state ' + state)}" for state in ("waiting", "failing", "deleting")),
            "/deployments?sort=updated",
            f"/deployments/{first}", "/sites/lab", "/templates/nf%2Fupf",
            "/api/v1/deployments?limit=100", "/api/v1/deployments?state=failing", "/api/v1/summary",
        ]:
            times, size = [], 0
            for _ in range(REQUESTS):
                began = time.perf_counter()
                size = len(call(url + path))
                times.append((time.perf_counter() - began) * 1_000)
            p95 = sorted(times)[REQUESTS * 95 // 100]
            print(f"{name:9} {path:45} p95 {p95:7.1f} ms {size / 1_000:6.0f} KB")
            if p95 > MOST_MS or size > MOST_KB * 1_000:
                faults.append(f"{name} {path}: {p95:.0f} ms, {size} bytes")
        before = memory(process)
        browsers = [watch(port) for _ in range(BROWSERS)]
        # They read nothing: the system's buffers fill, and the server must not.
        create(url, BATCH)
        create(url, BATCH)
        more = memory(process) - before
        print(f"{name:9} {BROWSERS} watching browsers and 10,000 changes: {more:.0f} MiB more")
        if more > MOST_MB:
            faults.append(f"{name}: {BROWSERS} browsers cost {more:.0f} MiB")
        for one in browsers:
            one.close()
        faults += page_memory(name, url)
    finally:
        process.terminate()
        if process.wait(60) != 0:
            log.seek(0)
            faults.append(f"{name}: {log.read()[-2_000:].decode(errors='replace')}")
    return faults


def page_memory(name, url):
    """The memory of two pages while 10,000 changes come in a minute."""
    packages = next(ROOT.glob("target/tmp/browser"), None)
    if packages is None or not shutil.which("node") or not shutil.which("chromium"):
        print(f"{name:9} skipped: the memory of pages; run the browser test of tko-http first")
        return []
    script = packages / "page-memory.mjs"
    shutil.copy(ROOT / ".ci/page-memory.mjs", script)
    pages = subprocess.Popen(["node", script, url], stdout=subprocess.PIPE, text=True)
    assert pages.stdout.readline().strip() == "ready"
    began = time.time()
    for at in range(100):
        create(url, 100)
        time.sleep(max(0, began + (at + 1) * 0.6 - time.time()))
    output, _ = pages.communicate(timeout=120)
    print("".join(f"{name:9} {line}\n" for line in output.splitlines()), end="")
    return [] if pages.returncode == 0 else [f"{name}: the memory of a page grows"]


def main():
    program = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
    names = sys.argv[3:] or ["memory", "sqlite", "postgres"]
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, max(limit, 4_096)), most))
    faults = []
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            stop = None
            flags = ["--backend", name]
            if name == "sqlite":
                flags += ["--data", folder]
            if name == "postgres":
                connection, stop = postgres(folder)
                if connection is None:
                    print("postgres: skipped, its programs are not installed")
                    continue
                flags += ["--backend-connection", connection]
            try:
                faults += measure(name, program, flags, count)
            finally:
                if stop:
                    stop()
    for fault in faults:
        print("too much:", fault)
    return bool(faults)


sys.exit(main())
