"""Blocking calls in quick succession: connections that the calling thread drives."""

import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

import tko

PATIENCE = 60


@pytest.fixture(scope="module")
def address():
    store = tko.Store()
    with store.serve() as server:
        for number in range(10):
            store.register_site(f"edge/{number}", metadata={"number": str(number)})
        yield server.address


def quick(client, site="edge/0"):
    """Makes calls until the calling thread drives a connection."""
    for _ in range(3):
        assert client.get_site(site).site_id == site


def place(address):
    """The host and port of an address."""
    host, _, port = address.rpartition(":")
    return host, int(port)


class Proxy:
    """Passes connections on to a server, until they are cut."""

    def __init__(self, address):
        self.server = place(address)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._sockets = []
        self.connections = 0
        # Counts the ends of connections.
        self.closed = threading.Semaphore(0)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self.server)
                with self._lock:
                    self.connections += 1
                    self._sockets += [client, server]
                for work in ((self._send, client, server), (self._pass, server, client)):
                    threading.Thread(target=work[0], args=work[1:], daemon=True).start()

    def _send(self, client, server):
        self._pass(client, server)
        self.closed.release()

    def _pass(self, source, to):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                to.sendall(data)
            to.shutdown(socket.SHUT_WR)

    def cut(self):
        """Ends all connections, as a server that restarts does."""
        with self._lock:
            sockets, self._sockets = self._sockets, []
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def close(self):
        self._listener.close()
        self.cut()


@pytest.fixture
def proxy(address):
    proxy = Proxy(address)
    yield proxy
    proxy.close()


@pytest.fixture
def silent():
    """The address of a server that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield "127.0.0.1:%d" % listener.getsockname()[1]


@pytest.mark.parametrize("count", [2, 12])
def test_threads_share_a_client(address, count):
    client = tko.Client(address)
    begin = threading.Barrier(count)
    faults = []

    def work(own):
        try:
            begin.wait(PATIENCE)
            for number in range(60):
                site = client.get_site(f"edge/{(own + number) % 10}")
                assert site.metadata["number"] == str((own + number) % 10)
                if number % 20 == 0:
                    assert client.count_sites() == 10 and len(list(client.list_sites())) == 10
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=work, args=(own,)) for own in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert faults == []


def test_a_connection_that_the_server_closed_is_opened_again(proxy):
    client = tko.Client(proxy.address)
    for number in range(20):
        quick(client)
        before = proxy.connections
        proxy.cut()
        # A call that changes something is not made again, so it must find out before it is sent.
        client.register_template(f"nf/upf:v{number}")
        assert proxy.connections > before
    client.purge_templates()


def test_a_connection_that_is_not_used_is_closed(proxy):
    client = tko.Client(proxy.address)
    end = time.monotonic() + PATIENCE
    # One of the shared runtime, and one of this thread. On a busy machine, calls can be too far apart.
    while proxy.connections < 2:
        assert time.monotonic() < end
        quick(client)
    assert proxy.closed.acquire(timeout=PATIENCE)
    quick(client)


def test_a_server_stops_while_a_client_is_idle():
    store = tko.Store()
    with store.serve() as server:
        client = tko.Client(server.address)
        store.register_site("edge/0")
        quick(client)
        started = time.monotonic()
    assert time.monotonic() - started < 8
    with pytest.raises(tko.Unavailable):
        client.get_site("edge/0")


def test_ctrl_c_ends_a_call_that_hangs(proxy, silent, ctrl_c):
    client = tko.Client(proxy.address)
    quick(client)
    server, proxy.server = proxy.server, place(silent)
    proxy.cut()
    with ctrl_c(0.3):
        client.get_site("edge/0")
    proxy.server = server
    # The interrupted connection is gone; so is the shared one, to the server that says nothing.
    proxy.cut()
    quick(client)


def test_a_call_has_a_deadline(silent):
    client = tko.Client(silent, timeout=0.2)
    for _ in range(3):
        started = time.monotonic()
        with pytest.raises(tko.Unavailable):
            client.register_site("edge/1")
        assert 0.1 < time.monotonic() - started < 20


def test_other_threads_run_during_a_call(silent):
    client = tko.Client(silent, timeout=1)
    with pytest.raises(tko.Unavailable):
        client.register_site("edge/1")
    turns = []
    ended = threading.Event()

    def turn():
        while not ended.wait(0.01):
            turns.append(1)

    thread = threading.Thread(target=turn)
    thread.start()
    with pytest.raises(tko.Unavailable):
        client.register_site("edge/1")
    ended.set()
    thread.join(PATIENCE)
    assert len(turns) > 3


FORKS = """
import os, signal, sys
import tko
client = tko.Client(sys.argv[1])
for _ in range(3):
    client.get_site("edge/1")
child = os.fork()
if child == 0:
    signal.alarm(50)
    code = 1
    try:
        for _ in range(3):
            assert client.get_site("edge/2").metadata == {"number": "2"}
        assert client.count_sites() == 10
        del client
        code = 0
    finally:
        os._exit(code)
for number in range(100):
    assert client.get_site(f"edge/{number % 10}").metadata == {"number": str(number % 10)}
assert os.waitpid(child, 0)[1] == 0
assert client.get_site("edge/3").metadata == {"number": "3"}
print("done")
"""


@pytest.mark.skipif(not hasattr(signal, "alarm"), reason="there is no fork")
def test_a_process_that_was_forked_has_connections_of_its_own(address):
    command = [sys.executable, "-W", "ignore", "-c", FORKS, address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
