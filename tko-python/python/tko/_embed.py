"""The whole orchestrator in this process: a store, and controllers with Python handlers.

Controllers also work for a server, through a client.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ._client import AsyncClient, Client, _Blocking
from ._tko import GVK, Controller, EmbeddedStore, HandlerCall

if TYPE_CHECKING:
    from typing_extensions import Self


class _Running:
    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    def stop(self) -> None:
        """Stops it when its work in flight has ended."""
        self._controller.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Server(_Running):
    """A gRPC server of a store."""

    def __init__(self, served: tuple[Controller, str]) -> None:
        super().__init__(served[0])
        #: `HOST:PORT`, for Client.
        self.address = served[1]


class Store(_Blocking):
    """A data service in this process: `Store()` in memory, or `Store("postgresql://…")`.

    It has the calls of a Client.

    >>> store = Store()
    >>> _ = store.register_site("edge/1")
    >>> [site.site_id for site in store.list_sites()]
    ['edge/1']
    """

    def __init__(self, backend: str = "memory") -> None:
        self._store = EmbeddedStore(backend)
        super().__init__(self._store.api())

    def serve(
        self,
        address: str = "127.0.0.1",
        port: int = 0,
        *,
        certificate: str | os.PathLike[str] | None = None,
        key: str | os.PathLike[str] | None = None,
        client_ca: str | os.PathLike[str] | None = None,
        tokens: Sequence[str] | None = None,
    ) -> Server:
        """Serves the API over gRPC. Port 0 chooses a free port.

        Without TLS (`certificate` and `key`, PEM files) and authentication (`tokens` of at least 16
        characters, or certificates of clients that `client_ca` has signed), loopback addresses only.
        Use it as a context manager, or stop it.
        """
        if isinstance(tokens, str):
            raise TypeError("tokens are a list of str")
        return Server(
            self._store.serve(address, port, certificate, key, client_ca, None if tokens is None else list(tokens))
        )

    def __repr__(self) -> str:
        return repr(self._store)


class Preparer(Protocol):
    """Prepares resources. `prepare` returns True if it is done."""

    def prepare(self, call: HandlerCall, /) -> Any: ...


class Scheduler(Protocol):
    """Brings a site to the state that its deployments ask for."""

    def schedule(self, call: HandlerCall, /) -> Any: ...


Handler = Callable[[HandlerCall], Any]


def _functions(handlers: Mapping[GVK, Any] | None, method: str) -> dict[GVK, Any]:
    """The functions of handlers: a class is instantiated, an object with the method gives its method."""
    functions = {}
    for gvk, handler in (handlers or {}).items():
        if isinstance(handler, type):
            handler = handler()
        functions[gvk] = getattr(handler, method, handler)
    return functions


class PrepareController(_Running):
    """Prepares the deployments of a store or server until it is stopped. Use it as a context manager.

    `preparers` are handlers by the type of resource that triggers them: a function, an object with a
    method `prepare`, or its class. It gets a call with `deployment`, `package` and `target`, changes
    the package in place, and returns True if it is done. TKO's own preparers of topologies are always
    there; unlike those of the program `tko`, they refuse conditions of merges.

    A call that takes longer than `timeout`, by default 30 seconds, has failed. Python code cannot be
    stopped: until it returns, no handler is called for the same deployment.

    >>> class Ready:
    ...     def prepare(self, call):
    ...         call.package[call.target]["spec"] = {"ready": True}
    ...         return True
    >>> store = Store()
    >>> with PrepareController(store, {GVK("example.org", "v1", "Port"): Ready}):
    ...     pass
    """

    def __init__(
        self,
        store: Store | Client | AsyncClient,
        preparers: Mapping[GVK, Handler | Preparer | type[Preparer]] | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        super().__init__(Controller.prepare(store._data, _functions(preparers, "prepare"), timeout))


class ScheduleController(_Running):
    """Schedules the sites of a store or server until it is stopped. Use it as a context manager.

    `schedulers` are handlers by the type of resource, in the package of a site, that triggers them: a
    function, an object with a method `schedule`, or its class. It gets a call with `site`, `package`,
    `target`, `deployments` and `removed_deployments`.

    A call that takes longer than `timeout`, by default 300 seconds, has failed. Python code cannot be
    stopped: until it returns, no handler is called for the same site.
    """

    def __init__(
        self,
        store: Store | Client | AsyncClient,
        schedulers: Mapping[GVK, Handler | Scheduler | type[Scheduler]] | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        super().__init__(Controller.schedule(store._data, _functions(schedulers, "schedule"), timeout))
