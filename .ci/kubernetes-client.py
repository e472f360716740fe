#!/usr/bin/env python3
"""Clients of Kubernetes against `tko`: the cache of each must end equal to the data.

    python3 .ci/kubernetes-client.py TKO [DEPLOYMENTS] [SECONDS] [SEED] [--with PROGRAM...]

It needs the package `kubernetes` of PyPI. A reflector lists and watches deployments through a
proxy that cuts its connections, while others create, change and delete them, and the server is
killed and started again. Watches are resumed where they ended; the history is short, so some
positions have expired, and the reflector lists again. It checks that resource versions only rise,
that no event is missing or repeated, and that the cache ends equal to a new list.

`--with` adds a client in another language, which gets the address of the proxy: a program, and its
other arguments after commas. For each line of its input it prints a line of JSON with its `store`,
the resource versions by name, and with what is `wrong`. Such are .ci/informer/main.go and
tko-krm/examples/reflector.rs.
"""

import json
import random
import re
import select
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

from kubernetes import client, watch
from kubernetes.client.exceptions import ApiException

GROUP, VERSION, PLURAL = "tko.nephio.org", "v1alpha1", "deployments"
ARGS = (GROUP, VERSION, PLURAL)


class Server:
    """`tko data start`, which is killed and started again on the same port and data."""

    def __init__(self, program, folder):
        self.program, self.folder, self.port = program, folder, 0
        self.start()

    def start(self):
        log = open(f"{self.folder}/log", "ab")
        # The port of the first start stays; something else may hold it for a moment.
        for _ in range(50):
            offset = log.tell()
            self.process = subprocess.Popen(
                [self.program, "data", "start", "--backend", f"sqlite:{self.folder}/db",
                 "--history", "500", "--grpc-port", "0", "--web=false", "--kubernetes",
                 "--kubernetes-ip-stack", "ipv4", "--kubernetes-port", str(self.port)],
                stderr=log)
            while self.process.poll() is None:
                with open(f"{self.folder}/log", "rb") as file:
                    file.seek(offset)
                    text = file.read().decode(errors="replace")
                found = re.search(r"serving the Kubernetes API.*?127\.0\.0\.1:(\d+)", text)
                if found:
                    self.port = int(found[1])
                    return
                time.sleep(0.05)
            time.sleep(0.2)
        raise SystemExit(f"the server does not start; see {self.folder}/log")

    def restart(self):
        self.process.kill()
        self.process.wait()
        # Changes are kept for 15 minutes at least: make them older.
        with sqlite3.connect(f"{self.folder}/db") as database:
            database.execute("UPDATE change SET at = at - 3600000000")
        database.close()
        self.start()

    def has_expired(self, position):
        try:
            event = next(events(self.port, position, 2), None)
        except Exception:  # It may be starting.
            return False
        return bool(event) and event["type"] == "ERROR" and event["object"]["code"] == 410


class Proxy:
    """Forwards connections to the server, and cuts them on demand."""

    def __init__(self, server):
        self.server, self.pairs, self.lock = server, [], threading.Lock()
        self.is_open = True
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near, _ = self.listener.accept()
            if not self.is_open:
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self.server.port))
            except OSError:
                near.close()
                continue
            with self.lock:
                self.pairs.append((near, far))
            threading.Thread(target=self.copy, args=(near, far), daemon=True).start()

    @staticmethod
    def copy(near, far):
        try:
            while True:
                for one in select.select([near, far], [], [])[0]:
                    data = one.recv(65536)
                    if not data:
                        return
                    (far if one is near else near).sendall(data)
        except (OSError, ValueError):
            pass
        finally:
            near.close()
            far.close()

    def cut(self):
        with self.lock:
            pairs, self.pairs = self.pairs, []
        for pair in pairs:
            for one in pair:
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass


def api(port):
    configuration = client.Configuration()
    configuration.host = f"http://127.0.0.1:{port}"
    configuration.retries = False
    return client.CustomObjectsApi(client.ApiClient(configuration))


def events(port, position, seconds):
    """The events of a watch. The client's own loop hides the error of an expired position."""
    response = api(port).list_cluster_custom_object(
        *ARGS, watch=True, resource_version=position, allow_watch_bookmarks=True,
        timeout_seconds=seconds, _request_timeout=30, _preload_content=False)
    try:
        for line in watch.watch.iter_resp_lines(response):
            yield json.loads(line)
    finally:
        response.close()
        response.release_conn()


