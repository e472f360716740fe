"""A private PostgreSQL server, and `tko up`, for the tests that need them."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import pytest

import tko

BIN = pathlib.Path(sys.executable).parent
PATIENCE = 60


def postgres_programs():
    """The folder with initdb: `$TKO_POSTGRES_BIN`, or the newest installed version; or None."""
    if named := os.environ.get("TKO_POSTGRES_BIN"):
        return pathlib.Path(named)
    versions = [path.parent for path in pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if versions:
        return max(versions, key=lambda folder: int(folder.parent.name))
    found = shutil.which("initdb")
    return pathlib.Path(found).parent if found else None


@pytest.fixture(scope="session")
def postgres():
    """The URL of an empty database in a separate server."""
    programs = postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tko-python-"))
    # PostgreSQL refuses to run as root.
    account = {}
    if os.geteuid() == 0:
        import pwd

        names = {entry.pw_name for entry in pwd.getpwall()}
        user = next(name for name in ("postgres", "nobody") if name in names)
        shutil.chown(folder, user)
        account = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
    options = {"cwd": "/", "env": {"LC_ALL": "C", "PATH": os.environ["PATH"]}, **account}
    data = folder / "data"
    initdb = [programs / "initdb", "-D", data, "-U", "tko", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
    subprocess.run(initdb, check=True, capture_output=True, timeout=PATIENCE, **options)
    command = [programs / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"]
    with open(folder / "log", "wb") as log, subprocess.Popen(command, stdout=log, stderr=log, **options) as process:
        try:
            url = f"postgresql://tko@localhost/postgres?host={folder}"
            deadline = time.monotonic() + PATIENCE
            while not (folder / ".s.PGSQL.5432").exists() or not ready(url):
                assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.05)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
            shutil.rmtree(folder, ignore_errors=True)


def ready(url):
    """Whether the database accepts connections."""
    try:
        tko.Store(url).revision()
    except tko.Unavailable:
        return False
    return True


@pytest.fixture
def ctrl_c():
    """Sends Ctrl-C after some seconds, which must end the code in the context."""

    @contextlib.contextmanager
    def send(after):
        # A process that a shell started in the background ignores SIGINT.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        timer = threading.Timer(after, signal.raise_signal, [signal.SIGINT])
        started = time.monotonic()
        timer.start()
        try:
            with pytest.raises(KeyboardInterrupt):
                yield
        finally:
            timer.join()
            signal.signal(signal.SIGINT, before)
        assert time.monotonic() - started < 20

    return send


@pytest.fixture(scope="session")
def program():
    """The `tko` that `$TKO_TEST_PROGRAM` names."""
    path = os.environ.get("TKO_TEST_PROGRAM")
    if not path:
        pytest.skip("TKO_TEST_PROGRAM names no tko; `cargo xtask test` without -p has one")
    return path


class Up:
    """A running `tko up`."""

    def __init__(self, program, process, environment):
        self.program, self.process, self.environment = program, process, environment
        self.lines = []
        self.address = None
        # A server that says nothing ends, and with it its log.
        timer = threading.Timer(PATIENCE, process.kill)
        timer.start()
        for line in process.stderr:
            self.lines.append(line)
            if "serving gRPC" in line and (found := re.search(r"127\.0\.0\.1:\d+", line)):
                self.address = found.group(0)
                break
        timer.cancel()
        # Nothing may block the server's log.
        threading.Thread(target=self._follow, daemon=True).start()
        assert self.address, "".join(self.lines)

    def _follow(self):
        # The end of the test closes it.
        with contextlib.suppress(ValueError):
            self.lines.extend(self.process.stderr)

    def logged(self, text):
        """Waits until the log has this text."""
        end = time.monotonic() + PATIENCE
        while text not in "".join(self.lines):
            assert time.monotonic() < end, f"{text!r} is not in the log:\n{''.join(self.lines)}"
            time.sleep(0.05)

    def tko(self, *arguments, **options):
        """Runs a command of `tko` for this server; returns what it printed, with its messages."""
        flags = ["--grpc-ip-stack", "ipv4", "--grpc-port", self.address.rpartition(":")[2]]
        command = [self.program, *map(str, arguments), *flags]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, check=False, env=self.environment, **options
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def until(self, deployment_id, holds):
        """Waits until a deployment is in a state; returns it."""
        with tko.Client(self.address) as client:
            revision = client.revision()
            deployment = client.get_deployment(deployment_id)
            if holds(deployment):
                return deployment
            watch = client.watch("deployment", after=revision, deployment_id_patterns=[deployment_id])
            timer = threading.Timer(PATIENCE, watch.close)
            timer.start()
            try:
                for event in watch:
                    if event.entity is not None:
                        deployment = event.entity
                        if holds(deployment):
                            return deployment
            finally:
                timer.cancel()
        raise AssertionError(f"{deployment.to_ard()}\n" + "".join(self.lines[-50:]))


@pytest.fixture
def up(program, tmp_path):
    """Starts `tko up` with the Python of the tests first in PATH, and no PYTHON_ENV."""
    home = tmp_path / "home"
    home.mkdir()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("TKO_", "PYTHON"))}
    environment = {
        **inherited,
        "HOME": str(home),
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "TKO_BACKEND": "memory",
        "XDG_DATA_HOME": str(home),
    }
    with contextlib.ExitStack() as running:

        def start(*flags, command=("up", "--web-port", "0")):
            command = [program, *command, "--grpc-ip-stack", "ipv4", "--grpc-port", "0", *flags]
            process = running.enter_context(
                subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path)
            )
            running.callback(process.terminate)
            return Up(program, process, environment)

        yield start
