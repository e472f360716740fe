"""The worker protocol: frames over stdin and stdout, one call at a time.

A thread reads frames, so that health checks and cancellations arrive during a call. Calls run in the
main thread, as they do under `command`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import signal
import sys
import threading
import time
from types import FrameType
from typing import IO, TYPE_CHECKING

from ._plugin import Answer, Cancelled, _answered
from ._tko import encode_answer, encode_hello

if TYPE_CHECKING:
    from ._plugin import Log

CANCEL = signal.SIGUSR1
# Bytes that a pipe holds, and that are read at a time: most calls are one piece.
PIPE = 256 * 1024
# Between two signals to the same call, in seconds.
PAUSE = 0.05
CANCELLED = encode_answer({"error": "the call was cancelled"})


def _enlarge(pipe: IO[bytes]) -> None:
    """Lets a pipe hold more. One that stays as it is works, too."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE)


class Worker:
    """Serves calls until the controller says stop, or closes stdin."""

    def __init__(self, plugin_type: str, answer: Answer, out: IO[bytes]) -> None:
        self._type = plugin_type
        self._answer = answer
        self._out = out
        self._lock = threading.Lock()
        self._calls: queue.SimpleQueue[tuple[int, bytes] | None] = queue.SimpleQueue()
        self._state = threading.Lock()
        self._running = 0
        self._cancelled: set[int] = set()
        self._main = threading.get_ident()
        self._is_sending = False
        self._is_deferred = False

    def run(self) -> None:
        """Serves calls; returns when it is asked to stop."""
        signal.signal(CANCEL, self._on_cancel)
        # Plugins must not read frames.
        source = os.fdopen(os.dup(0), "rb", PIPE)
        _enlarge(source)
        _enlarge(self._out)
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        threading.Thread(target=self._read, args=(source,), daemon=True).start()
        while (call := self._calls.get()) is not None:
            number, document = call
            try:
                body = self._call(number, document)
            except Cancelled:
                # It arrived when the call had just ended, and may have kept it from clearing this.
                self._running = 0
                body = CANCELLED
            sys.stdout.flush()
            self._send(b"answer", number, body)

    def _call(self, number: int, document: bytes) -> bytes:
        def log(text: str) -> None:
            self._send(b"log", number, text.encode(errors="replace"))

        try:
            with self._state:
                if number in self._cancelled:
                    raise Cancelled
                self._running = number
            return self._guarded(document, log)
        except Cancelled:
            return CANCELLED
        finally:
            with self._state:
                self._running = 0
                self._cancelled.discard(number)

    def _guarded(self, document: bytes, log: Log) -> bytes:
        return _answered(document, self._answer, log)

    def _on_cancel(self, _signal: int, _frame: FrameType | None) -> None:
        # Runs in the main thread. The call may have ended before the signal arrived.
        if self._running and self._running in self._cancelled:
            if self._is_sending:
                # A frame must be written whole.
                self._is_deferred = True
                return
            self._cancelled.discard(self._running)
            raise Cancelled

    def _read(self, source: IO[bytes]) -> None:
        try:
            while line := source.readline(64):
                kind, number, length = line.split()
                body = source.read(int(length))
                self._frame(kind, int(number), body)
                if kind == b"stop":
                    break
        finally:
            self._calls.put(None)

    def _frame(self, kind: bytes, number: int, body: bytes) -> None:
        if kind == b"call":
            self._calls.put((number, body))
        elif kind == b"ping":
            self._send(b"pong", number, b"")
        elif kind == b"hello":
            self._send(b"hello", 0, encode_hello(self._type, 1).encode())
        elif kind == b"cancel":
            with self._state:
                self._cancelled.add(number)
                is_running = self._running == number
            if is_running:
                threading.Thread(target=self._interrupt, args=(number,), daemon=True).start()

    def _interrupt(self, number: int) -> None:
        # The first signal may arrive when Python has looked for signals and the system call that will
        # wait has not begun: that call then waits on. So the signal is sent until it was handled.
        while True:
            with self._state:
                if self._running != number or number not in self._cancelled:
                    return
                signal.pthread_kill(self._main, CANCEL)
            time.sleep(PAUSE)

    def _send(self, kind: bytes, number: int, body: bytes) -> None:
        is_main = threading.get_ident() == self._main
        if is_main:
            self._is_sending = True
        try:
            with self._lock:
                self._out.write(b"%s %d %d\n%s" % (kind, number, len(body), body))
                self._out.flush()
        finally:
            if is_main:
                self._is_sending = False
        if is_main and self._is_deferred:
            self._is_deferred = False
            # Not twice: the next signal may already have been handled, and none must follow.
            if self._running and self._running in self._cancelled:
                self._cancelled.discard(self._running)
                raise Cancelled
