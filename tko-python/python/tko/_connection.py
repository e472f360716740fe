"""How a client finds its server, and connects to it."""

from __future__ import annotations

import os

from ._plugin import _call
from ._tko import Data


def _read(path: str | os.PathLike[str] | None) -> bytes | None:
    if path is None:
        return None
    with open(path, "rb") as file:
        return file.read()


def _address() -> str:
    """The server of the call that a plugin works on, $TKO_GRPC_SERVER, or the default."""
    call = _call.get()
    if call is not None and call.input.grpc.get("port"):
        grpc = call.input.grpc
        address = grpc["address"]
        return f"[{address}]:{grpc['port']}" if ":" in address else f"{address}:{grpc['port']}"
    return os.environ.get("TKO_GRPC_SERVER") or "[::1]:50050"


def _connect(
    server: str | None,
    host: str | None,
    token: str | None,
    ca: str | os.PathLike[str] | None,
    certificate: str | os.PathLike[str] | None,
    key: str | os.PathLike[str] | None,
    server_name: str | None,
    tls: bool,
    timeout: float | None,
) -> Data:
    if server and host:
        raise TypeError("server and host are two names of one argument")
    return Data.connect(
        server or host or _address(),
        token=token,
        ca=_read(ca),
        certificate=_read(certificate),
        key=_read(key),
        name=server_name,
        tls=tls,
        timeout=timeout,
    )