class Reflector(threading.Thread):
    """A cache that follows the server: list, watch, resume, and list again where it must."""

    def __init__(self, proxy, seed):
        super().__init__(daemon=True)
        self.proxy, self.random = proxy, random.Random(seed)
        self.store, self.position, self.done = {}, None, threading.Event()
        self.lists = self.watches = self.events = self.expired = self.cuts = 0
        self.failure = None

    def run(self):
        try:
            while not self.done.is_set():
                try:
                    self.follow()
                except ApiException as error:
                    if error.status == 410:
                        self.expired += 1
                        self.position = None
                    elif error.status not in (0, 429, 500, 503, 504):
                        raise
                    time.sleep(0.1)
                except AssertionError:
                    raise
                except Exception:  # The connection was cut: any layer may say so.
                    self.cuts += 1
                    time.sleep(0.05)
        except BaseException as error:  # Shown by the main thread.
            self.failure = error

    def follow(self):
        if self.position is None:
            self.list()
        self.watches += 1
        for event in events(self.proxy.port, self.position, self.random.randint(2, 20)):
            kind, item = event["type"], event["object"]
            if kind == "ERROR":
                raise ApiException(status=item.get("code", 0))
            version, name = item["metadata"]["resourceVersion"], item["metadata"].get("name")
            if kind == "BOOKMARK":
                assert int(version) >= int(self.position), "a bookmark goes back"
            else:
                assert int(version) > int(self.position), f"{kind} {name} goes back"
                self.events += 1
            if kind == "ADDED":
                assert name not in self.store, f"{name} is added twice"
                self.store[name] = version
            elif kind == "MODIFIED":
                assert name in self.store, f"{name} was never added"
                self.store[name] = version
            elif kind == "DELETED":
                assert self.store.pop(name, None), f"{name} was never added"
            self.position = version
            if self.done.is_set():
                return

    def list(self):
        self.lists += 1
        store, token, position = {}, None, None
        while True:
            page = api(self.proxy.port).list_cluster_custom_object(
                *ARGS, limit=self.random.choice([100, 500]), _continue=token, _request_timeout=30)
            metadata = page["metadata"]
            assert position in (None, metadata["resourceVersion"]), "pages of different states"
            position = metadata["resourceVersion"]
            for item in page["items"]:
                name = item["metadata"]["name"]
                assert name not in store, f"{name} is listed twice"
                store[name] = item["metadata"]["resourceVersion"]
            token = metadata.get("continue")
            if not token:
                break
        self.store, self.position = store, position


class Program:
    """A client in another language."""

    def __init__(self, command, proxy, folder):
        self.name = command.split("/")[-1]
        program, *arguments = command.split(",")
        self.log = f"{folder}/{re.sub('[^a-z0-9]', '-', self.name)}.log"
        self.process = subprocess.Popen(
            [program, f"http://127.0.0.1:{proxy.port}", *arguments], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=open(self.log, "wb"))

    def ask(self):
        try:
            self.process.stdin.write("dump\n")
            self.process.stdin.flush()
            said = json.loads(self.process.stdout.readline())
        except (OSError, ValueError) as error:
            raise SystemExit(f"{self.name} has ended: {error}\n{self.said()}") from error
        if said["wrong"]:
            raise SystemExit(f"{self.name}: {said['wrong'][:5]}")
        return said

    def said(self):
        """The end of its log."""
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()[-5000:]

    def check(self, wanted):
        """Waits until its store equals the data. client-go pauses for up to a minute at a time after
        so many cut connections."""
        start = time.monotonic()
        deadline = start + 300
        while True:
            said = self.ask()
            if said["store"] == wanted:
                break
            if time.monotonic() > deadline:
                counts = {key: said[key] for key in said if key != "store"}
                raise SystemExit(f"{self.name}: {counts}: {difference(said['store'], wanted)}\n"
                                 f"{self.said()}")
            time.sleep(0.5)
        del said["store"], said["wrong"]
        print(f"{self.name}: {said}: equal at the end, after {time.monotonic() - start:.0f} s")


def difference(store, wanted):
    missing = sorted(set(wanted) - set(store))[:5]
    surplus = sorted(set(store) - set(wanted))[:5]
    stale = [name for name in wanted if name in store and store[name] != wanted[name]][:5]
    return f"the cache differs: missing {missing}, surplus {surplus}, stale {stale}"


def body(name, number):
    resource = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "own"},
                "data": {"number": str(number)}}
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": "Deployment", "metadata": {"name": name},
            "spec": {"package": {"resources": [resource]}}}


