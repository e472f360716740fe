"""Plugins: one function that prepares, validates or schedules, under `command` and `worker`."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import IO, Any, Protocol

from ._tko import GVK, Identifier, Package, PluginCall, encode_answer

PREPARED = "nephio.org/prepared"


class Cancelled(BaseException):
    """The controller has abandoned the call, usually at its time limit.

    Like KeyboardInterrupt, it is not an Exception, so that ordinary handlers do not swallow it.
    """


class ExecuteError(RuntimeError):
    """A program failed. The text is what it wrote to stderr."""


class Log(Protocol):
    """Receives log lines of a call."""

    def __call__(self, text: str) -> None: ...


class Call:
    """The call that a plugin works on: its input, and where its log lines go."""

    def __init__(self, decoded: PluginCall, log: Log) -> None:
        self.input = decoded
        self.log = log


_call: ContextVar[Call | None] = ContextVar("tko_call", default=None)


def _current() -> PluginCall:
    call = _call.get()
    if call is None:
        raise RuntimeError("there is no call here: use this inside the function of a plugin")
    return call.input


class Deployments:
    """Packages by the id of their deployment. Iterating gives the packages."""

    def __init__(self, packages: Mapping[str, Package]) -> None:
        self._packages = packages

    def __iter__(self) -> Iterator[Package]:
        return iter(self._packages.values())

    def __len__(self) -> int:
        return len(self._packages)

    def __getitem__(self, deployment_id: str) -> Package:
        return self._packages[deployment_id]

    def __contains__(self, deployment_id: object) -> bool:
        return deployment_id in self._packages

    def ids(self) -> list[str]:
        """The ids of the deployments."""
        return list(self._packages)

    def items(self) -> Iterator[tuple[str, Package]]:
        """The ids with their packages."""
        return iter(self._packages.items())


def get_target_resource_identifier() -> Identifier | None:
    """The identifier of the resource that triggered the call, or None."""
    return _current().target


def get_target_resource() -> dict[str, Any] | None:
    """The resource that triggered the call, in the output package; change it in place."""
    call = _current()
    return None if call.target is None else call.package[call.target]


def get_output_package() -> Package:
    """The package of the call. A preparer changes it in place."""
    return _current().package


def get_deployment_id() -> str | None:
    """The id of the deployment that is prepared, or None."""
    return _current().deployment_id


def get_site_id() -> str | None:
    """The id of the site that is scheduled, or None."""
    return _current().site_id


def get_deployments() -> Deployments:
    """The packages that should run on the site."""
    return Deployments(_current().deployments)


def get_removed_deployments() -> Deployments:
    """The packages to remove from the site, as they were last scheduled."""
    return Deployments(_current().removed_deployments)


def log(text: str) -> None:
    """Writes to the controller's log. Outside of a call: to stderr."""
    call = _call.get()
    if call is None:
        print(text, file=sys.stderr, flush=True)
    else:
        call.log(str(text))


def execute(*args: str, env: Mapping[str, str] | None = None, input: str | None = None) -> str:
    """Runs a program and returns its stdout; raises ExecuteError with its stderr if it fails.

    `env` adds variables to the plugin's own. Bytes of the output that are not text become U+FFFD.

    >>> execute("cat", input="hello")
    'hello'
    """
    import subprocess  # Rarely needed, and slow to import.

    done = subprocess.run(
        args,
        env=None if env is None else {**os.environ, **env},
        input=None if input is None else input.encode(),
        stdin=subprocess.DEVNULL if input is None else None,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        error = done.stderr.decode(errors="replace").strip()
        raise ExecuteError(error or f"{args[0]} exited with code {done.returncode}")
    return done.stdout.decode(errors="replace")


def set_prepared(resource: dict[str, Any], prepared: bool = True) -> None:
    """Sets or removes the mark of a prepared resource.

    >>> resource = {"metadata": {"name": "a"}}
    >>> set_prepared(resource)
    >>> resource["metadata"]["annotations"]
    {'nephio.org/prepared': 'true'}
    """
    metadata = resource.setdefault("metadata", {})
    annotations = metadata.get("annotations")
    if annotations is None:
        annotations = metadata["annotations"] = {}
    if prepared:
        annotations[PREPARED] = "true"
    else:
        annotations.pop(PREPARED, None)


def meta_schedule(package: Package) -> tuple[Package, Package]:
    """Splits what goes to a cluster: the resources without and with a namespace.

    Resources whose group ends with `nephio.org` are for TKO, and left out.
    """
    without: list[dict[str, Any]] = []
    within: list[dict[str, Any]] = []
    for resource in package:
        if GVK(resource=resource).group.endswith("nephio.org"):
            continue
        namespaced = (resource.get("metadata") or {}).get("namespace")
        (within if namespaced else without).append(resource)
    return Package(without), Package(within)


def prepare(f: Callable[[], Any]) -> None:
    """Serves calls with a preparer. `f()` changes the output package and returns True if it is done.

    False means: not yet. An exception is shown in the deployment's conditions.
    """

    def answer(call: PluginCall) -> bytes:
        if f():
            return encode_answer({"prepared": True}, call.package)
        return encode_answer({"prepared": False})

    _serve("prepare", answer)


def validate(f: Callable[[bool], Any]) -> None:
    """Serves calls with a validator. `f(complete)` raises an exception for an invalid package.

    It may also return, or yield, texts: one for each fault.
    """

    def answer(call: PluginCall) -> bytes:
        faults = f(call.complete)
        if isinstance(faults, str):
            faults = [faults]
        listed = [str(fault) for fault in faults or ()] if not isinstance(faults, bool) else []
        return encode_answer({"error": listed} if listed else {})

    _serve("validate", answer)


def schedule(f: Callable[[], Any]) -> None:
    """Serves calls with a scheduler. `f()` brings the site to the state that is asked for."""

    def answer(_call: PluginCall) -> bytes:
        f()
        return encode_answer({})

    _serve("schedule", answer)


def _describe(error: BaseException) -> str:
    """The exception in one line, with the place in the plugin where it was raised."""
    import traceback  # As in execute.

    text = str(error) if isinstance(error, ExecuteError) else f"{type(error).__name__}: {error}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(os.path.dirname(__file__))
    ]
    if not frames:
        return text
    frame = frames[-1]
    return f"{text} ({os.path.basename(frame.filename)}, line {frame.lineno}, in {frame.name})"


Answer = Callable[[PluginCall], bytes]


def _answered(document: bytes, answer: Answer, log: Log) -> bytes:
    """The answer to one call. An exception becomes the answer's error; its traceback is logged."""
    token = None
    try:
        call = Call(PluginCall.decode(document), log)
        token = _call.set(call)
        return answer(call.input)
    except (KeyboardInterrupt, Cancelled):
        raise
    except BaseException as error:
        if isinstance(error, SystemExit) and error.code in (None, 0):
            raise
        import traceback  # As in execute.

        with contextlib.suppress(OSError):
            log("".join(traceback.format_exception(error)))
        return encode_answer({"error": _describe(error)})
    finally:
        if token is not None:
            _call.reset(token)


def _private_stdout() -> IO[bytes]:
    """Takes stdout for answers. What the plugin prints goes to stderr from here on."""
    sys.stdout.flush()
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What the plugin prints before it hangs or crashes must not stay in the buffer.
        sys.stdout.reconfigure(line_buffering=True)
    return out


def _serve(plugin_type: str, answer: Answer) -> None:
    if os.environ.get("TKO_WORKER"):
        from ._worker import Worker

        Worker(plugin_type, answer, _private_stdout()).run()
        return
    out = _private_stdout()
    document = sys.stdin.buffer.read()
    with ChannelLog() as log:
        out.write(_answered(document, answer, log))
    out.close()


class ChannelLog:
    """The log channel of a call under `command`: a FIFO or a TCP port, else stderr."""

    def __init__(self) -> None:
        self._file: IO[str] | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> ChannelLog:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def _open(self) -> IO[str]:
        call = _call.get()
        if call is not None and call.input.log_file:
            return open(call.input.log_file, "w", encoding="utf-8")
        if call is not None and call.input.log_address_port:
            import socket  # As in execute.

            host, _, port = call.input.log_address_port.rpartition(":")
            connection = socket.create_connection((host.strip("[]"), int(port)), timeout=5)
            return connection.makefile("w", encoding="utf-8")
        return os.fdopen(os.dup(2), "w", encoding="utf-8")

    def __call__(self, text: str) -> None:
        with self._lock:
            if self._file is None:
                self._file = self._open()
            self._file.write(text if text.endswith("\n") else text + "\n")
            self._file.flush()