class Writer(threading.Thread):
    """Creates, changes and deletes deployments at random."""

    def __init__(self, server, index, names, seed, until):
        super().__init__(daemon=True)
        self.server, self.names, self.until = server, names, until
        self.random, self.writes, self.index, self.failure = random.Random(seed), 0, index, None

    def run(self):
        number = 0
        while time.monotonic() < self.until:
            number += 1
            name, dice = self.random.choice(self.names), self.random.random()
            try:
                to = api(self.server.port)
                if dice < 0.2:
                    to.delete_cluster_custom_object(*ARGS, name)
                elif dice < 0.4:
                    to.create_cluster_custom_object(*ARGS, body(name, number))
                elif dice < 0.7:
                    patch = {"metadata": {"labels": {"number": str(number)}}}
                    to.patch_cluster_custom_object(*ARGS, name, patch)
                else:
                    to.patch_cluster_custom_object(
                        *ARGS, name, {"spec": body(name, number)["spec"]})
                self.writes += 1
            except ApiException as error:
                if error.status not in (404, 409, 429, 500, 503, 504):
                    self.failure = error
                    return
            except Exception:  # The server is being started again.
                time.sleep(0.1)


def main():
    arguments, others = sys.argv[1:], []
    if "--with" in arguments:
        at = arguments.index("--with")
        arguments, others = arguments[:at], arguments[at + 1:]
    program = arguments[0]
    count = int(arguments[1]) if len(arguments) > 1 else 2000
    seconds = float(arguments[2]) if len(arguments) > 2 else 60
    seed = int(arguments[3]) if len(arguments) > 3 else random.randrange(1 << 30)
    print(f"seed {seed}", flush=True)
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        server = Server(program, folder)
        try:
            run(server, dice, count, seconds, seed, others, folder)
        finally:
            server.process.kill()


def run(server, dice, count, seconds, seed, others, folder):
    proxy = Proxy(server)
    names = [f"deployment-{number}" for number in range(count)]
    first = api(server.port)
    for number, name in enumerate(names):
        first.create_cluster_custom_object(*ARGS, body(name, number))
    # Some of the names come and go, in turn with the others.
    names += [f"another-{number}" for number in range(count // 4)]
    reflector = Reflector(proxy, seed)
    reflector.start()
    programs = [Program(command, proxy, folder) for command in others]
    try:
        compare(server, proxy, reflector, programs, names, dice, seconds, seed)
    finally:
        for program in programs:
            program.process.kill()


def compare(server, proxy, reflector, programs, names, dice, seconds, seed):
    end = time.monotonic() + seconds
    writers = [Writer(server, index, names, seed + index, end) for index in range(4)]
    for writer in writers:
        writer.start()
    restarts, next_restart = 0, time.monotonic() + seconds / 4
    while time.monotonic() < end:
        time.sleep(dice.uniform(1, 6))
        proxy.cut()
        if time.monotonic() > next_restart:
            restarts += 1
            next_restart = time.monotonic() + seconds / 4
            # Away for longer than the history lasts; what is kept in memory goes, too.
            proxy.is_open = False
            proxy.cut()
            enough = sum(writer.writes for writer in writers) + 600
            while sum(writer.writes for writer in writers) < enough and time.monotonic() < end:
                time.sleep(0.1)
            server.restart()
            while reflector.position and not server.has_expired(reflector.position):
                if time.monotonic() > end:
                    break
                time.sleep(0.2)
            proxy.is_open = True
        if reflector.failure:
            raise reflector.failure
        for program in programs:
            program.ask()
    for writer in writers:
        writer.join(60)
        if writer.failure:
            raise writer.failure
    last = api(server.port).list_cluster_custom_object(*ARGS)
    wanted = {item["metadata"]["name"]: item["metadata"]["resourceVersion"]
              for item in last["items"]}
    deadline = time.monotonic() + 60
    while reflector.store != wanted and time.monotonic() < deadline and not reflector.failure:
        time.sleep(0.1)
    reflector.done.set()
    if reflector.failure:
        raise reflector.failure
    if reflector.store != wanted:
        raise SystemExit(difference(reflector.store, wanted))
    for program in programs:
        program.check(wanted)
    # A position from long ago has expired; the error is an event of the watch.
    writes = sum(writer.writes for writer in writers)
    assert reflector.expired, "no position of the reflector has expired; try more seconds"
    print(f"{len(wanted)} deployments, {writes} writes, {restarts} restarts; the reflector had "
          f"{reflector.events} events of {reflector.watches} watches, {reflector.cuts} cuts, "
          f"{reflector.expired} expired positions, {reflector.lists} lists: equal at the end")


if __name__ == "__main__":
    main()
